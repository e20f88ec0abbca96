"""Following a job's log: its steps as bars on a terminal, its lines as they are elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import TaskID
from rich.text import Text

from engine.domain.job import Progress
from engine.job_bars import job_bars

if TYPE_CHECKING:
    from engine.actors.submission import JobServer, Submission

EVERY_S = 1.0
"""Between looks at the log."""

LINE_EVERY_S = 10.0
"""Between lines about one step, where there is no terminal."""


class View(Protocol):
    """Where the lines of a job's log go."""

    def line(self, text: str) -> None:
        """Take a whole line, without its end."""


class Lines:
    """Prints a log as it is, but of a step's progress no more than a line in a while.

    Parameters
    ----------
    console
        Where to.
    only_progress
        Whether everything else is left out.
    now
        Seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        console: Console,
        only_progress: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._only_progress = only_progress
        self._now = now
        self._told: dict[str, float] = {}

    def line(self, text: str) -> None:
        """Print it, unless that step was told of a moment ago."""
        progress = Progress.parse(text)
        if progress is not None:
            now, is_whole = self._now(), progress.done == progress.total
            if not is_whole and now - self._told.get(progress.title, -LINE_EVERY_S) < LINE_EVERY_S:
                return
            self._told[progress.title] = now
        elif self._only_progress:
            return
        self._console.print(Text(text), soft_wrap=True)


class BarView:
    """Shows a job's steps as bars, its other lines above them.

    Parameters
    ----------
    console
        A terminal.
    only_progress
        Whether everything else is left out.
    """

    def __init__(self, console: Console, only_progress: bool = False) -> None:
        self._console = console
        self._only_progress = only_progress
        self.bars = job_bars(console)
        self._tasks: dict[str, TaskID] = {}

    def line(self, text: str) -> None:
        """Move a bar, or print the line."""
        progress = Progress.parse(text)
        if progress is None:
            if not self._only_progress:
                self._console.print(Text(text), soft_wrap=True)
            return
        if progress.title not in self._tasks:
            self._tasks[progress.title] = self.bars.add_task(
                progress.title, total=progress.total, rows=0
            )
        self.bars.update(
            self._tasks[progress.title],
            completed=progress.done,
            total=progress.total,
            rows=progress.rows,
        )


@contextmanager
def view_on(console: Console, *, only_progress: bool) -> Iterator[View]:
    """Show a log on a terminal or in a file."""
    if not console.is_terminal:
        yield Lines(console, only_progress)
        return
    view = BarView(console, only_progress)
    with view.bars:
        yield view


def follow(
    server: JobServer, job_id: str, view: View, sleep: Callable[[float], None] = time.sleep
) -> Submission:
    """Show a job's log until the job is over, and return how it ended.

    Raises
    ------
    NotRunningError
        Where the cluster does not know the job.
    StartError
        Where the cluster no longer answers.
    """
    shown = 0
    while True:
        # In this order: what it wrote last is in the log before it is over.
        found = server.wait(job_id, patience_s=0.0)
        log = server.log(job_id)
        end = len(log) if found.is_over else log.rfind("\n") + 1
        for line in log[shown:end].splitlines():
            view.line(line)
        shown = max(shown, end)
        if found.is_over:
            return found
        sleep(EVERY_S)
