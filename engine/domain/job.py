"""Batch jobs: what ran, and what is done of it."""

from __future__ import annotations

from typing import Literal

import msgspec

Outcome = Literal["running", "done", "failed", "stopped"]


class JobRun(msgspec.Struct, frozen=True):
    """One run of one job. Versioned by `run_id`: the row is written again when it ends."""

    run_id: str
    job: str
    submission_id: str
    """Ray's id of the submitted job; empty where it was started by hand."""
    config: str
    """The whole configuration that it ran with, JSON, secrets left out."""
    code_version: str
    """Version of the package, with the commit where it is known."""
    started_at: int
    """UTC nanoseconds."""
    ended_at: int | None
    """None while it runs."""
    outcome: Outcome
    problem: str
    """Why it failed, in a sentence; empty where it did not."""
    rows: int
    """Rows written."""
    skipped: int
    """Rows or units left out; `details` says why."""
    details: str
    """The summary, JSON."""
    version: int
    """The largest counts: UTC nanoseconds of the row."""


class JobBlock(msgspec.Struct, frozen=True):
    """Rows of one unit of a job that are stored: a unit is done when its blocks add up."""

    job: str
    unit: str
    """What the unit is, for example ``1h 2022-05``; unique within the job."""
    fingerprint: str
    """Of everything that decides the unit's rows: its inputs and the code. The same unit with
    another fingerprint is to be done again."""
    token: str
    """Of the block's content: a block that is written again counts once."""
    rows: int
    unit_rows: int
    """Rows of the whole unit."""
    run_id: str
    written_at: int
    """UTC nanoseconds."""
