"""Batch jobs: what ran, and what is done of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import msgspec

Outcome = Literal["running", "done", "failed", "stopped", "lost"]
"""``lost``: its process was gone before it could say how it ended."""

_PROGRESS = re.compile(
    r"(?P<title>.+): (?P<done>[\d,]+)(?: of (?P<total>[\d,]+))?, (?P<rows>[\d,]+) rows"
)


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
    host: str = ""
    """The machine that its process ran on."""
    pid: int = 0
    """The number of that process there."""


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


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step of a job is: written as a line, which a follower may show as a bar."""

    title: str
    """What is done."""
    done: int
    """Pieces of work that are done."""
    total: int | None
    """All of them, where that is known."""
    rows: int
    """Rows that they gave."""

    def __str__(self) -> str:
        of = "" if self.total is None else f" of {self.total:,}"
        return f"{self.title}: {self.done:,}{of}, {self.rows:,} rows"

    @classmethod
    def parse(cls, line: str) -> Progress | None:
        """Read a line; None where it is another one.

        Examples
        --------
        >>> Progress.parse("features: 1,200 of 4,000, 893,000 rows")
        Progress(title='features', done=1200, total=4000, rows=893000)
        """
        found = _PROGRESS.fullmatch(line.strip())
        if found is None:
            return None
        title, done, total, rows = found.group("title", "done", "total", "rows")
        return cls(title, _number(done), _number(total) if total else None, _number(rows))


def _number(text: str) -> int:
    return int(text.replace(",", ""))
