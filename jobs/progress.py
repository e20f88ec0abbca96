"""How far a job is: bars on a terminal, lines otherwise.

The lines of a submitted job come more often: `engine submit --follow` makes bars of them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress as Bars

from engine.domain.job import Progress
from engine.job_bars import job_bars
from engine.job_request import RUN_ID

EVERY_S = 10.0
"""Between lines of one step where there is no terminal."""

SUBMITTED_EVERY_S = 2.0
"""The same of a submitted job."""


class Step:
    """One step of a job: `total` pieces of work.

    Parameters
    ----------
    title
        What is done.
    total
        How many pieces; None where that is not known.
    """

    def __init__(self, title: str, total: int | None) -> None:
        self.title = title
        self.total = total
        self.done = 0
        self.rows = 0

    def advance(self, pieces: int = 1, rows: int = 0) -> None:
        """Note that pieces are done, and how many rows they gave."""
        self.done += pieces
        self.rows += rows


class _Bar(Step):
    def __init__(self, title: str, total: int | None, bars: Bars) -> None:
        super().__init__(title, total)
        self._bars = bars
        self._task = bars.add_task(title, total=total, rows=0)

    def advance(self, pieces: int = 1, rows: int = 0) -> None:
        super().advance(pieces, rows)
        self._bars.update(self._task, completed=self.done, rows=self.rows)


class _Lines(Step):
    def __init__(self, title: str, total: int | None) -> None:
        super().__init__(title, total)
        self._told = time.monotonic()
        self._every_s = SUBMITTED_EVERY_S if os.environ.get(RUN_ID) else EVERY_S

    def advance(self, pieces: int = 1, rows: int = 0) -> None:
        super().advance(pieces, rows)
        if time.monotonic() - self._told >= self._every_s:
            self._told = time.monotonic()
            self.tell()

    def tell(self) -> None:
        progress = Progress(self.title, self.done, self.total, self.rows)
        print(progress, file=sys.stderr, flush=True)


@contextmanager
def step(title: str, total: int | None = None) -> Iterator[Step]:
    """Show a step while it lasts.

    Examples
    --------
    >>> with step("features", 12) as work:                              # doctest: +SKIP
    ...     work.advance(rows=744)
    """
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        lines = _Lines(title, total)
        yield lines
        lines.tell()
        return
    with job_bars(console) as bars:
        yield _Bar(title, total, bars)
