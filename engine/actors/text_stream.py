"""The actor that reads the sources of text and keeps the aggregates."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Protocol

from engine.actors.base import EngineActor, Phase
from engine.actors.messages import SentimentBatch
from engine.actors.wiring import Wiring
from engine.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from engine.config import Config, SourceConfig
from engine.domain.sentiment import SentimentScore, Window
from engine.domain.text import TextItem
from engine.errors import SourceError
from engine.metrics import ERRORS, EVENTS
from engine.sentiment.aggregate import Aggregator, ScoredText
from engine.sources.base import Source, load_author_key
from engine.sources.fear_greed import SERIES, FearGreed
from engine.sources.mentions import MentionFinder
from engine.sources.registry import open_source
from engine.store.client import Store
from engine.store.reader import Reader
from engine.store.writer import BatchWriter

AGGREGATE_EVERY_NS = 60 * NS_PER_S
"""Aggregates are made at whole minutes: a bar's close always has one of its own time."""

LONGEST_WINDOW_NS = max(window.ns for window in Window)
RETRY_CAP_S = 300.0
REPLICA_RETRY_S = 0.5
RANKER_RETRY_S = 0.5


class Scorer(Protocol):
    """Whoever scores texts: a replica, by its handle."""

    async def model(self) -> str:
        """Return the name, with its version, of the model that scores."""
        ...

    async def score(self, items: list[TextItem]) -> list[SentimentScore]:
        """Score a batch of texts."""
        ...


class SentimentInlet(Protocol):
    """Whoever wants the aggregates: the ranker, by its handle."""

    async def ingest_sentiment(self, batch: SentimentBatch) -> str:
        """Take the aggregates of one moment; answer with an incarnation."""
        ...


