"""chDB, opened once: one connection per request, so settings never leak between requests.

Measured: opening a connection, setting two settings, running ``SELECT 1`` and closing takes
1.8 ms; chDB releases the GIL while it works, and connections run side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from engine.errors import StartError
from engine.store.embedded.failure import failure_of
from engine.store.endpoint import DEFAULT_DATABASE

TAG = "log_comment"
"""The setting that carries our query id: chDB gives no way to choose its own."""


@cache
def _chdb() -> Any:
    """Load chDB: 250 MB that only the process which opens a home is to pay for."""
    import chdb  # noqa: PLC0415

    return chdb._chdb  # the extension has no type stubs


def quoted(value: str) -> str:
    """Write `value` as a SQL text literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def quoted_name(name: str) -> str:
    """Write `name` as a SQL identifier."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole result and what it cost.

    Parameters
    ----------
    data
        The result in its format.
    read_rows, read_bytes, written_rows, written_bytes
        What the database read and wrote for it.
    elapsed_s
        How long it took, seconds.
    """

    data: bytes
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed_s: float = 0.0


class EngineConnection:
    """One request's connection. Its methods block; they raise `DatabaseFailure`."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._stream: Any = None
        self._insert: Any = None

    def query(self, statement: str, form: str) -> Answer:
        """Run a statement and return all of its result in format `form`."""
        try:
            result = self._raw.query(statement, form)
        except (RuntimeError, ValueError) as error:
            raise failure_of(error) from None
        return _answer(result, bytes(result.bytes()))

    def open_stream(self, statement: str, form: str) -> None:
        """Begin a ``SELECT`` whose result is fetched in chunks."""
        try:
            self._stream = self._raw.send_query(statement, form)
        except (RuntimeError, ValueError) as error:
            raise failure_of(error) from None

    def fetch(self) -> tuple[bytes, int]:
        """Return the next chunk and its rows; zero rows mean the end (with what closes it)."""
        try:
            chunk = self._raw.streaming_fetch_result(self._stream)
        except (RuntimeError, ValueError) as error:
            self._stream = None
            raise failure_of(error) from None
        if chunk is None:
            return b"", 0
        return bytes(chunk.bytes()), int(chunk.rows_read())

    def open_insert(self, statement: str, form: str) -> None:
        """Begin an ``INSERT`` whose data is appended in chunks."""
        try:
            self._insert = self._raw.send_insert(statement, form)
        except (RuntimeError, ValueError) as error:
            raise failure_of(error) from None

    def append(self, data: bytes) -> None:
        """Hand on a chunk of the data; it may end anywhere."""
        try:
            self._raw.insert_append(self._insert, data)
        except (RuntimeError, ValueError) as error:
            self._insert = None
            raise failure_of(error) from None

    def finish_insert(self) -> Answer:
        """Commit the data; when this returns, it survives ``kill -9``."""
        handle, self._insert = self._insert, None
        try:
            result = self._raw.insert_done(handle)
        except (RuntimeError, ValueError) as error:
            raise failure_of(error) from None
        return Answer(
            b"",
            written_rows=int(result.rows_written()),
            written_bytes=int(result.bytes_written()),
            elapsed_s=float(result.elapsed()),
        )

    def close(self) -> None:
        """Close it; an open stream ends, an unfinished insert is not committed."""
        insert, self._insert = self._insert, None
        stream, self._stream = self._stream, None
        try:
            if insert is not None:
                self._raw.insert_cancel(insert)
            if stream is not None:
                self._raw.streaming_cancel_query(stream)
        except (RuntimeError, ValueError) as error:
            raise failure_of(error) from None
        finally:
            self._raw.close()


class ChdbEngine:
    """The database of one folder, in this process.

    Parameters
    ----------
    path
        The folder.
    memory_mb
        Memory that all queries together may take, MiB.
    """

    def __init__(self, path: Path, memory_mb: int) -> None:
        self._path = str(path.resolve())
        self._anchor: Any = None
        self._control = threading.Lock()
        memory = memory_mb * 1024 * 1024
        self._baseline = {
            "async_insert": "0",
            "session_timezone": "UTC",
            "max_memory_usage": str(memory),
            "max_memory_usage_for_user": str(memory),
            "max_bytes_before_external_sort": str(memory // 4),
            "max_bytes_before_external_group_by": str(memory // 4),
        }

    def open(self) -> None:
        """Open the folder and make the database.

        Raises
        ------
        StartError
            Where chDB cannot: its words are in the message.
        """
        _chdb().set_signal_handlers_enabled(0)
        try:
            self._anchor = _chdb().connect(self._path)
            self._anchor.query(f"CREATE DATABASE IF NOT EXISTS {DEFAULT_DATABASE}", "TSV")
        except RuntimeError as error:
            self.close()
            raise StartError(
                f"the embedded store {self._path} does not open: {failure_of(error)}; "
                "check free space and permissions"
            ) from None

    def connection(
        self, database: str, settings: Mapping[str, str], setup: Sequence[str] = ()
    ) -> EngineConnection:
        """Open a connection of its own settings.

        Parameters
        ----------
        database
            What unqualified names mean.
        settings
            Settings and ``param_*`` values, unquoted, applied over the engine's own.
        setup
            ``SET`` statements to run after them (a session's).

        Raises
        ------
        DatabaseFailure
            Where the database or a setting is unknown or wrong.
        """
        raw = _chdb().connect(self._path)
        try:
            raw.query(_set(self._baseline), "TSV")
            raw.query(f"USE {quoted_name(database)}", "TSV")
            for statement in setup:
                raw.query(statement, "TSV")
            if settings:
                raw.query(_set(settings), "TSV")
        except (RuntimeError, ValueError) as error:
            raw.close()
            raise failure_of(error) from None
        return EngineConnection(raw)

    def is_read_only(self, statement: str) -> bool:
        """Whether a statement only reads, as chDB's own parser classifies it."""
        with self._control:
            found = self._anchor.classify_query(statement)
        return bool(found["query_class"] == _chdb().query_class.READ_ONLY)

    def statement_count(self, statement: str) -> int:
        """How many statements a text holds; 0 where it does not parse."""
        with self._control:
            return int(self._anchor.classify_query(statement)["statement_count"])

    def kill(self, query_id: str) -> None:
        """Cancel the running queries that carry `query_id`; none is no error."""
        with self._control:
            self._anchor.query(
                f"KILL QUERY WHERE Settings['{TAG}'] = {quoted(query_id)} ASYNC", "TSV"
            )

    def close(self) -> None:
        """Close it; what was acknowledged is on disk."""
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None


def _set(settings: Mapping[str, str]) -> str:
    pairs = (f"{name} = {quoted(value)}" for name, value in settings.items())
    return "SET " + ", ".join(pairs)


def _answer(result: Any, data: bytes) -> Answer:
    return Answer(
        data,
        int(result.storage_rows_read()),
        int(result.storage_bytes_read()),
        int(result.rows_written()),
        int(result.bytes_written()),
        float(result.elapsed()),
    )
