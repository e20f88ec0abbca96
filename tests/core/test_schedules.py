"""Schedules before anything runs."""

from __future__ import annotations

import pytest

from engine.clock import parse_iso_utc
from engine.config import Config, load_config
from engine.domain.schedule import ScheduledRun
from engine.errors import ConfigError
from engine.schedules import configured_schedules, planned_job, run_config, submission_id

NOON = parse_iso_utc("2026-02-03T12:00:00Z")


def config(*overrides: str) -> Config:
    return load_config(overrides=overrides, environment={})


def one(text: str) -> str:
    return f"schedule=[{{{text}}}]"


def test_report_every_makes_a_schedule_of_that_name() -> None:
    found = configured_schedules(config("report.every=1h", one("name: b, job: report, every: 1d")))
    assert [(each.name, each.job, each.every) for each in found] == [
        ("b", "report", "1d"),
        ("report", "report", "1h"),
    ]


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (
            [one("name: a, job: reprot, every: 1h")],
            "schedule 'a': there is no job 'reprot'; did you mean 'report'",
        ),
        ([one("name: a, job: report, every: 1h, set: {topp: 3}")], "schedule 'a': .*'topp'"),
        ([one("name: a, job: report, every: 1h, set: {top: none}")], "schedule 'a': .*report.top"),
        ([one("name: a, job: import_candles, every: 1h")], "schedule 'a': path is missing"),
        (
            [one("name: report, job: report, every: 1h"), "report.every=1h"],
            "the name 'report' is there twice; report.every makes one",
        ),
    ],
)
def test_schedule_that_cannot_work_is_refused_before_anything_starts(
    overrides: list[str], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        configured_schedules(config(*overrides))


def test_run_config_passes_on_the_moment_unless_one_is_set() -> None:
    whole = config()
    assert run_config(whole, "report", {}, NOON).report.as_of == "2026-02-03T12:00:00.000000Z"
    own = run_config(whole, "report", {"as_of": "2026-02-01"}, NOON)
    assert own.report.as_of == "2026-02-01"
    assert run_config(whole, "build_candles", {}, NOON).build_candles.end[:13] == "2026-02-03T12"
    configured = config("report.as_of=2026-01-01")
    assert run_config(configured, "report", {}, NOON).report.as_of == "2026-01-01"
    assert run_config(whole, "report", {}, 0).report.as_of == ""


def test_run_config_takes_keys_of_the_job_and_of_the_whole() -> None:
    found = run_config(config(), "report", {"top": 3, "ranking.neutral_band": 0.1}, 0)
    assert (found.report.top, found.ranking.neutral_band) == (3, 0.1)


def test_planned_job_reads_what_the_command_was_given() -> None:
    found = planned_job("nightly", "report", "30 2 * * *", ["top=3", "formats=[md]"], 2)
    assert (found.set, found.catch_up) == ({"top": 3, "formats": ["md"]}, 2)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("a/b", "report", "1h", []), "'a/b' is no name for a schedule"),
        (("a", "report", "7h", []), "every '7h' is not a whole part of a day"),
        (("a", "report", "1h", ["top"]), "override 'top' is not of the form"),
    ],
)
def test_planned_job_that_cannot_be_read_is_refused_in_one_sentence(
    arguments: tuple[str, str, str, list[str]], why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        planned_job(*arguments, 1)
    assert "\n" not in str(refused.value)


def test_submission_id_tells_runs_apart_and_is_the_same_for_the_same() -> None:
    run = ScheduledRun("hourly", NOON, False, "asked", "", 1, 0, None, None, "", 0)
    by_hand = ScheduledRun("hourly", NOON + 5, True, "asked", "", 1, 0, None, None, "", 0)
    again = ScheduledRun("hourly", NOON, False, "running", "x", 2, 3, 1, None, "y", 9)
    assert [submission_id(each) for each in (run, by_hand, again)] == [
        "hourly-20260203T120000Z",
        "hourly-20260203T120000Z-by-hand",
        "hourly-20260203T120000Z-2",
    ]
