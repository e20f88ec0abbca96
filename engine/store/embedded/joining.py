"""Chunks of a result, joined into one answer of the format that was asked for.

chDB streams a result block by block, each block a complete document of its format. Formats
without a header or footer are joined by appending; Arrow streams are joined batch by batch.
Every other format is answered whole.
"""

from __future__ import annotations

import io
from typing import Protocol

import pyarrow as pa

APPENDABLE = frozenset(
    {"Native", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "RowBinary"}
    | {"JSONEachRow", "JSONLines", "NDJSON", "JSONCompactEachRow", "LineAsString", "RawBLOB"}
)
"""Formats whose blocks can simply follow each other."""


class Joiner(Protocol):
    """Makes one document of many."""

    def add(self, chunk: bytes) -> bytes:
        """Return what to send for the next chunk."""
        ...

    def finish(self) -> bytes:
        """Return what ends the document."""
        ...


class Appending:
    """For formats whose blocks simply follow each other."""

    def add(self, chunk: bytes) -> bytes:
        """Return the chunk."""
        return chunk

    def finish(self) -> bytes:
        """Return nothing."""
        return b""


class ArrowJoining:
    """One Arrow stream from many: one schema, all batches, one end."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._writer: pa.RecordBatchStreamWriter | None = None

    def add(self, chunk: bytes) -> bytes:
        """Return the chunk's batches as messages of the one stream."""
        if not chunk:
            return b""
        with pa.ipc.open_stream(chunk) as reader:
            if self._writer is None:
                self._writer = pa.ipc.new_stream(self._buffer, reader.schema)
            for batch in reader:
                self._writer.write_batch(batch)
        return self._taken()

    def finish(self) -> bytes:
        """Return the end of the stream."""
        if self._writer is not None:
            self._writer.close()
        return self._taken()

    def _taken(self) -> bytes:
        data = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return data


def joiner(form: str) -> Joiner | None:
    """Return how to stream a format; None where it must be answered whole."""
    if form in APPENDABLE:
        return Appending()
    return ArrowJoining() if form == "ArrowStream" else None


def content_type(form: str) -> str:
    """Return the media type that ClickHouse gives a format."""
    if form.startswith(("TabSeparated", "TSV")):
        return "text/tab-separated-values; charset=UTF-8"
    if form.startswith("CSV"):
        return "text/csv; charset=UTF-8"
    if form in ("JSONEachRow", "JSONLines", "NDJSON"):
        return "application/x-ndjson; charset=UTF-8"
    if form.startswith("JSON"):
        return "application/json; charset=UTF-8"
    if form in ("Native", "RowBinary", "Arrow", "ArrowStream", "Parquet", "ORC", "RawBLOB"):
        return "application/octet-stream"
    return "text/plain; charset=UTF-8"
