"""The actor that holds one connection to a venue: frames in, trades and candles out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.actors.base import EngineActor, Phase
from engine.actors.candle_feed import CandleFeed, FeatureInlet
from engine.actors.gap_book import GapBook
from engine.actors.history import History, Taken
from engine.actors.top_sampler import TopSampler
from engine.actors.wiring import VenueEndpoint, Wiring
from engine.bus.client import Bus
from engine.candles.builder import CandleBuilder
from engine.candles.resample import rebuild
from engine.clock import NS_PER_MS, Clock, DataClock, SystemClock
from engine.config import Config
from engine.domain.instrument import ExchangeName, Market
from engine.domain.market import BookTop, Candle, DeadLetter, Gap, MarketEvent, Trade
from engine.domain.timeframe import Timeframe
from engine.errors import BusError, VenueError
from engine.exchanges.recording import Recorder
from engine.exchanges.registry import exchange as adapter_of
from engine.exchanges.rest import RestClient
from engine.exchanges.stream import StreamLoop
from engine.metrics import ERRORS, EVENT_LAG
from engine.store.client import Store
from engine.store.reader import Reader
from engine.store.writer import BatchWriter

TICK_S = 0.25
"""How often candles are closed and handed on."""

QUIET_LAG_NS = 2_000 * NS_PER_MS
"""While a live venue is connected and quiet, its time is taken to be this far behind ours."""


class MarketStream(EngineActor):
    """Streams one share of a venue's instruments into the store, the bus and the features.

    Parameters
    ----------
    name
        Stable name.
    config
        The whole configuration.
    wiring
        Addresses.
    exchange
        Our name of the venue.
    instruments
        The share.
    workers
        Feature workers, by shard, with the markets that each one wants.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        wiring: Wiring,
        exchange: ExchangeName,
        instruments: tuple[str, ...],
        workers: Sequence[tuple[FeatureInlet, frozenset[Market]]],
    ) -> None:
        super().__init__(name, config)
        self._config = config
        self._venue_config = config.exchanges[exchange]
        self._instruments = instruments
        self._adapter = adapter_of(exchange)
        self._adapter.track(instruments)
        self._clock: Clock = (
            SystemClock() if wiring.starts_at is None else DataClock(wiring.starts_at)
        )
        self._store = Store(wiring.store)
        self._reader = Reader(self._store)
        self._writer = BatchWriter(self._store, config.store)
        self._bus = Bus(wiring.bus_url, config.bus.prefix)
        grace_ns = config.candles.grace_ms * NS_PER_MS
        self._builder = CandleBuilder(exchange, config.candles.timeframes, grace_ns, self._clock)
        self._feeds = [
            CandleFeed(name, exchange, mine, config.features.timeframes, inlet)
            for inlet, markets in workers
            if (mine := {i for i in instruments if Market(exchange, i) in markets})
        ]
        self._gaps = GapBook(self._writer, self._bus)
        self._tops = TopSampler(self._venue_config.book_top_every_ms * NS_PER_MS)
        self._loop: StreamLoop | None = None
        self._recorder: Recorder | None = None
        self._taken = Taken()
        self._venue = VenueEndpoint()
        self._closed: list[Candle] = []
        self._touched: set[str] = set()
        self._last_receive: dict[str, int] = {}
        self._event_time = 0
        self._trades = 0
        self._book_tops = 0
        self._rate = FrameRate()

    # -- starting ------------------------------------------------------------------------

    async def prepare(self, venue: VenueEndpoint) -> None:
        """Check the instruments with the venue, and bring stored history up to now.

        Parameters
        ----------
        venue
            Where it is reached.
        """
        if self.phase is not Phase.CREATED:
            return
        self._venue = venue
        history = History(
            self._config, self._adapter, self._instruments, self._reader, self._builder, self._clock
        )
        if venue.has_rest:
            pace = self._venue_config.rest_per_second
            async with RestClient(self._adapter, venue.rest_url, requests_per_second=pace) as rest:
                await self._check_listed(rest)
                self._taken = await history.take_up(rest)
        else:
            self._taken = await history.take_up(None)
        await self._writer.put("candles", self._taken.candles)
        await self._writer.flush()
        self.phase = Phase.READY

    async def _check_listed(self, rest: RestClient) -> None:
        """Tell of instruments that the venue does not list; the others stream all the same."""
        try:
            listed = await rest.metadata()
        except VenueError as error:
            self._taken.problems.append(str(error))
            self.log.warning("instruments not checked: %s", error)
            return
        known = {symbol.instrument for symbol in listed}
        missing = [name for name in self._instruments if name not in known]
        if missing:
            self.problem = f"{self._adapter.name} does not list {', '.join(missing)}"
            self.log.warning("%s", self.problem)
            self._instruments = tuple(name for name in self._instruments if name in known)

    async def run(self) -> None:
        """Connect, and stream until drained."""
        if self.phase is not Phase.READY:
            return
        if self._config.record and not self._venue.replayed:
            folder = Path(self._config.data_dir) / "recordings"
            self._recorder = Recorder(folder, self._adapter.name, self._clock)
        self._loop = StreamLoop(
            self._adapter,
            self._venue.ws_url or self._adapter.ws_url,
            self._instruments,
            self._venue_config,
            self._config.reconnect,
            self._clock,
            self,
            recorder=self._recorder,
            stamped=self._venue.replayed,
            known_last=self._taken.last_trades,
        )
        self.phase = Phase.RUNNING
        self.spawn(self._loop.run(), "the stream")
        self.spawn(self._tick_for_ever(), "closing candles")
        for feed in self._feeds:
            self.spawn(feed.run(), "handing candles on")

    # -- what the stream loop hands over ---------------------------------------------------

    async def events(self, events: Sequence[MarketEvent]) -> None:
        """Take events of the stream; returning late is what slows the socket down."""
        trades: list[Trade] = []
        tops: list[BookTop] = []
        for event in events:
            if type(event) is Trade:
                trades.append(event)
            elif type(event) is BookTop:
                tops += self._tops.sample(event)
                self._last_receive[event.instrument] = event.receive_time
                self._touched.add(event.instrument)
        if events and isinstance(self._clock, DataClock):
            self._clock.advance(events[-1].receive_time)
        if trades:
            await self._take_trades(trades)
        if tops:
            self._book_tops += len(tops)
            await self._writer.put("book_tops", tops)
        for feed in self._feeds:
            await feed.wait_for_room()

    async def gap(self, gap: Gap) -> None:
        """Take a gap that opened, changed or closed."""
        await self._gaps.take(gap)

    async def dead_letter(self, letter: DeadLetter) -> None:
        """Keep a frame that could not be used."""
        await self._writer.put("dead_letters", [letter])

    async def state(self, *, connected: bool, reason: str) -> None:
        """Note that the connection came or went."""
        self.log.info("%s: %s", "connected" if connected else "disconnected", reason)

    async def _take_trades(self, trades: list[Trade]) -> None:
        last = self._taken.last_trades
        fresh: list[Trade] = []
        for trade in trades:
            self._last_receive[trade.instrument] = trade.receive_time
            self._touched.add(trade.instrument)
            self._event_time = max(self._event_time, trade.exchange_time)
            sequence, moment = last.get(trade.instrument, (0, 0))
            # What a replay or a reconnect tells again is in the stored candles already.
            known = trade.sequence <= sequence if trade.sequence else trade.exchange_time <= moment
            if not known:
                fresh.append(trade)
        self._trades += len(trades)
        newest = trades[-1]
        EVENT_LAG.labels(newest.exchange).observe(
            max(0, newest.receive_time - newest.exchange_time) / 1e9
        )
        self._closed += self._builder.add(fresh)
        await self._writer.put("trades", trades)

    # -- candles ---------------------------------------------------------------------------

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self._tick(self._watermark())
            if self._loop is not None and self._loop.status().ended:
                await self._finish_replay()
                return

    def _watermark(self) -> int:
        """Venue time up to which trades are believed to have come."""
        live = isinstance(self._clock, SystemClock)
        if live and self._loop is not None and self._loop.status().connected:
            return max(self._event_time, self._clock.now_ns() - QUIET_LAG_NS)
        return self._event_time

    async def _tick(self, watermark: int) -> None:
        """Close what is over, write it, publish it, and hand it on."""
        closed, self._closed = self._closed, []
        closed += self._builder.advance(watermark)
        closed += await self._rebuild_very_late()
        touched, self._touched = self._touched, set()
        wanted = {timeframe.value for timeframe in self._config.features.timeframes}
        forming = [
            candle
            for instrument in sorted(touched)
            for candle in self._builder.forming(instrument)
            if candle.timeframe in wanted
        ]
        for feed in self._feeds:
            feed.offer(
                closed,
                forming,
                self._builder.closed_through,
                self._last_receive,
                self._unhealthy(),
            )
        await self._writer.put("candles", closed)
        await self._writer.put("book_tops", self._tops.flush())
        try:
            await self._bus.publish_candles([*closed, *forming])
        except BusError as error:
            ERRORS.labels("stream", "bus").inc()
            self.log.debug("candles not published: %s", error)

    async def _rebuild_very_late(self) -> list[Candle]:
        """Fold again, from the store, seconds whose trades came after memory let them go."""
        rebuilt: list[Candle] = []
        late = self._builder.late_beyond_memory()
        if late:
            await self._writer.flush()
        for market, second in late:
            rebuilt += await self._rebuild_second(market, second)
        return rebuilt

    async def _rebuild_second(self, market: Market, second: int) -> list[Candle]:
        trades = await asyncio.to_thread(
            self._reader.trades,
            market.exchange,
            market.instrument,
            second,
            second + Timeframe.S1.ns,
        )
        if not trades:
            return []
        held = {}
        for timeframe in self._config.candles.timeframes:
            coarser = list(Timeframe)[min(list(Timeframe).index(timeframe) + 1, len(Timeframe) - 1)]
            start = coarser.floor(second)
            held[timeframe] = await asyncio.to_thread(
                self._reader.candles,
                market.exchange,
                market.instrument,
                timeframe,
                start,
                start + coarser.ns,
            )
        rebuilt = rebuild(
            trades,
            held,
            self._config.candles.timeframes,
            closed_through=self._builder.closed_through,
            version=time.time_ns(),
        )
        return rebuilt + self._builder.absorb(rebuilt[:1])

    async def _finish_replay(self) -> None:
        """Write down what the end of a recording leaves open."""
        await self._writer.put("candles", self._builder.forming())
        await self._writer.flush()
        self.log.info("the recording has ended: %d trades", self._trades)

    # -- stopping and telling --------------------------------------------------------------

    async def drain(self) -> None:
        """Close the socket, write down what is in hand (forming candles too), and stop."""
        if self.phase is Phase.DRAINED:
            return
        if self._loop is not None:
            await self._loop.stop()
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.close)
        if self.phase is Phase.RUNNING:
            await self._tick(self._watermark())
            await self._writer.put("candles", self._builder.forming())
        await self.stop_tasks()
        await self._writer.close()
        await self._bus.close()
        await asyncio.to_thread(self._store.close)
        self.phase = Phase.DRAINED

    def _unhealthy(self) -> set[str]:
        """Instruments with an open gap or a silent channel."""
        down = set() if self._loop is None else {name for name, _ in self._loop.status().broken}
        return self._gaps.instruments(self._clock.now_ns()) | down

    def details(self) -> dict[str, Any]:
        """Return counts, freshness and what is wrong."""
        if self._loop is None:
            return {"instruments": len(self._instruments), "problems": self._taken.problems}
        status = self._loop.status()
        newest = max(self._last_receive.values(), default=None)
        age_ms = None if newest is None else max(0, self._clock.now_ns() - newest) // NS_PER_MS
        return {
            "exchange": self._adapter.name,
            "instruments": len(self._instruments),
            "connected": status.connected,
            "ended": status.ended,
            "frames": status.frames,
            "frames_per_s": self._rate.measure(status.frames),
            "trades": self._trades,
            "book_tops": self._book_tops,
            "bad_frames": status.bad,
            "duplicates": status.duplicates,
            "out_of_order": status.out_of_order,
            "reconnects": status.reconnects,
            "open_gaps": self._gaps.open,
            "stale": len({name for name, _ in status.broken}),
            "last_event_age_ms": age_ms,
            "held_trades": self._builder.held_trades,
            "backlog": sum(feed.backlog for feed in self._feeds),
            "problems": self._taken.problems,
            "writer": self._writer.status(),
        }


class FrameRate:
    """Frames a second between two looks."""

    def __init__(self) -> None:
        self._count, self._at = 0, time.monotonic()
        self._rate = 0.0

    def measure(self, count: int) -> float:
        """Return the rate since the last look; looks closer than half a second repeat it."""
        now = time.monotonic()
        if now - self._at >= 0.5:
            self._rate = round((count - self._count) / (now - self._at), 1)
            self._count, self._at = count, now
        return self._rate
