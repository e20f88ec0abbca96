"""What is recorded of the runs of jobs."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import psutil

from engine.domain.job import JobRun
from engine.store.client import Store
from engine.store.tables import table_named

LOST = "its process is gone without a word: it was killed, or its machine went down"
ENDED_EARLY = "the engine stopped before the job had begun its work; submit it again"

CLOCK_ERROR_S = 5.0


def recent_runs(store: Store, limit: int = 20) -> Sequence[JobRun]:
    """Return the runs that began last, newest first."""
    return _runs(store, "ORDER BY started_at DESC LIMIT {limit:UInt32}", {"limit": limit})


def run_of(store: Store, name: str) -> JobRun | None:
    """Return the run of this id, or that of Ray's id of a submitted job; None where there is none.

    Of a job that Ray started again the last run is returned.
    """
    found = _runs(
        store,
        "WHERE run_id = {name:String} OR submission_id = {name:String} "
        "ORDER BY started_at DESC LIMIT 1",
        {"name": name},
    )
    return found[0] if found else None


def bury(store: Store, now: int) -> Sequence[JobRun]:
    """Record that runs of this machine are lost whose processes are gone; return them."""
    running = _runs(
        store, "WHERE outcome = 'running' AND host = {host:String}", {"host": socket.gethostname()}
    )
    gone = [msgspec.structs.replace(run, outcome="lost", problem=LOST, ended_at=now, version=now)
            for run in running if is_gone(run)]  # fmt: skip
    if gone:
        store.insert("job_runs", gone)
    return gone


def record_ended_early(store: Store, submitted: Mapping[str, str], now: int) -> Sequence[JobRun]:
    """Record as stopped those submitted jobs that ended before they could record anything.

    Of such a job only the cluster knows, which forgets it when it stops.

    Parameters
    ----------
    store
        Open for writing.
    submitted
        Id -> which job it is, of submitted jobs that were told to stop.
    now
        UTC nanoseconds.
    """
    ids = sorted(submitted)
    known = {
        each.run_id for each in _runs(store, "WHERE run_id IN {ids:Array(String)}", {"ids": ids})
    }
    early = [
        JobRun(
            run_id=each,
            job=submitted[each],
            submission_id=each,
            config="{}",
            code_version="",
            started_at=now,
            ended_at=now,
            outcome="stopped",
            problem=ENDED_EARLY,
            rows=0,
            skipped=0,
            details="{}",
            version=now,
        )
        for each in ids
        if each not in known
    ]
    if early:
        store.insert("job_runs", early)
    return early


def is_gone(
    run: JobRun, host: str | None = None, began: Callable[[int], float | None] | None = None
) -> bool:
    """Say whether the process of a run that is recorded as running has ended.

    Of another machine's process nothing is known: it counts as running.

    Parameters
    ----------
    run
        The run.
    host
        This machine's name.
    began
        When a process began, seconds since 1970; None where there is none.
    """
    if run.outcome != "running" or run.host != (host or socket.gethostname()):
        return False
    start = (began or _began)(run.pid)
    # A number that was given to another process since then is not this run; machines' clocks are
    # set meanwhile.
    return start is None or start > run.started_at / 1e9 + CLOCK_ERROR_S


def _began(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def _runs(store: Store, rest: str, parameters: Mapping[str, Any]) -> Sequence[JobRun]:
    table = table_named("job_runs")
    found = store.query_arrow(f"SELECT {table.select} FROM job_runs FINAL {rest}", parameters)
    return table.from_arrow(found)
