"""The actor that holds one connection to a venue: frames in, trades and candles out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.actors.base import EngineActor, Phase
from engine.actors.candle_feed import CandleFeed, FeatureInlet
from engine.actors.frame_rate import FrameRate
from engine.actors.gap_book import GapBook
from engine.actors.history import History, Taken
from engine.actors.late_candles import LateCandles
from engine.actors.top_sampler import TopSampler
from engine.actors.wiring import VenueEndpoint, Wiring
from engine.bus.client import Bus
from engine.candles.builder import CandleBuilder
from engine.clock import NS_PER_MS, NS_PER_S, Clock, DataClock, SystemClock
from engine.config import Config
from engine.domain.instrument import ExchangeName, Market
from engine.domain.market import BookTop, Candle, DeadLetter, Gap, MarketEvent, Trade
from engine.errors import BusError, StoreError, VenueError
from engine.exchanges.recording import Recorder
from engine.exchanges.registry import exchange as adapter_of
from engine.exchanges.rest import RestClient
from engine.exchanges.stream import StreamLoop
from engine.log import OncePerKind
from engine.metrics import BAD_FRAMES, ERRORS, EVENT_LAG
from engine.store.client import Store
from engine.store.reader import Reader
from engine.store.writer import BatchWriter

TICK_S = 0.25
"""How often candles are closed and handed on."""

QUIET_LAG_NS = 2_000 * NS_PER_MS
"""While a live venue is connected and quiet, its time is taken to be this far behind ours."""

AHEAD_NS = 300 * NS_PER_S
"""A trade that claims to come from further in the future is damage: believed, it would close
every interval up to its time, and make all trades that follow late."""

HAND_OVER_S = 2.0
"""How long a stream that stops waits for the feature workers to take its last candles."""


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
        self._late = LateCandles(
            self._builder, self._reader, self._flush, config.candles.timeframes, self._clock
        )
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
        self._is_over = False
        self._once = OncePerKind(self.log)
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
        if venue.has_rest:
            pace = self._venue_config.rest_per_second
            async with RestClient(self._adapter, venue.rest_url, requests_per_second=pace) as rest:
                problems = await self._check_listed(rest)
                self._taken = await self._history().take_up(rest)
            self._taken.problems[:0] = problems
        else:
            self._taken = await self._history().take_up(None)
        await self._writer.put("candles", self._taken.candles)
        left_open = await asyncio.to_thread(self._reader.open_gaps)
        mine = {(self._adapter.name, name) for name in self._instruments}
        await self._gaps.take_over(
            [gap for gap in left_open if (gap.exchange, gap.instrument) in mine],
            self._clock.now_ns(),
        )
        await self._writer.flush()
        self.phase = Phase.READY

    def _history(self) -> History:
        return History(
            self._config, self._adapter, self._instruments, self._reader, self._builder, self._clock
        )

    async def _check_listed(self, rest: RestClient) -> list[str]:
        """Leave out instruments that the venue does not list; return why it could not tell."""
        try:
            listed = await rest.metadata()
        except VenueError as error:
            self.log.warning("instruments not checked: %s", error)
            return [str(error)]
        known = {symbol.instrument for symbol in listed}
        missing = [name for name in self._instruments if name not in known]
        if missing:
            self.problem = f"{self._adapter.name} does not list {', '.join(missing)}"
            self.log.warning("%s", self.problem)
            self._instruments = tuple(name for name in self._instruments if name in known)
        return []

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
        self.spawn(self._stream(self._loop), "the stream")
        self.spawn(self._tick_for_ever(), "closing candles")
        self.spawn(self._rebuild_for_ever(), "rebuilding candles")
        for feed in self._feeds:
            self.spawn(feed.run(), "handing candles on")

    async def _stream(self, loop: StreamLoop) -> None:
        await loop.run()
        # Only now is everything that was received handed over.
        self._is_over = True

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
        trades = await self._believable(trades)
        if trades:
            await self._take_trades(trades)
        await self._store_tops(tops)
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

    async def _believable(self, trades: list[Trade]) -> list[Trade]:
        """Set trades aside that come from the future."""
        kept = [trade for trade in trades if trade.exchange_time <= trade.receive_time + AHEAD_NS]
        if len(kept) < len(trades):
            for trade in trades:
                if trade.exchange_time > trade.receive_time + AHEAD_NS:
                    await self._set_aside(trade)
        return kept

    async def _set_aside(self, trade: Trade) -> None:
        ahead_s = (trade.exchange_time - trade.receive_time) // NS_PER_S
        reason = (
            f"trade {trade.trade_id} of {trade.instrument} claims to be {ahead_s} s ahead of our "
            "clock; where all do, set this machine's clock"
        )
        BAD_FRAMES.labels(trade.exchange, "future_time").inc()
        self._once.warn("future_time", f"{trade.exchange}: {reason}")
        frame = msgspec.json.encode(trade)
        letter = DeadLetter(
            trade.exchange, "future_time", reason, frame, len(frame), trade.receive_time
        )
        await self.dead_letter(letter)

    async def _store_tops(self, tops: list[BookTop]) -> None:
        self._book_tops += len(tops)
        await self._writer.put("book_tops", tops)

    async def _take_trades(self, trades: list[Trade]) -> None:
        fresh: list[Trade] = []
        for trade in trades:
            self._last_receive[trade.instrument] = trade.receive_time
            self._touched.add(trade.instrument)
            self._event_time = max(self._event_time, trade.exchange_time)
            if not self._is_folded(trade):
                fresh.append(trade)
        self._trades += len(trades)
        newest = trades[-1]
        EVENT_LAG.labels(newest.exchange).observe(
            max(0, newest.receive_time - newest.exchange_time) / 1e9
        )
        self._closed += self._builder.add(fresh)
        await self._writer.put("trades", trades)

    def _is_folded(self, trade: Trade) -> bool:
        """Say whether a trade that a replay or a reconnect tells again is in stored candles."""
        if trade.exchange_time >= self._taken.folded_from:
            return False  # the builder has the ids of these
        sequence, moment = self._taken.last_trades.get(trade.instrument, (0, 0))
        return trade.sequence <= sequence if trade.sequence else trade.exchange_time <= moment

    # -- candles ---------------------------------------------------------------------------

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            is_over = self._is_over
            await self._tick(self._watermark())
            if is_over and self._loop is not None and self._loop.status().ended:
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
        await self._store_tops(self._tops.due(self._clock.now_ns()))
        try:
            await self._bus.publish_candles([*closed, *forming])
        except BusError as error:
            ERRORS.labels("stream", "bus").inc()
            self.log.debug("candles not published: %s", error)
        else:
            await self._gaps.tell()

    async def _rebuild_for_ever(self) -> None:
        """Beside the ticks: a store that does not answer holds up only what needs it."""
        while True:
            await asyncio.sleep(TICK_S)
            rebuilt = await self._late.rebuild()
            self._closed += rebuilt  # what it was before the wait, a tick may have taken

    async def _flush(self) -> None:
        """Write what is held; rows that the store refuses are told of, and do not stop us."""
        try:
            await self._writer.flush()
        except StoreError as error:
            self.problem = str(error)
            self.log.error("%s", error)  # noqa: TRY400 - the writer logged where it came from

    async def _finish_replay(self) -> None:
        """Write down what the end of a recording leaves open."""
        await self._store_tops(self._tops.flush())
        await self._writer.put("candles", self._builder.forming())
        await self._flush()
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
            await self._store_tops(self._tops.flush())
            await self._writer.put("candles", self._builder.forming())
            await self._hand_over()
        await self.stop_tasks()
        try:
            await self._writer.close()
        finally:
            await self._bus.close()
            await asyncio.to_thread(self._store.close)
            self.phase = Phase.DRAINED

    async def _hand_over(self) -> None:
        """Wait a little until the feature workers have what closed last."""
        idle = asyncio.gather(*(feed.wait_until_idle() for feed in self._feeds))
        try:
            await asyncio.wait_for(idle, HAND_OVER_S)
        except TimeoutError:
            waiting = sum(feed.backlog for feed in self._feeds)
            self.log.warning("%d candles were not handed to the feature workers", waiting)

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
