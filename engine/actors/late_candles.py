"""Candles of trades that came after the builder's memory let their second go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from engine.candles.builder import CandleBuilder
from engine.candles.resample import rebuild
from engine.clock import Clock
from engine.domain.instrument import Market
from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe
from engine.errors import StoreError
from engine.log import OncePerKind
from engine.metrics import ERRORS
from engine.store.reader import Reader

LONGEST_NS = Timeframe.M15.ns
"""A stretch of trades read at once, of one market."""

Stretch = tuple[int, int]
"""Start, included, and end, excluded, UTC nanoseconds."""


class LateCandles:
    """Folds such seconds, and what they are part of, again from the store.

    Parameters
    ----------
    builder
        The stream's: it announces them, and is given what was made.
    reader
        The store.
    flush
        Writes the trades and candles that are held, so that the store has all that is closed.
    timeframes
        Those that are stored.
    clock
        Gives versions, always above those of the candles replaced.
    """

    def __init__(
        self,
        builder: CandleBuilder,
        reader: Reader,
        flush: Callable[[], Awaitable[None]],
        timeframes: Sequence[Timeframe],
        clock: Clock,
    ) -> None:
        self._builder = builder
        self._reader = reader
        self._flush = flush
        self._timeframes = timeframes
        self._clock = clock
        self._waiting: set[tuple[Market, int]] = set()
        self._turn = asyncio.Lock()
        self._once = OncePerKind(logging.getLogger("engine.late_candles"))

    @property
    def waits(self) -> bool:
        """Whether candles are to be made again still."""
        return bool(self._waiting)

    async def rebuild(self) -> list[Candle]:
        """Return new versions of closed candles; what the store cannot answer waits."""
        async with self._turn:
            return await self._rebuild()

    async def _rebuild(self) -> list[Candle]:
        self._waiting.update(self._builder.late_beyond_memory())
        if not self._waiting:
            return []
        # They wait until they are folded: whoever cancels us, at a stop, has not lost them.
        late = frozenset(self._waiting)
        failed: set[tuple[Market, int]] = set()
        seconds: dict[Market, list[int]] = {}
        for market, second in sorted(late):
            seconds.setdefault(market, []).append(second)
        # Before the flush: of what closes from here on, the store may lack a part still.
        closed_through = self._builder.closed_through
        await self._flush()
        rebuilt: list[Candle] = []
        for market, its in seconds.items():
            for stretch in self._stretches(its):
                try:
                    rebuilt += await asyncio.to_thread(self._fold, market, stretch, closed_through)
                except StoreError as error:
                    ERRORS.labels("stream", "rebuild").inc()
                    self._once.warn("rebuild", f"candles of late trades wait: {error}")
                    inside = range(stretch[0], stretch[1], Timeframe.S1.ns)
                    failed.update((market, second) for second in its if second in inside)
        self._waiting -= late - failed
        # Intervals that still form have these as their parts.
        return rebuilt + self._builder.absorb(rebuilt)

    def _stretches(self, seconds: Iterable[int]) -> list[Stretch]:
        """Cover ascending seconds by stretches of whole intervals of the finest timeframe."""
        ladder = list(Timeframe)
        finest = min(self._timeframes, key=ladder.index)
        step = max(finest, Timeframe.M1, key=ladder.index)
        found: list[Stretch] = []
        for second in seconds:
            start, end = step.floor(second), step.floor(second) + step.ns
            if found and start < found[-1][1]:
                continue
            if found and start == found[-1][1] and end - found[-1][0] <= LONGEST_NS:
                found[-1] = found[-1][0], end
            else:
                found.append((start, end))
        return found

    def _fold(self, market: Market, stretch: Stretch, closed_through: int) -> list[Candle]:
        def held(timeframe: Timeframe, start: int, end: int) -> list[Candle]:
            stored = self._reader.candles(*market, timeframe, start, end)
            return [candle for candle in stored if candle.is_closed]

        return rebuild(
            self._reader.trades(*market, *stretch),
            held,
            self._timeframes,
            closed_through=closed_through,
            version=self._clock.now_ns(),
        )
