"""What stands between the sources of text and the models: the pipeline of `engine.texts`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, Protocol

from engine.config import Config
from engine.domain.credibility import SourceCredibility
from engine.domain.quarantine import QuarantinedRow
from engine.domain.text import TextItem
from engine.errors import StoreError
from engine.metrics import ERRORS
from engine.texts.credibility import MeasuredCredibility
from engine.texts.credibility_rules import credibility_rules
from engine.texts.pipeline import TextPipeline

CREDIBILITY_EVERY_S = 3_600.0
"""Seconds between looks at what ``measure_credibility`` has stored."""


class CredibilityStore(Protocol):
    """Where it is stored how often sources were right."""

    def source_credibility(self, model: str, version: str) -> list[SourceCredibility]:
        """Return the rows of a model and a version of the rules."""
        ...


class QuarantineSink(Protocol):
    """Who writes rejected texts down."""

    async def put(self, table: str, rows: Sequence[QuarantinedRow]) -> None:
        """Take rows of a table."""
        ...


class TextGate:
    """Admits the texts of all sources, and sets aside what is rejected.

    Parameters
    ----------
    config
        The whole configuration.
    store
        Where it is stored how often sources were right.
    sink
        Where rejected texts go.
    mentions
        Text -> instruments.
    log
        Where it is told that the store does not answer.
    """

    def __init__(
        self,
        config: Config,
        store: CredibilityStore,
        sink: QuarantineSink,
        mentions: Callable[[str], tuple[str, ...]],
        log: logging.Logger,
    ) -> None:
        self._pipeline = TextPipeline(config.texts, mentions)
        self._is_measured = config.texts.measured_credibility
        self._rules = credibility_rules(config.measure_credibility, config.ranking.timeframe)
        self._store = store
        self._sink = sink
        self._log = log

    def resume(self, stored: Iterable[TextItem]) -> None:
        """Remember texts that were let in before, oldest first."""
        self._pipeline.resume(stored)

    async def admit(self, items: Sequence[TextItem]) -> list[TextItem]:
        """Return those that are let in; write down those that are not, with the reason."""
        admission = self._pipeline.admit(items)
        if admission.rejected:
            await self._sink.put("quarantine", [each.row() for each in admission.rejected])
        return admission.items

    async def learn(self, model: str) -> None:
        """Take up how often sources were right, by the scores of a model.

        While the store does not answer, what was known before stays.
        """
        if not self._is_measured:
            return
        try:
            rows = await asyncio.to_thread(
                self._store.source_credibility, model, self._rules.version
            )
        except StoreError as error:
            ERRORS.labels("texts", "credibility").inc()
            self._log.warning("credibility of sources stays as it was: %s", error)
        else:
            self._pipeline.credibility = MeasuredCredibility(rows, self._rules)

    async def keep_learning(self, model: Callable[[], str]) -> NoReturn:
        """Do so again and again, for the model that scores then."""
        while True:
            await asyncio.sleep(CREDIBILITY_EVERY_S)
            await self.learn(model())

    def details(self) -> dict[str, Any]:
        """Return how many texts were rejected, by source and reason, and how many repeated one."""
        return {
            "rejected": {
                source: dict(reasons) for source, reasons in self._pipeline.rejected.items()
            },
            "duplicates": dict(self._pipeline.duplicates),
        }
