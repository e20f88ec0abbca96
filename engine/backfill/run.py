"""One backfill from start to end: whatever is missing of some instruments, trades or candles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from engine.backfill.candles import CandleRebuild, fetch_candles
from engine.backfill.stretches import between, lacking
from engine.backfill.trades import TradeFill
from engine.backfill.venue import OwnVenue, Venue
from engine.bus.client import Bus
from engine.candles.backfill import TimeRange
from engine.clock import Clock, SystemClock
from engine.config import StoreConfig
from engine.domain.instrument import Instrument, Market
from engine.domain.market import Gap
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError, VenueError
from engine.exchanges.registry import EXCHANGES, exchange
from engine.store.client import Store
from engine.store.completeness import LATEST
from engine.store.reader import Reader
from engine.store.trade_ids import count_trades
from engine.store.writer import BatchWriter

What = Literal["trades", "candles"]


@dataclass(frozen=True, slots=True)
class BackfillConfig:
    """What to fetch."""

    exchange: str
    """Our name of a venue, else ccxt's."""
    instruments: tuple[str, ...]
    """Canonical names."""
    start: int
    """UTC nanoseconds of the venue's time."""
    end: int | None = None
    """Not included; None is now."""
    what: What = "trades"
    timeframe: Timeframe = Timeframe.M1
    """Of the candles, where those are wanted."""
    rest_url: str = ""
    """Endpoint; empty takes the venue's public one."""
    requests_per_second: float | None = None
    """Pace; None takes what the venue allows everybody."""
    timeframes: tuple[Timeframe, ...] = tuple(Timeframe)
    """Which candles are built from the fetched trades: those that are stored."""
    live: bool = False
    """Whether an engine may be streaming these instruments meanwhile."""
    bus_url: str = ""
    """Redis of an engine that may ask the venue too; empty where none is known."""
    bus_prefix: str = "engine"
    """First part of its keys."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far a backfill has come; for a progress bar."""

    instrument: str
    share: float
    """Of this instrument's range, 0 to 1."""
    rows: int
    """Fetched so far, all instruments."""


@dataclass(slots=True)
class BackfillResult:
    """What came of it."""

    trades: int = 0
    """Trades written; those that were stored already are not among them."""
    candles: int = 0
    """Candles written, fetched or built."""
    gaps_closed: int = 0
    problems: list[str] = field(default_factory=list)
    """What could not be had, a sentence each; empty where all is there."""


def open_venue(config: BackfillConfig, clock: Clock) -> Venue:
    """Return the venue: one of ours, else ccxt's.

    Raises
    ------
    ConfigError
        Where neither knows it, or ccxt is not installed.
    """
    if config.exchange in EXCHANGES:
        bus = Bus(config.bus_url, config.bus_prefix) if config.bus_url else None
        return OwnVenue(
            exchange(config.exchange), config.rest_url, clock, config.requests_per_second, bus
        )
    from engine.backfill.ccxt_venue import CcxtVenue  # noqa: PLC0415 - optional, and slow to load

    return CcxtVenue(config.exchange, clock, rest_url=config.rest_url)


def check(config: BackfillConfig, now: int) -> None:
    """Refuse what cannot be fetched.

    Raises
    ------
    ConfigError
        Where no instrument is named, or the range is empty or in the future.
    InstrumentError
        Where a name is not canonical.
    """
    if not config.instruments:
        raise ConfigError("no instrument is named; give --instrument BTC-USDT, several times")
    for name in config.instruments:
        Instrument.parse(name)
    if config.start >= min(now, LATEST if config.end is None else config.end):
        raise ConfigError("the range to fetch is empty: --from must lie before --to and before now")


