"""One table's rows on their way to the store, in order: memory, disk where need be, store."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.config import StoreConfig
from engine.errors import StoreError, StoreUnavailable
from engine.metrics import ERRORS, FLUSH_ROWS, FLUSH_SECONDS, QUEUED_ROWS
from engine.store.client import Store
from engine.store.once import ONCE_TABLES, OnceFilter
from engine.store.spool import Batch, Spool, SpoolFull, SpoolTaken
from engine.store.tables import content_token, table_named

RETRY_FIRST_S = 0.25
RETRY_CAP_S = 10.0
PATIENCE_S = 5.0
"""How long a try may take before newer rows go to disk meanwhile, seconds."""
_LOOK_CAP_S = 0.25

BUSY_SHARE = 0.05
"""Share of the time that a table's inserts may take before its rows are gathered for longer. What
an insert costs hardly depends on its rows: a store that is slow, for it shares its cores with a
thousand markets, is helped by fewer of them."""
LONGEST_GATHERING = 3.0
"""How many times as long as without that."""

UNHURRIED = frozenset({"book_tops", "candles", "perpetuals"})
"""Tables whose rows are always gathered for so long: a third of the inserts. What is lost of them
with a killed process is made again from trades, or was the newest state alone; a trade may be more
than the venue's REST gives back."""

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
class Shared:
    """What the tables of one writer share.

    Parameters
    ----------
    store
        Where to.
    config
        Sizes and times.
    spool
        Disk for when the store does not answer; None keeps all in memory.
    refused
        Is told of a batch that the database refuses.
    room_made
        Is awaited when rows have left memory.
    """

    store: Store
    config: StoreConfig
    spool: Spool | None
    refused: Callable[[Refusal], None]
    room_made: Callable[[], Awaitable[None]]
    retries: int = 0
    unavailable: StoreUnavailable | None = None
    disk_problem: str | None = None
    """Why the last batch could not be put on disk; None where it could."""
    spool_refusals: int = 0
    """How often a batch found no room on disk, or the disk failed."""
    waiting: int = 0
    """How many wait for room in memory: whatever is held is due then."""
    is_ending: bool = False
    """Whether drains are to stop at the next try, done or not."""

    def disk_failed(self, error: SpoolFull | SpoolTaken | OSError) -> None:
        """Count, and say once, that rows cannot be put on disk."""
        kind = "spool_full" if isinstance(error, SpoolFull) else "spool_disk"
        ERRORS.labels("store", kind).inc()
        self.spool_refusals += 1
        if self.disk_problem is None:
            _log.error(
                "%s; rows wait in memory, at most store.buffer_rows of them, then reading pauses",
                error,
            )
        self.disk_problem = str(error)


