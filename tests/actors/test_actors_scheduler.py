"""Schedules with a real store, a clock that the test moves, and a cluster in memory."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from actors_fakes import config_for

from engine.actors.schedule_keeper import ASKED_FOR_NS, SETTLE_NS, ScheduleKeeper
from engine.actors.submission import State, Submission
from engine.clock import NS_PER_S, DataClock, parse_iso_utc
from engine.config import Config, RetentionConfig
from engine.domain.job import JobRun
from engine.domain.schedule import Schedule, ScheduledRun
from engine.errors import StartError, StoreUnavailable
from engine.features.catalogue import feature_columns
from engine.schedules import as_schedule, configured_schedules
from engine.settings.schedule import ScheduledJob
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.schedule_book import ScheduleBook
from engine.store.schema import migrate

HOUR = 3600 * NS_PER_S
NOON = parse_iso_utc("2026-02-03T12:00:00Z")
KEPT = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))
HOURLY = "schedule=[{name: hourly, job: report, every: 1h, set: {top: 3}}]"


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = EmbeddedStore(tmp_path_factory.mktemp("store") / "db")
    home.start()
    with Store(home.endpoint) as store:
        migrate(store, KEPT, feature_columns())
        yield store
    home.stop()


@pytest.fixture
def book(migrated: Store) -> ScheduleBook:
    for table in ("schedules", "schedule_runs", "job_runs"):
        migrated.command(f"TRUNCATE TABLE {table}")
    return ScheduleBook(migrated)


class Cluster:
    """Ray's job API: it takes an id once, and knows what it was given until it ends."""

    def __init__(self) -> None:
        self.jobs: dict[str, Submission] = {}
        self.configs: dict[str, Config] = {}
        self.submitted: list[str] = []
        self.problem = ""

    def submit(self, job: str, config: Config, *, metadata: Mapping[str, str], run_id: str) -> str:
        if self.problem:
            raise StartError(self.problem)
        if run_id not in self.jobs:
            self.jobs[run_id] = Submission(run_id, job, "running", 0, None, None, "")
            self.submitted.append(run_id)
            self.configs[run_id] = config
        return run_id

    def one(self, submission_id: str) -> Submission | None:
        return self.jobs.get(submission_id)

    def end(self, submission_id: str, state: State, at: int, message: str = "") -> None:
        held = self.jobs[submission_id]
        self.jobs[submission_id] = replace(held, state=state, ended_at=at, message=message)


