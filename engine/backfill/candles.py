"""Candles of the past: fetched where there are none, and built where their trades came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from engine.backfill.venue import Venue
from engine.candles.backfill import TimeRange, accepted, missing_ranges
from engine.clock import Clock
from engine.domain.instrument import Market
from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe
from engine.store.candle_check import Scope, difference
from engine.store.client import Store
from engine.store.completeness import (
    LATEST,
    Selection,
    broken_ranges,
    find_gaps,
    unexplained_holes,
)
from engine.store.reader import Reader
from engine.store.recompute import Stretch, recompute
from engine.store.trade_ids import count_trades, find_holes
from engine.store.writer import BatchWriter

CANDLES_AT_ONCE = 5_000
"""Candles fetched before they are written."""


async def fetch_candles(
    venue: Venue,
    reader: Reader,
    writer: BatchWriter,
    market: Market,
    timeframe: Timeframe,
    span: TimeRange,
    tell: Callable[[int, int], None],
) -> int:
    """Fetch the closed candles of a range that are not stored, oldest first.

    An interval in which nothing traded has no candle, so a later run asks for it again.

    Parameters
    ----------
    venue, reader, writer
        Where candles come from, what is stored, and where they go.
    market, timeframe
        Whose, and how long.
    span
        Range of their open times.
    tell
        Called after every request with how far it is fetched (UTC nanoseconds) and how many came.

    Returns
    -------
    int
        Candles written.

    Raises
    ------
    VenueError
        Where the venue does not answer or has none of this length. What was fetched is stored.
    """
    written = 0
    step = CANDLES_AT_ONCE * timeframe.ns
    for start in range(timeframe.floor(span.start), span.end, step):
        end = min(start + step, span.end)
        held = await asyncio.to_thread(reader.candles, *market, timeframe, start, end)
        closed = [candle.open_time for candle in held if candle.is_closed]
        fetched: list[Candle] = []
        for missing in missing_ranges(closed, timeframe, max(start, span.start), end):
            fetched += await venue.candles(market.instrument, timeframe, *missing)
        kept = accepted(fetched, held, ())
        await writer.put("candles", kept)
        await writer.flush()
        written += len(kept)
        tell(end, len(kept))
    return written


class CandleRebuild:
    """Builds the candles of a market again from its stored trades, where those are whole.

    Parameters
    ----------
    store, writer
        Where trades and candles are, and where new versions go.
    clock
        Gives versions, always above those of the candles replaced.
    timeframes
        Which are stored.
    """

    def __init__(
        self, store: Store, writer: BatchWriter, clock: Clock, timeframes: tuple[Timeframe, ...]
    ) -> None:
        self._store = store
        self._reader = Reader(store)
        self._writer = writer
        self._clock = clock
        self._timeframes = timeframes

    async def rebuild(self, market: Market, start: int, end: int) -> int:
        """Write every closed candle that holds a part of ``[start, end)`` and is not as its trades.

        Parameters
        ----------
        market
            Whose.
        start, end
            From where to where trades were fetched, all of them: UTC nanoseconds.

        Returns
        -------
        int
            Candles written.
        """
        day = Timeframe.D1
        low, high = day.floor(start), -(-end // day.ns) * day.ns
        scope = await asyncio.to_thread(self._scope, market, start, end, low, high)
        stretches = recompute(self._store, market, low, high)
        written = 0
        while (stretch := await asyncio.to_thread(next, stretches, None)) is not None:
            if stretch.timeframe not in self._timeframes:
                continue
            fresh = await asyncio.to_thread(self._fresh, scope, stretch)
            await self._writer.put("candles", fresh)
            written += len(fresh)
        await self._writer.flush()
        return written

    def _scope(self, market: Market, start: int, end: int, low: int, high: int) -> Scope:
        """Say where the market's trades are whole, around what was fetched."""
        held = count_trades(self._store, market, 0, LATEST)
        near = count_trades(self._store, market, low, high)
        holes, _ = find_holes(self._store, market, near, low, high)
        gaps = find_gaps(self._store, Selection(*market, low, high))
        open_gaps = [gap for gap in gaps if gap.repaired_at is None]
        # Where trades were asked for and none came, there were none: as good as a trade.
        return Scope(
            market,
            low,
            high,
            min(held.first_time or start, start),
            max(held.last_time, end),
            broken_ranges(unexplained_holes(holes, gaps), open_gaps),
        )

    def _fresh(self, scope: Scope, stretch: Stretch) -> list[Candle]:
        now = self._clock.now_ns()
        held = {
            candle.open_time: candle
            for candle in self._reader.candles(
                *scope.market, stretch.timeframe, stretch.start, stretch.end
            )
        }
        fresh = []
        for candle in stretch.candles:
            if candle.close_time > now or not scope.is_whole(candle):
                continue
            old = held.get(candle.open_time)
            if old is None:
                fresh.append(msgspec.structs.replace(candle, version=now))
            elif old.source != "trades" or not old.is_closed or difference(old, candle):
                version = max(now, old.version + 1)
                fresh.append(msgspec.structs.replace(candle, version=version))
        return fresh
