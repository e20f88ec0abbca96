"""Jobs as a user submits them: to a running engine, watched, stopped, and ended with it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest
from command import Command, until
from job_commands import endless_venue, listed, state, submit_endless

# A start of the engine counts as part of the first test: on two busy cores it takes minutes.
pytestmark = [pytest.mark.ray, pytest.mark.timeout(480)]


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


@pytest.fixture
def endless() -> Iterator[str]:
    with endless_venue() as url:
        yield url


def test_job_survives_its_watcher_and_is_stopped_by_name(engine: Command, endless: str) -> None:
    name = submit_endless(engine, endless)
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
