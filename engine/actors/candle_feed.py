"""From a stream to the feature workers: each gets its markets' candles and books, in order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Mapping
from typing import Protocol

from engine.actors.book_queue import BookQueue
from engine.actors.messages import CandleBatch
from engine.domain.delisting import Delisting
from engine.domain.market import BookSnapshot, Candle

KEPT_CANDLES = 20_000
"""Closed candles kept to be told again to a worker that restarted."""

BACKLOG_CANDLES = 50_000
"""Closed candles that may wait for a worker; past that, reading from the socket pauses."""

RETRY_S = 0.5


class FeatureInlet(Protocol):
    """Whoever takes candles: a feature worker, by its handle."""

    async def ingest(self, batch: CandleBatch) -> str:
        """Take a batch; answer with an incarnation, new after every restart."""
        ...


class CandleFeed:
    """Hands candles to one worker, one acknowledged batch after the other.

    While a batch is under way, closed candles queue up and forming ones are replaced by
    newer states. A worker that restarted has read the store and refuses what was meant for
    its predecessor; what may not have been written when it read is told first, from memory.

    Parameters
    ----------
    stream
        Name of the stream this belongs to.
    exchange
        Its venue.
    instruments
        The worker's share of the stream's instruments.
    timeframes
        Those it makes features of.
    inlet
        The worker.
    """

    def __init__(
        self,
        stream: str,
        exchange: str,
        instruments: Collection[str],
        timeframes: Collection[str],
        inlet: FeatureInlet,
    ) -> None:
        self.instruments = frozenset(instruments)
        self._stream = stream
        self._exchange = exchange
        self._timeframes = frozenset(timeframes)
        self._inlet = inlet
        self._log = logging.getLogger(f"engine.{stream}")
        self._closed: list[Candle] = []
        self._kept: deque[Candle] = deque(maxlen=KEPT_CANDLES)
        self._forming: dict[tuple[str, str, int], Candle] = {}
        self._books = BookQueue(self.instruments, timeframes)
        self._closed_through = 0
        self._last_receive: dict[str, int] = {}
        self._unhealthy: tuple[str, ...] = ()
        self._delisted: dict[str, Delisting] = {}
        self._incarnation = ""
        self._news = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._idle = asyncio.Event()
        self._idle.set()

    def offer(
        self,
        closed: Collection[Candle],
        forming: Collection[Candle],
        closed_through: int,
        last_receive: dict[str, int],
        unhealthy: Collection[str],
        books: Collection[BookSnapshot] = (),
        delisted: Mapping[str, Delisting] | None = None,
    ) -> None:
        """Queue what happened since the last time.

        Parameters
        ----------
        closed
            Closed and rebuilt candles, ascending in time; others' are passed over.
        forming
            Newest state of bars that form.
        closed_through
            Every interval that ends at or before this is closed and was offered.
        last_receive
            Instrument -> when its newest event reached us.
        unhealthy
            Instruments with an open gap or a stale feed.
        books
            Snapshots of L2 books taken since the last time.
        delisted
            The venue's instruments that are.
        """
        self._books.put(books)
        mine = [candle for candle in closed if self._is_mine(candle)]
        self._closed += mine
        self._kept.extend(mine)
        for candle in forming:
            if self._is_mine(candle):
                key = (candle.instrument, candle.timeframe, candle.open_time)
                self._forming[key] = candle
        self._closed_through = max(self._closed_through, closed_through)
        self._last_receive = {
            name: time for name, time in last_receive.items() if name in self.instruments
        }
        self._unhealthy = tuple(name for name in unhealthy if name in self.instruments)
        self._delisted = {
            name: its for name, its in (delisted or {}).items() if name in self.instruments
        }
        if len(self._closed) > BACKLOG_CANDLES:
            self._has_room.clear()
        self._idle.clear()
        self._news.set()

    def _is_mine(self, candle: Candle) -> bool:
        return candle.instrument in self.instruments and candle.timeframe in self._timeframes

    @property
    def backlog(self) -> int:
        """Closed candles that wait."""
        return len(self._closed)

    async def wait_for_room(self) -> None:
        """Return when the backlog is bounded again: this is the stream's back-pressure."""
        await self._has_room.wait()

    async def wait_until_idle(self) -> None:
        """Return when everything offered so far was acknowledged."""
        await self._idle.wait()

    async def run(self) -> None:
        """Hand over for ever, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            closed, self._closed = self._closed, []
            forming, self._forming = self._forming, {}
            newest = tuple(forming.values())
            incarnation = await self._deliver(self._batch(closed, newest, self._books.take()))
            while self._incarnation and incarnation != self._incarnation:
                self._log.info("a feature worker restarted; telling it the last candles again")
                self._incarnation = incarnation
                again = self._batch(self._last(closed), newest, self._books.take_all())
                incarnation = await self._deliver(again)
            self._incarnation = incarnation
            if len(self._closed) <= BACKLOG_CANDLES:
                self._has_room.set()
            if not self._news.is_set():
                self._idle.set()

    def _last(self, closed: list[Candle]) -> list[Candle]:
        """Return the candles kept, those not told yet among them, each in its newest version."""
        waiting = [*closed, *self._closed]
        every = waiting if len(waiting) > len(self._kept) else self._kept
        return list({(c.instrument, c.timeframe, c.open_time): c for c in every}.values())

    def _batch(
        self,
        closed: list[Candle],
        forming: tuple[Candle, ...],
        books: tuple[BookSnapshot, ...],
    ) -> CandleBatch:
        return CandleBatch(
            stream=self._stream,
            exchange=self._exchange,
            closed=tuple(closed),
            forming=forming,
            closed_through=self._closed_through,
            instruments=tuple(sorted(self.instruments)),
            last_receive=self._last_receive,
            unhealthy=self._unhealthy,
            recipient=self._incarnation,
            books=books,
            delisted=self._delisted,
        )

    async def _deliver(self, batch: CandleBatch) -> str:
        """Hand over until it is acknowledged: the worker may be restarting."""
        warned = False
        while True:
            try:
                return await self._inlet.ingest(batch)
            except ConnectionError as error:
                if not warned:
                    warned = True
                    self._log.warning("the feature worker does not answer (%s)", error)
                await asyncio.sleep(RETRY_S)
