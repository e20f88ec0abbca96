"""What a stream does before it streams: look at what is stored, and fetch what is missing."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from engine.actors.left_gaps import LOOK_BACK_NS
from engine.candles.backfill import accepted, missing_ranges, needed_range, restore_ranges
from engine.candles.builder import CandleBuilder
from engine.clock import Clock
from engine.config import Config
from engine.domain.instrument import Market
from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe
from engine.errors import VenueError
from engine.exchanges.base import Exchange
from engine.exchanges.rest import RestClient
from engine.features.warm_up import WARM_UP_BARS
from engine.metrics import ERRORS
from engine.store.reader import FirstTrade, Reader

REPLAYED_NS = 3 * Timeframe.M1.ns
"""How much before the last stored trade is folded again: a kill may have lost its candles."""

CONCURRENT_REQUESTS = 8

log = logging.getLogger("engine.history")


@dataclass(slots=True)
class Taken:
    """What was taken up."""

    last_trades: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Instrument -> (sequence, exchange time) of the newest stored trade."""
    first_trades: dict[str, FirstTrade] = field(default_factory=dict)
    """Instrument -> its earliest stored trade, of those that have none older than a day."""
    known_ids: dict[str, dict[str, int]] = field(default_factory=dict)
    """Instrument -> id -> exchange time of its stored trades since `folded_from`, where the venue
    does not count."""
    folded_from: int = 0
    """The builder holds every stored trade from here on, by its id."""
    candles: list[Candle] = field(default_factory=list)
    """New and corrected candles, to be written."""
    problems: list[str] = field(default_factory=list)
    """What the venue could not give."""


class History:
    """Brings a stream's markets up to now.

    Parameters
    ----------
    config
        The whole configuration.
    exchange
        The venue's adapter.
    instruments
        The stream's share.
    reader
        The store.
    builder
        The stream's candle builder: it is given the intervals that still form.
    clock
        What time it is.
    ended
        Instruments that the venue lists no more: their last candles are closed, and no history
        is fetched.
    """

    def __init__(
        self,
        config: Config,
        exchange: Exchange,
        instruments: tuple[str, ...],
        reader: Reader,
        builder: CandleBuilder,
        clock: Clock,
        *,
        ended: tuple[str, ...] = (),
    ) -> None:
        self._config = config
        self._exchange = exchange
        self._held = [Market(exchange.name, instrument) for instrument in (*instruments, *ended)]
        self._markets = [Market(exchange.name, instrument) for instrument in instruments]
        self._reader = reader
        self._builder = builder
        self._clock = clock

    async def take_up(self, rest: RestClient | None) -> Taken:
        """Restore the builder from the store, then fetch what features lack.

        Parameters
        ----------
        rest
            The venue's REST; None where it has none.
        """
        taken = Taken()
        stored = await asyncio.to_thread(self._reader.last_trades, self._exchange.name)
        mine = {market.instrument for market in self._held}
        taken.last_trades = {name: last for name, last in stored.items() if name in mine}
        if taken.last_trades:
            newest = max(time for _, time in taken.last_trades.values())
            first = await asyncio.to_thread(
                self._reader.first_trades, self._exchange.name, self._clock.now_ns() - LOOK_BACK_NS
            )
            taken.first_trades = {name: trade for name, trade in first.items() if name in mine}
            taken.folded_from = Timeframe.M1.floor(newest) - REPLAYED_NS
            taken.candles += await self._restore(taken, newest)
        if rest is not None and self._config.candles.backfill:
            await self._backfill(rest, taken)
        return taken

    async def _restore(self, taken: Taken, newest: int) -> list[Candle]:
        """Give the builder the stored state, and close what a kill left open."""
        trades_from = taken.folded_from
        for timeframe, span in restore_ranges(self._config.candles.timeframes, trades_from):
            held = await asyncio.to_thread(
                self._reader.candles_of_markets, self._held, timeframe, span.start, span.end
            )
            self._builder.restore(held, trades_from)
        trades = await asyncio.to_thread(
            self._reader.trades_of_markets, self._held, trades_from, newest + 1
        )
        if not self._exchange.counts_trades:
            for trade in trades:
                ids = taken.known_ids.setdefault(trade.instrument, {})
                ids[trade.trade_id] = trade.exchange_time
        rebuilt = self._builder.add(trades)
        return rebuilt + self._builder.advance(newest)

    async def _backfill(self, rest: RestClient, taken: Taken) -> None:
        room = asyncio.Semaphore(CONCURRENT_REQUESTS)
        for timeframe in self._config.features.timeframes:
            if timeframe not in self._exchange.intervals:
                continue
            now = self._clock.now_ns()
            start, end = needed_range(timeframe, now, WARM_UP_BARS)
            held = await asyncio.to_thread(
                self._reader.candles_of_markets, self._markets, timeframe, start, end
            )
            bars = await asyncio.gather(
                *(
                    self._fetch(rest, room, market.instrument, timeframe, held, taken)
                    for market in self._markets
                )
            )
            fetched = [bar for one in bars for bar in one]
            taken.candles += fetched
            # Intervals of the day that still form get what was fetched as their parts.
            today = Timeframe.D1.floor(now)
            recent = [bar for bar in fetched if bar.open_time >= today]
            taken.candles += self._builder.absorb(recent)

    async def _fetch(
        self,
        rest: RestClient,
        room: asyncio.Semaphore,
        instrument: str,
        timeframe: Timeframe,
        held: list[Candle],
        taken: Taken,
    ) -> list[Candle]:
        """Fetch one market's missing bars; what the venue refuses is told, not fatal."""
        start, end = needed_range(timeframe, self._clock.now_ns(), WARM_UP_BARS)
        mine = [candle for candle in held if candle.instrument == instrument]
        # One that still formed when we stopped holds a part of its trades only.
        open_times = [candle.open_time for candle in mine if candle.is_closed]
        bars: list[Candle] = []
        for missing in missing_ranges(open_times, timeframe, start, end):
            try:
                async with room:
                    bars += await rest.candles(instrument, timeframe, *missing)
            except VenueError as error:
                ERRORS.labels("backfill", self._exchange.name).inc()
                log.warning("%s: %s bars not fetched: %s", instrument, timeframe, error)
                taken.problems.append(str(error))
        return accepted(bars, mine, ())
