"""Candles of trades that came after the builder's memory let their second go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

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

_LADDER = list(Timeframe)


class LateCandles:
    """Folds such seconds, and what they are part of, again from the store.

    Parameters
    ----------
    builder
        The stream's: it announces them, and is given what was made.
    reader
        The store.
    flush
        Writes the trades that are held, so that the store has the late ones.
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
        self._once = OncePerKind(logging.getLogger("engine.late_candles"))

    async def rebuild(self) -> list[Candle]:
        """Return new versions of closed candles; what the store cannot answer waits."""
        self._waiting.update(self._builder.late_beyond_memory())
        if not self._waiting:
            return []
        late, self._waiting = self._waiting, set()
        await self._flush()
        rebuilt: list[Candle] = []
        for market, second in sorted(late):
            try:
                rebuilt += await self._second(market, second)
            except StoreError as error:
                ERRORS.labels("stream", "rebuild").inc()
                self._once.warn("rebuild", f"candles of late trades wait: {error}")
                self._waiting.add((market, second))
        return rebuilt

    async def _second(self, market: Market, second: int) -> list[Candle]:
        end = second + Timeframe.S1.ns
        trades = await asyncio.to_thread(self._reader.trades, *market, second, end)
        if not trades:
            return []
        held = {timeframe: await self._siblings(market, timeframe, second) for timeframe in _LADDER}
        versions = [candle.version + 1 for candles in held.values() for candle in candles]
        rebuilt = rebuild(
            trades,
            held,
            self._timeframes,
            closed_through=self._builder.closed_through,
            version=max(self._clock.now_ns(), *versions, 0),
        )
        # All of them: the builder must fold nothing from parts of which it has forgotten some.
        return rebuilt + self._builder.absorb(rebuilt)

    async def _siblings(self, market: Market, timeframe: Timeframe, second: int) -> list[Candle]:
        """Read the stored candles that lie in the same interval of the next coarser timeframe."""
        if timeframe not in self._timeframes:
            return []
        coarser = _LADDER[min(_LADDER.index(timeframe) + 1, len(_LADDER) - 1)]
        start = coarser.floor(second)
        return await asyncio.to_thread(
            self._reader.candles, *market, timeframe, start, start + coarser.ns
        )
