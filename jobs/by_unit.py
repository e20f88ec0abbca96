"""Units of a job, each done by a task of its own, as many at a time as there are cores.

Only units and counts pass through Ray, never rows: a task reads, computes and writes. So memory is
that of as many units as there are cores, and a task that is lost with its node is done again by
another.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import ray

from engine.store.asking import patiently
from engine.store.client import Store
from engine.store.ray_data import ClickHouseSink
from engine.store.units import FINGERPRINT, UNIT, UNIT_ROWS, UnitRows, note_empty
from jobs.priority import give_way
from jobs.progress import step
from jobs.run import Run


class Unit(Protocol):
    """A piece of work with a name and a fingerprint."""

    @property
    def name(self) -> str:
        """Unique within the job."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of all that decides its rows."""
        ...


EQUAL = "rows equal to what is stored"

U = TypeVar("U", bound=Unit)
Make = Callable[[Store, U], UnitRows]
"""Reads and computes a unit."""


def do_units(run: Run, title: str, table: str, units: Sequence[U], make: Make[U]) -> None:
    """Do units, and count what was written and what was left alone.

    Parameters
    ----------
    run
        The job's run; it joins Ray here.
    title
        What the units are, for the progress.
    table
        Where the rows go.
    units
        What is to be done.
    make
        A function that can be pickled.
    """
    counts: Counter[str] = Counter()
    with step(title, len(units)) as progress:
        for rows, told in _done(run, table, units, make):
            run.wrote(table, rows)
            counts.update(told)
            progress.advance(rows=rows)
    equal = counts.pop(EQUAL, 0)
    if equal:
        run.skip(EQUAL, equal)
    for what, number in counts.items():
        run.note(what, number)


def _done(
    run: Run, table: str, units: Sequence[U], make: Make[U]
) -> Iterator[tuple[int, dict[str, int]]]:
    cores = run.ray()
    endpoint, ledger = run.endpoint, run.ledger
    sink = ClickHouseSink(endpoint, table, ledger)

    def do(row: dict[str, Any]) -> dict[str, Any]:
        give_way()
        unit = units[row["id"]]
        with closing(Store(endpoint)) as store:
            rows, equal, told = patiently(lambda: make(store, unit))
            if rows.num_rows:
                sink.write([labelled(rows, unit)], None)
            else:
                patiently(lambda: note_empty(store, ledger, {unit.name: unit.fingerprint}))
        counts = {EQUAL: equal, **told}
        return {"rows": rows.num_rows, "told": json.dumps({k: n for k, n in counts.items() if n})}

    places = [{"id": place} for place in range(len(units))]
    numbers = ray.data.from_items(places, override_num_blocks=len(units))
    for done in numbers.map(do, concurrency=min(cores, len(units))).iter_rows():
        yield done["rows"], json.loads(done["told"])


def labelled(rows: pa.Table, unit: Unit) -> pa.Table:
    """Return a unit's rows with `engine.store.units.UNIT_COLUMNS`, as the sink notes them."""
    count = rows.num_rows
    labels = ((UNIT, unit.name), (UNIT_ROWS, count), (FINGERPRINT, unit.fingerprint))
    for name, value in labels:
        rows = rows.append_column(name, pa.repeat(pa.scalar(value), count))
    return rows
