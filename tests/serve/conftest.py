"""A replica's state with a real bus' interface, a store in memory, and no Ray."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from serve_samples import AS_OF, CONFIG, FEATURE_NAMES, ranking

from engine.bus.client import Bus
from engine.bus.sentiment_cache import SentimentCache
from engine.clock import NS_PER_S, DataClock
from engine.domain.features import FeatureRow
from engine.domain.market import Candle
from engine.domain.sentiment import SentimentAggregate, SentimentEvent, Window
from engine.domain.signal import Ranking, Signal
from engine.sentiment.base import TextSentiment
from engine.sentiment.readers import TextReaders
from engine.sentiment.reading import TextReader
from engine.sources.mentions import MentionFinder
from engine.texts.language import sure_language
from engine.texts.normalise import normalise
from serve.api import create_api
from serve.sentiment_scoring import CachedScoring, ScoringHere
from serve.state import ServingState


@dataclass
class StoredRows:
    """What a test puts into the store; `failure` is raised by every read."""

    candle_rows: list[Candle] = field(default_factory=list)
    signal_rows: list[Signal] = field(default_factory=list)
    feature_row: FeatureRow | None = None
    aggregate_rows: list[SentimentAggregate] = field(default_factory=list)
    event_rows: list[SentimentEvent] = field(default_factory=list)
    ranking_row: Ranking | None = None
    failure: Exception | None = None

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def last_candles(
        self, exchange: str, instrument: str, timeframe: str, end_ns: int, limit: int
    ) -> Sequence[Candle]:
        return self.candles(exchange, instrument, timeframe, 0, end_ns, 10**6)[-limit:]

    def candles(
        self,
        exchange: str,
        instrument: str,
        timeframe: str,
        start_ns: int,
        end_ns: int,
        limit: int,
    ) -> Sequence[Candle]:
        self._check()
        market = (exchange, instrument, timeframe)
        return [
            row
            for row in self.candle_rows
            if (row.exchange, row.instrument, row.timeframe) == market
            and start_ns <= row.open_time < end_ns
        ][:limit]

    def signal_history(
        self, instrument: str, timeframe: str, start_ns: int, end_ns: int, limit: int
    ) -> Sequence[Signal]:
        self._check()
        return [
            row
            for row in self.signal_rows
            if (row.instrument, row.timeframe) == (instrument, timeframe)
            and start_ns <= row.as_of < end_ns
        ][:limit]

    def latest_features(self, instrument: str, timeframe: str) -> FeatureRow | None:
        self._check()
        return self.feature_row

    def latest_aggregates(self, as_of: int) -> Sequence[SentimentAggregate]:
        self._check()
        return [row for row in self.aggregate_rows if row.as_of <= as_of]

    def sentiment_events(
        self,
        start_ns: int,
        end_ns: int,
        limit: int,
        instrument: str,
        kind: str,
        window: Window | None,
    ) -> Sequence[SentimentEvent]:
        self._check()
        found = [
            row
            for row in self.event_rows
            if start_ns <= row.as_of < end_ns
            and instrument in ("", row.instrument)
            and kind in ("", row.kind)
            and window in (None, row.window)
        ]
        return (
            [row for row in found if row.as_of <= found[limit - 1].as_of]
            if len(found) > limit
            else found
        )

    def latest_ranking(self, timeframe: str) -> Ranking | None:
        self._check()
        row = self.ranking_row
        return row if row is not None and row.timeframe == timeframe else None


class LoudnessModel:
    """A model whose reading of a text is known by hand: capitals are bullish."""

    name = "loudness-1"

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        return [
            None if not text.strip() else TextSentiment.of(0.5 if text.isupper() else -0.25, 0.25)
            for text in texts
        ]


NO_REDIS = "redis://127.0.0.1:1/0"


class SilentBus(Bus):
    """A bus whose Redis never was: every question fails at once, as after an outage."""

    def __init__(self) -> None:
        super().__init__(NO_REDIS)


def loud_readers() -> TextReaders:
    """Readers of `LoudnessModel`, under the name of the configuration's default."""
    finder = MentionFinder(["BTC-USDT", "ETH-USDT", "SOL-USDT"])
    reader = TextReader(LoudnessModel(), normalise, sure_language, finder)
    return TextReaders(lambda _: reader, CONFIG.sentiment.served, 32)


@pytest.fixture
def stored() -> StoredRows:
    return StoredRows()


@pytest.fixture
async def state(stored: StoredRows) -> AsyncIterator[ServingState]:
    bus = SilentBus()
    made = ServingState(
        config=CONFIG,
        bus=bus,
        open_reader=lambda: stored,
        scoring=CachedScoring(ScoringHere(loud_readers()), SentimentCache(NO_REDIS, "engine", 60)),
        load_feature_names=lambda: FEATURE_NAMES,
        clock=DataClock(AS_OF + 2 * NS_PER_S),
    )
    made.accept(ranking())
    yield made
    await made.scoring.close()
    await bus.close()


@pytest.fixture
async def http(state: ServingState) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, without a socket."""
    transport: Any = httpx.ASGITransport(create_api(state), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        yield client
