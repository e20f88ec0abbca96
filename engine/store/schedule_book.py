"""Schedules and their runs in the store: the one place where they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.domain.schedule import GOING, Schedule, ScheduledRun
from engine.store.client import Store
from engine.store.columns import python_values
from engine.store.tables import TABLES


class Verdict(NamedTuple):
    """What a job recorded of itself."""

    outcome: str
    """``running``, ``done``, ``failed`` or ``stopped``."""
    problem: str


class ScheduleBook:
    """Reads and writes schedules.

    Blocking. Every method raises `StoreUnavailable` where there is no answer.

    Parameters
    ----------
    store
        Where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def schedules(self) -> dict[str, Schedule]:
        """Return the schedules that there are, by name, in the order of their names."""
        found = self._rows("schedules", "FINAL WHERE NOT is_removed ORDER BY name")
        return {one.name: one for one in found}

    def put(self, schedule: Schedule) -> None:
        """Write a schedule, or a new version of it."""
        self._store.insert("schedules", [schedule])

    def note(self, run: ScheduledRun) -> None:
        """Write a run, or a new version of it."""
        self._store.insert("schedule_runs", [run])

    def going(self) -> list[ScheduledRun]:
        """Return the runs of which nobody has seen the end, by name."""
        return self._rows(
            "schedule_runs",
            "FINAL WHERE has({states:Array(String)}, state) ORDER BY name, due_at",
            states=sorted(GOING),
        )

    def begun_through(self) -> Mapping[str, int]:
        """Return, for each schedule, the newest moment whose run was begun; not those by hand."""
        found = self._store.query_arrow(
            "SELECT name, max(due_at) AS newest FROM schedule_runs WHERE NOT is_by_hand "
            "GROUP BY name"
        )
        names, moments = (python_values(found.column(name)) for name in ("name", "newest"))
        return dict(zip(names, moments, strict=True))

    def asked(self, since: int) -> list[ScheduledRun]:
        """Return the runs that were asked for by hand after a moment and not begun yet."""
        return self._rows(
            "schedule_runs",
            "FINAL WHERE due_at >= fromUnixTimestamp64Nano({since:Int64}) AND state = 'asked' "
            "ORDER BY due_at, name",
            since=since,
        )

    def last_runs(self) -> dict[str, ScheduledRun]:
        """Return the newest run of each schedule, by name."""
        found = self._rows(
            "schedule_runs", "FINAL ORDER BY name, due_at DESC, is_by_hand LIMIT 1 BY name"
        )
        return {one.name: one for one in found}

    def passed_over(self) -> Mapping[str, int]:
        """Return how many due moments of each schedule were left out since it was made."""
        found = self._store.query_arrow(
            "SELECT name, sum(passed_over) AS number FROM schedule_runs FINAL GROUP BY name"
        )
        names, numbers = (python_values(found.column(name)) for name in ("name", "number"))
        return dict(zip(names, numbers, strict=True))

    def verdict(self, submission_id: str) -> Verdict | None:
        """Return what a job recorded of itself; None where it never began."""
        found = self._store.query_arrow(
            "SELECT outcome, problem FROM job_runs FINAL WHERE submission_id = {id:String} "
            "ORDER BY started_at DESC LIMIT 1",
            {"id": submission_id},
        )
        if not found.num_rows:
            return None
        outcome, problem = (found.column(name)[0].as_py() for name in ("outcome", "problem"))
        return Verdict(outcome, problem)

    def _rows(self, table: str, rest: str, **parameters: Any) -> list[Any]:
        declared = TABLES[table]
        sql = f"SELECT {declared.select} FROM {table} {rest}"
        return declared.from_arrow(self._store.query_arrow(sql, parameters))
