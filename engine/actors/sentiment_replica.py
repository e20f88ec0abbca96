"""The actor that holds sentiment models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.actors.base import EngineActor, Phase
from engine.actors.priority import PATIENT, give_way
from engine.actors.text_reading import open_text_readers
from engine.clock import Clock, SystemClock
from engine.config import Config
from engine.domain.sentiment import SentimentScore
from engine.domain.text import TextItem
from engine.metrics import STAGE_SECONDS
from engine.sentiment.readers import ReadTexts, Reloaded
from engine.sentiment.reading import KnownText, TextQuery


class SentimentReplica(EngineActor):
    """Reads texts with the configured models, off the event loop, many callers' in one batch.

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
        give_way(PATIENT)
        self._clock = clock or SystemClock()
        self._readers = open_text_readers(config)
        self._read = 0

    async def start(self) -> None:
        """Load the models; an actor that Ray restarted may be asked for texts before."""
        await self._readers.load()
        if self.phase is Phase.CREATED:
            self.phase = Phase.RUNNING

    async def versions(self) -> dict[str, str]:
        """Return the names of the models with their versions; the default first."""
        return await self._readers.versions()

    async def score(self, items: list[TextItem]) -> list[SentimentScore]:
        """Score texts with the default model.

        Parameters
        ----------
        items
            Texts, any number.

        Returns
        -------
        list of SentimentScore
            For each text that has one, all by one version of the model: what cannot be read
            (empty, say, or in another language) is not among them.

        Raises
        ------
        ConnectionError
            Where it is being drained: ask another.
        """
        self._refuse_when_drained()
        with STAGE_SECONDS.labels("sentiment").time():
            known = [KnownText(item.content, item.instruments) for item in items]
            model, found = await self._readers.opinions(known)
        now = self._clock.now_ns()
        self._read += len(items)
        return [
            opinion.whole.row(item.text_id, model, now, opinion.targets)
            for item, opinion in zip(items, found, strict=True)
            if opinion is not None
        ]

    async def read(self, model: str, queries: Sequence[TextQuery]) -> ReadTexts:
        """Read everything that is asked of texts, with any model that is held.

        Parameters
        ----------
        model
            Its name in the configuration.
        queries
            What is asked.

        Raises
        ------
        ConfigError
            Where the model is not held.
        ConnectionError
            Where it is being drained: ask another.
        """
        self._refuse_when_drained()
        with STAGE_SECONDS.labels("sentiment").time():
            found = await self._readers.read(model, queries)
        self._read += len(queries)
        return found

    async def prepare(self, model: str) -> str:
        """Load a model anew, beside the one that is held and answers; return its version.

        Raises
        ------
        ConfigError
            Where it cannot be loaded.
        """
        return await self._readers.prepare(model)

    async def switch(self, model: str) -> Reloaded:
        """Answer with the prepared model from now on; a replica that died since loaded it."""
        await self._readers.load()
        found = self._readers.switch(model)
        self.log.info("model %s: %s took the place of %s", model, found.after, found.before)
        return found

    async def forget(self, model: str) -> None:
        """Drop the prepared model: another replica could not load it."""
        self._readers.forget(model)

    async def drain(self) -> None:
        """Answer what was asked, take nothing more."""
        self.phase = Phase.DRAINED
        await self._readers.idle()
        await super().drain()

    def details(self) -> dict[str, Any]:
        """Return the default model, all that are held, and how many texts were read and wait."""
        known = self._readers.known
        return {
            "model": next(iter(known.values()), ""),
            "models": known,
            "texts": self._read,
            "waiting": self._readers.waiting,
        }

    def _refuse_when_drained(self) -> None:
        if self.phase is Phase.DRAINED:
            raise ConnectionError(f"{self.name} is being drained")
