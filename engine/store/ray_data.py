"""The store as source and sink of Ray Data.

Ray Data's own connectors read a query with OFFSET, one task once there is a filter, and write at
least once into tables they make themselves. Here a source is split by ranges of the table's key,
and a sink writes blocks of our own tables' types, each with a token made from its content: a task
that is tried again, or a job that is run again, stores nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from ray.data import Datasource, ReadTask
from ray.data.block import Block, BlockAccessor, BlockMetadata
from ray.data.datasource import Datasink

from engine.clock import SystemClock
from engine.domain.job import JobBlock
from engine.errors import StoreError, StoreUnavailable
from engine.store.client import Store
from engine.store.endpoint import StoreEndpoint
from engine.store.table import content_token
from engine.store.tables import table_named
from engine.store.units import FINGERPRINT, UNIT, UNIT_COLUMNS, UNIT_ROWS

ROWS_PER_TASK = 250_000
"""Rows that a read task aims at."""

INSERT_ROWS = 100_000
"""Most rows of one insert."""


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of a table's key."""

    prefix: Mapping[str, Any]
    """Column -> value: which series of the table, for example a market and timeframe."""
    start: int
    end: int
    """UTC nanoseconds of the table's time column, ``[start, end)``."""
    rows: int
    """How many there were when the range was made."""


@dataclass(frozen=True, slots=True)
class _Key:
    prefix: tuple[str, ...]
    time: str


_MARKET = ("exchange", "instrument")
_KEYS: Mapping[str, _Key] = {
    "trades": _Key(_MARKET, "exchange_time"),
    "book_tops": _Key(_MARKET, "receive_time"),
    "book_snapshots": _Key(_MARKET, "as_of"),
    "perpetuals": _Key(_MARKET, "receive_time"),
    "candles": _Key((*_MARKET, "timeframe"), "open_time"),
    "features": _Key(("timeframe", *_MARKET), "open_time"),
    "signals": _Key(("timeframe",), "as_of"),
    "texts": _Key((), "available_at"),
    "sentiment_scores": _Key(("model",), "scored_at"),
    "sentiment_aggregates": _Key(("instrument", "window"), "as_of"),
    "market_mood": _Key(("series",), "time"),
}
"""What leads each table's primary key, and the time that orders what is behind it."""


