"""Batches on disk while the store does not answer: bounded, in order, replayed once.

One folder per writer, one Arrow IPC file per batch, ``NUMBER-TABLE.arrow``. A number is the UTC
nanosecond at which the batch was cut, always above the one before, so that names sort in the
order of the rows, also across restarts. A file gets its name only after it is whole and on disk
(written as ``.part``, fsynced, renamed, the folder fsynced), and is removed only after the store
has it; whatever moment a process is killed in, every file with that name is a whole batch.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import threading
from bisect import insort
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from engine.clock import Clock, SystemClock
from engine.errors import StoreError
from engine.metrics import ERRORS, SPOOL_BYTES, SPOOLED_BATCHES
from engine.store.tables import TABLES

_NAME = re.compile(r"(\d{19})-(\w+)\.arrow")
_PART = ".part"
_DAMAGED = ".damaged"
_TOKEN = b"insert_deduplication_token"

_log = logging.getLogger("engine.store.spool")


class SpoolFull(StoreError):
    """The spool has no room for a batch."""


class SpoolTaken(StoreError):
    """Another process has the spool open."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one table that are written together.

    Parameters
    ----------
    number
        Its place among the batches of one writer, UTC nanoseconds.
    table
        Where it goes.
    rows
        What goes there.
    token
        Deduplication token of its first try, and of every further one.
    """

    number: int
    table: str
    rows: pa.Table
    token: str


@dataclass(frozen=True, slots=True, order=True)
class _Entry:
    """A batch's file."""

    number: int
    path: Path
    size: int


