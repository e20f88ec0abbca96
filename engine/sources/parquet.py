"""Parquet files of texts: a file, a folder of them, or a pattern."""

from __future__ import annotations

import asyncio
import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.clock import Clock
from engine.domain.text import TextItem
from engine.errors import SourceError
from engine.sources.base import Intake, SourceReport
from engine.sources.rows import FIELDS, REQUIRED, RowReader

BATCH_ROWS = 10_000
"""Rows read in one look, about: the rest follows in the next."""

Version = tuple[int, int, int]
"""Inode, size and time of change of a file: a file with another one is read again."""


class ParquetSource:
    """Parquet files; keeps the contract of `engine.sources.base.Source`.

    Files are read in the order of their names, one batch of rows a look. A file that is new or
    was replaced is read; its rows that were given before are not given again. A file that cannot
    be read does not stop the others: it is named once they are read.

    Parameters
    ----------
    location
        A file, a folder (its ``*.parquet``) or a pattern (``texts/**/*.parquet``).
    reader
        What makes texts of rows. Times may be timestamps with a zone, ISO-8601 texts with one,
        or numbers since 1970.
    clock
        What time it is.
    """

    def __init__(self, location: str, reader: RowReader, clock: Clock) -> None:
        self._location = location
        self._reader = reader
        self._clock = clock
        self._intake = Intake(reader.source)
        self._read: dict[Path, Version] = {}
        self._open: dict[Path, tuple[Version, Iterator[tuple[int, pa.RecordBatch]]]] = {}

    @property
    def name(self) -> str:
        """Its configured name."""
        return self._reader.source

    @property
    def report(self) -> SourceReport:
        """What it has done so far."""
        return self._intake.report

    def resume(self, since_ns: int, seen: Iterable[str] = ()) -> None:
        """Leave out what is stored already; see `engine.sources.base.Source`."""
        self._intake.remember(seen)

    async def poll(self) -> list[TextItem]:
        """Return the next rows; see `engine.sources.base.Source`."""
        return await asyncio.to_thread(self._poll)

    async def close(self) -> None:
        """Let go of the files that are being read."""
        self._open.clear()

    def _poll(self) -> list[TextItem]:
        problem = ""
        for path in self._paths():
            try:
                items = self._next_of(path)
            except (OSError, pa.ArrowException) as error:
                self._open.pop(path, None)
                problem = problem or f"{path} cannot be read: {' '.join(str(error).split())[:200]}"
                continue
            if items is not None:
                return self._intake.new(items)
        if problem:
            raise SourceError(f"source {self.name}: {problem}")
        return []

    def _paths(self) -> list[Path]:
        where = Path(self._location)
        if where.is_dir():
            found = sorted(where.glob("*.parquet"))
        elif glob.has_magic(self._location):
            found = [Path(name) for name in sorted(glob.glob(self._location, recursive=True))]
        else:
            return [where]
        if not found:
            raise SourceError(f"source {self.name}: there is no Parquet file at {self._location}")
        return found

    def _next_of(self, path: Path) -> list[TextItem] | None:
        """Read the next batch of a file; None where it was read to its end."""
        status = path.stat()
        version = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._read.get(path) == version:
            return None
        if path not in self._open or self._open[path][0] != version:
            self._open[path] = (version, self._batches(path))
        for first, batch in self._open[path][1]:
            return self._items(path, first, batch)
        del self._open[path]
        self._read[path] = version
        return None

    def _batches(self, path: Path) -> Iterator[tuple[int, pa.RecordBatch]]:
        with pq.ParquetFile(path) as file:
            wanted = self._columns(path, file.schema_arrow.names)
            first = 1
            for batch in file.iter_batches(BATCH_ROWS, columns=wanted):
                yield first, batch
                first += batch.num_rows

    def _columns(self, path: Path, names: list[str]) -> list[str]:
        missing = [self._reader.column(field) for field in REQUIRED]
        missing = [column for column in missing if column not in names]
        if missing:
            raise pa.ArrowInvalid(
                f"it has no column {', '.join(missing)}; it has {', '.join(names)}; name them "
                "under the source's columns"
            )
        return [column for column in map(self._reader.column, FIELDS) if column in names]

    def _items(self, path: Path, first: int, batch: pa.RecordBatch) -> list[TextItem]:
        now = self._clock.now_ns()
        columns = [_plain(column) for column in batch.columns]
        items = []
        for place, cells in enumerate(zip(*columns, strict=True), first):
            try:
                row = dict(zip(batch.schema.names, cells, strict=True))
                items.append(self._reader.item(row, now))
            except ValueError as error:
                self._intake.skip("bad_row", f"{path.name}, row {place}: {error}")
        return items


def _plain(column: pa.Array) -> list[object]:
    """Return a column's values; times as ISO-8601 with all their digits, and with Z if zoned."""
    if not pa.types.is_timestamp(column.type):
        values: list[object] = column.to_pylist()
        return values
    is_zoned = column.type.tz is not None
    moments = column.cast(pa.timestamp("ns", tz="UTC" if is_zoned else None))
    texts = pc.strftime(moments, format="%Y-%m-%dT%H:%M:%S")
    return [text and f"{text}Z" if is_zoned else text for text in texts.to_pylist()]