class Outbox:
    """Rows of one table, from `take` until they are stored or refused.

    At any time there is at most one batch under way. While the store does not answer, it is
    put on disk, and so is what becomes due behind it. From disk, batches go to the store oldest
    first, and before anything newer in memory.

    Parameters
    ----------
    table
        Its name.
    shared
        What the writer's tables share.
    """

    def __init__(self, table: str, shared: Shared) -> None:
        self.written = 0
        """Rows stored."""
        self.skipped = 0
        """Rows left out because the store held them."""
        self._table = table
        self._shared = shared
        self._spool = shared.spool
        self._once = OnceFilter(shared.store, table) if table in ONCE_TABLES else None
        self._rows: list[msgspec.Struct] = []
        self._oldest_s = 0.0
        self._cutting: list[msgspec.Struct] = []
        self._current: Batch | None = None
        self._is_on_disk = False
        self._attempt = 0
        self._taken = 0
        self._cut_rows = 0
        self._settled_rows = 0
        self._ends: dict[int, int] = {}
        """Number of a batch of ours -> rows cut up to its end."""
        self._may_hold_older = True
        """Whether the disk may hold batches of an earlier process."""
        self._turn = asyncio.Lock()
        # Looked at four times in `flush_ms`, so a quarter of it early: no row waits longer.
        flush_s = shared.config.flush_ms / 1000
        self._longest_s = flush_s * (LONGEST_GATHERING - 0.25)
        self._patience_s = self._longest_s if table in UNHURRIED else flush_s * 0.75
        self._insert_s = 0.0
        self._look_s = min(_LOOK_CAP_S, shared.config.flush_ms / 4000)

    @property
    def held(self) -> int:
        """Rows in memory, not yet stored."""
        under_way = self._current
        alone = under_way.rows.num_rows if under_way and not self._is_on_disk else 0
        return len(self._rows) + len(self._cutting) + alone

    @property
    def is_full(self) -> bool:
        """Whether there are enough rows for a batch."""
        return len(self._rows) >= self._shared.config.flush_rows

    @property
    def is_due(self) -> bool:
        """Whether a batch should go now: rows are gathered for longer while inserts take long."""
        paced_s = self._insert_s / BUSY_SHARE
        return self._is_due(min(max(self._patience_s, paced_s), self._longest_s))

    def _is_due(self, patience_s: float) -> bool:
        is_late = self._shared.waiting > 0 or time.monotonic() - self._oldest_s >= patience_s
        return self.is_full or (bool(self._rows) and is_late)

    @property
    def is_busy(self) -> bool:
        """Whether a drain is at work."""
        return self._turn.locked()

    def take(self, rows: Sequence[msgspec.Struct]) -> None:
        """Hold rows until the next drain."""
        if not self._rows:
            self._oldest_s = time.monotonic()
        self._taken += len(rows)
        self._rows.extend(rows)
        QUEUED_ROWS.labels(self._table).set(self.held)

    @property
    def taken(self) -> int:
        """Rows taken so far."""
        return self._taken

    def has_settled(self, rows: int) -> bool:
        """Whether the first `rows` rows taken, and what an earlier process left, are settled."""
        return self._settled_rows >= rows and not self._may_hold_older

    async def drain(self, upto: int = 0) -> None:
        """Store what waits on disk, and in memory what is due; lasts until the store answers.

        Parameters
        ----------
        upto
            So many of the rows taken so far (`taken`) go whether they are due or not. What comes
            while a batch is on its way waits for its own: else it would be sent in however small
            batches for as long as more comes.
        """
        async with self._turn:
            while not self._shared.is_ending:
                try:
                    batch = await self._next(upto)
                except OSError as error:
                    self._shared.disk_failed(error)
                    await self._sit_out()
                    continue
                if batch is None:
                    self._may_hold_older = False
                    return
                if await self._settle(batch):
                    self._attempt = 0
                    self._current = None
                    self._settled_rows = self._ends.pop(batch.number, self._settled_rows)
                    await self._left_memory()
                else:
                    await self._save()
                    await self._sit_out()

    async def put_aside(self) -> None:
        """Put on disk what is in memory, as far as there is room; only between drains."""
        while self.held and await self._save():
            pass

    # -- the batch under way ---------------------------------------------------------------

    async def _next(self, upto: int) -> Batch | None:
        """Return the oldest batch: the one under way, else from disk, else from memory."""
        if self._current is not None:
            return self._current
        if self._spool is not None and self._spool.waits_for(self._table):
            found = await asyncio.to_thread(self._spool.first, self._table)
            if found is not None:
                self._current, self._is_on_disk = found, True
                self._may_hold_older = self._may_hold_older and found.number not in self._ends
                return found
        self._may_hold_older = False
        if self._cut_rows >= upto and not self.is_due:
            return None
        batch = await self._cut()
        self._current, self._is_on_disk, self._cutting = batch, False, []
        return batch

    async def _cut(self) -> Batch | None:
        """Make a batch of the oldest rows in memory; they stay in `_cutting`.

        None where there are none; rows that do not fit the table are refused on the way.
        """
        size = self._shared.config.flush_rows
        while self._rows:
            self._cutting, self._rows = self._rows[:size], self._rows[size:]
            self._oldest_s = time.monotonic()
            self._cut_rows += len(self._cutting)
            number = self._spool.number() if self._spool else 0
            self._ends[number] = self._cut_rows
            try:
                return await asyncio.to_thread(_batch, number, self._table, self._cutting)
            except Exception as error:  # noqa: BLE001 - whatever it is, the rows stay visible
                self._refuse(self._cutting, error)
                del self._ends[number]
                self._cutting = []
                await self._left_memory()
        return None

    async def _settle(self, batch: Batch) -> bool:
        """Try to store a batch; False where the store does not answer."""
        started = time.monotonic()
        try:
            stored = await self._patiently(asyncio.to_thread(self._store, batch))
        except StoreUnavailable as error:
            self._note_unavailable(error)
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the rows stay visible
            self._refuse(table_named(self._table).from_arrow(batch.rows), error)
        else:
            self._shared.unavailable = None
            self.written += stored
            self.skipped += batch.rows.num_rows - stored
            FLUSH_ROWS.labels(self._table).observe(stored)
            self._insert_s = time.monotonic() - started
            FLUSH_SECONDS.labels(self._table).observe(self._insert_s)
        await self._remove(batch)
        return True

    async def _patiently(self, attempt: Coroutine[Any, Any, int]) -> int:
        """Wait for a try; where it takes long, newer rows go to disk meanwhile."""
        started = time.monotonic()
        work = asyncio.ensure_future(attempt)
        while not (await asyncio.wait({work}, timeout=self._look_s))[0]:
            if self._shared.is_ending:
                # It may be stored after all: then the next try finds it, or its token.
                work.add_done_callback(lambda late: late.cancelled() or late.exception())
                raise StoreUnavailable("the store did not answer before the writer was closed")
            if time.monotonic() - started >= PATIENCE_S:
                await self._save_due()
        return work.result()

    def _store(self, batch: Batch) -> int:
        """Store those rows of a batch that are not stored; return how many."""
        rows, token = batch.rows, batch.token
        if self._once is not None:
            rows = self._once.missing(rows)
            if rows.num_rows < batch.rows.num_rows:
                token = content_token(self._table, rows)
        # Only rows that are unique by themselves may be dropped as a repetition: the same
        # dead letter twice is two, but the two differ in their receive_time.
        try:
            self._shared.store.insert_arrow(self._table, rows, token)
        except StoreUnavailable:
            if self._once is not None:
                self._once.doubt(rows)
            raise
        if self._once is not None:
            self._once.written(rows)
        return int(rows.num_rows)

    # -- while the store does not answer -----------------------------------------------------

    async def _sit_out(self) -> None:
        """Wait until the next try, and put on disk what becomes due meanwhile."""
        bound = min(RETRY_CAP_S, RETRY_FIRST_S * 2 ** min(self._attempt, 16))
        self._attempt += 1
        until = time.monotonic() + random.uniform(bound / 2, bound)
        while not self._shared.is_ending and (left := until - time.monotonic()) > 0:
            await self._save_due()
            await asyncio.sleep(min(left, self._look_s))

    async def _save_due(self) -> None:
        """Put on disk what is due, the batch under way first."""
        # The disk needs no pacing.
        while (
            self._spool is not None and not self._spool.is_full and self._is_due(self._patience_s)
        ):
            if not await self._save():
                return

    async def _save(self) -> bool:
        """Put one batch on disk: the one under way, or where that is there, the rows behind it."""
        if self._current is not None and not self._is_on_disk:
            self._is_on_disk = await self._append(self._current)
            is_saved = self._is_on_disk
        else:
            batch = await self._cut() if self._spool else None
            is_saved = batch is not None and await self._append(batch)
            if not is_saved and batch is not None:
                self._rows[:0] = self._cutting
                self._cut_rows -= len(self._cutting)
                del self._ends[batch.number]
            self._cutting = []
        if is_saved:
            await self._left_memory()
        return is_saved

    async def _append(self, batch: Batch) -> bool:
        if self._spool is None:
            return False
        try:
            await asyncio.to_thread(self._spool.append, batch)
        except (SpoolFull, SpoolTaken, OSError) as error:
            self._shared.disk_failed(error)
            return False
        self._shared.disk_problem = None
        return True

    async def _remove(self, batch: Batch) -> None:
        if self._spool is None or not self._is_on_disk:
            return
        try:
            await asyncio.to_thread(self._spool.remove, batch)
        except OSError as error:
            self._shared.disk_failed(error)

    # -- telling ---------------------------------------------------------------------------

    async def _left_memory(self) -> None:
        QUEUED_ROWS.labels(self._table).set(self.held)
        await self._shared.room_made()

    def _note_unavailable(self, error: StoreUnavailable) -> None:
        if self._shared.unavailable is None:
            where = "memory" if self._spool is None else f"memory and {self._spool.folder}"
            _log.warning("batches wait in %s: %s", where, error)
        self._shared.unavailable = error
        self._shared.retries += 1
        ERRORS.labels("store", "unavailable").inc()

    def _refuse(self, rows: Sequence[msgspec.Struct], error: Exception) -> None:
        if not isinstance(error, StoreError):
            _log.error("a batch for %s cannot be written", self._table, exc_info=error)
            error = StoreError(f"rows for {self._table}: {error!r}")
        _log.error("the store refused %d rows for %s: %s", len(rows), self._table, error)
        ERRORS.labels("store", "refused").inc()
        self._shared.refused(Refusal(self._table, tuple(rows), error))


def _batch(number: int, table: str, rows: Sequence[msgspec.Struct]) -> Batch:
    arrow = table_named(table).to_arrow(rows)
    return Batch(number, table, arrow, content_token(table, arrow))
