"""Rows into the store, in batches, once each, and never lost without a word."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.config import StoreConfig
from engine.errors import StoreError, StoreUnavailable
from engine.store.client import Store
from engine.store.outbox import Outbox, Refusal, Shared
from engine.store.spool import Spool, SpoolTaken
from engine.store.tables import table_named

__all__ = ["BatchWriter", "Refusal"]

DRAIN_PATIENCE_S = 1.0
"""How long `BatchWriter.flush` waits for nothing at all to be left, before it makes do with what
it was asked for."""
CLOSE_PATIENCE_S = 10.0
"""How long `BatchWriter.close` waits for a store that does not answer, seconds."""
KEPT_REFUSALS = 100
"""How many refused batches stay in `BatchWriter.refused`; all are counted."""

_log = logging.getLogger("engine.store.writer")


class BatchWriter:
    """Gathers rows per table and writes them in batches.

    A batch goes when it has ``flush_rows`` rows or its oldest has waited ``flush_ms``, up to three
    times that where the store is slow to answer: fewer inserts help it. While the
    store does not answer, batches go to disk (`engine.store.spool`) with their deduplication
    tokens, and from there to the store, in order, when it is back; `put` waits only once that
    disk space is used up and ``buffer_rows`` rows are held. A batch that the database refuses is
    not tried again: it is logged, counted, kept in `refused` (the last 100), and the next
    `flush` or `close` raises.

    Use it from one event loop. One writer writes a market's trades at a time.

    Parameters
    ----------
    store
        Where to.
    config
        Sizes and times.
    spool_dir
        Folder of this writer alone, by a name that stays the same from start to start: what a
        killed process left there is written before anything new. None, or ``spool_mb`` 0, keeps
        batches in memory.

    Examples
    --------
    >>> folder = Path(config.data_dir) / "spool" / name                        # doctest: +SKIP
    >>> writer = BatchWriter(store, config.store, spool_dir=folder)            # doctest: +SKIP
    >>> await writer.put("trades", trades)                                     # doctest: +SKIP
    >>> await writer.close()                                                   # doctest: +SKIP
    """

    def __init__(self, store: Store, config: StoreConfig, *, spool_dir: Path | None = None) -> None:
        self._config = config
        self._spool = (
            Spool(spool_dir, config.spool_mb * 2**20)
            if spool_dir is not None and config.spool_mb
            else None
        )
        self._shared = Shared(store, config, self._spool, self._note_refusal, self._room_made)
        self._outboxes: dict[str, Outbox] = {}
        self._room = asyncio.Condition()
        self._due = asyncio.Event()
        self._starting = asyncio.Lock()
        self._loop_task: asyncio.Task[None] | None = None
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
        await self._start()
        for start in range(0, len(rows), self._config.buffer_rows):
            await self._take(table, rows[start : start + self._config.buffer_rows])

    async def _take(self, table: str, rows: Sequence[msgspec.Struct]) -> None:
        def has_room() -> bool:
            return self.held == 0 or self.held + len(rows) <= self._config.buffer_rows

        async with self._room:
            if not has_room():
                self._shared.waiting += 1
                self._due.set()
                try:
                    await self._room.wait_for(has_room)
                finally:
                    self._shared.waiting -= 1
        outbox = self._outbox(table)
        outbox.take(rows)
        if outbox.is_full:
            self._due.set()

    @property
    def held(self) -> int:
        """Rows taken and in memory, not yet stored; those on disk are not among them."""
        return sum(outbox.held for outbox in self._outboxes.values())

    async def flush(self) -> None:
        """Write all rows handed over so far, and what an earlier process left on disk.

        Returns when they are stored. It waits for a store that does not answer; giving up the
        wait loses nothing.

        Raises
        ------
        StoreError
            Where a batch was refused since the last report; its rows are in `refused`.
        """
        await self._start()
        targets = {table: outbox.taken for table, outbox in self._outboxes.items()}
        # Shielded: a batch that is being written cannot be taken back, so it is not cancelled
        # because the caller no longer waits for it.
        drains = (self._start_drain(table, targets.get(table, 0)) for table in self._tables())
        drained = asyncio.gather(*map(asyncio.shield, drains))
        try:
            if not (await asyncio.wait([drained], timeout=DRAIN_PATIENCE_S))[0]:
                # Where batches are always full no drain ends: rows taken before are enough.
                settled = asyncio.ensure_future(self._until_settled(targets))
                futures: set[asyncio.Future[Any]] = {drained, settled}
                await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
                settled.cancel()
            if drained.done():
                drained.result()
        finally:
            drained.cancel()
        self._report_refused()

    async def _until_settled(self, targets: dict[str, int]) -> None:
        async with self._room:
            await self._room.wait_for(
                lambda: all(self._outboxes[table].has_settled(n) for table, n in targets.items())
            )

    async def close(self) -> None:
        """Write what is held and end.

        Where the store does not answer in time, what is held goes to disk, for the next writer
        of this name.

        Raises
        ------
        StoreUnavailable
            Where the store did not answer in time and rows found no room on disk: says how many
            are lost.
        StoreError
            Where a batch was refused and no `flush` has reported it.
        """
        self._closed = True
        try:
            await asyncio.wait_for(self.flush(), CLOSE_PATIENCE_S)
        except TimeoutError:
            await self._end_tasks()
            await self._put_aside()
        finally:
            await self._end_tasks()
            if self._spool is not None:
                await asyncio.to_thread(self._spool.close)

    def status(self) -> dict[str, Any]:
        """Return what is held and what went wrong, for people and metrics.

        ``spool`` is None where there is none; its ``since`` is the UTC nanosecond from which on
        batches wait on disk, None where none does.
        """
        shared = self._shared
        return {
            "held": self.held,
            "capacity": self._config.buffer_rows,
            "tables": {
                table: {
                    "held": outbox.held,
                    "written": outbox.written,
                    "already_stored": outbox.skipped,
                }
                for table, outbox in self._outboxes.items()
            },
            "spool": self._spool_status(),
            "retries": shared.retries,
            "unavailable": str(shared.unavailable) if shared.unavailable else None,
            "refused_batches": self._refused_batches,
            "refused_rows": self._refused_rows,
            "last_refusal": str(self.refused[-1].error) if self.refused else None,
        }

    def _spool_status(self) -> dict[str, Any] | None:
        spool = self._spool
        if spool is None:
            return None
        return {
            "batches": spool.batches,
            "bytes": spool.size_bytes,
            "capacity_bytes": spool.capacity_bytes,
            "since": spool.since,
            "is_full": spool.is_full,
            "refusals": self._shared.spool_refusals,
            "problem": self._shared.disk_problem,
        }

    def _note_refusal(self, refusal: Refusal) -> None:
        self.refused.append(refusal)
        self._refused_batches += 1
        self._refused_rows += len(refusal.rows)
        self._unreported = self._unreported or refusal.error

    def _report_refused(self) -> None:
        first, self._unreported = self._unreported, None
        if first is not None:
            raise first

    # -- at work -----------------------------------------------------------------------------

    async def _start(self) -> None:
        if self._loop_task is not None:
            return
        async with self._starting:
            if self._loop_task is None:
                await self._open_spool()
                self._loop_task = asyncio.create_task(self._drain_for_ever(), name="store-writer")

    async def _open_spool(self) -> None:
        if self._spool is not None:
            try:
                await asyncio.to_thread(self._spool.open)
            except (SpoolTaken, OSError) as error:
                # Tried again when there is something to be put there.
                self._shared.disk_failed(error)

    async def _drain_for_ever(self) -> None:
        look_s = self._config.flush_ms / 4000
        while True:
            for table in self._tables():
                outbox = self._outbox(table)
                is_due = outbox.is_due or (self._spool and self._spool.waits_for(table))
                if is_due and not outbox.is_busy:
                    self._start_drain(table)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), look_s)
            self._due.clear()

    def _tables(self) -> list[str]:
        return list({**self._outboxes, **dict.fromkeys(self._spool.tables if self._spool else ())})

    def _outbox(self, table: str) -> Outbox:
        if table not in self._outboxes:
            self._outboxes[table] = Outbox(table, self._shared)
        return self._outboxes[table]

    def _start_drain(self, table: str, upto: int = 0) -> asyncio.Task[None]:
        task = asyncio.create_task(self._outbox(table).drain(upto), name=f"store-writer-{table}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _room_made(self) -> None:
        async with self._room:
            self._room.notify_all()

    # -- the end -----------------------------------------------------------------------------

    async def _end_tasks(self) -> None:
        """End drains at a moment when no row is between memory and disk."""
        self._shared.is_ending = True
        if self._loop_task is not None:
            self._loop_task.cancel()
        running = [*self._tasks, *([self._loop_task] if self._loop_task else [])]
        await asyncio.gather(*running, return_exceptions=True)

    async def _put_aside(self) -> None:
        for outbox in self._outboxes.values():
            await outbox.put_aside()
        why = self._shared.unavailable or "the store is slow"
        if self.held:
            raise StoreUnavailable(
                f"{self.held} rows were not stored within {CLOSE_PATIENCE_S:.0f} s: {why}"
            )
        if self._spool is not None:
            _log.warning(
                "%d batches wait in %s for the next start: %s",
                self._spool.batches, self._spool.folder, why,
            )  # fmt: skip
