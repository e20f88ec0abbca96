"""The store as source and sink of Ray Data.

Ray Data's own connectors read a query with OFFSET, one task once there is a filter, and write at
least once into tables they make themselves. Here a source is split by ranges of the table's key,
and a sink writes blocks of our own tables' types, each with a token made from its content: a task
that is tried again, or a job that is run again, stores nothing twice.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from ray.data import Dataset, Datasource, ReadTask
from ray.data.block import Block, BlockAccessor, BlockMetadata
from ray.data.datasource import Datasink

from engine.clock import NS_PER_S, SystemClock
from engine.errors import StoreError
from engine.store.asking import patiently
from engine.store.block_sizes import sized
from engine.store.client import Store
from engine.store.endpoint import StoreEndpoint
from engine.store.key_ranges import Range, Selection, TableKey, read_key
from engine.store.once import ONCE_TABLES, OnceFilter
from engine.store.table import content_token
from engine.store.tables import table_named
from engine.store.typed_rows import TypedRows
from engine.store.units import Ledger, blocks_of, carries_units, without_units

__all__ = ["ClickHouseSink", "ClickHouseSource", "Ledger", "Written"]

BLOCK_BYTES = 32 * 2**20
"""Bytes that a block aims at, read or written: the memory of a task is a few of them."""

SAMPLE_ROWS = 1_000
"""Rows looked at to learn how wide they are."""

INSERTED_AT = "inserted_at"
"""Every table has it, none declares it: the store fills it in."""


class ClickHouseSource(Datasource):
    """Rows of a table below a fixed watermark, read range by range.

    ``Dataset.select_columns`` behind it is pushed down into the queries.

    Parameters
    ----------
    endpoint
        Where the store is; every node of the cluster must reach it.
    table
        One of `engine.store.tables.TABLES` that has a time in its key.
    columns
        Which columns, ``inserted_at`` among them if wanted; all that we declare where none are
        given.
    where
        A condition in SQL, values as ``{name:Type}``; it is pushed down into every query.
    parameters
        Their values.
    start, end
        Range of the table's time, UTC nanoseconds, ``[start, end)``; `end` is this moment by
        default.
    rows_per_task
        Most rows of a task, which is a block; as many as make `BLOCK_BYTES` by default.

    Raises
    ------
    StoreError
        Where the table or a column is not there, or no time orders the table.

    Notes
    -----
    What is written while the job runs is not read: of tables that merge nothing away only rows
    that were inserted before the source was made (where the table knows the second alone, making
    it waits for that second's end). Of a table with versions the newest version of a row is read,
    also where it is written meanwhile.

    Examples
    --------
    >>> source = ClickHouseSource(                                          # doctest: +SKIP
    ...     endpoint, "candles", where="timeframe = {tf:String}", parameters={"tf": "1h"}
    ... )
    >>> source.dataset().map_batches(work)                                  # doctest: +SKIP
    """

    # What Ray's optimizer sets on copies of a source; its own constructor is not typed.
    _projection_map: dict[str, str] | None = None
    _predicate_expr: Any = None

    def __init__(
        self,
        endpoint: StoreEndpoint,
        table: str,
        *,
        columns: Sequence[str] = (),
        where: str = "",
        parameters: Mapping[str, Any] | None = None,
        start: int | None = None,
        end: int | None = None,
        rows_per_task: int | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._table = table
        declared = [column.name for column in table_named(table).columns]
        unknown = sorted(set(columns) - {*declared, INSERTED_AT})
        if unknown:
            raise StoreError(f"table {table} has no column {unknown[0]!r}")
        self._all_columns = tuple(columns) or tuple(declared)
        self._rows_per_task = rows_per_task
        with closing(Store(endpoint)) as store:
            key = patiently(partial(read_key, store, table))
            self._selection = Selection(
                key=key,
                start=0 if start is None else start,
                end=SystemClock().now_ns() if end is None else end,
                inserted_before=patiently(partial(_watermark, store, key)),
                where=where,
                parameters=dict(parameters or {}),
            )
        self._plan: _Plan | None = None

    @property
    def ranges(self) -> tuple[Range, ...]:
        """What is read, in the order of the key: a task each."""
        return self._planned().ranges

    @property
    def columns(self) -> tuple[str, ...]:
        """Which columns are read."""
        chosen = self._get_data_columns()
        return self._all_columns if chosen is None else tuple(chosen)

    def dataset(self) -> Dataset:
        """Return the rows as a dataset, a block for each range.

        Left to itself (`ray.data.read_datasource`), Ray cuts the blocks of few tasks into many,
        and what follows the read then runs in tasks of its own.
        """
        blocks = max(1, len(self.ranges))
        rows: Dataset = ray.data.read_datasource(self, override_num_blocks=blocks)
        return rows

    def get_name(self) -> str:
        """Return what the tasks are called."""
        return f"Store({self._table})"

    def supports_projection_pushdown(self) -> bool:
        """Say that columns may be chosen afterwards."""
        return True

    def apply_projection(self, projection_map: dict[str, str] | None) -> ClickHouseSource:
        """Return the source of fewer columns."""
        clone = copy.copy(self)
        narrower = None if projection_map is None else {name: name for name in projection_map}
        clone._projection_map = self._combine_projection_map(self._projection_map, narrower)
        clone._plan = None
        return clone

    def estimate_inmemory_data_size(self) -> int | None:
        """Return about how many bytes all rows take."""
        plan = self._planned()
        return sum(each.rows for each in plan.ranges) * plan.row_bytes

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: Any = None,
    ) -> list[ReadTask]:
        """Return a task for each range; one without rows where there are none."""
        plan = self._planned()
        # What merges versions away knows how many rows are left only when it is read.
        is_exact = not self._selection.key.has_versions
        tasks = []
        for each in plan.ranges:
            metadata = BlockMetadata(
                num_rows=each.rows if is_exact else None,
                size_bytes=each.rows * plan.row_bytes,
                exec_stats=None,
                input_files=None,
            )
            read = _reader(self._endpoint, *self._selection.query(self._wanted(), each))
            tasks.append(ReadTask(read, metadata, plan.schema, per_task_row_limit))
        if not tasks:
            nothing = BlockMetadata(num_rows=0, size_bytes=0, exec_stats=None, input_files=None)
            empty = plan.schema.empty_table()
            tasks.append(ReadTask(lambda: [empty], nothing, plan.schema))
        return tasks

    def _planned(self) -> _Plan:
        """Look at the table once for all questions about it."""
        if self._plan is None:
            with closing(Store(self._endpoint)) as store:
                self._plan = patiently(partial(self._look, store))
        return self._plan

    def _look(self, store: Store) -> _Plan:
        sample = store.query_arrow(*self._selection.sample(self._wanted(), SAMPLE_ROWS))
        width = max(1, -(-sample.nbytes // max(1, sample.num_rows)))
        rows = self._rows_per_task or max(1, BLOCK_BYTES // width)
        ranges = self._selection.ranges(store, rows)
        return _Plan(tuple(ranges), sample.schema, width)

    def _wanted(self) -> list[str]:
        """Return what to select; a table without columns would lose the number of its rows."""
        names = self.columns or self._selection.key.order[:1]
        return [
            # Kept in seconds it would come as a bare number.
            f"toDateTime64({name}, 9, 'UTC') AS {name}" if name == INSERTED_AT else f"`{name}`"
            for name in names
        ]


@dataclass(frozen=True, slots=True)
class _Plan:
    ranges: tuple[Range, ...]
    schema: pa.Schema
    row_bytes: int


def _reader(
    endpoint: StoreEndpoint, sql: str, parameters: Mapping[str, Any]
) -> Callable[[], Iterable[Block]]:
    def read() -> Iterator[Block]:
        with closing(Store(endpoint)) as store:
            yield patiently(partial(store.query_arrow, sql, parameters))

    return read


def _watermark(store: Store, key: TableKey) -> int:
    """Return the moment, by the store's clock, before which rows were inserted."""
    now = int(store.command("SELECT toUnixTimestamp64Nano(now64(9))"))
    if key.has_versions or not key.has_coarse_inserts:
        return now
    second_ends = (now // NS_PER_S + 1) * NS_PER_S
    time.sleep((second_ends - now) / NS_PER_S)
    return second_ends


@dataclass(slots=True)
class Written:
    """What was stored."""

    rows: int = 0
    """Rows handed to the store. One that it held already counts too, where the table has
    versions; in ``trades`` and ``book_tops`` it does not."""
    units: dict[str, int] = field(default_factory=dict)
    """Unit -> rows of it."""

    def add(self, other: Written) -> None:
        """Count what another one stored."""
        self.rows += other.rows
        for unit, rows in other.units.items():
            self.units[unit] = self.units.get(unit, 0) + rows


class ClickHouseSink(Datasink[Written]):
    """Writes blocks into one of our tables, each once.

    Blocks hold the table's columns by name (those that may be NULL may be left out), and may hold
    `engine.store.units.UNIT_COLUMNS`: then a `JobBlock` is noted for the rows of each unit once
    they are stored. Small blocks are joined, large ones cut.

    A task or job that is tried again stores nothing twice: a block that is sent again carries the
    same token; one that was cut elsewhere, or comes from another sink, writes newer versions of the
    same keys; and of ``trades`` and ``book_tops``, which have no versions, those that the store
    holds are left out.

    Parameters
    ----------
    endpoint
        Where the store is; every node of the cluster must reach it.
    table
        One of `engine.store.tables.TABLES`.
    ledger
        Where blocks carry units.

    Raises
    ------
    StoreError
        Where the store lacks the table, or nothing tells its rows apart: then rows of a repeated
        task would be there twice.
    """

    def __init__(self, endpoint: StoreEndpoint, table: str, ledger: Ledger | None = None) -> None:
        self._endpoint = endpoint
        self._ledger = ledger
        with closing(Store(endpoint)) as store:
            self._typed = patiently(partial(TypedRows.of, store, table))
            has_versions = patiently(partial(read_key, store, table)).has_versions
        if not has_versions and table not in ONCE_TABLES:
            raise StoreError(
                f"table {table} cannot be written by a job: nothing tells its rows apart, so a "
                "task that is tried again would store them twice"
            )
        self._is_compared = not has_versions
        # The store remembers tokens of rows that are gone: deleted, expired, or replaced by others.
        # A later run that writes the same again means it.
        self._sink_id = uuid4().hex if has_versions else ""
        self.written = Written()
        """What all tasks stored, once the write is complete."""

    def get_name(self) -> str:
        """Return what the tasks are called."""
        return f"Store({self._typed.table})"

    def write(self, blocks: Iterable[Block], ctx: Any) -> Written:
        """Store the blocks of one task."""
        done = Written()
        tables = (BlockAccessor.for_block(block).to_arrow() for block in blocks)
        with closing(Store(self._endpoint)) as store:
            for rows in sized(tables, BLOCK_BYTES):
                done.add(self._write(store, rows))
        return done

    def on_write_complete(self, write_result: Any) -> None:
        """Sum up."""
        for each in write_result.write_returns:
            self.written.add(each)

    def _write(self, store: Store, rows: pa.Table) -> Written:
        has_units = self._ledger is not None and carries_units(rows)
        typed = self._typed.fitted(without_units(rows))
        # Of all rows, also those that are left out: a try that was thought lost and arrives
        # after all then counts as this one.
        token = content_token(self._typed.table, typed)
        stored = patiently(partial(self._insert, store, typed, token + self._sink_id))
        done = Written(stored)
        if has_units and self._ledger is not None:
            now = SystemClock().now_ns()
            notes = list(blocks_of(rows, self._ledger, token, now))
            patiently(partial(store.insert, "job_blocks", notes))
            done.units = {note.unit: note.rows for note in notes}
        return done

    def _insert(self, store: Store, rows: pa.Table, token: str) -> int:
        if self._is_compared:
            self._refuse_unnumbered(rows)
            # A fresh one each time: other tasks write the same markets.
            rows = OnceFilter(store, self._typed.table).missing(rows)
        return store.insert_arrow(self._typed.table, rows, token)

    def _refuse_unnumbered(self, rows: pa.Table) -> None:
        if self._typed.table != "book_tops":
            return
        lowest = pc.min(rows.column("sequence")).as_py()
        if lowest is not None and lowest <= 0:
            raise StoreError(
                "column sequence of table book_tops: rows without an update number of the venue "
                "cannot be written by a job, for nothing tells them apart"
            )