class ClickHouseSource(Datasource):
    """Rows of a table below a fixed watermark, read range by range.

    Parameters
    ----------
    endpoint
        Where the store is; every node of the cluster must reach it.
    table
        One of `engine.store.tables.TABLES` that has a time in its key.
    columns
        Which columns; all where none are given.
    where
        A condition in SQL, values as ``{name:Type}``; it is pushed down into every query.
    parameters
        Their values.
    start, end
        Range of the table's time, UTC nanoseconds; `end` is this moment by default.
    rows_per_task
        How many rows a task aims at.

    Notes
    -----
    What is written while the job runs is not read: rows of tables that merge nothing away count
    only where they were inserted before the source was made. Of a table with versions the newest
    version of a row is read, also where it is written meanwhile.
    """

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
        rows_per_task: int = ROWS_PER_TASK,
    ) -> None:
        if table not in _KEYS:
            raise StoreError(f"table {table} cannot be split; there are {', '.join(_KEYS)}")
        self._endpoint = endpoint
        self._table = table
        names = [column.name for column in table_named(table).columns]
        unknown = set(columns) - set(names)
        if unknown:
            raise StoreError(f"table {table} has no column {sorted(unknown)[0]!r}")
        self._columns = tuple(columns) or tuple(names)
        self._where = where
        self._parameters = dict(parameters or {})
        self._rows_per_task = rows_per_task
        now = SystemClock().now_ns()
        self._start = 0 if start is None else start
        self._end = now if end is None else end
        with closing(Store(endpoint)) as store:
            kind = store.command(
                "SELECT engine FROM system.tables "
                "WHERE database = currentDatabase() AND name = {table:String}",
                {"table": table},
            )
            self._has_versions = "Replacing" in kind
            self._watermark = int(store.command("SELECT toUnixTimestamp64Nano(now64(9))"))
            self._ranges = self._split(store)

    @property
    def ranges(self) -> tuple[Range, ...]:
        """What is read, in the order of the key."""
        return self._ranges

    def estimate_inmemory_data_size(self) -> int | None:
        """Return a guess of the bytes that all rows take."""
        return sum(each.rows for each in self._ranges) * 8 * len(self._columns)

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: Any = None,
    ) -> list[ReadTask]:
        """Return a task for each bundle of ranges."""
        width = 8 * len(self._columns)
        tasks = []
        for bundle in self._bundles():
            rows = sum(each.rows for each in bundle)
            metadata = BlockMetadata(
                num_rows=None, size_bytes=rows * width, exec_stats=None, input_files=None
            )
            tasks.append(
                ReadTask(self._reader(bundle), metadata, per_task_row_limit=per_task_row_limit)
            )
        return tasks

    def _bundles(self) -> Iterator[list[Range]]:
        bundle: list[Range] = []
        rows = 0
        for each in self._ranges:
            if bundle and rows + each.rows > self._rows_per_task:
                yield bundle
                bundle, rows = [], 0
            bundle.append(each)
            rows += each.rows
        if bundle:
            yield bundle

    def _reader(self, bundle: Sequence[Range]) -> Callable[[], Iterable[Block]]:
        endpoint = self._endpoint
        queries = [self._query(each) for each in bundle]

        def read() -> Iterator[Block]:
            with closing(Store(endpoint)) as store:
                for sql, parameters in queries:
                    yield store.query_arrow(sql, parameters)

        return read

    def _query(self, each: Range) -> tuple[str, dict[str, Any]]:
        key = _KEYS[self._table]
        conditions, parameters = self._conditions(each.start, each.end)
        for name, value in each.prefix.items():
            conditions.append(f"{name} = {{_{name}:String}}")
            parameters[f"_{name}"] = value
        wanted = ", ".join(f"`{name}`" for name in self._columns)
        sql = (
            f"SELECT {wanted} FROM {self._source} WHERE {' AND '.join(conditions)} "
            f"ORDER BY {', '.join((*key.prefix, key.time))}"
        )
        return sql, parameters

    @property
    def _source(self) -> str:
        return f"{self._table} FINAL" if self._has_versions else self._table

    def _conditions(self, start: int, end: int) -> tuple[list[str], dict[str, Any]]:
        time = _KEYS[self._table].time
        conditions = [
            f"{time} >= fromUnixTimestamp64Nano({{_start:Int64}})",
            f"{time} < fromUnixTimestamp64Nano({{_end:Int64}})",
        ]
        parameters = {**self._parameters, "_start": start, "_end": end}
        if not self._has_versions:
            conditions.append("inserted_at <= fromUnixTimestamp64Nano({_watermark:Int64})")
            parameters["_watermark"] = self._watermark
        if self._where:
            conditions.append(f"({self._where})")
        return conditions, parameters

    def _split(self, store: Store) -> tuple[Range, ...]:
        """Cut the key into ranges: by month, and where a month is too large by the hour."""
        ranges: list[Range] = []
        for cell in self._cells(store, "toStartOfMonth", self._start, self._end, {}):
            if cell.rows <= self._rows_per_task:
                ranges.append(cell)
            else:
                ranges += self._cells(store, "toStartOfHour", cell.start, cell.end, cell.prefix)
        return tuple(self._merged(ranges))

    def _cells(
        self, store: Store, floor: str, start: int, end: int, prefix: Mapping[str, Any]
    ) -> list[Range]:
        key = _KEYS[self._table]
        conditions, parameters = self._conditions(start, end)
        for name, value in prefix.items():
            conditions.append(f"{name} = {{_{name}:String}}")
            parameters[f"_{name}"] = value
        by = [*key.prefix, "cell"]
        step = "INTERVAL 1 MONTH" if floor == "toStartOfMonth" else "INTERVAL 1 HOUR"
        moment = "toUnixTimestamp64Nano(toDateTime64({}, 9, 'UTC'))"
        found = store.query_arrow(
            f"SELECT {', '.join((*key.prefix, ''))}{floor}({key.time}) AS cell, "
            f"{moment.format('cell')} AS low, {moment.format(f'cell + {step}')} AS high, "
            f"count() AS rows FROM {self._table} WHERE {' AND '.join(conditions)} "
            f"GROUP BY {', '.join(by)} ORDER BY {', '.join(by)}",
            parameters,
        )
        return [
            Range(
                {name: row[name] for name in key.prefix},
                max(start, row["low"]),
                min(end, row["high"]),
                row["rows"],
            )
            for row in found.to_pylist()
        ]

    def _merged(self, ranges: Sequence[Range]) -> Iterator[Range]:
        """Join neighbours of one series while they are small: fewer queries."""
        last: Range | None = None
        for each in ranges:
            if last is None:
                last = each
            elif last.prefix == each.prefix and last.rows + each.rows <= self._rows_per_task:
                last = Range(last.prefix, last.start, each.end, last.rows + each.rows)
            else:
                yield last
                last = each
        if last is not None:
            yield last


@dataclass(frozen=True, slots=True)
class Ledger:
    """Under whose name a sink notes which units are stored."""

    job: str
    run_id: str


