"""A store, a bus and actors' counterparts in memory: what an actor is driven with without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.actors.messages import FeatureBatch, SentimentBatch
from engine.actors.wiring import Wiring
from engine.config import Config, load_config
from engine.domain.credibility import SourceCredibility
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.market import BookSnapshot, Candle, Gap, Trade
from engine.domain.sentiment import SentimentAggregate, SentimentScore
from engine.domain.signal import Alert, Ranking
from engine.domain.text import MarketMood, TextItem
from engine.errors import BusError, StoreUnavailable
from engine.features.catalogue import FEATURE_NAMES
from engine.sentiment.aggregate import ScoredText
from engine.sentiment.events import EventMemory
from engine.settings.sentiment_events import SentimentEventsConfig
from engine.store.endpoint import StoreEndpoint
from engine.store.reader import FirstTrade

WIRING = Wiring(StoreEndpoint("127.0.0.1", 1, "", "", "engine", False), "redis://127.0.0.1:1/0")


def config_for(folder: Path, *overrides: str) -> Config:
    quick = "sentiment.model=lexicon"
    return load_config(overrides=[f"data_dir={folder}", quick, *overrides], environment={})


class Memory:
    """What the store and the bus hold; every fake of one actor shares one."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Any]] = {}
        self.alerts: list[Alert] = []
        self.rankings: list[Ranking] = []
        self.ranked = asyncio.Event()
        self.bus_is_down = False
        self.store_is_down = False
        self.closed: list[str] = []
        self.ranking: Ranking | None = None
        self.event_memory = EventMemory()

    def newest(self, table: str) -> list[Any]:
        """Candles as the store would give them: the newest version of each."""
        found: dict[tuple[str, str, str, int], Candle] = {}
        for candle in self.rows.get(table, []):
            key = (candle.exchange, candle.instrument, candle.timeframe, candle.open_time)
            if key not in found or candle.version >= found[key].version:
                found[key] = candle
        return [found[key] for key in sorted(found)]


