"""Units of a job: what is done of it, so that a run that is started again does only the rest.

A unit is a piece of work with a name, such as the features of a month. Whoever writes its rows
writes a `JobBlock` for each block after the block itself, so what this table tells of is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import pyarrow as pa

from engine.clock import Clock, SystemClock
from engine.domain.job import JobBlock
from engine.errors import StoreError
from engine.store.client import Store
from engine.store.columns import python_values


class UnitRows(NamedTuple):
    """What a job makes of a unit."""

    rows: pa.Table
    """New rows, as columns of their table."""
    equal: int = 0
    """How many others were left out because they are stored as they would be now."""
    told: Mapping[str, int] = MappingProxyType({})
    """More counts for the run's summary: what is counted -> how many."""


UNIT = "_unit"
UNIT_ROWS = "_unit_rows"
FINGERPRINT = "_fingerprint"
UNIT_COLUMNS = (UNIT, UNIT_ROWS, FINGERPRINT)
"""Columns that a block for `engine.store.ray_data.ClickHouseSink` may carry beside those of its
table: which unit its rows belong to, how many rows that unit has, and its fingerprint."""

_DONE = """
SELECT unit, fingerprint FROM (
    SELECT unit, fingerprint, sum(rows) AS stored, max(unit_rows) AS wanted,
        max(written_at) AS latest
    FROM job_blocks FINAL
    WHERE job = {job:String}
    GROUP BY unit, fingerprint, run_id
    ORDER BY latest DESC
    LIMIT 1 BY unit
) WHERE stored >= wanted
"""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Under whose name a sink notes which units are stored."""

    job: str
    run_id: str


def done_units(store: Store, job: str) -> Mapping[str, set[str]]:
    """Return the units of a job that are stored whole: unit -> its fingerprint, in a set.

    Of each unit the newest run alone counts, for it wrote over what an older one had written. And
    blocks add up within one run only: another one may have cut the same rows into other blocks.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    found = store.query_arrow(_DONE, {"job": job})
    units, prints = (found.column(name).to_pylist() for name in ("unit", "fingerprint"))
    return {unit: {each} for unit, each in zip(units, prints, strict=True)}


def note_empty(
    store: Store, ledger: Ledger, units: Mapping[str, str], clock: Clock | None = None
) -> None:
    """Note units that are done and have no rows: unit -> fingerprint.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    now = (clock or SystemClock()).now_ns()
    store.insert(
        "job_blocks",
        [
            JobBlock(
                job=ledger.job,
                unit=unit,
                fingerprint=fingerprint,
                token="",
                rows=0,
                unit_rows=0,
                run_id=ledger.run_id,
                written_at=now,
            )
            for unit, fingerprint in units.items()
        ],
    )


def blocks_of(rows: pa.Table, ledger: Ledger, token: str, written_at: int) -> Iterator[JobBlock]:
    """Return what a stored block holds of each unit.

    Parameters
    ----------
    rows
        With `UNIT_COLUMNS`.
    ledger
        Whose units they are.
    token
        Of the whole block: one that is written again counts once.
    written_at
        UTC nanoseconds.

    Raises
    ------
    StoreError
        Where a row names no unit.
    """
    units = rows.select(UNIT_COLUMNS)
    if any(column.null_count for column in units.columns):
        raise StoreError(f"a row of {ledger.job} belongs to no unit")
    counted = units.group_by(list(UNIT_COLUMNS)).aggregate([([], "count_all")])
    names = (UNIT, UNIT_ROWS, FINGERPRINT, "count_all")
    for unit, wanted, fingerprint, held in zip(
        *(python_values(counted.column(name)) for name in names), strict=True
    ):
        yield JobBlock(
            job=ledger.job,
            unit=unit,
            fingerprint=fingerprint,
            token=token,
            rows=held,
            unit_rows=wanted,
            run_id=ledger.run_id,
            written_at=written_at,
        )


def without_units(rows: pa.Table) -> pa.Table:
    """Return rows without `UNIT_COLUMNS`."""
    return rows.drop_columns([name for name in UNIT_COLUMNS if name in rows.column_names])


def carries_units(rows: pa.Table) -> bool:
    """Say whether rows carry `UNIT_COLUMNS`.

    Raises
    ------
    StoreError
        Where they carry some of them only.
    """
    held = [name for name in UNIT_COLUMNS if name in rows.column_names]
    if held and len(held) < len(UNIT_COLUMNS):
        missing = next(name for name in UNIT_COLUMNS if name not in held)
        raise StoreError(f"rows carry the column {held[0]} and lack {missing}")
    return bool(held)