@dataclass(slots=True)
class Written:
    """What one write task stored."""

    rows: int = 0
    units: dict[str, int] = field(default_factory=dict)
    """Unit -> rows of it."""


class ClickHouseSink(Datasink[Written]):
    """Writes blocks into one of our tables, each once.

    Blocks hold the table's columns by name (missing ones that are nullable may be left out), and
    may hold `engine.store.units.UNIT_COLUMNS`: then a `JobBlock` is noted for the rows of each
    unit once they are stored.

    Parameters
    ----------
    endpoint
        Where the store is; every node of the cluster must reach it.
    table
        One of `engine.store.tables.TABLES`.
    ledger
        Where blocks carry units.
    """

    def __init__(self, endpoint: StoreEndpoint, table: str, ledger: Ledger | None = None) -> None:
        self._endpoint = endpoint
        self._table = table
        self._ledger = ledger
        self.written = Written()
        """What all tasks stored, once the write is complete."""

    def write(self, blocks: Iterable[Block], ctx: Any) -> Written:
        """Store the blocks of one task."""
        done = Written()
        with closing(Store(self._endpoint)) as store:
            for block in blocks:
                rows = BlockAccessor.for_block(block).to_arrow()
                for part in _by_unit(rows):
                    self._write(store, part, done)
        return done

    def on_write_complete(self, write_result: Any) -> None:
        """Sum up."""
        for each in write_result.write_returns:
            self.written.rows += each.rows
            for unit, rows in each.units.items():
                self.written.units[unit] = self.written.units.get(unit, 0) + rows

    def _write(self, store: Store, rows: pa.Table, done: Written) -> None:
        unit, unit_rows, fingerprint = _unit_of(rows)
        typed = typed_for(self._table, rows)
        for start in range(0, typed.num_rows, INSERT_ROWS):
            part = typed.slice(start, INSERT_ROWS)
            token = content_token(self._table, part)
            insert(store, self._table, part, token)
            done.rows += part.num_rows
            if unit is None or self._ledger is None:
                continue
            done.units[unit] = done.units.get(unit, 0) + part.num_rows
            block = JobBlock(
                job=self._ledger.job,
                unit=unit,
                fingerprint=fingerprint,
                token=token,
                rows=part.num_rows,
                unit_rows=unit_rows,
                run_id=self._ledger.run_id,
                written_at=SystemClock().now_ns(),
            )
            insert(store, "job_blocks", table_named("job_blocks").to_arrow([block]), None)


def typed_for(table: str, rows: pa.Table) -> pa.Table:
    """Return rows with the table's columns and types, in its order.

    Raises
    ------
    StoreError
        Where a column is missing, is not one of the table's, or does not fit its type.
    """
    declared = table_named(table).columns
    names = [name for name in rows.column_names if name not in UNIT_COLUMNS]
    unknown = set(names) - {column.name for column in declared}
    if unknown:
        raise StoreError(f"table {table} has no column {sorted(unknown)[0]!r}")
    arrays = []
    for column in declared:
        if column.name not in names:
            raise StoreError(f"rows for table {table} lack its column {column.name!r}")
        array = rows.column(column.name)
        try:
            arrays.append(array if array.type == column.type else array.cast(column.type))
        except pa.ArrowException as error:
            raise StoreError(f"column {column.name} of table {table}: {error}") from error
    return pa.table(arrays, names=[column.name for column in declared])


ATTEMPTS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses between the attempts to insert while the store does not answer."""


def insert(store: Store, table: str, rows: pa.Table, token: str | None) -> None:
    """Insert, and try again with the same token while the store does not answer.

    Raises
    ------
    StoreUnavailable
        Where it does not answer for half a minute.
    """
    for pause_s in (*ATTEMPTS_S, None):
        try:
            store.insert_arrow(table, rows, token)
        except StoreUnavailable:
            if pause_s is None:
                raise
            time.sleep(pause_s)
        else:
            return


def _by_unit(rows: pa.Table) -> Iterator[pa.Table]:
    """Cut a block where its unit changes: Ray joins small blocks."""
    if UNIT not in rows.column_names or not rows.num_rows:
        if rows.num_rows:
            yield rows
        return
    for unit in pc.unique(rows.column(UNIT)).to_pylist():
        yield rows.filter(pc.equal(rows.column(UNIT), unit))


def _unit_of(rows: pa.Table) -> tuple[str | None, int, str]:
    if UNIT not in rows.column_names:
        return None, 0, ""
    first = rows.select(UNIT_COLUMNS).slice(0, 1).to_pylist()[0]
    return first[UNIT], first[UNIT_ROWS], first[FINGERPRINT]
