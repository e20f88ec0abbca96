"""Which job is to be submitted now: decided here, without Ray.

What was decided is written down before it is done, under an id that a cluster takes once. So
whoever goes on after a kill finds every run where it stands: submitted or not, never both.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from engine.actors.submission import Submission
from engine.clock import NS_PER_S, Clock, iso_utc
from engine.config import Config
from engine.domain.schedule import RunState, Schedule, ScheduledRun
from engine.errors import EngineError, StartError
from engine.recurrence import parse_recurrence
from engine.schedules import as_schedule, run_config, submission_id
from engine.settings.schedule import ScheduledJob
from engine.store.schedule_book import ScheduleBook

SETTLE_NS = 15 * NS_PER_S
"""How long after a moment its run is submitted: the bar that ended then is ranked by then."""

ASKED_FOR_NS = 600 * NS_PER_S
"""A run by hand that could not begin for so long is not begun any more."""

ASKED_LATELY_NS = 86_400 * NS_PER_S
"""How far back runs by hand are looked for."""

MOST_ATTEMPTS = 3
"""A run that is lost with its cluster so often may be why the cluster was lost."""


class Jobs(Protocol):
    """Takes jobs: `engine.actors.submission.JobServer`."""

    def submit(self, job: str, config: Config, *, metadata: Mapping[str, str], run_id: str) -> str:
        """Submit a job under an id; where it was given already, nothing happens."""
        ...

    def one(self, submission_id: str) -> Submission | None:
        """Return a job; None where the cluster does not know it."""
        ...


class ScheduleKeeper:
    """Keeps the schedules of one engine. Blocking.

    Parameters
    ----------
    config
        The engine's.
    book
        Where schedules and runs are written down.
    jobs
        Where jobs are submitted.
    clock
        What time it is.
    log
        Told of what is left out and of what goes wrong.
    """

    def __init__(
        self, config: Config, book: ScheduleBook, jobs: Jobs, clock: Clock, log: logging.Logger
    ) -> None:
        self._config = config
        self._book = book
        self._jobs = jobs
        self._clock = clock
        self._log = log
        self._going: dict[str, ScheduledRun] = {}
        self._begun: dict[str, int] = {}
        self._version = 0
        self.schedules: Mapping[str, Schedule] = {}
        """Those of the last look, by name."""

    @property
    def going(self) -> Sequence[ScheduledRun]:
        """The runs that are submitted and not over."""
        return tuple(self._going.values())

    def take_up(self, configured: Sequence[ScheduledJob]) -> None:
        """Take up what is stored, and bring it to what the configuration says.

        A configured schedule counts from when it was first seen, or last changed; one that the
        configuration no longer holds is removed.
        """
        now = self._clock.now_ns()
        held = self._book.schedules()
        for planned in configured:
            wanted = as_schedule(planned, "configuration", now)
            known = held.pop(planned.name, None)
            if known is not None and (known.job, known.every, known.origin) == (
                wanted.job,
                wanted.every,
                wanted.origin,
            ):
                wanted = msgspec.structs.replace(
                    wanted, since=known.since, is_paused=known.is_paused
                )
            if known is None or msgspec.structs.replace(wanted, version=known.version) != known:
                self._book.put(wanted)
        for left in held.values():
            if left.origin == "configuration":
                gone = msgspec.structs.replace(left, is_removed=True, version=now)
                self._book.put(gone)
        self._begun = dict(self._book.begun_through())
        self._going = {run.name: run for run in self._book.going()}

    def look(self) -> None:
        """Follow what goes, and begin what is due and what was asked for.

        Raises
        ------
        StoreError
            Where the store gives no answer: nothing is begun that is not written down.
        StartError
            Where the cluster gives none.
        """
        now = self._clock.now_ns()
        self.schedules = self._book.schedules()
        for run in self.going:
            self._follow(run, now)
        for run in self._book.asked(now - ASKED_LATELY_NS):
            self._begin_asked(run, now)
        for schedule in self.schedules.values():
            if schedule.name not in self._going and not schedule.is_paused:
                self._begin_due(schedule, now)

    def _begin_due(self, schedule: Schedule, now: int) -> None:
        """Begin the oldest of the newest missed runs; those before it are left out."""
        after = max(schedule.since, self._begun.get(schedule.name, 0))
        recurrence = parse_recurrence(schedule.every, f"schedule {schedule.name!r}: every")
        due = recurrence.due(after, now - SETTLE_NS, schedule.catch_up)
        if not due.moments:
            return
        if due.passed_over:
            self._log.warning(
                "%s: %d runs before %s were due and are left out: the run before was still going, "
                "or nothing ran",
                schedule.name,
                due.passed_over,
                iso_utc(due.moments[0]),
            )
        run = _new_run(schedule.name, due.moments[0], by_hand=False)
        run = msgspec.structs.replace(run, passed_over=due.passed_over)
        self._submit(run, schedule, now)

    def _begin_asked(self, run: ScheduledRun, now: int) -> None:
        schedule = self.schedules.get(run.name)
        if schedule is None:
            self._end(run, "failed", f"there is no schedule {run.name!r}", now)
        elif now - run.due_at >= ASKED_FOR_NS:
            self._end(run, "lost", "it could not begin within ten minutes", now)
        elif run.name not in self._going:
            self._submit(run, schedule, now)

    def _submit(self, run: ScheduledRun, schedule: Schedule, now: int) -> None:
        """Write down that a run is about to be submitted, then submit it."""
        run = msgspec.structs.replace(
            run,
            state="submitting",
            submission_id=submission_id(run),
            started_at=run.started_at or now,
        )
        run = self._note(run)
        try:
            config = run_config(
                self._config,
                schedule.job,
                json.loads(schedule.settings),
                0 if run.is_by_hand else run.due_at,
            )
            self._jobs.submit(
                schedule.job, config, metadata={"schedule": run.name}, run_id=run.submission_id
            )
        except StartError as error:
            # The cluster's fault, not the run's: it is tried again at the next look.
            if str(error) != run.problem:
                self._log.warning("%s waits: %s", run.name, error)
                self._note(msgspec.structs.replace(run, problem=str(error)))
            return
        except EngineError as error:
            self._end(run, "failed", str(error), now)
            return
        self._log.info("%s: submitted %s", run.name, run.submission_id)
        self._note(msgspec.structs.replace(run, state="running", problem=""))

    def _follow(self, run: ScheduledRun, now: int) -> None:
        found = self._jobs.one(run.submission_id)
        if found is None:
            self._find(run, now)
        elif found.state in ("done", "failed", "stopped"):
            verdict = self._book.verdict(run.submission_id)
            problem = (verdict.problem if verdict else "") or found.message
            if found.state == "done":
                problem = ""
            self._end(run, found.state, problem, found.ended_at or now)
        elif run.state == "submitting":
            self._note(msgspec.structs.replace(run, state="running", problem=""))

    def _find(self, run: ScheduledRun, now: int) -> None:
        """Decide about a run that the cluster does not know: it was another cluster's, or nobody's.

        What the job recorded of itself counts; one that was broken off is submitted again, as
        one that was missed would be.
        """
        verdict = self._book.verdict(run.submission_id)
        if verdict is not None and verdict.outcome in ("done", "failed"):
            ended: RunState = "done" if verdict.outcome == "done" else "failed"
            self._end(run, ended, verdict.problem, now)
            return
        schedule = self.schedules.get(run.name)
        was_begun = run.state == "running" or verdict is not None
        attempt = run.attempt + was_begun
        if schedule is None or attempt > MOST_ATTEMPTS or not _is_wanted(run, schedule, now):
            self._end(run, "lost", run.problem or "its cluster ended before it did", now)
            return
        if was_begun:
            self._log.warning("%s: %s was lost with its cluster", run.name, run.submission_id)
        self._submit(msgspec.structs.replace(run, attempt=attempt), schedule, now)

    def _end(self, run: ScheduledRun, state: RunState, problem: str, ended_at: int) -> None:
        if state != "done":
            self._log.warning("%s of %s: %s %s", run.name, iso_utc(run.due_at), state, problem)
        self._note(msgspec.structs.replace(run, state=state, problem=problem, ended_at=ended_at))

    def _note(self, run: ScheduledRun) -> ScheduledRun:
        """Write a run down; only then remember that it was begun, and whether it is going."""
        self._version = max(self._version + 1, self._clock.now_ns(), run.version + 1)
        run = msgspec.structs.replace(run, version=self._version)
        self._book.note(run)
        if not run.is_by_hand:
            self._begun[run.name] = max(run.due_at, self._begun.get(run.name, 0))
        if run.ended_at is None:
            self._going[run.name] = run
        elif run.name in self._going and self._going[run.name].due_at == run.due_at:
            del self._going[run.name]
        return run


def _is_wanted(run: ScheduledRun, schedule: Schedule, now: int) -> bool:
    """Say whether a run that was broken off is still among those that are made up for."""
    if run.is_by_hand:
        return run.state == "submitting" and now - run.due_at < ASKED_FOR_NS
    if schedule.is_paused:
        return False
    recurrence = parse_recurrence(schedule.every, f"schedule {schedule.name!r}: every")
    due = recurrence.due(run.due_at - 1, now, schedule.catch_up)
    return run.due_at in due.moments


def _new_run(name: str, due_at: int, *, by_hand: bool) -> ScheduledRun:
    return ScheduledRun(
        name=name,
        due_at=due_at,
        is_by_hand=by_hand,
        state="asked",
        submission_id="",
        attempt=1,
        passed_over=0,
        started_at=None,
        ended_at=None,
        problem="",
        version=due_at,
    )
