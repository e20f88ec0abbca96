"""The actor that holds a sentiment model."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.actors.base import EngineActor, Phase
from engine.clock import Clock, SystemClock
from engine.config import Config
from engine.domain.sentiment import SentimentScore
from engine.domain.text import TextItem
from engine.metrics import STAGE_SECONDS
from engine.sentiment.base import SentimentModel
from engine.sentiment.registry import sentiment_model


class SentimentReplica(EngineActor):
    """Scores texts with the configured model, off the event loop.

    Parameters
    ----------
    name
        Stable name.
    config
        The whole configuration.
    clock
        When a score was made.
    """

    def __init__(self, name: str, config: Config, clock: Clock | None = None) -> None:
        super().__init__(name, config)
        self._config = config
        self._clock = clock or SystemClock()
        self._model: SentimentModel | None = None
        self._scored = 0

    async def start(self) -> SentimentModel:
        """Load the model; an actor that Ray restarted comes here with its first text."""
        self._model = await asyncio.to_thread(sentiment_model, self._config.sentiment.model)
        self.phase = Phase.RUNNING
        return self._model

    async def model(self) -> str:
        """Return the name, with its version, of the model that scores."""
        return (self._model or await self.start()).name

    async def score(self, items: list[TextItem]) -> list[SentimentScore]:
        """Score texts; one that cannot be scored (empty, say) has no score in the answer.

        Parameters
        ----------
        items
            Texts, at most a batch.
        """
        model = self._model or await self.start()
        with STAGE_SECONDS.labels("sentiment").time():
            readings = await asyncio.to_thread(model.score, [item.content for item in items])
        now = self._clock.now_ns()
        self._scored += len(items)
        return [
            reading.row(item.text_id, model.name, now)
            for item, reading in zip(items, readings, strict=True)
            if reading is not None
        ]

    def details(self) -> dict[str, Any]:
        """Return the model and how many texts it has scored."""
        return {"model": self._model.name if self._model else "", "texts": self._scored}
