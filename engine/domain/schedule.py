"""Schedules: which jobs an engine submits by itself, and what came of them."""

from __future__ import annotations

from typing import Literal

import msgspec

Origin = Literal["configuration", "command"]

RunState = Literal["asked", "submitting", "running", "done", "failed", "stopped", "lost"]

GOING: frozenset[RunState] = frozenset({"submitting", "running"})
"""States in which another run of the same schedule has to wait."""


class Schedule(msgspec.Struct, frozen=True):
    """A job that is due again and again. A row of ``schedules``, versioned by `name`."""

    name: str
    job: str
    every: str
    """See `engine.recurrence.parse_recurrence`."""
    settings: str
    """Keys of the job and their values, JSON."""
    catch_up: int
    """How many of the runs that were missed are made up for; the newest."""
    origin: Origin
    """Who made it: what the configuration holds is read from there at every start."""
    since: int
    """Moments up to this one are not due, UTC nanoseconds: when it was made, changed or
    resumed."""
    is_paused: bool
    is_removed: bool
    version: int
    """The largest counts: UTC nanoseconds of the row."""


class ScheduledRun(msgspec.Struct, frozen=True):
    """One run of a schedule. A row of ``schedule_runs``, versioned by `name` and `due_at`."""

    name: str
    due_at: int
    """When it was due, UTC nanoseconds; for one by hand when it was asked for."""
    is_by_hand: bool
    state: RunState
    """``asked`` by hand, ``submitting`` to Ray, ``running``, or how it ended: ``lost`` is one of
    which nobody knows how it ended."""
    submission_id: str
    """Ray's id of the job; empty while it is only asked for."""
    attempt: int
    """From 1; a run that was lost with its cluster is submitted again."""
    passed_over: int
    """How many moments before it were due and left out: nothing ran, or the run before it was
    still going."""
    started_at: int | None
    """When it was first submitted."""
    ended_at: int | None
    problem: str
    """Why it failed or waits; empty where all is well."""
    version: int
    """The largest counts: UTC nanoseconds of the row."""