class TextStream(EngineActor):
    """Polls every source, has the texts scored, stores both, aggregates, and tells the ranker.

    Parameters
    ----------
    name
        Stable name.
    config
        The whole configuration.
    wiring
        Addresses.
    universe
        Canonical instruments that texts are matched with.
    scorers
        Replicas; batches go to them in turn.
    inlet
        Who receives the aggregates.
    clock
        What time it is.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        wiring: Wiring,
        universe: list[str],
        scorers: list[Scorer],
        inlet: SentimentInlet,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name, config)
        self._config = config
        self._universe = universe
        self._scorers = scorers
        self._inlet = inlet
        self._clock = clock or SystemClock()
        self._store = Store(wiring.store)
        self._reader = Reader(self._store)
        self._writer = BatchWriter(self._store, config.store)
        self._aggregator: Aggregator | None = None
        self._sources: list[Source] = []
        self._turn = 0
        self._texts: dict[str, int] = {}
        self._trouble: dict[str, str] = {}
        self._aggregated_at = 0
        self._unread: set[str] = set()

    async def start(self, news_url: str) -> None:
        """Take up what is stored, and read every source from there on.

        Parameters
        ----------
        news_url
            Where the simulator serves its news; empty without one.
        """
        if self.phase is Phase.RUNNING:
            return
        model = await self._scorers[0].model()
        aggregator = Aggregator(
            model,
            half_life_share=self._config.sentiment.half_life_share,
            instruments=self._universe,
        )
        since = self._clock.now_ns() - LONGEST_WINDOW_NS
        texts = await self._restore(aggregator, since, model)
        self._aggregator = aggregator
        mentions = MentionFinder(self._universe)
        author_key = load_author_key(Path(self._config.data_dir) / "author.key")
        for source_config in self._config.sources:
            source = open_source(
                source_config,
                clock=self._clock,
                mentions=mentions,
                simulator_news_url=news_url or None,
                author_key=author_key,
            )
            stored = [item for item in texts if item.source == source_config.name]
            newest = max((item.published_at for item in stored), default=since)
            source.resume(newest, [item.text_id for item in stored])
            self._sources.append(source)
            self._unread.add(source_config.name)
            self.spawn(self._read(source, source_config), f"source {source_config.name}")
        self.spawn(self._aggregate_each_minute(aggregator), "aggregating")
        mood_url = self._config.sentiment.fear_greed_url or (news_url and f"{news_url}/fng/")
        if mood_url:
            self.spawn(self._read_mood(FearGreed(mood_url, self._clock)), "market mood")
        self.phase = Phase.RUNNING

    async def _restore(self, aggregator: Aggregator, since: int, model: str) -> list[TextItem]:
        """Load and return the stored texts of the longest window.

        Texts that this model has not scored yet (another one ran, or we were killed before
        their scores were written) are scored now: models never mix.
        """
        now = self._clock.now_ns()
        texts = await asyncio.to_thread(self._reader.texts, since, now + 1)
        scores = await asyncio.to_thread(self._reader.scores, since, now + 1, model)
        known = {score.text_id for score in scores}
        for items in self._batches([item for item in texts if item.text_id not in known]):
            missing = await self._score(items)
            await self._writer.put("sentiment_scores", missing)
            scores += missing
        _add(aggregator, texts, scores)
        return texts

    def _batches(self, items: list[TextItem]) -> list[list[TextItem]]:
        size = self._config.sentiment.batch_texts
        return [items[start : start + size] for start in range(0, len(items), size)]

    async def _read(self, source: Source, config: SourceConfig) -> None:
        failures = 0
        while True:
            try:
                items = await source.poll()
                failures = 0
                self._trouble.pop(config.name, None)
            except SourceError as error:
                failures += 1
                items = []
                ERRORS.labels("source", config.name).inc()
                if config.name not in self._trouble:
                    self.log.warning("source %s: %s", config.name, error)
                self._trouble[config.name] = str(error)
            for batch in self._batches(items):
                await self._take(batch)
            self._unread.discard(config.name)
            await asyncio.sleep(min(RETRY_CAP_S, config.poll_s * 2 ** min(failures, 10)))

    async def _read_mood(self, index: FearGreed) -> None:
        while True:
            try:
                await self._writer.put("market_mood", await index.poll())
                self._trouble.pop(SERIES, None)
            except SourceError as error:
                ERRORS.labels("source", SERIES).inc()
                if SERIES not in self._trouble:
                    self.log.warning("%s", error)
                self._trouble[SERIES] = str(error)
            await asyncio.sleep(self._config.sentiment.fear_greed_every_s)

    async def _take(self, items: list[TextItem]) -> None:
        scores = await self._score(items)
        if self._aggregator is not None:
            _add(self._aggregator, items, scores)
        await self._writer.put("texts", items)
        await self._writer.put("sentiment_scores", scores)
        for item in items:
            EVENTS.labels(item.source, item.kind).inc()
            self._texts[item.source] = self._texts.get(item.source, 0) + 1

    async def _score(self, items: list[TextItem]) -> list[SentimentScore]:
        """Have texts scored, by the next replica where one is being restarted."""
        while True:
            scorer = self._scorers[self._turn % len(self._scorers)]
            self._turn += 1
            try:
                return await scorer.score(items)
            except ConnectionError as error:
                ERRORS.labels("sentiment", "replica").inc()
                self.log.warning("a sentiment replica does not answer (%s)", error)
                await asyncio.sleep(REPLICA_RETRY_S)

    async def _aggregate_each_minute(self, aggregator: Aggregator) -> None:
        """Aggregate at whole minutes; at first, as soon as every source was looked at."""
        while True:
            now = self._clock.now_ns()
            as_of = now - now % AGGREGATE_EVERY_NS
            if as_of > self._aggregated_at and not self._unread:
                await self._aggregate(aggregator, as_of)
            await asyncio.sleep(0.1)

    async def _aggregate(self, aggregator: Aggregator, as_of: int) -> None:
        self._aggregated_at = as_of
        aggregates = aggregator.aggregates(as_of)
        await self._writer.put("sentiment_aggregates", aggregates)
        await self._tell(SentimentBatch(as_of, tuple(aggregates)))

    async def _tell(self, batch: SentimentBatch) -> None:
        """Tell the ranker, until it has it or the next minute's is due."""
        while self._clock.now_ns() < batch.as_of + AGGREGATE_EVERY_NS:
            try:
                await self._inlet.ingest_sentiment(batch)
            except ConnectionError as error:
                self.log.warning("the ranker does not answer (%s)", error)
                await asyncio.sleep(RANKER_RETRY_S)
            else:
                return

    async def drain(self) -> None:
        """Write everything down and stop."""
        if self.phase is Phase.DRAINED:
            return
        await self.stop_tasks()
        for source in self._sources:
            await source.close()
        try:
            await self._writer.close()
        finally:
            await asyncio.to_thread(self._store.close)
            self.phase = Phase.DRAINED

    def details(self) -> dict[str, Any]:
        """Return texts per source, and what troubles one."""
        age = (self._clock.now_ns() - self._aggregated_at) // NS_PER_MS
        return {
            "texts": dict(self._texts),
            "trouble": dict(self._trouble),
            "aggregates_age_ms": age if self._aggregated_at else None,
            "writer": self._writer.status(),
        }


def _add(aggregator: Aggregator, items: list[TextItem], scores: list[SentimentScore]) -> None:
    by_text = {score.text_id: score for score in scores}
    for item in items:
        score = by_text.get(item.text_id)
        if score is not None:
            aggregator.add(ScoredText.of(item, score))
