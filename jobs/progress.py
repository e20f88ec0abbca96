"""How far a job is: bars on a terminal, a line a step otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

EVERY_S = 10.0
"""Between lines of one step where there is no terminal."""


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
    def __init__(self, title: str, total: int | None, progress: Progress) -> None:
        super().__init__(title, total)
        self._progress = progress
        self._task = progress.add_task(title, total=total, rows=0)

    def advance(self, pieces: int = 1, rows: int = 0) -> None:
        super().advance(pieces, rows)
        self._progress.update(self._task, completed=self.done, rows=self.rows)


class _Lines(Step):
    def __init__(self, title: str, total: int | None) -> None:
        super().__init__(title, total)
        self._told = time.monotonic()

    def advance(self, pieces: int = 1, rows: int = 0) -> None:
        super().advance(pieces, rows)
        if time.monotonic() - self._told >= EVERY_S:
            self._told = time.monotonic()
            self.tell()

    def tell(self) -> None:
        of = f" of {self.total:,}" if self.total is not None else ""
        print(f"{self.title}: {self.done:,}{of}, {self.rows:,} rows", file=sys.stderr, flush=True)


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
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bar(title, total, progress)
