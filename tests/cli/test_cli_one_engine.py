"""One engine a folder: who holds the lock, what a second start is told, what doctor makes of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from engine.cli import up
from engine.cli.checks import Check, check_ports
from engine.cli.folder_lock import HANDED_ON, FolderLock, holders
from engine.cli.main import app
from engine.cli.own_engine import allowing
from engine.cli.runfile import Run, needed_run, starting_here, write_run
from engine.config import Config
from engine.errors import NotRunningError, StartError
from engine.job_request import portable
from engine.store.embedded.lock import HomeLock

LOCAL = Path(__file__).parents[2] / "configs" / "local.yaml"
HOLD = """
import sys
from pathlib import Path
from engine.cli.folder_lock import FolderLock
with FolderLock(Path("data")) as lock:
    print(lock.take(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGINE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv(HANDED_ON, raising=False)


def holding(**options: Any) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


@pytest.fixture
def other() -> Iterator[subprocess.Popen[str]]:
    """An engine that has just begun to start: it holds the lock, and has no run file."""
    with holding() as process:
        yield process
        process.kill()


def running_engine(config: Config, **urls: str) -> Run:
    me = psutil.Process()
    run = Run(
        pid=me.pid,
        created=me.create_time(),
        config="",
        data_dir=str(Path(config.data_dir).absolute()),
        http_url=urls.get("http", "http://127.0.0.1:8000"),
        store_url="http://engine:secret@127.0.0.1:1/engine",
        viewer_url="",
        metrics_url=urls.get("metrics", "http://127.0.0.1:9464/metrics"),
        ray_address="",
        children=(),
        folders=(),
        log_path="",
        ready=True,
        settings=json.dumps(portable(config, Path.cwd())),
    )
    write_run(run)
    return run


# The lock


def test_lock_is_free_again_however_its_process_ended(other: subprocess.Popen[str]) -> None:
    lock = FolderLock(Path("data"))
    assert not lock.take()
    assert [(one.pid, one.data_dir) for one in holders()] == [
        (other.pid, str(Path("data").resolve()))
    ]
    other.kill()
    other.wait()
    assert holders() == []
    with lock:
        assert lock.take()


def test_lock_is_of_one_data_folder_and_one_state_folder(
    other: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with FolderLock(Path("other")) as lock:
        assert lock.take()
    monkeypatch.setenv("ENGINE_STATE_DIR", str(tmp_path / "elsewhere"))
    with FolderLock(Path("data")) as lock:
        assert lock.take()


def test_lock_handed_on_is_never_free_and_not_handed_on_by_accident() -> None:
    with FolderLock(Path("data")) as lock:
        assert lock.take()
        child = holding(
            pass_fds=(lock.descriptor,), env={**os.environ, HANDED_ON: str(lock.descriptor)}
        )
        lock.name(child.pid)
    with child:
        assert [one.pid for one in holders()] == [child.pid]
        assert not FolderLock(Path("data")).take()
        child.kill()
    assert holders() == []


def test_lock_that_was_handed_on_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    with FolderLock(Path("data")) as first:
        assert first.take()
        descriptor = os.dup(first.descriptor)
    os.set_inheritable(descriptor, True)
    monkeypatch.setenv(HANDED_ON, str(descriptor))
    with FolderLock(Path("data")) as lock:
        assert lock.take()
        assert lock.descriptor == descriptor
        assert not os.get_inheritable(descriptor)
        assert HANDED_ON not in os.environ


def test_detached_engine_gets_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    tell = (
        f"import os; print('error: got', os.readlink('/proc/self/fd/' + os.environ['{HANDED_ON}']))"
    )
    start = subprocess.Popen

    def instead(_: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return start([sys.executable, "-c", tell], **options)

    monkeypatch.setattr(subprocess, "Popen", instead)
    with FolderLock(Path("data")) as lock:
        assert lock.take()
        with pytest.raises(StartError) as caught:
            up._detach(Config(), lock)
    assert str(caught.value) == f"got {lock.path}"


# A second start


@pytest.mark.parametrize("more", [(), ("--detach",)])
def test_up_beside_an_engine_that_starts_says_so_at_once(
    other: subprocess.Popen[str], more: tuple[str, ...]
) -> None:
    done = CliRunner().invoke(app, ["up", "--config", str(LOCAL), *more])
    assert isinstance(done.exception, StartError)
    assert str(done.exception) == (
        f"another engine is starting in this folder (process {other.pid}); "
        "engine status shows it, engine down stops it"
    )


def test_up_beside_a_running_engine_says_where_it_serves() -> None:
    run = running_engine(Config())
    done = CliRunner().invoke(app, ["up", "--config", str(LOCAL)])
    assert isinstance(done.exception, StartError)
    assert str(done.exception) == (
        "an engine is already running in this folder: http://127.0.0.1:8000 "
        f"(process {run.pid}); engine status shows it, engine down stops it"
    )


def test_engine_that_starts_is_told_by_status_and_stopped_by_down(
    other: subprocess.Popen[str],
) -> None:
    with pytest.raises(NotRunningError, match=rf"\(process {other.pid}\) is still starting"):
        needed_run()
    done = CliRunner().invoke(app, ["down"])
    assert done.output == f"stopped the engine (process {other.pid})\n"
    assert starting_here() is None


# What doctor finds


def test_doctor_finds_what_the_own_engine_uses_in_order(tmp_path: Path) -> None:
    (tmp_path / "data" / "store").mkdir(parents=True)
    owner = HomeLock(tmp_path / "data" / "store")
    owner.acquire()
    owner.publish("http://x", "http://y")
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        serve, metrics = one.getsockname()[1], two.getsockname()[1]
        config = Config.model_validate({"serve": {"port": serve}, "metrics": {"port": metrics}})
        ports = ["--set", f"serve.port={serve}", "--set", f"metrics.port={metrics}"]
        alone = CliRunner().invoke(app, ["doctor", *ports])
        run = running_engine(
            config, http=f"http://127.0.0.1:{serve}", metrics=f"http://127.0.0.1:{metrics}/metrics"
        )
        beside = CliRunner().invoke(app, ["doctor", *ports], env={"COLUMNS": "200"})
    owner.release()
    assert (alone.exit_code, alone.output.count("wrong")) == (3, 3)
    assert (beside.exit_code, beside.output.count("wrong")) == (0, 0)
    assert beside.output.count(f"in use by the running engine (process {run.pid})") == 3


def test_doctor_finds_a_port_in_use_that_is_not_the_engines(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = Config.model_validate(
            {"serve": {"port": taken.getsockname()[1]}, "metrics": {"port": 0}}
        )
        checks = list(check_ports(config))
    assert allowing(checks, config, running_engine(config)) == checks
    assert [check.ok for check in checks] == [False, True, True]


def test_doctor_finds_a_store_of_another_folder_in_use(tmp_path: Path) -> None:
    wrong = Check("store", False, "belongs to process 1", "stop it")
    run = running_engine(Config())
    elsewhere = Config.model_validate({"store": {"url": f"embedded:{tmp_path}/elsewhere"}})
    assert allowing([wrong], elsewhere, run) == [wrong]
    assert allowing([wrong], Config(), run) != [wrong]
