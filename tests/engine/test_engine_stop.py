"""The engine stops, by command and from the terminal, and goes on from what it stored."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from command import FREE_PORTS, ROOT, Command, until
from job_commands import endless_venue, listed, state, submit_endless

from engine.domain.market import Trade
from engine.exchanges.recorded import inspect_recordings
from engine.exchanges.recording import read_frames

pytestmark = [pytest.mark.ray, pytest.mark.timeout(480)]


def trades(command: Command) -> dict[str, int]:
    (found,) = command.sql(
        "SELECT count() AS n, uniqExact(exchange, instrument, trade_id) AS ids FROM trades"
    )
    return found


def test_engine_that_stops_ends_its_jobs_and_records_that(engine: Command) -> None:
    with endless_venue() as venue:
        name = submit_endless(engine, venue)
        until(lambda: state(engine, name) == "running")
        family = engine.family()
        assert engine.run("down").returncode == 0
        _, left = psutil.wait_procs(family, timeout=10)
        assert left == []
    store = f"store.url=embedded:{engine.folder}/data/store"
    assert listed(engine, "--set", store)[name]["state"] == "stopped"
    refused = engine.run("submit", "report")
    assert refused.returncode == 4
    assert "no engine is running here to take a job" in refused.stderr


def recorded_trades(folder: Path, since: int) -> set[tuple[str, str, str, float]]:
    """What the frames tell that the streams kept, of trades made from a moment on."""
    found = set()
    for recording in inspect_recordings([folder]):
        adapter = recording.reader()
        for stamped in read_frames(recording.path):
            found |= {
                (recording.exchange, event.instrument, event.trade_id, event.price)
                for event in adapter.parse(stamped.frame, stamped.receive_time)
                if isinstance(event, Trade) and event.exchange_time >= since
            }
    return found


def ignores_interrupt(process: psutil.Process) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    (mask,) = re.findall(r"^SigIgn:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(mask, 16) & 1 << (signal.SIGINT - 1))


def test_engine_goes_on_from_what_is_stored_and_interrupted_stops_everything(
    engine: Command,
) -> None:
    """After the test before, which stopped it. What it receives it records."""
    before = trades(engine)
    again = engine.popen(
        "up",
        "--config",
        str(ROOT / "configs" / "local.yaml"),
        *FREE_PORTS,
        "--set",
        "record=true",
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert again.stdout is not None
    lines = []
    with again.stdout:
        for line in again.stdout:
            lines.append(line)
            if line.startswith("ready: "):
                break
    assert lines[-1].startswith("ready: http://127.0.0.1:"), lines
    after = trades(engine)
    assert after["n"] == after["ids"] >= before["n"]
    ready = time.time_ns()
    until(lambda: trades(engine)["n"] > after["n"] + 500)
    family = engine.family()
    # Else no job could be stopped in order: its parts that take jobs would be gone at once.
    dashboard = [each for each in family if "dashboard" in " ".join(each.cmdline()[:3])]
    assert len(dashboard) > 1
    assert all(map(ignores_interrupt, dashboard))
    os.killpg(again.pid, signal.SIGINT)  # as a terminal does
    assert again.wait(timeout=60) == 0
    _, left = psutil.wait_procs(family, timeout=1)
    assert left == []
    assert engine.run("status").returncode == 4
    rows = engine.sql(
        "SELECT exchange, instrument, trade_id, price FROM trades "
        f"WHERE exchange_time >= fromUnixTimestamp64Nano({ready})"
    )
    stored = [tuple(row.values()) for row in rows]
    assert len(stored) == len(set(stored)) > 100
    assert recorded_trades(engine.folder / "data" / "recordings", ready) == set(stored)


def test_engine_whose_detached_start_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    command = Command(tmp_path)
    config = str(ROOT / "configs" / "local.yaml")
    starting = command.popen(
        "up", "--detach", "--config", config, *FREE_PORTS,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip

    def started() -> list[psutil.Process]:
        found = psutil.Process(starting.pid).children(recursive=True)
        return found if "raylet" in {process.name() for process in found} else []

    try:
        family = until(started)
        starting.send_signal(signal.SIGINT)
        told, _ = starting.communicate(timeout=60)
        assert starting.returncode == 130, told
        _, left = psutil.wait_procs(family, timeout=1)
        assert left == []
        assert not list(command.folder.glob("state/run-*"))
        assert command.run("status").returncode == 4
    finally:
        command.run("down")  # does nothing where the interrupt did what it is to do