def install(monkeypatch: pytest.MonkeyPatch, module: str) -> Memory:
    """Put fakes in place of the store and the bus that `module` would open."""
    memory = Memory()

    class FakeStore:
        def __init__(self, endpoint: StoreEndpoint) -> None:
            self.endpoint = endpoint

        def close(self) -> None:
            memory.closed.append("store")

    class FakeReader:
        def __init__(self, store: FakeStore) -> None:
            pass

        def _ask(self) -> None:
            if memory.store_is_down:
                raise StoreUnavailable("the store does not answer")

        def candles(self, exchange: str, name: str, tf: str, start: int, end: int) -> list[Candle]:
            return self.candles_of_markets([Market(exchange, name)], tf, start, end)

        def candles_of_markets(
            self, markets: Sequence[Market], tf: str, start: int, end: int
        ) -> list[Candle]:
            self._ask()
            return [
                c
                for c in memory.newest("candles")
                if Market(c.exchange, c.instrument) in markets
                and c.timeframe == tf
                and start <= c.open_time < end
            ]

        def trades(self, exchange: str, name: str, start: int, end: int) -> list[Trade]:
            return self.trades_of_markets([Market(exchange, name)], start, end)

        def trades_of_markets(self, markets: Sequence[Market], start: int, end: int) -> list[Trade]:
            self._ask()
            found = {
                trade.trade_id: trade
                for trade in memory.rows.get("trades", [])
                if Market(trade.exchange, trade.instrument) in markets
                and start <= trade.exchange_time < end
            }
            return list(found.values())

        def last_trades(self, exchange: str) -> dict[str, tuple[int, int]]:
            last: dict[str, tuple[int, int]] = {}
            for trade in memory.rows.get("trades", []):
                sequence, moment = last.get(trade.instrument, (0, 0))
                newest = (max(sequence, trade.sequence), max(moment, trade.exchange_time))
                last[trade.instrument] = newest
            return last

        def first_trades(self, exchange: str, since: int) -> dict[str, FirstTrade]:
            first: dict[str, FirstTrade] = {}
            for trade in memory.rows.get("trades", []):
                own = FirstTrade(trade.sequence, trade.exchange_time, trade.receive_time)
                known = first.get(trade.instrument, own)
                first[trade.instrument] = min(own, known, key=lambda one: one.exchange_time)
            return {name: one for name, one in first.items() if one.exchange_time >= since}

        def open_gaps(self) -> list[Gap]:
            return [gap for gap in memory.rows.get("feed_gaps", []) if gap.repaired_at is None]

        def texts(self, start: int, end: int) -> list[TextItem]:
            return [t for t in memory.rows.get("texts", []) if start <= t.available_at < end]

        def text_ids(self, source: str) -> list[str]:
            return [t.text_id for t in memory.rows.get("texts", []) if t.source == source]

        def mood(self, series: str) -> list[MarketMood]:
            return [m for m in memory.rows.get("market_mood", []) if m.series == series]

        def scores(self, start: int, end: int, model: str = "") -> list[SentimentScore]:
            every = memory.rows.get("sentiment_scores", [])
            return [score for score in every if model in ("", score.model)]

        def source_credibility(self, model: str, version: str) -> list[SourceCredibility]:
            self._ask()
            every = memory.rows.get("source_credibility", [])
            return [row for row in every if (row.model, row.version) == (model, version)]

        def aggregates(
            self, instrument: str, window: str, start: int, end: int
        ) -> list[SentimentAggregate]:
            return [
                found
                for found in memory.rows.get("sentiment_aggregates", [])
                if found.instrument == instrument
                and found.window == window
                and start <= found.as_of < end
            ]

        def last_book_snapshots(
            self, markets: Sequence[Market], step_ns: int, start: int, end: int
        ) -> list[BookSnapshot]:
            self._ask()
            last: dict[tuple[str, str, int], BookSnapshot] = {}
            for snapshot in sorted(memory.rows.get("book_snapshots", []), key=lambda s: s.as_of):
                market = Market(snapshot.exchange, snapshot.instrument)
                if market in markets and start <= snapshot.as_of < end:
                    last[(*market, (snapshot.as_of - 1) // step_ns)] = snapshot
            return list(last.values())

        def feature_values(
            self,
            markets: Sequence[Market],
            timeframe: str,
            names: Sequence[str],
            version: str,
            start: int,
            end: int,
        ) -> list[tuple[Market, int, tuple[float, ...]]]:
            self._ask()
            rows = {
                (Market(row.exchange, row.instrument), row.open_time): row
                for row in memory.rows.get("features", [])
                if row.timeframe == timeframe and row.version == version
            }
            return [
                (market, open_time, tuple(row.values[FEATURE_NAMES.index(n)] for n in names))
                for (market, open_time), row in sorted(rows.items())
                if market in markets and start <= open_time < end
            ]

        def latest_ranking(self, timeframe: str) -> Ranking | None:
            return memory.ranking

    class FakeSentimentHistory:
        def __init__(self, store: FakeStore) -> None:
            pass

        def texts(self, model: str, start: int, end: int) -> list[ScoredText]:
            scores = {
                score.text_id: score
                for score in memory.rows.get("sentiment_scores", [])
                if score.model == model
            }
            return [
                ScoredText.of(item, scores.get(item.text_id))
                for item in memory.rows.get("texts", [])
                if start <= item.available_at < end
            ]

        def event_memory(
            self, model: str, rules: SentimentEventsConfig, before: int
        ) -> EventMemory:
            return memory.event_memory

    class FakeWriter:
        def __init__(
            self, store: FakeStore, config: object, *, spool_dir: Path | None = None
        ) -> None:
            pass

        async def put(self, table: str, rows: Iterable[Any]) -> None:
            memory.rows.setdefault(table, []).extend(rows)

        async def flush(self) -> None:
            pass

        async def close(self) -> None:
            memory.closed.append("writer")
            if memory.store_is_down:
                raise StoreUnavailable("3 rows were not stored")

        def status(self) -> dict[str, Any]:
            return {}

    class FakeBus:
        def __init__(self, url: str, prefix: str) -> None:
            pass

        def _ask(self) -> None:
            if memory.bus_is_down:
                raise BusError("the bus does not answer")

        async def publish_candles(self, candles: Sequence[Candle]) -> None:
            self._ask()

        async def publish_ranking(self, ranking: Ranking) -> None:
            self._ask()
            memory.rankings.append(ranking)
            memory.ranked.set()

        async def publish_alert(self, alert: Alert) -> None:
            self._ask()
            memory.alerts.append(alert)

        async def close(self) -> None:
            memory.closed.append("bus")

    fakes = {
        "Store": FakeStore,
        "Reader": FakeReader,
        "BatchWriter": FakeWriter,
        "Bus": FakeBus,
        "SentimentHistory": FakeSentimentHistory,
    }
    for left in ("left_holes", "left_starts"):
        monkeypatch.setattr(f"engine.actors.{module}.{left}", lambda *_: [], raising=False)
    for name, fake in fakes.items():
        monkeypatch.setattr(f"engine.actors.{module}.{name}", fake, raising=False)
    return memory


class RankerStub:
    """Takes rows and sentiment like the ranker; can be restarted or absent."""

    def __init__(self) -> None:
        self.batches: list[FeatureBatch] = []
        self.refused: list[FeatureBatch] = []
        self.moments: list[SentimentBatch] = []
        self.incarnation = "first"
        self.absences = 0
        self.told = asyncio.Event()

    async def ingest(self, batch: FeatureBatch) -> str:
        if batch.recipient not in ("", self.incarnation):
            self.refused.append(batch)
            return self.incarnation
        self.batches.append(batch)
        self.told.set()
        return self.incarnation

    async def ingest_sentiment(self, batch: SentimentBatch) -> str:
        if self.absences:
            self.absences -= 1
            raise ConnectionError("restarting")
        self.moments.append(batch)
        self.told.set()
        return self.incarnation

    @property
    def closed(self) -> dict[tuple[str, str, int], FeatureRow]:
        """Rows of closed bars by instrument, timeframe and time: the last word on each."""
        return {
            (row.instrument, row.timeframe, row.open_time): row
            for batch in self.batches
            for row in batch.closed
        }