class Spool:
    """Keeps one writer's batches on disk. Blocking; may be shared between threads.

    Every method raises OSError where the disk does; what was on disk stays there.

    Parameters
    ----------
    folder
        This writer's own; made where it is missing. A second process that opens it is refused.
    capacity_bytes
        Most that the files may take together.
    clock
        Numbers the batches.

    Examples
    --------
    >>> spool = Spool(Path("data/spool/binance-0"), 2**30)    # doctest: +SKIP
    >>> spool.append(batch)                                   # doctest: +SKIP
    >>> spool.first("trades") == batch                        # doctest: +SKIP
    True
    >>> spool.remove(batch)                                   # doctest: +SKIP
    """

    def __init__(self, folder: Path, capacity_bytes: int, clock: Clock | None = None) -> None:
        self.folder = folder
        self.capacity_bytes = capacity_bytes
        self.is_full = False
        """Whether the last batch that came found no room, and none was removed since."""
        self._clock = clock or SystemClock()
        self._entries: dict[str, list[_Entry]] = {}
        self._last_number = 0
        self._lock = threading.RLock()
        self._owned: int | None = None

    def open(self) -> None:
        """Take the folder, and take up what an earlier process left; again, it does nothing.

        Raises
        ------
        SpoolTaken
            Where another process has it.
        """
        with self._lock:
            if self._owned is not None:
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._scan()
            except BlockingIOError:
                os.close(descriptor)
                raise SpoolTaken(
                    f"{self.folder}: another process writes to this spool; it is used when that "
                    "process has ended"
                ) from None
            except BaseException:
                os.close(descriptor)
                raise
            self._owned = descriptor
        if self.batches:
            _log.warning(
                "%s: %d batches (%d bytes) of an earlier run wait for the store",
                self.folder, self.batches, self.size_bytes,
            )  # fmt: skip

    def close(self) -> None:
        """Let go of the folder; the files stay."""
        with self._lock:
            if self._owned is not None:
                os.close(self._owned)
                self._owned = None
            self._entries.clear()

    def number(self) -> int:
        """Return the next batch's number."""
        with self._lock:
            self._last_number = max(self._clock.now_ns(), self._last_number + 1)
            return self._last_number

    @property
    def tables(self) -> list[str]:
        """Tables that batches wait for."""
        with self._lock:
            return [table for table, entries in self._entries.items() if entries]

    @property
    def batches(self) -> int:
        """How many batches wait."""
        with self._lock:
            return sum(map(len, self._entries.values()))

    @property
    def size_bytes(self) -> int:
        """What they take on disk."""
        with self._lock:
            return sum(entry.size for entries in self._entries.values() for entry in entries)

    @property
    def since(self) -> int | None:
        """When the oldest of them was cut, UTC nanoseconds; None where none waits."""
        with self._lock:
            return min((e[0].number for e in self._entries.values() if e), default=None)

    def append(self, batch: Batch) -> None:
        """Put a batch on disk; when it returns, it stays there whatever happens.

        Raises
        ------
        SpoolFull
            Where it would take more than `capacity_bytes`.
        SpoolTaken
            Where another process has the folder.
        """
        data = _encode(batch)
        with self._lock:
            self.open()
            if self.size_bytes + data.size > self.capacity_bytes:
                self.is_full = True
                raise SpoolFull(
                    f"the spool {self.folder} is full: {self.size_bytes} of {self.capacity_bytes} "
                    f"bytes in {self.batches} batches (store.spool_mb)"
                )
            path = self.folder / f"{batch.number:019}-{batch.table}.arrow"
            self._write(path, data)
            insort(self._entries.setdefault(batch.table, []), _Entry(batch.number, path, data.size))
            self._measure(batch.table)
        SPOOLED_BATCHES.labels(batch.table).inc()

    def first(self, table: str) -> Batch | None:
        """Return the oldest batch for a table, None where there is none.

        A file that holds no batch (a disk that lied) is counted and set aside as ``.damaged``: the
        gap ledger finds and repairs the trades in it, and of other rows it is all that is left.
        """
        while True:
            with self._lock:
                entries = self._entries.get(table)
                if not entries:
                    return None
                entry = entries[0]
            try:
                return _decode(entry, table, entry.path.read_bytes())
            except (pa.ArrowException, KeyError, UnicodeDecodeError) as error:
                beside = entry.path.with_name(entry.path.name + _DAMAGED)
                _log.error("%s is damaged (%s): kept as %s", entry.path, error, beside.name)
                entry.path.rename(beside)
            except FileNotFoundError:
                _log.error("%s is gone: somebody else removed it", entry.path)
            ERRORS.labels("store", "spool_damaged").inc()
            self._forget(table, entry)

    def remove(self, batch: Batch) -> None:
        """Delete a batch's file, which the store has now."""
        with self._lock:
            for entry in self._entries.get(batch.table, ()):
                if entry.number == batch.number:
                    self._forget(batch.table, entry)
                    return

    def waits_for(self, table: str) -> bool:
        """Whether a batch for this table is on disk."""
        with self._lock:
            return bool(self._entries.get(table))

    def _forget(self, table: str, entry: _Entry) -> None:
        with self._lock:
            # First of all: what a disk does not delete would be sent again and again.
            self._entries[table].remove(entry)
            self.is_full = False
            self._measure(table)
            entry.path.unlink(missing_ok=True)

    def _measure(self, table: str) -> None:
        SPOOL_BYTES.labels(table).set(sum(entry.size for entry in self._entries[table]))

    def _write(self, path: Path, data: pa.Buffer) -> None:
        part = path.with_name(path.name + _PART)
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
            _sync_folder(self.folder)
        except OSError:
            for left in (part, path):
                _unlink_quietly(left)
            raise

    def _scan(self) -> None:
        self._entries.clear()
        for path in sorted(self.folder.iterdir()):
            found = _NAME.fullmatch(path.name)
            if path.name.endswith(_PART):
                _log.warning("%s was being written when its process died: it is dropped", path)
                path.unlink()
            elif found is not None and found[2] in TABLES:
                entry = _Entry(int(found[1]), path, path.stat().st_size)
                self._entries.setdefault(found[2], []).append(entry)
                self._last_number = max(self._last_number, entry.number)
            elif path.name.endswith(_DAMAGED):
                _log.warning("%s could not be read: it stays there until you remove it", path)
            elif path.name != "lock":
                _log.warning("%s is no batch for a table that we know: it stays there", path)
        for table in self._entries:
            self._measure(table)


def _encode(batch: Batch) -> pa.Buffer:
    schema = batch.rows.schema.with_metadata({_TOKEN: batch.token})
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, schema, options=options) as file:
        file.write_table(batch.rows.replace_schema_metadata(schema.metadata))
    return sink.getvalue()


def _decode(entry: _Entry, table: str, data: bytes) -> Batch:
    with pa.ipc.open_file(pa.BufferReader(data)) as file:
        rows = file.read_all()
    # Damage inside a column is only found by looking: the file has no checksum of its own.
    rows.validate(full=True)
    token = (rows.schema.metadata or {})[_TOKEN].decode()
    return Batch(entry.number, table, rows.replace_schema_metadata(None), token)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink_quietly(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s cannot be removed: %s", path, error)
