"""Where something that was served came from: from a signal, or a data set, back to its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.clock import NS_PER_S, iso_utc
from engine.store.client import Store
from engine.store.columns import python_values
from engine.store.tables import table_named

Plain = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Origin:
    """A step on the way back: what it is, what is known of it, and what it came from."""

    title: str
    """What it is, in a few words."""
    facts: Mapping[str, Plain] = field(default_factory=dict)
    """What is known of it; times as ISO-8601 UTC."""
    origins: Sequence[Origin] = ()
    """What it came from."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "title": self.title,
            "facts": dict(self.facts),
            "origins": [origin.as_dict() for origin in self.origins],
        }

    def walk(self) -> Iterator[Origin]:
        """Yield it, and all it came from."""
        yield self
        for origin in self.origins:
            yield from origin.walk()


def stored_rows(store: Store, table: str, rest: str, **parameters: Any) -> list[Any]:
    """Return rows of one of our tables as structs.

    Parameters
    ----------
    store
        Where they are.
    table
        Its name.
    rest
        What follows ``FROM table FINAL``; values as ``{name:Type}``.
    """
    declared = table_named(table)
    sql = f"SELECT {declared.select} FROM {table} FINAL {rest}"
    return declared.from_arrow(store.query_arrow(sql, parameters))


def one_row(store: Store, sql: str, **parameters: Any) -> dict[str, Any]:
    """Return the first row of a query by column, times as nanoseconds; empty without a row."""
    found = store.query_arrow(sql, parameters)
    if not found.num_rows:
        return {}
    return {name: python_values(found.column(name))[0] for name in found.column_names}


_WRITER = """
SELECT run_id, min(written_at) AS written FROM job_blocks FINAL
WHERE job = {job:String} AND unit = {unit:String} AND rows > 0
    AND written_at >= fromUnixTimestamp64Nano({inserted:Int64})
    AND run_id IN (SELECT run_id FROM job_runs FINAL
        WHERE started_at >= fromUnixTimestamp64Nano({closed:Int64})
            AND started_at <= fromUnixTimestamp64Nano({inserted:Int64}))
GROUP BY run_id ORDER BY written LIMIT 1
"""


def writer_of(store: Store, job: str, unit: str, closed: int, inserted_at: int) -> Origin | None:
    """Return the run of a job that wrote a row; None where none did, but a live engine.

    A job notes each block just after it is stored, so a row's block is the first that was noted
    after the row was written, by a run that had begun by then.

    Parameters
    ----------
    store
        Where runs are recorded.
    job
        Which may have written it.
    unit
        Which unit of the job it belongs to.
    closed
        When the row's bar closed, UTC nanoseconds: what closes while a job runs is left to the live
        engine.
    inserted_at
        When the store wrote the row, UTC nanoseconds.
    """
    found = one_row(store, _WRITER, job=job, unit=unit, closed=closed, inserted=inserted_at)
    if not found or found["written"] > inserted_at + LONGEST_INSERT_NS:
        return None
    return run_origin(store, found["run_id"], unit=unit)


LONGEST_INSERT_NS = 300 * NS_PER_S
"""A block that is noted later than this after a row is another one's."""


def run_origin(store: Store, run_id: str, **facts: Plain) -> Origin:
    """Return what is recorded of a run."""
    runs = stored_rows(store, "job_runs", "WHERE run_id = {run_id:String} LIMIT 1", run_id=run_id)
    if not runs:
        return Origin(f"run {run_id}", {**facts, "record": "expired"})
    run = runs[0]
    return Origin(
        f"run {run_id}",
        {
            "job": run.job,
            "outcome": run.outcome,
            "started_at": iso_utc(run.started_at),
            "ended_at": None if run.ended_at is None else iso_utc(run.ended_at),
            "code_version": run.code_version,
            "submission_id": run.submission_id or None,
            **facts,
        },
    )
