"""The actor that holds one connection to a venue: frames in, trades and candles out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from engine.actors.base import EngineActor, Phase
from engine.actors.budget import SharedBudget
from engine.actors.candle_feed import CandleFeed, FeatureInlet
from engine.actors.connections import Connections, channel_groups
from engine.actors.frame_rate import FrameRate
from engine.actors.gap_book import GapBook
from engine.actors.history import History, Taken
from engine.actors.late_candles import LateCandles
from engine.actors.left_gaps import ended, left_endings, left_holes, left_starts, unanswerable
from engine.actors.listing_watch import ListingWatch, named_now
from engine.actors.top_sampler import TopSampler
from engine.actors.wiring import VenueEndpoint, Wiring
from engine.bus.client import Bus
from engine.bus.hold import SharedHold, own_address
from engine.candles.builder import CandleBuilder
from engine.clock import NS_PER_MS, Clock, DataClock, SystemClock
from engine.config import Config
from engine.domain.instrument import ExchangeName, Market
from engine.domain.market import (
    BookDelta,
    BookSnapshot,
    BookTop,
    Candle,
    Channel,
    DeadLetter,
    Gap,
    PerpetualTick,
    Trade,
)
from engine.errors import BusError, StoreError, VenueError
from engine.exchanges.recording import Recorder
from engine.exchanges.registry import exchange as adapter_of
from engine.exchanges.rest import RestClient
from engine.exchanges.sink import FeedEvent
from engine.exchanges.stream import StreamLoop
from engine.log import OncePerKind
from engine.metrics import (
    COALESCED,
    ERRORS,
    EVENT_LAG,
    OPEN_GAPS,
)
from engine.store.client import Store
from engine.store.reader import Reader
from engine.store.writer import BatchWriter

TICK_S = 0.25
"""How often candles are closed and handed on."""

QUIET_LAG_NS = 2_000 * NS_PER_MS
"""While a live venue is connected and quiet, its time is taken to be this far behind ours."""

HAND_OVER_S = 2.0
"""How long a stream that stops waits for the feature workers to take its last candles."""

MARKETS_AT_ONCE = 20
"""Markets whose forming candles are folded before frames that came meanwhile have their turn."""

_received = attrgetter("receive_time")


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
    writes_listings
        Whether it writes the venue's registry of instruments: one stream of a venue does.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        wiring: Wiring,
        exchange: ExchangeName,
        instruments: tuple[str, ...],
        workers: Sequence[tuple[FeatureInlet, frozenset[Market]]],
        *,
        writes_listings: bool = True,
    ) -> None:
        super().__init__(name, config)
        self._config = config
        self._venue_config = config.exchanges[exchange]
        self._configured = self._instruments = instruments
        self._ended: tuple[str, ...] = ()
        self._adapter = adapter_of(exchange)
        self._adapter.track(instruments)
        self._clock: Clock = (
            SystemClock() if wiring.starts_at is None else DataClock(wiring.starts_at)
        )
        self._store = Store(wiring.store)
        self._reader = Reader(self._store)
        spool_dir = Path(config.data_dir) / "spool" / name
        self._writer = BatchWriter(self._store, config.store, spool_dir=spool_dir)
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
        self._writes_listings = writes_listings
        self._rest: RestClient | None = None
        self._listings: ListingWatch | None = None
        self._left: list[Gap] = []
        self._connections = Connections(exchange)
        self._taken = Taken()
        self._venue = VenueEndpoint()
        self._closed: list[Candle] = []
        self._ticking = asyncio.Lock()
        self._books: list[BookSnapshot] = []
        self._touched: set[str] = set()
        self._last_receive: dict[str, int] = {}
        self._event_time = 0
        self._is_over = False
        self._once = OncePerKind(self.log)
        self._trades = 0
        self._book_tops = 0
        self._book_snapshots = 0
        self._perpetual_ticks = 0
        self._coalesced = 0
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
        if venue.adapter is not None:
            self._adapter = venue.adapter
            self._adapter.track(self._instruments)
        problems: list[str] = []
        if venue.has_rest:
            self._rest = self._open_rest(venue)
            self._listings = ListingWatch(
                self._adapter,
                self._rest,
                self._reader,
                self._writer,
                self._clock,
                writes=self._writes_listings,
            )
            problems = await self._check_listed(self._listings)
        # What a killed process left on disk is a part of what is stored, and of its candles.
        await self._flush()
        self._taken = await self._history().take_up(self._rest)
        self._taken.problems[:0] = problems
        await self._writer.put("candles", self._taken.candles)
        await self._look_for_left_gaps()
        await self._writer.flush()
        self.phase = Phase.READY

    def _open_rest(self, venue: VenueEndpoint) -> RestClient:
        own = self._venue_config.rest_per_second
        pace = own or self._adapter.limits.requests_per_second
        url = venue.rest_url or self._adapter.rest_url
        # Ten seconds' worth may be asked at once: a start asks for much, and then there is rest.
        budget = SharedBudget(self._bus, "requests", url, own_address(), round(pace * 10), 10.0)
        return RestClient(
            self._adapter,
            url,
            requests_per_second=pace,
            permit=budget.spend,
            hold=SharedHold(self._bus, url, own_address()),
            clock=self._clock,
        )

    def _history(self) -> History:
        return History(
            self._config,
            self._adapter,
            self._instruments,
            self._reader,
            self._builder,
            self._clock,
            ended=self._ended,
        )

    async def _check_listed(self, listings: ListingWatch) -> list[str]:
        """Leave out instruments that the venue does not list; return why it could not tell."""
        try:
            listed = await listings.look()
        except (VenueError, StoreError) as error:
            self.log.warning("instruments not checked: %s", error)
            return [str(error)]
        told: list[str] = []
        self._instruments = named_now(self._instruments, listed, told.append)
        left = listings.left(self._configured)
        self._ended = tuple(name for name in left if name not in self._instruments)
        self._adapter.track(self._instruments)
        for sentence in told:
            self.problem = sentence
            self.log.warning("%s", sentence)
        return []

    async def _look_for_left_gaps(self) -> None:
        """Take over what an earlier process left: lasting gaps end, the others are repaired."""
        now, name = self._clock.now_ns(), self._adapter.name
        mine = {*self._instruments, *self._ended}
        left = [
            gap
            for gap in await asyncio.to_thread(self._reader.open_gaps)
            if gap.exchange == name and gap.instrument in mine | set(self._configured)
        ]
        lasting = [ended(gap, now, self._came_back(gap)) for gap in left if gap.to_time is None]
        await self._writer.put("feed_gaps", lasting)
        left = [gap for gap in (*left, *lasting) if gap.to_time and gap.repaired_at is None]
        found: list[Gap] = []
        if self._taken.last_trades and self._adapter.counts_trades:
            found += await asyncio.to_thread(left_holes, self._store, name, mine, now)
        if self._rest is not None:
            first = self._taken.first_trades
            found += await asyncio.to_thread(left_starts, self._store, name, first, now)
        if self._listings is not None:
            ends = {each: self._listings.ended_at(each) for each in self._ended}
            last = self._taken.last_trades
            found += await asyncio.to_thread(left_endings, self._store, name, last, ends, now)
        over = [gap for gap in left if gap.instrument in mine]
        # What a symbol named before cannot be asked for by it any more.
        reused = self._listings.reused(mine) if self._listings is not None else {}
        gaps = [
            unanswerable(gap, reused[gap.instrument]) if gap.instrument in reused else gap
            for gap in (*over, *found)
        ]
        for gap in gaps:
            if gap not in over:
                await self._gaps.take(gap)
        self._left = [gap for gap in gaps if gap.instrument not in reused]

    def _came_back(self, gap: Gap) -> int | None:
        """Return when trades came again behind a gap that lasts by its row, where ids do not tell.

        The process was killed between the write of these and that of the gap's end.
        """
        _, newest = self._taken.last_trades.get(gap.instrument, (0, 0))
        if self._adapter.counts_trades or gap.channel != "trades" or newest <= gap.from_time:
            return None
        known = self._taken.known_ids.get(gap.instrument, {}).values()
        return min((time for time in known if time > gap.from_time), default=newest)

    async def run(self) -> None:
        """Connect, and stream until drained."""
        if self.phase is not Phase.READY:
            return
        url = self._venue.ws_url or self._adapter.ws_url
        permit = SharedBudget(
            self._bus, "connects", url, own_address(), *self._adapter.limits.connects
        )
        channels = self._venue_config.channels
        # A replay sends all channels over one connection.
        groups = [channels] if self._venue.replayed else channel_groups(self._adapter, channels)
        loops = [self._new_loop(url, group, permit) for group in groups]
        self._connections = Connections(self._adapter.name, loops)
        self._connections.repair(self._left)
        self.phase = Phase.RUNNING
        self.spawn(self._stream(), "the stream")
        self.spawn(self._tick_for_ever(), "closing candles")
        self.spawn(self._rebuild_for_ever(), "rebuilding candles")
        if self._listings is not None:
            every_s = self._venue_config.metadata_every_s
            following = self._connections.follow(self._listings, self._instruments, every_s)
            self.spawn(following, "watching listings")
        for feed in self._feeds:
            self.spawn(feed.run(), "handing candles on")

    def _new_loop(
        self, url: str, channels: tuple[Channel, ...], permit: SharedBudget
    ) -> StreamLoop:
        recorder = None
        if self._config.record and not self._venue.replayed:
            recorder = Recorder(
                Path(self._config.data_dir) / "recordings",
                self._adapter.name,
                self._clock,
                instruments=self._instruments,
                contract_sizes=self._adapter.contract_sizes,
            )
        adapter = self._adapter
        if not self._venue.replayed:
            # Its own: a symbol may name another instrument for one connection before the next.
            adapter = adapter_of(self._adapter.name)
            adapter.contract_sizes = self._adapter.contract_sizes
        first = {name: at.exchange_time for name, at in self._taken.first_trades.items()}
        return StreamLoop(
            adapter,
            url,
            self._instruments,
            self._venue_config.model_copy(update={"channels": channels}),
            self._config.reconnect,
            self._clock,
            self,
            recorder=recorder,
            stamped=self._venue.replayed,
            known_last=self._taken.last_trades,
            known_ids=self._taken.known_ids,
            # A recording may be older than what is stored.
            known_first={} if self._venue.replayed else first,
            get=None if self._rest is None else self._rest.get,
            permit=permit.spend,
        )

    async def offer(self, trades: Sequence[Trade]) -> str:
        """Take trades that a second stream of the same received; answer with the incarnation.

        Raises
        ------
        ConnectionError
            Where this stream does not run yet, or is behind: keep them, and try again.
        """
        if self.phase is not Phase.RUNNING:
            raise ConnectionError(f"{self.name} does not stream yet")
        if not self._connections.offer(trades):
            raise ConnectionError(f"{self.name} cannot take trades now")
        return self.incarnation

    async def _stream(self) -> None:
        await self._connections.run()
        # Only now is everything that was received handed over.
        self._is_over = True

    # -- what the stream loop hands over ---------------------------------------------------

    async def events(self, events: Sequence[FeedEvent]) -> None:
        """Take events of the stream; returning late is what slows the socket down."""
        trades = [event for event in events if type(event) is Trade]
        if len(trades) < len(events):
            await self._take_others(events)
        if isinstance(self._clock, DataClock):
            self._clock.advance(max(map(_received, events), default=0))
        if trades:
            await self._take_trades(trades)
        for feed in self._feeds:
            await feed.wait_for_room()

    async def _take_others(self, events: Sequence[FeedEvent]) -> None:
        tops: list[BookTop] = []
        for event in events:
            if type(event) is BookTop:
                tops += self._tops.sample(event)
                self._last_receive[event.instrument] = event.receive_time
                self._touched.add(event.instrument)
        await self._store_tops(tops)
        snapshots = [event for event in events if type(event) is BookSnapshot]
        self._books += snapshots
        self._book_snapshots += len(snapshots)
        await self._writer.put("book_snapshots", snapshots)
        ticks = [event for event in events if type(event) is PerpetualTick]
        self._perpetual_ticks += len(ticks)
        await self._writer.put("perpetuals", ticks)
        deltas = [event for event in events if type(event) is BookDelta]
        await self._writer.put("book_deltas", deltas)

    async def repaired(self, trades: Sequence[Trade]) -> None:
        """Take trades that were fetched: they change candles that are closed already."""
        self._trades += len(trades)
        self._closed += self._builder.add(trades)
        await self._writer.put("trades", trades)

    async def gap(self, gap: Gap) -> None:
        """Take a gap that opened, changed or closed."""
        await self._gaps.take(gap)

    async def dead_letter(self, letter: DeadLetter) -> None:
        """Keep a frame that could not be used."""
        await self._writer.put("dead_letters", [letter])

    async def state(self, *, connected: bool, reason: str) -> None:
        """Note that the connection came or went."""
        self.log.info("%s: %s", "connected" if connected else "disconnected", reason)

    async def _store_tops(self, tops: list[BookTop]) -> None:
        self._book_tops += len(tops)
        await self._writer.put("book_tops", tops)

    async def _take_trades(self, trades: list[Trade]) -> None:
        received = {trade.instrument: trade.receive_time for trade in trades}
        self._last_receive |= received
        self._touched |= received.keys()
        times = [trade.exchange_time for trade in trades]
        self._event_time = max(self._event_time, *times)
        fresh = trades
        if min(times) < self._taken.folded_from:
            fresh = [trade for trade in trades if not self._is_folded(trade)]
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
        # One without a number may be new: its second is folded again from the store.
        sequence, _ = self._taken.last_trades.get(trade.instrument, (0, 0))
        return 0 < trade.sequence <= sequence

    # -- candles ---------------------------------------------------------------------------

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            is_over = self._is_over
            await self._tick(self._watermark())
            if is_over and self._connections.have_ended:
                await self._finish_replay()
                return

    def _watermark(self) -> int:
        """Venue time up to which trades are believed to have come."""
        live = isinstance(self._clock, SystemClock)
        if live and self._connections.are_up:
            return max(self._event_time, self._clock.now_ns() - QUIET_LAG_NS)
        return self._event_time

    async def _tick(self, watermark: int) -> None:
        """Close what is over, write it, publish it, and hand it on."""
        async with self._ticking:  # one after the other: candles are handed on in their order
            await self._close_and_tell(watermark)

    async def _close_and_tell(self, watermark: int) -> None:
        # They stay where `_write_candles` finds them until they are handed on.
        self._closed += self._builder.advance(watermark)
        touched, self._touched = self._touched, set()
        wanted = self._config.features.timeframes
        forming: list[Candle] = []
        for number, instrument in enumerate(sorted(touched)):
            forming += self._builder.forming(instrument, wanted)
            if number % MARKETS_AT_ONCE == MARKETS_AT_ONCE - 1:
                await asyncio.sleep(0)
        closed, self._closed = self._closed, []
        books, self._books = self._books, []
        delisted = {} if self._listings is None else self._listings.delisted
        for feed in self._feeds:
            feed.offer(
                closed,
                forming,
                self._builder.closed_through,
                self._last_receive,
                self._unhealthy(),
                books,
                delisted,
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

    def _export(self) -> None:
        """Bring the gauges of what is wrong up to date."""
        self._connections.export()
        OPEN_GAPS.labels(self._adapter.name).set(self._gaps.open)
        coalesced = COALESCED.labels(self._adapter.name, "book_top")
        coalesced.inc(self._tops.coalesced - self._coalesced)
        self._coalesced = self._tops.coalesced

    async def _rebuild_for_ever(self) -> None:
        """Beside the ticks: a store that does not answer holds up only what needs it."""
        while True:
            await asyncio.sleep(TICK_S)
            self._export()
            await self._rebuild()
            try:
                await self._gaps.settle(self._write_candles)
            except StoreError as error:
                self.problem = str(error)

    async def _rebuild(self) -> None:
        rebuilt = await self._late.rebuild()
        self._closed += rebuilt  # what it was before the wait, a tick may have taken

    async def _write_candles(self) -> bool:
        """Have the candles written that the trades so far change, ahead of the tick's own write.

        False where some of them wait for the store's answer.
        """
        await self._rebuild()
        await self._writer.put("candles", list(self._closed))
        return not self._late.waits

    async def _flush(self) -> None:
        """Write what is held; rows that the store refuses are told of, and do not stop us."""
        await self._writer.put("candles", list(self._closed))
        try:
            await self._writer.flush()
        except StoreError as error:
            self._gaps.keep_open()
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
        await self._connections.stop()
        if self.phase is Phase.RUNNING:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._rebuild(), HAND_OVER_S)
            await self._tick(self._watermark())
            await self._store_tops(self._tops.flush())
            await self._writer.put("candles", self._builder.forming())
            await self._hand_over()
        await self.stop_tasks()
        try:
            with contextlib.suppress(StoreError, TimeoutError):
                await asyncio.wait_for(self._gaps.settle(self._write_candles), HAND_OVER_S)
            await self._writer.close()
        finally:
            if self._rest is not None:
                await self._rest.close()
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
        down = {name for name, _ in self._connections.broken()}
        return self._gaps.instruments(self._clock.now_ns()) | down

    def details(self) -> dict[str, Any]:
        """Return counts, freshness and what is wrong."""
        connections = self._connections.details()
        if not connections:
            return {"instruments": len(self._instruments), "problems": self._taken.problems}
        newest = max(self._last_receive.values(), default=None)
        age_ms = None if newest is None else max(0, self._clock.now_ns() - newest) // NS_PER_MS
        return {
            "exchange": self._adapter.name,
            "instruments": len(self._instruments),
            **connections,
            "frames_per_s": self._rate.measure(connections["frames"]),
            "trades": self._trades,
            "book_tops": self._book_tops,
            "book_snapshots": self._book_snapshots,
            "perpetual_ticks": self._perpetual_ticks,
            "open_gaps": self._gaps.open,
            "last_event_age_ms": age_ms,
            "held_trades": self._builder.held_trades,
            "backlog": sum(feed.backlog for feed in self._feeds),
            "problems": self._taken.problems,
            "writer": self._writer.status(),
        }
