"""JSONL and CSV files, read as they grow."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from engine.clock import Clock
from engine.domain.text import TextItem
from engine.errors import SourceError
from engine.sources.base import Intake, SourceReport
from engine.sources.draft import RowError
from engine.sources.rows import REQUIRED, RowReader

MAX_CHUNK = 8 * 1024 * 1024
"""Bytes read in one poll: the rest follows in the next."""

MAX_RECORD = 1024 * 1024
"""Bytes of one record; a longer one (an unclosed quote, usually) is skipped."""

Record = tuple[int, bytes]
"""Number of its first line, from 1, and its bytes."""


class FileSource:
    """A file of texts, one a record.

    A poll reads what was appended since the last one. A last line without its end is read
    once it has not changed between two polls. A file that was replaced or cut is read from
    its start again; what was given out before is not given again.

    Parameters
    ----------
    path
        The file; UTF-8. CSV needs a header line and may use ``,``, ``;`` or tabs.
    form
        ``jsonl`` or ``csv``.
    reader
        What makes texts of rows.
    clock
        What time it is.
    """

    def __init__(
        self, path: Path, form: Literal["jsonl", "csv"], reader: RowReader, clock: Clock
    ) -> None:
        self._path = path
        self._form = form
        self._reader = reader
        self._clock = clock
        self._intake = Intake(reader.source)
        self._start_over()
        self._inode = 0

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
        """Return the rows that are new; see `engine.sources.base.Source`."""
        return await asyncio.to_thread(self._poll)

    async def close(self) -> None:
        """Do nothing: the file is open only while it is read."""

    def _start_over(self) -> None:
        self._offset = 0
        self._line = 1
        self._tail: bytes | None = None
        self._header: list[str] | None = None
        self._delimiter = ","

    def _poll(self) -> list[TextItem]:
        try:
            with self._path.open("rb") as file:
                status = self._path.stat()
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._start_over()
                    self._inode = status.st_ino
                file.seek(self._offset)
                content = file.read(MAX_CHUNK)
        except OSError as error:
            raise SourceError(
                f"source {self.name}: {self._path} cannot be read: {error.strerror}"
            ) from None
        now = self._clock.now_ns()
        items = (self._item(record, now) for record in self._records(content))
        return self._intake.new([item for item in items if item is not None])

    def _records(self, content: bytes) -> Iterator[Record]:
        """Cut off whole records, and move past them."""
        at_end = len(content) < MAX_CHUNK
        lines = (
            content.splitlines(keepends=True)
            if b"\r" not in content
            else (
                [line + b"\n" for line in content.split(b"\n")[:-1]]
                + [content.rpartition(b"\n")[2]]
            )
        )
        start = self._offset
        pending = b""
        height = 0
        for line in lines:
            whole = line.endswith(b"\n")
            if not whole and not (at_end and self._tail == pending + line):
                pending += line
                break
            pending += line
            height += 1
            if self._is_open(pending) and whole and len(pending) <= MAX_RECORD:
                continue
            yield self._line, pending
            start += len(pending)
            self._line += height
            self._offset = start
            pending, height = b"", 0
        self._tail = pending if at_end else None
        if len(pending) > MAX_RECORD:
            self._intake.skip("oversized_row", f"{self._place(self._line)}: longer than 1 MiB")
            self._offset += len(pending)
            self._tail = None

    def _is_open(self, record: bytes) -> bool:
        """Whether a quote is open: RFC 4180 doubles those inside, so an odd count is."""
        return self._form == "csv" and record.count(b'"') % 2 == 1

    def _item(self, record: Record, now_ns: int) -> TextItem | None:
        number, content = record
        try:
            text = content.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
            if len(content) > MAX_RECORD:
                raise RowError("longer than 1 MiB; is a quote left open?")
            if not text.strip():
                return None
            row = self._json(text) if self._form == "jsonl" else self._csv(text)
            return None if row is None else self._reader.item(row, now_ns)
        except UnicodeDecodeError as error:
            self._intake.skip("bad_row", f"{self._place(number)}: not UTF-8 ({error.reason})")
        except (RowError, csv.Error) as error:
            self._intake.skip("bad_row", f"{self._place(number)}: {error}")
        return None

    def _place(self, number: int) -> str:
        return f"{self._path.name}, line {number}"

    @staticmethod
    def _json(text: str) -> dict[str, object]:
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RowError(f"not JSON ({error})") from None
        if not isinstance(row, dict):
            raise RowError(f"a JSON object is expected, not {type(row).__name__}")
        return row

    def _csv(self, text: str) -> dict[str, object] | None:
        if self._header is None:
            self._read_header(text)
            return None
        cells = next(csv.reader(text.splitlines(keepends=True), delimiter=self._delimiter))
        if len(cells) != len(self._header):
            raise RowError(f"{len(cells)} cells where the header has {len(self._header)}")
        return dict(zip(self._header, cells, strict=True))

    def _read_header(self, text: str) -> None:
        self._delimiter = max(",;\t", key=text.count)
        header = next(csv.reader([text], delimiter=self._delimiter))
        missing = [self._reader.column(name) for name in REQUIRED]
        missing = [column for column in missing if column not in header]
        if missing:
            # Read again next time: the file may be mended.
            self._start_over()
            raise SourceError(
                f"source {self.name}: {self._path} has no column {', '.join(missing)}; it has "
                f"{', '.join(header)}; name them under the source's columns"
            )
        self._header = header
