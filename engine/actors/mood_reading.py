"""What follows the indices of mood: reads them at their pace and stores what is new."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import NoReturn, Protocol

from engine.clock import Clock
from engine.domain.text import MarketMood
from engine.errors import SourceError
from engine.metrics import ERRORS
from engine.settings.sources import MoodConfig
from engine.sources.mood import MoodSource
from engine.sources.mood_registry import open_mood

FIRST_RETRY_S = 60.0
"""Pause after the first failure; it doubles, up to the index's own pace."""
CATCHING_UP_S = 1.0
"""Pause while there is history left to read."""


class MoodStore(Protocol):
    """Where the values are that were read before."""

    def mood(self, series: str) -> list[MarketMood]:
        """Return the stored values of an index."""
        ...


class MoodSink(Protocol):
    """Who writes values down."""

    async def put(self, table: str, rows: Sequence[MarketMood]) -> None:
        """Take rows of a table."""
        ...


def followed(configured: Sequence[MoodConfig], news_url: str) -> list[MoodConfig]:
    """Return the indices to read.

    Parameters
    ----------
    configured
        Those of the configuration.
    news_url
        Where the simulator serves its news, with a Fear & Greed index of its own; it is read
        where the configuration names none. Empty without one.
    """
    if configured or not news_url:
        return list(configured)
    return [MoodConfig(kind="fear_greed", location=f"{news_url}/fng/")]


class MoodReading:
    """Follows indices of mood.

    Parameters
    ----------
    store
        What is stored already is not stored again: the first print of a value stays.
    sink
        Where new values go.
    clock
        What time it is.
    trouble
        By name, what ails a source now: entries are made and taken out.
    log
        Where the first failure of a row is told.
    """

    def __init__(
        self,
        store: MoodStore,
        sink: MoodSink,
        clock: Clock,
        trouble: dict[str, str],
        log: logging.Logger,
    ) -> None:
        self._store = store
        self._sink = sink
        self._clock = clock
        self._trouble = trouble
        self._log = log

    async def follow(self, config: MoodConfig) -> NoReturn:
        """Read one index for ever."""
        source = open_mood(config, self._clock)
        try:
            source.resume(await asyncio.to_thread(self._store.mood, config.kind))
            failures = 0
            while True:
                failures = 0 if await self._look(source) else failures + 1
                pause = CATCHING_UP_S if source.has_more else config.every_s
                if failures:
                    pause = min(config.every_s, FIRST_RETRY_S * 2 ** min(failures - 1, 10))
                await asyncio.sleep(pause)
        finally:
            await source.close()

    async def _look(self, source: MoodSource) -> bool:
        """Read what is new; tell whether that worked."""
        try:
            values = await source.poll()
        except SourceError as error:
            ERRORS.labels("source", source.series).inc()
            if source.series not in self._trouble:
                self._log.warning("%s", error)
            self._trouble[source.series] = str(error)
            return False
        self._trouble.pop(source.series, None)
        if values:
            await self._sink.put("market_mood", values)
        return True
