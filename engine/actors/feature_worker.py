"""The actor that turns the candles of its markets into feature rows."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any, Protocol

from engine.actors.bar_series import BarSeries, NewRow
from engine.actors.base import EngineActor, Phase
from engine.actors.messages import CandleBatch, FeatureBatch
from engine.actors.stored_books import StoredBooks, stored_books
from engine.actors.wiring import Wiring
from engine.candles.backfill import needed_range
from engine.clock import NS_PER_S, Clock, DataClock, SystemClock
from engine.config import Config
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.market import BookSnapshot, Candle
from engine.domain.timeframe import Timeframe
from engine.features.live import LiveFeatures
from engine.features.rows import feature_row
from engine.features.warm_up import WARM_UP_BARS
from engine.metrics import STAGE_SECONDS
from engine.store.client import Store
from engine.store.reader import Reader

SEND_EVERY_S = 0.05
RETRY_S = 0.5

MOST_WAITING_ROWS = 20_000
"""Rows that may wait for the ranker; past that, candles are taken no more."""

TOLD_AGAIN_S = 15.0
"""How long rows are kept after the ranker took them: one that ends loses what it had not
ranked and written yet."""

LATE_NS = 10 * NS_PER_S
"""Bars that ended so lately may not be stored yet."""

REFERENCE_PATIENCE_S = 5.0
"""How long bars wait for the reference's bar of their time. After that they go without what
depends on it, and are corrected when it comes."""


class FeatureTaker(Protocol):
    """Whoever takes rows: the ranker, by its handle."""

    async def ingest(self, batch: FeatureBatch) -> str:
        """Take rows; answer with an incarnation, new after every restart."""
        ...


class FeatureWorker(EngineActor):
    """Keeps the features of one shard of the markets, bar by bar.

    Parameters
    ----------
    name
        Stable name.
    config
        The whole configuration.
    wiring
        Addresses.
    markets
        This shard's.
    reference
        The market that correlation and beta are measured against; every shard follows it.
    taker
        Who receives the rows.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        wiring: Wiring,
        markets: list[Market],
        reference: Market | None,
        taker: FeatureTaker,
    ) -> None:
        super().__init__(name, config)
        self._config = config
        self._wiring = wiring
        self._clock: Clock = SystemClock() if wiring.starts_at is None else DataClock()
        self._markets = markets
        self._mine = frozenset(markets)
        self._reference = reference
        self._taker = taker
        silence = config.build_features.silence_ns
        followed = dict.fromkeys([*([reference] if reference else []), *markets])
        self._series = {
            timeframe: {
                market: BarSeries(LiveFeatures(market, timeframe, market == reference), silence)
                for market in followed
            }
            for timeframe in config.features.timeframes
        }
        self._through: dict[Market, int] = {}
        self._waiting_since: dict[Timeframe, float] = {}
        self._last_receive: dict[Market, int] = {}
        self._unhealthy: dict[str, tuple[str, ...]] = {}
        self._closed: list[FeatureRow] = []
        self._newest: dict[tuple[Timeframe, Market], FeatureRow] = {}
        self._seeds: list[FeatureRow] = []
        self._told: deque[tuple[float, FeatureRow]] = deque()
        self._news = asyncio.Event()
        self._opened = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._rows = 0
        self._taker_incarnation = ""
        self._previewed_at = 0.0

    async def start(self) -> None:
        """Open every series from the stored bars, and begin to hand rows on."""
        if self.phase is Phase.RUNNING:
            return
        position = await asyncio.to_thread(self._position)
        with closing(Store(self._wiring.store)) as store:
            reader = Reader(store)
            for timeframe, series in self._series.items():
                # The last bar, or one that is still to come, may be of the segment before.
                before = position - timeframe.ns - LATE_NS
                start, _ = needed_range(timeframe, before, WARM_UP_BARS)
                end = timeframe.floor(position)
                # Read from further back: a quiet market's bars there have an earlier close.
                earlier = start - WARM_UP_BARS * timeframe.ns
                candles = await asyncio.to_thread(
                    reader.candles_of_markets, list(series), timeframe, max(0, earlier), end
                )
                segment = timeframe.segment_start(timeframe.floor(before))
                books = await asyncio.to_thread(
                    stored_books, reader, self._markets, timeframe, segment, position
                )
                self._load(timeframe, candles, (start, segment, end), books)
        self._seeds = list(self._newest.values())
        self._news.set()
        self.phase = Phase.RUNNING
        self._opened.set()
        self.spawn(self._send_for_ever(), "handing rows on")

    def _position(self) -> int:
        """Return the moment to open at: now, or where an earlier replay of the same ended."""
        if self._wiring.starts_at is None:
            return self._clock.now_ns()
        with closing(Store(self._wiring.store)) as store:
            reader = Reader(store)
            stored = [
                moment
                for exchange in {market.exchange for market in self._markets}
                for _, moment in reader.last_trades(exchange).values()
            ]
        return max([self._wiring.starts_at, *stored])

    def _load(
        self,
        timeframe: Timeframe,
        candles: Iterable[Candle],
        span: tuple[int, int, int],
        books: Mapping[Market, StoredBooks],
    ) -> None:
        start, segment, end = span
        by_market: dict[Market, list[Candle]] = {}
        for candle in candles:
            if candle.is_closed:
                market = Market(candle.exchange, candle.instrument)
                by_market.setdefault(market, []).append(candle)
        reference = self._reference_series(timeframe)
        for market, series in self._series[timeframe].items():
            of_market = by_market.get(market, [])
            stored = books.get(market, StoredBooks())
            row = series.load(of_market, start, reference, stored.known, segment)
            # Already known when we started: the ranker is told, the store has it.
            if row is not None and market in self._mine:
                quiet = end - timeframe.ns - row.open_time
                if quiet <= series.silence_ns:
                    self._keep(self._feature_row(row))
            self._emit(series.take_books(stored.fresh))

    def _reference_series(self, timeframe: Timeframe) -> BarSeries | None:
        return None if self._reference is None else self._series[timeframe][self._reference]

    # -- candles in ------------------------------------------------------------------------

    async def ingest(self, batch: CandleBatch) -> str:
        """Take a stream's candles; answers with this worker's incarnation.

        It waits until the series are opened: bars made before would lack their warm-up.

        Raises
        ------
        ConnectionError
            Where this worker has failed and is about to be started anew: keep the batch.
        """
        await self._opened.wait()
        if batch.recipient not in ("", self.incarnation):
            return self.incarnation
        await self._has_room.wait()
        if self.phase is Phase.FAILED:
            raise ConnectionError(self.problem)
        try:
            self._take_batch(batch)
        except Exception as error:
            self.fail("taking candles", error)
            raise ConnectionError(self.problem) from error
        return self.incarnation

    def _take_batch(self, batch: CandleBatch) -> None:
        for name, receive_time in batch.last_receive.items():
            self._last_receive[Market(batch.exchange, name)] = receive_time
            if isinstance(self._clock, DataClock):
                self._clock.advance(receive_time)
        self._unhealthy[batch.stream] = tuple(f"{batch.exchange}:{i}" for i in batch.unhealthy)
        with STAGE_SECONDS.labels("features").time():
            self._take_books(batch.books)
            for candle in batch.closed:
                self._take(candle)
            for candle in batch.forming:
                self._series_of(candle).form(candle)
            for name in batch.instruments:
                market = Market(batch.exchange, name)
                self._through[market] = max(self._through.get(market, 0), batch.closed_through)
                for series in self._series.values():
                    series[market].delisting = batch.delisted.get(name)
            for timeframe in self._series:
                self._advance(timeframe)
        if len(self._closed) > MOST_WAITING_ROWS:
            self._has_room.clear()
        self._news.set()

    def _series_of(self, candle: Candle) -> BarSeries:
        market = Market(candle.exchange, candle.instrument)
        return self._series[Timeframe(candle.timeframe)][market]

    def _take(self, candle: Candle) -> None:
        series = self._series_of(candle)
        corrected = series.take(candle)
        self._emit(corrected)
        if corrected and series.live.is_reference:
            self._tell_reference(series, candle.open_time)

    def _take_books(self, snapshots: Iterable[BookSnapshot]) -> None:
        by_market: dict[Market, list[BookSnapshot]] = {}
        for snapshot in snapshots:
            market = Market(snapshot.exchange, snapshot.instrument)
            by_market.setdefault(market, []).append(snapshot)
        for series in self._series.values():
            for market, taken in by_market.items():
                self._emit(series[market].take_books(taken))

    def _tell_reference(self, reference: BarSeries, open_time: int) -> None:
        """Correct what was made without this bar of the reference, or with an older state."""
        bar = reference.bar_at(open_time)
        if bar is None:
            return
        for series in self._series[reference.live.timeframe].values():
            if not series.live.is_reference:
                self._emit(series.take_reference(bar))

    def _advance(self, timeframe: Timeframe) -> None:
        """Make every bar that is over; the reference's first, for the others look at it."""
        reference = self._reference_series(timeframe)
        bound = None
        if reference is not None:
            since = reference.next_close
            self._emit(reference.advance(self._through.get(reference.market, 0), None))
            if since is not None and reference.live.next_open_time is not None:
                for open_time in range(
                    since - timeframe.ns, reference.live.next_open_time, timeframe.ns
                ):
                    self._tell_reference(reference, open_time)
            next_close = reference.next_close
            bound = None if next_close is None else next_close - timeframe.ns
        waits = False
        for market, series in self._series[timeframe].items():
            if series is reference:
                continue
            through = self._through.get(market, 0)
            if bound is not None and through > bound and not self._is_patience_over(timeframe):
                waits = waits or (series.next_close or through + 1) <= through
                through = bound
            self._emit(series.advance(through, reference))
        if not waits:
            self._waiting_since.pop(timeframe, None)
        else:
            self._waiting_since.setdefault(timeframe, time.monotonic())

    def _is_patience_over(self, timeframe: Timeframe) -> bool:
        since = self._waiting_since.get(timeframe)
        return since is not None and time.monotonic() - since > REFERENCE_PATIENCE_S

    # -- rows out ----------------------------------------------------------------------------

    def _emit(self, rows: list[NewRow]) -> None:
        for row in rows:
            if row.market in self._mine:
                made = self._feature_row(row)
                self._closed.append(made)
                self._keep(made)
        self._rows += len(rows)

    def _keep(self, row: FeatureRow) -> None:
        key = (Timeframe(row.timeframe), Market(row.exchange, row.instrument))
        known = self._newest.get(key)
        if known is None or row.open_time >= known.open_time:
            self._newest[key] = row

    def _feature_row(self, row: NewRow) -> FeatureRow:
        close_time = row.open_time + row.timeframe.ns
        now = self._clock.now_ns()
        return feature_row(
            row.market,
            row.timeframe,
            row.open_time,
            row.close,
            row.values,
            available_at=max(close_time, now) if row.is_closed else now,
            last_receive_time=self._last_receive.get(row.market, close_time),
            is_closed=row.is_closed,
        )

    async def _send_for_ever(self) -> None:
        while True:
            await self._news.wait()
            if not (self._closed or self._seeds or self._previews_are_due()):
                await asyncio.sleep(SEND_EVERY_S)
                continue
            self._news.clear()
            seeds, self._seeds = self._seeds, []
            await self._send([*seeds, *self._previews()])
            await asyncio.sleep(SEND_EVERY_S)

    async def _send(self, previews: list[FeatureRow]) -> None:
        """Hand on the closed rows that wait; they leave our hands once they are taken."""
        closed = self._closed[:]
        incarnation = await self._deliver(closed, previews)
        while self._taker_incarnation and incarnation != self._taker_incarnation:
            self.log.info("the ranker restarted; telling it the last rows again")
            self._taker_incarnation = incarnation
            closed = self._closed[:]
            again = [row for _, row in self._told]
            incarnation = await self._deliver([*again, *closed], list(self._newest.values()))
        self._taker_incarnation = incarnation
        now = time.monotonic()
        self._told.extend((now, row) for row in closed)
        while self._told and now - self._told[0][0] > TOLD_AGAIN_S:
            self._told.popleft()
        del self._closed[: len(closed)]
        if len(self._closed) <= MOST_WAITING_ROWS:
            self._has_room.set()

    def _previews(self) -> list[FeatureRow]:
        """Preview the bars that changed, no more often than rankings are made."""
        if not self._previews_are_due():
            self._news.set()
            return []
        self._previewed_at = time.monotonic()
        rows = []
        for timeframe, by_market in self._series.items():
            reference = self._reference_series(timeframe)
            for market in self._markets:
                row = by_market[market].preview(reference)
                if row is not None:
                    rows.append(self._feature_row(row))
        return rows

    def _previews_are_due(self) -> bool:
        return time.monotonic() - self._previewed_at >= self._config.ranking.every_ms / 1000

    async def _deliver(self, closed: list[FeatureRow], previews: list[FeatureRow]) -> str:
        batch = FeatureBatch(
            worker=self.name,
            incarnation=self.incarnation,
            closed=tuple(closed),
            previews=tuple(previews),
            closed_through={tf.value: self._closed_through(tf) for tf in self._series},
            last_receive={str(market): at for market, at in self._last_receive.items()},
            unhealthy=tuple(name for names in self._unhealthy.values() for name in names),
            recipient=self._taker_incarnation,
            gone=self._gone(),
        )
        warned = False
        while True:
            try:
                return await self._taker.ingest(batch)
            except ConnectionError as error:
                if not warned:
                    warned = True
                    self.log.warning("the ranker does not answer (%s)", error)
                await asyncio.sleep(RETRY_S)

    def _gone(self) -> dict[str, tuple[str, ...]]:
        return {
            timeframe.value: names
            for timeframe, series in self._series.items()
            if (names := tuple(str(each) for each in self._markets if series[each].is_gone))
        }

    def _closed_through(self, timeframe: Timeframe) -> int:
        """Every bar of ours that ends at or before this has its row."""
        ends = []
        for market in self._markets:
            series = self._series[timeframe][market]
            next_close = series.next_close
            if next_close is None:
                # No candle yet: there is no row to wait for.
                ends.append(self._through.get(market, 0))
            else:
                ends.append(next_close - timeframe.ns)
        return min(ends, default=0)

    async def drain(self) -> None:
        """Hand on what waits, and stop. Bars are the streams' to keep, not ours."""
        await self.stop_tasks()
        if self.phase is Phase.RUNNING and self._closed:
            await self._send([])
        await super().drain()

    def details(self) -> dict[str, Any]:
        """Return how many markets, bars and rows."""
        return {
            "markets": len(self._markets),
            "rows": self._rows,
            "waiting_rows": len(self._closed),
        }