class World:
    """One engine after another on one store."""

    def __init__(self, book: ScheduleBook, config: Config) -> None:
        self.book = book
        self.config = config
        self.clock = DataClock(NOON + HOUR // 2)
        self.cluster = Cluster()
        self.keeper = self.started()

    def started(self) -> ScheduleKeeper:
        """A scheduler whose process is new."""
        log = logging.getLogger("test.schedules")
        keeper = ScheduleKeeper(self.config, self.book, self.cluster, self.clock, log)
        keeper.take_up(configured_schedules(self.config))
        self.keeper = keeper
        return keeper

    def at(self, moment: int) -> list[str]:
        """Look at a moment; return what was submitted there."""
        before = len(self.cluster.submitted)
        self.clock.advance(moment)
        self.keeper.look()
        return self.cluster.submitted[before:]

    def run(self, name: str = "hourly") -> ScheduledRun:
        return self.book.last_runs()[name]


@pytest.fixture
def world(book: ScheduleBook, tmp_path: Path) -> World:
    return World(book, config_for(tmp_path, HOURLY))


def hour(number: int) -> str:
    return f"hourly-20260203T{number:02d}0000Z"


def job_run(submission_id: str, outcome: str, problem: str = "") -> JobRun:
    return msgspec.convert(
        {
            "run_id": submission_id, "job": "report", "submission_id": submission_id,
            "config": "{}", "code_version": "1", "started_at": NOON, "ended_at": NOON + 1,
            "outcome": outcome, "problem": problem, "rows": 1, "skipped": 0, "details": "{}",
            "host": "here", "pid": 1, "pid_began": 0.0, "version": NOON,
        },
        JobRun,
    )  # fmt: skip


def test_schedule_when_due_submits_once_with_its_moment(world: World) -> None:
    assert world.at(NOON + HOUR + SETTLE_NS - 1) == []
    assert world.at(NOON + HOUR + SETTLE_NS) == [hour(13)]
    section = world.cluster.configs[hour(13)].report
    assert (section.as_of, section.top) == ("2026-02-03T13:00:00.000000Z", 3)
    assert world.at(NOON + HOUR + 2 * SETTLE_NS) == []
    assert (world.run().state, world.run().due_at) == ("running", NOON + HOUR)


def test_schedule_made_after_a_moment_does_not_make_up_for_it(world: World) -> None:
    # Noon was half an hour ago when it was first seen.
    assert world.at(NOON + HOUR // 2 + 600 * NS_PER_S) == []


def test_run_that_ends_is_recorded_with_how_and_when(world: World, migrated: Store) -> None:
    world.at(NOON + HOUR + SETTLE_NS)
    migrated.insert("job_runs", [job_run(hour(13), "failed", "there is nothing to rank")])
    world.cluster.end(hour(13), "failed", NOON + HOUR + 60 * NS_PER_S, "exit code 1")
    world.at(NOON + HOUR + 90 * NS_PER_S)
    run = world.run()
    assert (run.state, run.problem) == ("failed", "there is nothing to rank")
    assert run.ended_at == NOON + HOUR + 60 * NS_PER_S
    assert world.at(NOON + 2 * HOUR + SETTLE_NS) == [hour(14)]


def test_run_still_going_makes_the_next_wait_and_those_between_are_left_out(world: World) -> None:
    world.at(NOON + HOUR + SETTLE_NS)
    assert world.at(NOON + 4 * HOUR + SETTLE_NS) == []
    world.cluster.end(hour(13), "done", NOON + 4 * HOUR + 60 * NS_PER_S)
    assert world.at(NOON + 4 * HOUR + 61 * NS_PER_S) == [hour(16)]
    assert world.run().passed_over == 2
    assert world.book.passed_over() == {"hourly": 2}


@pytest.mark.parametrize(("catch_up", "made_up"), [(1, [17]), (3, [15, 16, 17])])
def test_engine_that_was_away_makes_up_for_the_newest_missed(
    world: World, tmp_path: Path, catch_up: int, made_up: list[int]
) -> None:
    world.config = config_for(
        tmp_path, HOURLY.replace("every: 1h", f"every: 1h, catch_up: {catch_up}")
    )
    world.clock.advance(NOON + 5 * HOUR + HOUR // 2)
    world.started()
    found = []
    for step in range(10):
        for name in world.at(NOON + 5 * HOUR + HOUR // 2 + step):
            world.cluster.end(name, "done", world.clock.now_ns())
            found.append(name)
    assert found == [hour(number) for number in made_up]
    assert [world.cluster.configs[name].report.as_of[11:13] for name in found] == [
        str(number) for number in made_up
    ]
    assert world.book.passed_over() == {"hourly": 5 - catch_up}


def test_scheduler_killed_before_it_submitted_submits_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(world.cluster, "submit", killed)
        with pytest.raises(SystemExit):
            world.at(NOON + HOUR + SETTLE_NS)
    assert world.run().state == "submitting"
    world.started()
    assert world.at(NOON + HOUR + 2 * SETTLE_NS) == [hour(13)]
    assert (world.run().state, world.run().attempt) == ("running", 1)


def test_scheduler_killed_after_it_submitted_finds_the_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = world.book.note

    def dies_when_it_runs(run: ScheduledRun) -> None:
        if run.state == "running":
            raise SystemExit
        note(run)

    with monkeypatch.context() as patched:
        patched.setattr(world.book, "note", dies_when_it_runs)
        with pytest.raises(SystemExit):
            world.at(NOON + HOUR + SETTLE_NS)
    world.started()
    assert world.at(NOON + HOUR + 2 * SETTLE_NS) == []
    assert world.cluster.submitted == [hour(13)]
    assert world.run().state == "running"


def test_scheduler_killed_while_a_run_goes_follows_it_to_its_end(world: World) -> None:
    world.at(NOON + HOUR + SETTLE_NS)
    world.started()
    world.cluster.end(hour(13), "done", NOON + HOUR + 60 * NS_PER_S)
    assert world.at(NOON + HOUR + 61 * NS_PER_S) == []
    assert world.run().state == "done"


def test_store_that_is_away_delays_and_nothing_is_submitted_unwritten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(run: ScheduledRun) -> None:
        raise StoreUnavailable("the store does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(world.book, "note", away)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                world.at(NOON + HOUR + SETTLE_NS)
    assert world.cluster.submitted == []
    assert world.at(NOON + HOUR + 2 * SETTLE_NS) == [hour(13)]


def test_cluster_that_takes_no_jobs_is_asked_again(world: World) -> None:
    world.cluster.problem = "it took no job for 90 s"
    assert world.at(NOON + HOUR + SETTLE_NS) == []
    assert (world.run().state, world.run().problem) == ("submitting", "it took no job for 90 s")
    world.cluster.problem = ""
    assert world.at(NOON + HOUR + 2 * SETTLE_NS) == [hour(13)]
    assert (world.run().state, world.run().problem) == ("running", "")


@pytest.mark.parametrize("outcome", ["running", "stopped", None])
def test_run_broken_off_with_its_cluster_is_submitted_again(
    world: World, migrated: Store, outcome: str | None
) -> None:
    world.at(NOON + HOUR + SETTLE_NS)
    if outcome is not None:
        migrated.insert("job_runs", [job_run(hour(13), outcome)])
    world.cluster.jobs.clear()
    world.started()
    assert world.at(NOON + HOUR + 120 * NS_PER_S) == [f"{hour(13)}-2"]
    assert (world.run().attempt, world.run().due_at) == (2, NOON + HOUR)


@pytest.mark.parametrize("outcome", ["done", "failed"])
def test_run_that_ended_before_its_cluster_did_is_not_run_again(
    world: World, migrated: Store, outcome: str
) -> None:
    world.at(NOON + HOUR + SETTLE_NS)
    migrated.insert("job_runs", [job_run(hour(13), outcome, "why" * (outcome == "failed"))])
    world.cluster.jobs.clear()
    world.started()
    assert world.at(NOON + HOUR + 120 * NS_PER_S) == []
    assert world.run().state == outcome


def test_run_broken_off_and_overtaken_is_lost_and_the_newest_runs(world: World) -> None:
    world.at(NOON + HOUR + SETTLE_NS)
    world.cluster.jobs.clear()
    world.started()
    assert world.at(NOON + 3 * HOUR + SETTLE_NS) == [hour(15)]
    assert world.book.passed_over() == {"hourly": 1}


def test_run_that_is_lost_again_and_again_is_given_up(world: World) -> None:
    world.at(NOON + HOUR + SETTLE_NS)
    for number in range(5):
        world.cluster.jobs.clear()
        world.started()
        world.at(NOON + HOUR + (30 + number) * NS_PER_S)
    assert world.cluster.submitted == [hour(13), f"{hour(13)}-2", f"{hour(13)}-3"]
    assert world.run().state == "lost"


def test_paused_schedule_submits_nothing_and_makes_up_for_nothing(world: World) -> None:
    held = world.book.schedules()["hourly"]
    world.book.put(msgspec.structs.replace(held, is_paused=True, version=held.version + 1))
    assert world.at(NOON + 2 * HOUR + SETTLE_NS) == []
    since = NOON + 2 * HOUR + 60 * NS_PER_S
    world.book.put(msgspec.structs.replace(held, since=since, version=held.version + 2))
    assert world.at(NOON + 2 * HOUR + 90 * NS_PER_S) == []
    assert world.at(NOON + 3 * HOUR + SETTLE_NS) == [hour(15)]


def test_configured_schedule_stays_paused_over_a_restart(world: World) -> None:
    held = world.book.schedules()["hourly"]
    world.book.put(msgspec.structs.replace(held, is_paused=True, version=held.version + 1))
    world.started()
    assert world.at(NOON + HOUR + SETTLE_NS) == []
    assert world.book.schedules()["hourly"].is_paused


def test_schedule_taken_out_of_the_configuration_is_gone_and_starts_anew(
    world: World, tmp_path: Path
) -> None:
    with_it, world.config = world.config, config_for(tmp_path)
    world.started()
    assert world.at(NOON + 3 * HOUR + SETTLE_NS) == []
    assert world.book.schedules() == {}
    world.config = with_it
    world.started()
    assert world.at(NOON + 3 * HOUR + 2 * SETTLE_NS) == []
    assert world.at(NOON + 4 * HOUR + SETTLE_NS) == [hour(16)]


def test_schedule_added_at_run_time_survives_a_restart(world: World) -> None:
    planned = ScheduledJob(
        name="candles", job="build_candles", every="30 * * * *", set={"exchange": "binance"}
    )
    world.book.put(as_schedule(planned, "command", world.clock.now_ns()))
    world.started()
    submitted = world.at(NOON + HOUR + HOUR // 2 + SETTLE_NS)
    assert submitted == ["candles-20260203T133000Z", hour(13)]
    config = world.cluster.configs["candles-20260203T133000Z"].build_candles
    assert (config.end, config.exchange) == ("2026-02-03T13:30:00.000000Z", "binance")


def test_run_asked_for_by_hand_begins_beside_the_schedule(world: World) -> None:
    moment = NOON + 2400 * NS_PER_S
    world.book.note(ScheduledRun("hourly", moment, True, "asked", "", 1, 0, None, None, "", 1))
    assert world.at(moment + NS_PER_S) == ["hourly-20260203T124000Z-by-hand"]
    assert world.cluster.configs["hourly-20260203T124000Z-by-hand"].report.as_of == ""
    # It goes on over the next moment, which waits for it and is not lost.
    assert world.at(NOON + HOUR + SETTLE_NS) == []
    world.cluster.end("hourly-20260203T124000Z-by-hand", "done", NOON + HOUR + 60 * NS_PER_S)
    assert world.at(NOON + HOUR + 61 * NS_PER_S) == [hour(13)]


def test_run_asked_for_by_hand_while_one_goes_waits_and_expires(world: World) -> None:
    world.at(NOON + HOUR + SETTLE_NS)
    asked = NOON + HOUR + 60 * NS_PER_S
    world.book.note(ScheduledRun("hourly", asked, True, "asked", "", 1, 0, None, None, "", 1))
    assert world.at(asked + NS_PER_S) == []
    assert world.run().state == "asked"
    assert world.at(asked + ASKED_FOR_NS) == []
    assert (world.run().state, world.run().problem) == (
        "lost",
        "it could not begin within ten minutes",
    )
    assert [run.submission_id for run in world.keeper.going] == [hour(13)]


def test_schedule_whose_job_is_refused_fails_and_says_why(world: World) -> None:
    broken = Schedule(
        "broken", "report", "1h", json.dumps({"tops": 3}), 1, "command", NOON, False, False, NOON
    )
    world.book.put(broken)
    assert world.at(NOON + HOUR + SETTLE_NS) == [hour(13)]
    run = world.run("broken")
    assert run.state == "failed"
    assert "unknown key 'tops'" in run.problem


def killed(*arguments: object, **options: object) -> str:
    raise SystemExit