async def backfill(
    config: BackfillConfig,
    store: Store,
    *,
    clock: Clock | None = None,
    venue: Venue | None = None,
    tell: Callable[[Step], None] = lambda step: None,
) -> BackfillResult:
    """Fetch what is missing, write it once, and build the candles that it touches.

    Run again it goes on where it was: what is stored is not fetched, and a stretch that was not
    fetched to its end stands in ``feed_gaps`` as open.

    Parameters
    ----------
    config
        What to fetch.
    store
        Where to; opened for writing.
    clock
        What time it is.
    venue
        Instead of the one that `config` names.
    tell
        Called after every piece.

    Raises
    ------
    ConfigError
        See `check` and `open_venue`.
    VenueError
        Where the venue does not list an instrument.
    StoreError
        Where the store does not take what was fetched.
    """
    clock = clock or SystemClock()
    now = clock.now_ns()
    check(config, now)
    venue = venue or open_venue(config, clock)
    run = _Run(config, store, clock, venue, now, tell)
    try:
        for instrument in config.instruments:
            await venue.check(instrument)
        for instrument in config.instruments:
            await run.one(Market(venue.name, instrument))
    finally:
        await venue.close()
        await run.writer.close()
    return run.finished()


class _Run:
    """What one backfill holds on to."""

    def __init__(
        self,
        config: BackfillConfig,
        store: Store,
        clock: Clock,
        venue: Venue,
        now: int,
        tell: Callable[[Step], None],
    ) -> None:
        self.result = BackfillResult()
        self.writer = BatchWriter(store, StoreConfig())
        self._config = config
        self._store = store
        self._clock = clock
        self._venue = venue
        self._now = now
        self._end = min(now, now if config.end is None else config.end)
        self._tell = tell
        self._rows = 0
        self._rebuild = CandleRebuild(store, self.writer, clock, config.timeframes)

    def finished(self) -> BackfillResult:
        """Return what came of it, once everything is written."""
        written = self.writer.status()["tables"].get("trades", {}).get("written", 0)
        self.result.trades = int(written)
        return self.result

    async def one(self, market: Market) -> None:
        """Bring one market up to date; what the venue cannot give is a problem, not an end."""
        work = self._trades if self._config.what == "trades" else self._candles
        try:
            await work(market)
        except VenueError as error:
            self.result.problems.append(f"{market}: {error}")
        self._tell(Step(market.instrument, 1.0, self._rows))

    async def _candles(self, market: Market) -> None:
        span = TimeRange(self._config.start, self._end)

        def tell(reached: int, rows: int) -> None:
            self._rows += rows
            self.result.candles += rows
            share = (reached - span.start) / (span.end - span.start)
            self._tell(Step(market.instrument, min(1.0, share), self._rows))

        reader = Reader(self._store)
        await fetch_candles(
            self._venue, reader, self.writer, market, self._config.timeframe, span, tell
        )

    async def _trades(self, market: Market) -> None:
        start, end, now = self._config.start, self._end, self._now
        held = await asyncio.to_thread(count_trades, self._store, market, 0, LATEST)
        apart = between(market, held, start, end, now)
        if apart is not None:
            await self.writer.put("feed_gaps", [apart])
            await self.writer.flush()
        stretches = await asyncio.to_thread(
            lacking, self._store, market, start, end, now, live=self._config.live
        )
        stretches = [gap for gap in stretches if apart is None or gap.gap_id != apart.gap_id]
        whole = sum(_length(gap, now) for gap in stretches) or 1
        done = 0

        def tell(gap: Gap, reached: int, rows: int) -> None:
            self._rows += rows
            fetched = max(0, _end_of(gap, now) - reached)
            self._tell(Step(market.instrument, min(1.0, (done + fetched) / whole), self._rows))

        for gap in stretches:
            fill = TradeFill(self._venue, self.writer, self._clock, tell)
            filled = await fill.fill(gap)
            done += _length(gap, now)
            if filled.problem:
                self.result.problems.append(f"{market}: {filled.problem}")
            else:
                self.result.gaps_closed += 1
            if filled.trades:
                low, high = gap.from_time, _end_of(gap, now)
                self.result.candles += await self._rebuild.rebuild(market, low, high)


def _end_of(gap: Gap, now: int) -> int:
    return now if gap.to_time is None else gap.to_time


def _length(gap: Gap, now: int) -> int:
    return max(1, _end_of(gap, now) - gap.from_time)


def plain(result: BackfillResult) -> dict[str, object]:
    """Return a result as plain values, for JSON."""
    values: dict[str, object] = msgspec.to_builtins(result)
    return values
