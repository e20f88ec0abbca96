"""Jobs as a user submits them: to a running engine, watched, stopped, and ended with it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil
import pytest
from command import Command, until

# A start of the engine counts as part of the first test: on two busy cores it takes minutes.
pytestmark = [pytest.mark.ray, pytest.mark.timeout(480)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    command = Command(tmp_path_factory.mktemp("jobs"))
    command.up()
    yield command
    if list((command.folder / "state").glob("run-*.json")):
        assert command.run("down").returncode == 0


class _Trickle(BaseHTTPRequestHandler):
    """An answer that goes on and on."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b" ")
                time.sleep(0.5)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def endless_venue() -> Iterator[str]:
    """A venue whose answers never end: a job that asks it runs until stopped."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Trickle) as venue:
        venue.daemon_threads = True
        threading.Thread(target=venue.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{venue.server_port}"
        venue.shutdown()


def listed(engine: Command) -> dict[str, dict[str, Any]]:
    done = engine.run("jobs", "--json")
    assert done.returncode == 0, done.stderr
    return {each["id"]: each for each in json.loads(done.stdout)}


def submit_endless(engine: Command, venue: str) -> str:
    done = engine.run(
        "submit", "backfill", "--json", "--set", "exchange=kraken", "--set",
        "instruments=[BTC-USD]", "--set", "begin=2026-01-01", "--set", f"rest_url={venue}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["id"])


def state(engine: Command, name: str) -> str | None:
    return listed(engine).get(name, {}).get("state")


def test_submitted_job_is_waited_for_recorded_and_logged(engine: Command) -> None:
    done = engine.run("submit", "build_features", "--set", "timeframes=[1m]", "--wait", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["job"], told["state"], told["exit_code"]) == ("build_features", "done", 0)
    (row,) = engine.sql(
        f"SELECT outcome, submission_id, rows FROM job_runs FINAL WHERE run_id = '{told['id']}'"
    )
    assert row == {
        "outcome": "done",
        "submission_id": told["id"],
        "rows": told["summary"]["rows"],
    }
    assert listed(engine)[told["id"]]["rows"] == row["rows"]
    log = engine.run("logs", "build_features").stdout
    assert told["id"] in log
    assert "Running entrypoint" not in log


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("report", "--set", "tpo=3"), "unknown key 'tpo' of report; did you mean 'top'?"),
        (("reprot",), "there is no job 'reprot'; did you mean 'report'?"),
        (("import_candles",), "path is missing"),
    ],
)
def test_wrong_job_is_refused_at_submission(
    engine: Command, arguments: tuple[str, ...], words: str
) -> None:
    done = engine.run("submit", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_job_survives_its_watcher_and_is_stopped_by_name(
    engine: Command, endless_venue: str
) -> None:
    name = submit_endless(engine, endless_venue)
    until(lambda: state(engine, name) == "running")
    watcher = engine.popen("logs", name, "--follow", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert watcher.stderr is not None
    assert watcher.stderr.readline() == f"{name} is running; Ctrl-C ends the watching\n"
    watcher.send_signal(signal.SIGINT)
    _, told = watcher.communicate(timeout=60)
    assert state(engine, name) == "running"
    assert watcher.returncode == 130, told
    stopped = engine.run("stop", "backfill")
    assert stopped.returncode == 0, stopped.stderr
    assert f"{name}: stopped" in stopped.stdout
    assert state(engine, name) == "stopped"


def test_engine_that_stops_ends_its_jobs_and_records_that(
    engine: Command, endless_venue: str
) -> None:
    name = submit_endless(engine, endless_venue)
    until(lambda: state(engine, name) == "running")
    family = engine.family()
    assert engine.run("down").returncode == 0
    _, left = psutil.wait_procs(family, timeout=10)
    assert left == []
    store = f"store.url=embedded:{engine.folder}/data/store"
    done = engine.run("jobs", "--json", "--set", store)
    assert done.returncode == 0, done.stderr
    assert {each["id"]: each["state"] for each in json.loads(done.stdout)}[name] == "stopped"
    refused = engine.run("submit", "report")
    assert refused.returncode == 4
    assert "no engine is running here to take a job" in refused.stderr
