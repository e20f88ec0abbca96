"""Rows into the store, in batches, once each, and never lost without a word."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from engine.config import StoreConfig
from engine.errors import StoreError, StoreUnavailable
from engine.metrics import ERRORS, FLUSH_ROWS, FLUSH_SECONDS, QUEUED_ROWS
from engine.store.client import Store
from engine.store.once import OnceFilter
from engine.store.tables import content_token, table_named

RETRY_FIRST_S = 0.25
RETRY_CAP_S = 10.0
CLOSE_PATIENCE_S = 10.0
"""How long `BatchWriter.close` waits for a store that does not answer, seconds."""
KEPT_REFUSALS = 100
"""How many refused batches stay in `BatchWriter.refused`; all are counted."""
_ONCE_TABLES = ("trades", "book_tops")

_log = logging.getLogger("engine.store.writer")


@dataclass(slots=True)
class Refusal:
    """A batch that the database refused.

    Parameters
    ----------
    table
        Where it should have gone.
    rows
        What is not stored.
    error
        Why.
    """

    table: str
    rows: Sequence[msgspec.Struct]
    error: StoreError


@dataclass(slots=True)
class _Buffer:
    rows: list[msgspec.Struct] = field(default_factory=list)
    oldest_s: float = 0.0
    writing: int = 0
    written: int = 0
    skipped: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class BatchWriter:
    """Gathers rows per table and writes them in batches.

    A batch goes when it has ``flush_rows`` rows or its oldest has waited ``flush_ms``. While the
    store does not answer, the batch is tried again with the same deduplication token, and `put`
    waits once ``buffer_rows`` rows are held. A batch that the database refuses is not tried
    again: it is logged, counted, kept in `refused` (the last 100), and the next `flush` or
    `close` raises.

    Use it from one event loop. One writer writes a market's trades at a time.

    Parameters
    ----------
    store
        Where to.
    config
        Sizes and times.

    Examples
    --------
    >>> writer = BatchWriter(store, config.store)      # doctest: +SKIP
    >>> await writer.put("trades", trades)             # doctest: +SKIP
    >>> await writer.close()                           # doctest: +SKIP
    """

    def __init__(self, store: Store, config: StoreConfig) -> None:
        self._store = store
        self._config = config
        self._buffers: dict[str, _Buffer] = {}
        self._once = {table: OnceFilter(store, table) for table in _ONCE_TABLES}
        self._room = asyncio.Condition()
        self._due = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._unavailable: StoreUnavailable | None = None
        self._retries = 0
        self._refused_batches = 0
        self._refused_rows = 0
        self._unreported: StoreError | None = None
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.refused: deque[Refusal] = deque(maxlen=KEPT_REFUSALS)
        """The last batches that the database refused, oldest first."""

    async def put(self, table: str, rows: Sequence[msgspec.Struct]) -> None:
        """Hand rows over; waits while too many are held.

        Raises
        ------
        StoreError
            Where there is no such table, or the writer is closed.
        """
        table_named(table)
        if self._closed:
            raise StoreError("the writer is closed: no more rows are taken")
        if self._loop_task is None:
            self._loop_task = asyncio.create_task(self._flush_for_ever(), name="store-writer")
        for start in range(0, len(rows), self._config.buffer_rows):
            await self._take(table, rows[start : start + self._config.buffer_rows])

    async def _take(self, table: str, rows: Sequence[msgspec.Struct]) -> None:
        async with self._room:
            await self._room.wait_for(
                lambda: self.held == 0 or self.held + len(rows) <= self._config.buffer_rows
            )
        buffer = self._buffers.setdefault(table, _Buffer())
        if not buffer.rows:
            buffer.oldest_s = time.monotonic()
        buffer.rows.extend(rows)
        QUEUED_ROWS.labels(table).set(len(buffer.rows) + buffer.writing)
        if len(buffer.rows) >= self._config.flush_rows:
            self._due.set()

    @property
    def held(self) -> int:
        """Rows taken and not yet stored."""
        return sum(len(buffer.rows) + buffer.writing for buffer in self._buffers.values())

    async def flush(self) -> None:
        """Write all rows handed over so far; returns when they are stored.

        It waits for a store that does not answer; giving up the wait loses nothing.

        Raises
        ------
        StoreError
            Where a batch was refused since the last report; its rows are in `refused`.
        """
        # Shielded: a batch that is being written cannot be taken back, so it is not cancelled
        # because the caller no longer waits for it.
        drains = [self._start_drain(table) for table in list(self._buffers)]
        await asyncio.gather(*map(asyncio.shield, drains))
        self._report_refused()

    async def close(self) -> None:
        """Write what is held and end.

        Raises
        ------
        StoreUnavailable
            Where the store did not answer in time: says how many rows are not stored.
        StoreError
            Where a batch was refused and no `flush` has reported it.
        """
        self._closed = True
        try:
            await asyncio.wait_for(self.flush(), CLOSE_PATIENCE_S)
        except TimeoutError:
            raise StoreUnavailable(
                f"{self.held} rows were not stored within {CLOSE_PATIENCE_S:.0f} s: "
                f"{self._unavailable or 'the store is slow'}"
            ) from None
        finally:
            running = [*self._tasks, *([self._loop_task] if self._loop_task else [])]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def status(self) -> dict[str, Any]:
        """Return what is held and what went wrong, for people and metrics."""
        return {
            "held": self.held,
            "capacity": self._config.buffer_rows,
            "tables": {
                table: {
                    "held": len(buffer.rows) + buffer.writing,
                    "written": buffer.written,
                    "already_stored": buffer.skipped,
                }
                for table, buffer in self._buffers.items()
            },
            "retries": self._retries,
            "unavailable": str(self._unavailable) if self._unavailable else None,
            "refused_batches": self._refused_batches,
            "refused_rows": self._refused_rows,
            "last_refusal": str(self.refused[-1].error) if self.refused else None,
        }

    def _report_refused(self) -> None:
        first, self._unreported = self._unreported, None
        if first is not None:
            raise first

    async def _flush_for_ever(self) -> None:
        # Looking four times as often, at three quarters of the time, none waits longer than it.
        look_s = self._config.flush_ms / 4000
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), look_s)
            self._due.clear()
            now = time.monotonic()
            for table, buffer in list(self._buffers.items()):
                full = len(buffer.rows) >= self._config.flush_rows
                old = bool(buffer.rows) and now - buffer.oldest_s >= 3 * look_s
                if (full or old) and not buffer.turn.locked():
                    self._start_drain(table)

    def _start_drain(self, table: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._drain(table), name=f"store-writer-{table}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _drain(self, table: str) -> None:
        buffer = self._buffers[table]
        async with buffer.turn:
            while buffer.rows:
                size = self._config.flush_rows
                batch, buffer.rows = buffer.rows[:size], buffer.rows[size:]
                buffer.oldest_s = time.monotonic()
                buffer.writing = len(batch)
                try:
                    await self._write(table, buffer, batch)
                except asyncio.CancelledError:
                    # Only `close` cancels: what it could not write stays held and counted.
                    buffer.rows = batch + buffer.rows
                    raise
                finally:
                    buffer.writing = 0
                    QUEUED_ROWS.labels(table).set(len(buffer.rows))
                    async with self._room:
                        self._room.notify_all()

    async def _write(self, table: str, buffer: _Buffer, batch: list[msgspec.Struct]) -> None:
        attempt = 0
        while True:
            started = time.monotonic()
            try:
                stored = await asyncio.to_thread(self._store_batch, table, batch)
            except StoreUnavailable as error:
                await self._wait_to_retry(table, error, attempt)
                attempt += 1
                continue
            except StoreError as error:
                self._refuse(table, batch, error)
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the rows stay visible
                _log.exception("a batch for %s cannot be written", table)
                self._refuse(table, batch, StoreError(f"rows for {table}: {error!r}"))
                return
            self._unavailable = None
            buffer.written += stored
            buffer.skipped += len(batch) - stored
            FLUSH_ROWS.labels(table).observe(stored)
            FLUSH_SECONDS.labels(table).observe(time.monotonic() - started)
            return

    def _store_batch(self, table: str, batch: list[Any]) -> int:
        once = self._once.get(table)
        rows = once.missing(batch) if once else batch
        if not rows:
            return 0
        arrow = table_named(table).to_arrow(rows)
        # Only rows that are unique by themselves may be dropped as a repetition: the same
        # dead letter twice is two, but the two differ in their receive_time.
        self._store.insert_arrow(table, arrow, content_token(table, arrow))
        if once:
            once.written(rows)
        return len(rows)

    async def _wait_to_retry(self, table: str, error: StoreUnavailable, attempt: int) -> None:
        if self._unavailable is None:
            _log.warning("batch for %s waits: %s", table, error)
        self._unavailable = error
        self._retries += 1
        ERRORS.labels("store", "unavailable").inc()
        bound = min(RETRY_CAP_S, RETRY_FIRST_S * 2**attempt)
        await asyncio.sleep(random.uniform(bound / 2, bound))

    def _refuse(self, table: str, batch: list[msgspec.Struct], error: StoreError) -> None:
        _log.error("the store refused %d rows for %s: %s", len(batch), table, error)
        ERRORS.labels("store", "refused").inc()
        self.refused.append(Refusal(table, tuple(batch), error))
        self._refused_batches += 1
        self._refused_rows += len(batch)
        self._unreported = self._unreported or error
