"""Jobs as Ray knows them and as they are recorded, joined: one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from engine.cli.tables import age
from engine.clock import NS_PER_MS, iso_utc
from engine.domain.job import JobRun

if TYPE_CHECKING:
    from engine.actors.submission import Submission

STYLES: Mapping[str, str] = {
    "waiting": "dim",
    "running": "cyan",
    "done": "green",
    "stopped": "yellow",
    "failed": "red",
    "lost": "red",
}
GOING = ("waiting", "running")
LOST = "its process is gone without a word"


@dataclass(frozen=True, slots=True)
class Listed:
    """One job."""

    id: str
    """What ``engine logs`` and ``engine stop`` take."""
    job: str
    state: str
    """One of `STYLES`."""
    started_at: int | None
    """UTC nanoseconds."""
    ended_at: int | None
    """None while it runs, and where nobody saw it end."""
    rows: int
    """Rows written."""
    problem: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, times in ISO-8601."""
        plain = asdict(self)
        for key in ("started_at", "ended_at"):
            plain[key] = None if plain[key] is None else iso_utc(plain[key])
        return plain


def join(
    submissions: Sequence[Submission],
    runs: Iterable[JobRun],
    is_gone: Callable[[JobRun], bool],
) -> list[Listed]:
    """Join what a cluster knows with what is recorded, newest first.

    Parameters
    ----------
    submissions
        What the cluster knows, asked *before* the record was read: a job records its end before
        its process ends. Empty where there is no cluster.
    runs
        What is recorded.
    is_gone
        Whether the process of a run that is recorded as running is known to have ended.
    """
    known = {each.submission_id: each for each in submissions}
    listed = []
    for run in runs:
        name = run.submission_id or run.run_id
        listed.append(_recorded(run, name, known.pop(name, None), is_gone))
    listed += [_unrecorded(each) for each in known.values() if each.job]
    return sorted(listed, key=lambda each: each.started_at or 0, reverse=True)


def jobs_table(listed: Sequence[Listed], now: int) -> Table:
    """Show jobs, a line each; the job itself only where an id does not begin with it."""
    names_tell = all(each.id.startswith(f"{each.job}-") for each in listed)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", *(() if names_tell else ("job",)), "state", "started"):
        table.add_column(name, no_wrap=True)
    for name in ("took", "rows"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in listed:
        started = each.started_at
        ended = now if each.state in GOING else each.ended_at
        took = None if started is None or ended is None else (ended - started) / NS_PER_MS
        table.add_row(
            Text(each.id),
            *(() if names_tell else (Text(each.job),)),
            Text(each.state, STYLES[each.state]),
            "" if started is None else iso_utc(started)[:19].replace("T", " "),
            age(took),
            # A job tells its rows when it ends.
            "–" if each.state in GOING else f"{each.rows:,}",
        )
    return table


def problems(listed: Sequence[Listed]) -> list[Text]:
    """Return a line for each job that went wrong."""
    wrong = [each for each in listed if each.problem]
    return [Text(f"{each.id}: ", STYLES[each.state]) + Text(each.problem) for each in wrong]


def _recorded(
    run: JobRun,
    name: str,
    submission: Submission | None,
    is_gone: Callable[[JobRun], bool],
) -> Listed:
    state: str = run.outcome
    problem, ended_at = run.problem, run.ended_at
    # One that this cluster does not know may run on another that shares the store.
    has_ended = is_gone(run) if submission is None else submission.is_over
    if run.outcome == "running" and has_ended:
        state, problem = "lost", LOST
    if state == "lost":
        # Recorded is only when it was found to be gone.
        ended_at = submission.ended_at if submission else None
    return Listed(name, run.job, state, run.started_at, ended_at, run.rows, problem)


def _unrecorded(submission: Submission) -> Listed:
    """Return a job that has not begun to work, or could not."""
    return Listed(
        submission.submission_id,
        submission.job,
        submission.state,
        submission.started_at,
        submission.ended_at,
        0,
        problem_in(submission.message) if submission.state == "failed" else "",
    )


def problem_in(text: str) -> str:
    r"""Return the sentence of a failed job's log that says why: its error, else its last line.

    Examples
    --------
    >>> problem_in("exit code 2\nerror: path is missing\n")
    'path is missing'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or [""])[-1]
