"""The actor that ranks: feature rows and sentiment in, rankings out."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from engine.actors.base import EngineActor, Phase
from engine.actors.board import Board, ClosedBar
from engine.actors.messages import FeatureBatch, SentimentBatch
from engine.actors.wiring import Wiring, markets_of, ranked_markets
from engine.bus.client import Bus
from engine.clock import NS_PER_MS, NS_PER_S, Clock, DataClock, SystemClock
from engine.config import Config
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.sentiment import SentimentAggregate
from engine.domain.signal import Alert, Ranking
from engine.domain.timeframe import Timeframe
from engine.errors import BusError
from engine.features.cross_section import fill_cross_section
from engine.metrics import ERRORS, STAGE_SECONDS, TICK_TO_RANKING
from engine.signals.ranker import FeedHealth, rank
from engine.signals.weights import load_weights
from engine.store.client import Store
from engine.store.reader import Reader
from engine.store.writer import BatchWriter

PATIENCE_S = 5.0
"""How long a closed bar waits for the slowest venue and for the texts of its moment."""

RESTORED_NS = 300 * NS_PER_S
"""How far back a start reaches: a bar told again is ranked, with the sentiment of its own time."""


class Ranker(EngineActor):
    """Turns the newest rows of every market into rankings.

    Two kinds leave it. When a bar has closed everywhere, its rows alone are ranked: such
    signals can be reproduced from the store, and are stored. Between closes the newest rows,
    previews of forming bars included, are ranked every ``ranking.every_ms``: such rankings
    are served, not stored.

    Parameters
    ----------
    name
        Stable name.
    config
        The whole configuration.
    wiring
        Addresses.
    workers
        How many feature workers report here.
    """

    def __init__(self, name: str, config: Config, wiring: Wiring, workers: int) -> None:
        super().__init__(name, config)
        self._config = config
        self._clock: Clock = SystemClock() if wiring.starts_at is None else DataClock()
        self._store = Store(wiring.store)
        self._writer = BatchWriter(self._store, config.store)
        self._bus = Bus(wiring.bus_url, config.bus.prefix)
        self._weights = load_weights(config.ranking.weights)
        self._expects_texts = bool(config.sources) and wiring.starts_at is None
        self._board = Board(
            workers,
            PATIENCE_S,
            expects_texts=self._expects_texts,
            since=self._clock.now_ns() - RESTORED_NS,
        )
        self._pass = asyncio.Lock()
        self._arrived = asyncio.Event()
        self._directions: dict[str, str] = {}
        self._sequences: dict[Timeframe, int] = {}
        self._observed: dict[Market, int] = {}
        self._rankings = 0
        self._last_ranking: dict[str, int] = {}

    async def start(self) -> None:
        """Take up what is stored of sentiment and directions, and begin to rank."""
        if self.phase is Phase.RUNNING:
            return
        await asyncio.to_thread(self._restore)
        self.phase = Phase.RUNNING
        self.spawn(self._rank_closed_bars(), "ranking closed bars")
        self.spawn(self._rank_forming_bars(), "ranking forming bars")

    def _restore(self) -> None:
        reader = Reader(self._store)
        last = reader.latest_ranking(self._config.ranking.timeframe)
        for signal in last.signals if last is not None else ():
            if signal.direction != "neutral":
                self._directions[signal.instrument] = signal.direction
        if self._expects_texts:
            self._restore_sentiment(reader)

    def _restore_sentiment(self, reader: Reader) -> None:
        now = self._clock.now_ns()
        moments: dict[int, list[SentimentAggregate]] = {}
        for market in ranked_markets(markets_of(self._config)):
            window = self._config.ranking.sentiment_window
            for aggregate in reader.aggregates(
                market.instrument, window, now - RESTORED_NS, now + 1
            ):
                moments.setdefault(aggregate.as_of, []).append(aggregate)
        for as_of in sorted(moments):
            self._board.take_sentiment(SentimentBatch(as_of, tuple(moments[as_of])))

    async def ingest(self, batch: FeatureBatch) -> str:
        """Take a worker's rows; answers with this ranker's incarnation.

        It waits while bars are being ranked: a store that does not answer slows the workers.

        Raises
        ------
        ConnectionError
            Where this ranker has failed and is about to be started anew: keep the batch.
        """
        if batch.recipient not in ("", self.incarnation):
            return self.incarnation
        async with self._pass:
            if self.phase is Phase.FAILED:
                raise ConnectionError(self.problem)
            try:
                await self._take(batch)
            except Exception as error:
                self.fail("taking rows", error)
                raise ConnectionError(self.problem) from error
        self._arrived.set()
        return self.incarnation

    async def _take(self, batch: FeatureBatch) -> None:
        if isinstance(self._clock, DataClock) and batch.last_receive:
            self._clock.advance(max(batch.last_receive.values()))
        for bar in self._board.take(batch, time.monotonic()):
            rows = list(bar.rows.values())
            # Ranks among some of a bar's markets would be wrong: then they stay missing.
            await self._writer.put("features", fill_cross_section(rows) if bar.is_whole else rows)

    async def ingest_sentiment(self, batch: SentimentBatch) -> str:
        """Take the text stream's aggregates; answers with this ranker's incarnation."""
        self._board.take_sentiment(batch)
        self._arrived.set()
        return self.incarnation

    async def _rank_closed_bars(self) -> None:
        while True:
            async with self._pass:
                for bar in self._board.ready(time.monotonic()):
                    await self._rank_closed(bar)
            await asyncio.sleep(0.05)

    async def _rank_closed(self, bar: ClosedBar) -> None:
        rows = fill_cross_section(list(bar.rows.values()))
        await self._writer.put("features", rows)
        ranking = self._rank(bar.timeframe, rows, bar.close_time)
        if ranking is None:
            return
        await self._writer.put("signals", ranking.signals)
        await self._publish(ranking)
        if bar.timeframe is self._config.ranking.timeframe:
            await self._tell_flips(ranking)

    async def _rank_forming_bars(self) -> None:
        every_s = self._config.ranking.every_ms / 1000
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            for timeframe, rows in self._board.changed().items():
                # Ranks over the universe belong to one bar time; scores do not need them.
                ranking = self._rank(timeframe, rows, self._clock.now_ns())
                if ranking is not None:
                    await self._publish(ranking)
            await asyncio.sleep(every_s)

    def _rank(self, timeframe: Timeframe, rows: list[FeatureRow], as_of: int) -> Ranking | None:
        """Rank rows as of a moment; None where there are too few for a ranking."""
        if len(rows) < self._config.ranking.min_universe:
            return None
        window = self._config.ranking.sentiment_window
        sequence = self._sequences.get(timeframe, 0) + 1
        self._sequences[timeframe] = sequence
        with STAGE_SECONDS.labels("ranking").time():
            return rank(
                rows,
                self._board.sentiment(window, as_of),
                as_of=as_of,
                config=self._config.ranking,
                weights=self._weights,
                feed=self._feed(rows),
                sequence=sequence,
            )

    def _feed(self, rows: list[FeatureRow]) -> dict[Market, FeedHealth]:
        unhealthy = self._board.unhealthy
        health = {}
        for row in rows:
            market = Market(row.exchange, row.instrument)
            received = row.last_receive_time
            if not row.is_closed:
                # What came after a bar's close must not make its stored signal look fresher.
                received = self._board.last_receive.get(market, received)
            complete = str(market) not in unhealthy
            health[market] = FeedHealth(last_receive_time=received, is_complete=complete)
        return health

    async def _publish(self, ranking: Ranking) -> None:
        try:
            await self._bus.publish_ranking(ranking)
        except BusError as error:
            ERRORS.labels("ranking", "bus").inc()
            self.log.warning("ranking not published: %s", error)
            return
        self._rankings += 1
        self._last_ranking[ranking.timeframe] = ranking.as_of
        if isinstance(self._clock, SystemClock):
            self._observe_latency()

    def _observe_latency(self) -> None:
        """Note how long the newest tick of each market took to get here, once per tick."""
        now = self._clock.now_ns()
        for market, received in self._board.last_receive.items():
            if self._observed.get(market) != received:
                self._observed[market] = received
                TICK_TO_RANKING.observe(max(0, now - received) / 1e9)

    async def _tell_flips(self, ranking: Ranking) -> None:
        """Raise an alert for each instrument whose direction turned around."""
        for signal in ranking.signals:
            before = self._directions.get(signal.instrument)
            if signal.direction == "neutral":
                continue
            self._directions[signal.instrument] = signal.direction
            if before is None or before == signal.direction:
                continue
            alert = Alert(
                alert_id=f"flip-{signal.signal_id}",
                kind="direction_flip",
                severity="info",
                subject=signal.instrument,
                message=f"{signal.instrument} turned {signal.direction} "
                f"(score {signal.score:+.2f}, rank {signal.rank})",
                raised_at=ranking.as_of,
            )
            try:
                await self._bus.publish_alert(alert)
            except BusError:
                ERRORS.labels("ranking", "bus").inc()

    async def drain(self) -> None:
        """Rank what waits, write everything down, and stop."""
        if self.phase is Phase.DRAINED:
            return
        async with self._pass:
            # Not before the bars in hand are ranked: whoever is cancelled there loses them.
            await self.stop_tasks()
            for bar in self._board.ready(float("inf")):
                await self._rank_closed(bar)
        try:
            await self._writer.close()
        finally:
            await self._bus.close()
            await asyncio.to_thread(self._store.close)
            self.phase = Phase.DRAINED

    def details(self) -> dict[str, Any]:
        """Return how much was ranked, and what waits."""
        now = self._clock.now_ns()
        return {
            "rankings": self._rankings,
            "age_ms": {tf: (now - at) // NS_PER_MS for tf, at in self._last_ranking.items()},
            "waiting_bars": self._board.waiting,
            "writer": self._writer.status(),
        }
