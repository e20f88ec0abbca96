"""How commands find the running engine."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import msgspec
import psutil
import pytest

from engine.cli.runfile import Run, needed_run, running, running_here, sweep, write_run
from engine.errors import NotRunningError, StartError


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENGINE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def run(**changes: object) -> Run:
    me = psutil.Process()
    base = Run(
        pid=me.pid,
        created=me.create_time(),
        config="configs/local.yaml",
        data_dir="data",
        http_url="http://127.0.0.1:8000",
        store_url="http://engine:secret@127.0.0.1:1/engine",
        viewer_url="",
        metrics_url="",
        ray_address="",
        children=(),
        folders=(),
        log_path="",
        ready=True,
    )
    return msgspec.structs.replace(base, **changes)


def test_run_written_is_found_and_readable_by_its_user_only(state: Path) -> None:
    path = write_run(run())
    assert needed_run() == run()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_sweep_ends_what_a_killed_engine_left_and_nothing_else(tmp_path: Path) -> None:
    left, other = (subprocess.Popen(["sleep", "60"]) for _ in range(2))
    folder = tmp_path / "left"
    folder.mkdir()
    born = [psutil.Process(process.pid).create_time() for process in (left, other)]
    dead = write_run(
        run(
            pid=2**22 - 1,
            # The second number has been given to another process since.
            children=((left.pid, born[0]), (other.pid, born[1] - 100)),
            folders=(str(folder),),
        )
    )
    assert running() == []
    assert sweep() == 1
    assert left.wait(timeout=5) == -signal.SIGKILL
    assert other.poll() is None
    other.kill()
    other.wait()
    assert not dead.exists()
    assert not folder.exists()
    assert sweep() == 0


def test_sweep_leaves_a_running_engine_alone(tmp_path: Path) -> None:
    write_run(run(folders=(str(tmp_path),)))
    assert sweep() == 0
    assert tmp_path.exists()
    assert running() == [run(folders=(str(tmp_path),))]


def test_running_here_prefers_the_engine_whose_data_is_in_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = write_run(run(data_dir=str(tmp_path / "data")))
    mine.rename(mine.with_name("run-mine.json"))
    write_run(run(data_dir="/elsewhere/data"))
    monkeypatch.chdir(tmp_path)
    found = running_here()
    assert found is not None
    assert found.data_dir == str(tmp_path / "data")


def test_run_of_an_earlier_process_with_the_same_number_is_not_the_engine() -> None:
    write_run(run(created=psutil.Process().create_time() - 100))
    assert running() == []


def test_run_file_that_is_damaged_is_passed_over(state: Path) -> None:
    state.mkdir()
    (state / "run-1.json").write_text("{")
    assert running() == []


def test_needed_run_where_none_runs_says_how_to_start_one() -> None:
    with pytest.raises(NotRunningError, match="engine up") as caught:
        needed_run()
    assert caught.value.exit_code == 4


def test_write_run_into_a_folder_that_cannot_be_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("ENGINE_STATE_DIR", str(blocked / "state"))
    with pytest.raises(StartError, match="set ENGINE_STATE_DIR"):
        write_run(run(pid=os.getpid()))
