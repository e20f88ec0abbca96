"""Schedules as an operator uses them: a real engine, real jobs, the scheduler killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest
from command import Command, get, until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]


def line(command: Command, name: str) -> dict[str, Any]:
    done = command.run("schedule", "list", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = [each for each in json.loads(done.stdout) if each["name"] == name]
    return dict(found)


def scheduler(url: str) -> dict[str, Any] | None:
    """The scheduler's line of the engine's status, once it keeps the schedules."""
    answer = get(f"{url}/v1/status")
    actors = answer["engine"]["actors"] if answer and answer["engine"] else []
    mine = [each for each in actors if each["name"] == "scheduler"]
    return dict(mine[0]) if mine and mine[0]["phase"] == "running" else None


def test_configured_schedule_runs_by_hand_and_survives_a_killed_scheduler(
    engine: Command,
) -> None:
    command, url = engine, engine.url
    before = until(lambda: scheduler(url))
    until(lambda: command.sql("SELECT 1 FROM signals WHERE timeframe = '1m' LIMIT 1"), 150)
    shown = until(lambda: line(command, "nightly"))
    assert (shown["origin"], shown["job"], shown["last_state"]) == ("configuration", "report", None)

    asked = command.run("schedule", "run", "nightly")
    assert asked.returncode == 0, asked.stderr
    until(lambda: line(command, "nightly")["last_state"] in ("submitting", "running", "done"))
    psutil.Process(before["pid"]).kill()

    def over() -> dict[str, Any] | None:
        found = line(command, "nightly")
        return found if found["last_state"] not in ("asked", "submitting", "running") else None

    ended = until(over, 240)
    assert (ended["last_state"], ended["problem"]) == ("done", "")
    again = until(lambda: scheduler(url))
    assert again["pid"] != before["pid"]
    # However often it was looked at and by whomever: it was submitted once.
    runs = command.sql("SELECT submission_id, outcome FROM job_runs FINAL WHERE job = 'report'")
    assert runs == [{"submission_id": ended["last_id"], "outcome": "done"}]
    reports = Path(command.folder) / "data" / "reports"
    assert len(json.loads((reports / "latest.json").read_text())["signals"]) == 2
    assert "<!doctype html>" in (reports / "latest.html").read_text()


def test_schedule_that_could_never_run_is_refused_before_anything_starts(tmp_path: Path) -> None:
    fresh = Command(tmp_path)
    config = Path(__file__).parents[2] / "configs" / "local.yaml"
    for override, why in (
        ("schedule=[{name: a, job: reprot, every: 1h}]", "there is no job 'reprot'"),
        ("report.every=7h", "not a whole part of a day"),
    ):
        done = fresh.run("up", "--config", str(config), "--set", override)
        assert (done.returncode, done.stdout) == (2, "")
        assert why in done.stderr
    both = ("--set", "report.every=1h", "--set", "ray.dashboard=false")
    done = fresh.run("up", "--config", str(config), *both)
    assert done.returncode == 2
    assert "schedule 'report' needs Ray's job API" in done.stderr
    assert not (tmp_path / "data").exists()
