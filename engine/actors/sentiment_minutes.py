"""The part of the text stream that aggregates at every whole minute, and tells what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from logging import Logger, LoggerAdapter
from typing import Any, Protocol

from engine.actors.messages import SentimentBatch
from engine.bus.client import Bus
from engine.clock import NS_PER_S, Clock
from engine.domain.sentiment import SentimentEvent, SentimentScore
from engine.domain.text import TextItem
from engine.errors import BusError
from engine.metrics import ERRORS
from engine.sentiment.aggregate import ScoredText
from engine.sentiment.aggregator import Aggregator, reach_of
from engine.sentiment.events import EventDetector, alert_of
from engine.settings.sentiment import SentimentConfig
from engine.store.sentiment_history import SentimentHistory
from engine.store.writer import BatchWriter

EVERY_NS = 60 * NS_PER_S
"""Aggregates are made at whole minutes: a bar's close always has one of its own time."""

RANKER_RETRY_S = 0.5


class SentimentInlet(Protocol):
    """Whoever wants the aggregates: the ranker, by its handle."""

    async def ingest_sentiment(self, batch: SentimentBatch) -> str:
        """Take the aggregates of one moment; answer with an incarnation."""
        ...


class SentimentMinutes:
    """Holds the aggregates of one version of a model, and watches them for events.

    Parameters
    ----------
    config
        The section ``sentiment``.
    universe
        Instruments that are answered for even before a text speaks of them.
    history
        What is stored.
    writer
        Where aggregates and events go.
    bus
        Where events are told.
    inlet
        Who receives the aggregates.
    clock
        What time it is.
    log
        Of the actor.
    """

    def __init__(
        self,
        config: SentimentConfig,
        universe: Sequence[str],
        history: SentimentHistory,
        writer: BatchWriter,
        bus: Bus,
        inlet: SentimentInlet,
        clock: Clock,
        log: Logger | LoggerAdapter[Any],
    ) -> None:
        self.aggregated_at = 0
        """The last moment aggregated, UTC nanoseconds; 0 before the first."""
        self.events = 0
        """How many were told."""
        self._config = config
        self._universe = universe
        self._history = history
        self._writer = writer
        self._bus = bus
        self._inlet = inlet
        self._clock = clock
        self._log = log
        self._aggregator: Aggregator | None = None
        self._detector = EventDetector(config.events)

    async def adopt(
        self, model: str, items: Sequence[TextItem], scores: Sequence[SentimentScore]
    ) -> None:
        """Aggregate a model's scores from now on.

        Parameters
        ----------
        model
            Its name with the version.
        items, scores
            The texts of the longest window, with that model's scores. Older ones, which tell what
            was usual, come from the store, as does what was told before.
        """
        aggregator, detector = await asyncio.to_thread(self._restored, model, items, scores)
        self._aggregator, self._detector = aggregator, detector

    def _restored(
        self, model: str, items: Sequence[TextItem], scores: Sequence[SentimentScore]
    ) -> tuple[Aggregator, EventDetector]:
        now = self._clock.now_ns()
        aggregator = Aggregator(
            model,
            half_life_share=self._config.half_life_share,
            instruments=self._universe,
        )
        # First what was scored just now: the store may not have it yet.
        _add(aggregator, items, scores)
        for text in self._history.texts(model, now - reach_of(), now + 1):
            aggregator.add(text)
        memory = self._history.event_memory(model, self._config.events, now)
        return aggregator, EventDetector(self._config.events, memory)

    def add(self, items: Sequence[TextItem], scores: Sequence[SentimentScore]) -> None:
        """Take in texts; one without a score could not be read."""
        if self._aggregator is not None:
            _add(self._aggregator, items, scores)

    async def follow(self, is_ready: Callable[[], bool]) -> None:
        """Aggregate at whole minutes, for ever.

        Parameters
        ----------
        is_ready
            Whether every source was looked at: the first moment waits for it.
        """
        while True:
            now = self._clock.now_ns()
            as_of = now - now % EVERY_NS
            aggregator = self._aggregator
            if aggregator is not None and as_of > self.aggregated_at and is_ready():
                await self._aggregate(aggregator, as_of)
            await asyncio.sleep(0.1)

    async def _aggregate(self, aggregator: Aggregator, as_of: int) -> None:
        self.aggregated_at = as_of
        aggregates = aggregator.aggregates(as_of)
        events = self._detector.observe(aggregates)
        await self._writer.put("sentiment_aggregates", aggregates)
        await self._writer.put("sentiment_events", events)
        # Rankings wait for the moment's aggregates: a slow bus must not hold them up.
        await asyncio.gather(
            self._tell(SentimentBatch(as_of, tuple(aggregates))), self._alert(events)
        )

    async def _alert(self, events: Sequence[SentimentEvent]) -> None:
        for event in events:
            alert = alert_of(event)
            self._log.info("%s", alert.message)
            self.events += 1
            try:
                await self._bus.publish_alert(alert)
            except BusError:
                ERRORS.labels("sentiment", "bus").inc()

    async def _tell(self, batch: SentimentBatch) -> None:
        """Tell the ranker, until it has it or the next minute's is due."""
        while self._clock.now_ns() < batch.as_of + EVERY_NS:
            try:
                await self._inlet.ingest_sentiment(batch)
            except ConnectionError as error:
                self._log.warning("the ranker does not answer (%s)", error)
                await asyncio.sleep(RANKER_RETRY_S)
            else:
                return


def _add(
    aggregator: Aggregator, items: Sequence[TextItem], scores: Sequence[SentimentScore]
) -> None:
    by_text = {score.text_id: score for score in scores}
    for item in items:
        aggregator.add(ScoredText.of(item, by_text.get(item.text_id)))
