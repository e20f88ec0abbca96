"""The actor that reads the sources of text and keeps the aggregates."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Protocol

from engine.actors.base import EngineActor, Phase
from engine.actors.mood_reading import MoodReading, followed
from engine.actors.sentiment_minutes import SentimentInlet, SentimentMinutes
from engine.actors.text_gate import TextGate
from engine.actors.wiring import Wiring
from engine.bus.client import Bus
from engine.clock import NS_PER_MS, Clock, SystemClock
from engine.config import Config
from engine.domain.sentiment import SentimentScore, TextTopics, Window
from engine.domain.text import TextItem
from engine.errors import ConfigError, SourceError
from engine.metrics import ERRORS, EVENTS
from engine.sentiment.tagging import tag
from engine.settings.sources import SourceConfig
from engine.sources.base import Source, load_author_key
from engine.sources.mentions import MentionFinder
from engine.sources.registry import open_source
from engine.store.client import Store
from engine.store.reader import Reader
from engine.store.sentiment_history import SentimentHistory
from engine.store.writer import BatchWriter
from engine.texts.language import sure_language

LONGEST_WINDOW_NS = max(window.ns for window in Window)
RETRY_CAP_S = 300.0
REPLICA_RETRY_S = 0.5

LEFT_TRIES = 60
"""How often a text goes to the replicas again that came back scored by a version of the model
that was left: while a new one is loaded, one replica after the other, both answer."""


class Scorer(Protocol):
    """Whoever scores texts: the pool of replicas."""

    async def model(self) -> str:
        """Return the name, with its version, of the model that scores."""
        ...

    async def score(self, items: list[TextItem]) -> list[SentimentScore]:
        """Score a batch of texts, all by one version of the model."""
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
    scorer
        Scores batches of texts.
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
        scorer: Scorer,
        inlet: SentimentInlet,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name, config)
        self._config = config
        self._scorer = scorer
        self._clock = clock or SystemClock()
        self._store = Store(wiring.store)
        self._reader = Reader(self._store)
        self._writer = BatchWriter(self._store, config.store)
        self._mentions = MentionFinder(universe)
        self._gate = TextGate(config, self._reader, self._writer, self._mentions.find, self.log)
        self._bus = Bus(wiring.bus_url, config.bus.prefix)
        self._minutes = SentimentMinutes(
            config.sentiment,
            universe,
            SentimentHistory(self._store),
            self._writer,
            self._bus,
            inlet,
            self._clock,
            self.log,
        )
        self._sources: list[Source] = []
        self._model = ""
        self._left: set[str] = set()
        self._taking = asyncio.Lock()
        self._texts: dict[str, int] = {}
        self._trouble: dict[str, str] = {}
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
        since = self._clock.now_ns() - LONGEST_WINDOW_NS
        texts = await self._adopt(await self._scorer.model(), since)
        self._gate.resume(texts)
        await self._gate.learn(self._model)
        author_key = load_author_key(Path(self._config.data_dir) / "author.key")
        for source_config in self._config.sources:
            try:
                source = open_source(
                    source_config,
                    clock=self._clock,
                    mentions=self._mentions,
                    simulator_news_url=news_url or None,
                    author_key=author_key,
                )
            except ConfigError as error:  # a key is missing here: the others go on
                self.log.warning("%s", error)
                self._trouble[source_config.name] = str(error)
                continue
            stored = [item for item in texts if item.source == source_config.name]
            newest = max((item.published_at for item in stored), default=since)
            name = source_config.name
            source.resume(newest, await asyncio.to_thread(self._reader.text_ids, name))
            self._sources.append(source)
            self._unread.add(source_config.name)
            self.spawn(self._read(source, source_config), f"source {source_config.name}")
        self.spawn(self._gate.keep_learning(lambda: self._model), "credibility of sources")
        self.spawn(self._minutes.follow(lambda: not self._unread), "aggregating")
        mood = MoodReading(self._reader, self._writer, self._clock, self._trouble, self.log)
        for mood_config in followed(self._config.mood, news_url):
            self.spawn(mood.follow(mood_config), f"mood {mood_config.kind}")
        self.phase = Phase.RUNNING

    async def _adopt(self, model: str, since: int) -> list[TextItem]:
        """Aggregate by this version of the model from now on; return the stored texts."""
        if self._model:
            self.log.info("model %s takes the place of %s", model, self._model)
            self._left.add(self._model)
        self._left.discard(model)
        self._model = model
        texts, scores = await self._restore(since, model)
        await self._minutes.adopt(model, texts, scores)
        return texts

    async def _restore(self, since: int, model: str) -> tuple[list[TextItem], list[SentimentScore]]:
        """Load and return the stored texts of the longest window, with their scores.

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
            scores += [score for score in missing if score.model == model]
        return texts, scores

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
                    self.log.warning("%s", error)
                self._trouble[config.name] = str(error)
            for batch in self._batches(items):
                await self._take(batch)
            self._unread.discard(config.name)
            await asyncio.sleep(min(RETRY_CAP_S, config.poll_s * 2 ** min(failures, 10)))

    async def _take(self, items: list[TextItem]) -> None:
        async with self._taking:
            items = await self._gate.admit(items)
            if not items:
                return
            scores = await self._score(items)
            if scores and scores[0].model != self._model:
                since = self._clock.now_ns() - LONGEST_WINDOW_NS
                await self._writer.flush()
                await self._adopt(scores[0].model, since)
            self._minutes.add(items, scores)
            await self._writer.put("texts", items)
            await self._writer.put("sentiment_scores", scores)
            await self._writer.put("text_topics", [_tagged(item) for item in items])
        for item in items:
            EVENTS.labels(item.source, item.kind).inc()
            self._texts[item.source] = self._texts.get(item.source, 0) + 1

    async def _score(self, items: list[TextItem]) -> list[SentimentScore]:
        """Have texts scored, as soon as a replica answers that has the current model."""
        tries = 0
        while True:
            try:
                scores = await self._scorer.score(items)
            except ConnectionError as error:
                ERRORS.labels("sentiment", "replica").inc()
                self.log.warning("no sentiment replica answers (%s)", error)
            else:
                tries += 1
                if not scores or scores[0].model not in self._left or tries > LEFT_TRIES:
                    return scores
            await asyncio.sleep(REPLICA_RETRY_S)

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
            await self._bus.close()
            await asyncio.to_thread(self._store.close)
            self.phase = Phase.DRAINED

    def details(self) -> dict[str, Any]:
        """Return texts per source, and what troubles one."""
        aggregated_at = self._minutes.aggregated_at
        age = (self._clock.now_ns() - aggregated_at) // NS_PER_MS
        return {
            "texts": dict(self._texts),
            **self._gate.details(),
            "trouble": dict(self._trouble),
            "aggregates_age_ms": age if aggregated_at else None,
            "sentiment_events": self._minutes.events,
            "writer": self._writer.status(),
        }


def _tagged(item: TextItem) -> TextTopics:
    text = item.content
    return tag(item.text_id, text, item.available_at, sure_language(text))
