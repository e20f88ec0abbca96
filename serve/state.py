"""What a replica holds: ready rankings from the bus, and ways to the store and to the models."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from engine.bus.client import Bus
from engine.clock import Clock, SystemClock
from engine.config import Config
from engine.domain.features import FeatureRow
from engine.domain.market import Candle
from engine.domain.sentiment import SentimentAggregate, SentimentEvent, Window
from engine.domain.signal import Ranking, Signal
from engine.errors import EngineError, StoreUnavailable
from serve.render import RenderedRanking
from serve.sentiment_scoring import CachedScoring

Result = TypeVar("Result")

READ_TIMEOUT_S = 10.0
"""Longest a request waits for the store."""
CONCURRENT_READS = 8
"""Reads of the store at once in one replica; more wait their turn."""

_log = logging.getLogger("engine.serve")


class StoredData(Protocol):
    """What the API reads from the store (`engine.store.reader.Reader` has it). Blocking."""

    def candles(
        self,
        exchange: str,
        instrument: str,
        timeframe: str,
        start_ns: int,
        end_ns: int,
        limit: int,
        /,
    ) -> Sequence[Candle]:
        """Return the newest version of candles with open_time in ``[start, end)``, ascending."""
        ...

    def last_candles(
        self, exchange: str, instrument: str, timeframe: str, end_ns: int, limit: int, /
    ) -> Sequence[Candle]:
        """Return the last `limit` candles that open before `end_ns`, ascending."""
        ...

    def signal_history(
        self,
        instrument: str,
        timeframe: str,
        start_ns: int,
        end_ns: int,
        limit: int,
        /,
    ) -> Sequence[Signal]:
        """Return stored signals with as_of in ``[start, end)``, ascending."""
        ...

    def latest_features(self, instrument: str, timeframe: str) -> FeatureRow | None:
        """Return the newest row of features, or None."""
        ...

    def latest_aggregates(self, as_of: int) -> Sequence[SentimentAggregate]:
        """Return the newest aggregate not after `as_of` of every instrument and window."""
        ...

    def sentiment_events(
        self,
        start_ns: int,
        end_ns: int,
        limit: int,
        instrument: str,
        kind: str,
        window: Window | None,
        /,
    ) -> Sequence[SentimentEvent]:
        """Return the oldest events with as_of in ``[start, end)``; empty or None takes all.

        They are `limit`, and all others of the last one's moment.
        """
        ...

    def latest_ranking(self, timeframe: str) -> Ranking | None:
        """Return the newest stored ranking, or None."""
        ...


@dataclass
class ServingState:
    """Everything the API answers from. Its background work lives in `following`."""

    config: Config
    bus: Bus
    open_reader: Callable[[], StoredData]
    """Connects to the store; called once, in a thread, when first needed."""
    scoring: CachedScoring
    """Reads texts."""
    load_feature_names: Callable[[], Sequence[str]]
    """Gives the catalogue's names, in the order of a row's values; called in a thread."""
    clock: Clock = field(default_factory=SystemClock)
    rankings: dict[str, RenderedRanking] = field(default_factory=dict)
    """The latest of each timeframe."""
    following: asyncio.Task[None] | None = None
    """The task that follows the bus, while the application runs."""

    def __post_init__(self) -> None:
        self._reader: StoredData | None = None
        self._opening = threading.Lock()
        self._reads = asyncio.Semaphore(CONCURRENT_READS)
        self._exchanges = _exchanges_by_instrument(self.config)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the bus, and start from the store, for as long as the context lasts."""
        self.following = asyncio.create_task(self.follow())
        warming = asyncio.create_task(self.warm_from_store())
        try:
            yield
        finally:
            for task in (self.following, warming):
                task.cancel()
            await asyncio.gather(self.following, warming, return_exceptions=True)
            await self.scoring.close()
            await self.bus.close()

    # Rankings ----------------------------------------------------------------------------

    def accept(self, ranking: Ranking) -> None:
        """Render a ranking and make it the latest of its timeframe."""
        self.rankings[ranking.timeframe] = RenderedRanking(ranking)

    async def follow(self) -> None:
        """Hold what the bus says, for ever. It starts with the bus' latest snapshot."""
        async for ranking in self.bus.rankings():
            self.accept(ranking)

    async def warm_from_store(self) -> None:
        """Take stored rankings for timeframes of which the bus has none yet."""
        for timeframe in self.config.features.timeframes:
            await self._warm_timeframe(timeframe.value)

    async def _warm_timeframe(self, timeframe: str) -> None:
        try:
            ranking = await self.read(lambda reader: reader.latest_ranking(timeframe))
        except EngineError as error:
            _log.info("no stored ranking of %s to start from: %s", timeframe, error)
            return
        if ranking is not None and timeframe not in self.rankings:
            self.accept(ranking)

    # Universe ----------------------------------------------------------------------------

    def universe(self) -> Iterable[str]:
        """Return every instrument that is configured or ranked."""
        ranked = (s for held in self.rankings.values() for s in held.ranking.universe)
        return dict.fromkeys((*self._exchanges, *ranked))

    def exchanges(self, instrument: str) -> list[str]:
        """Return the exchanges that list it, in the configuration's order."""
        found = self._exchanges.get(instrument)
        if found:
            return list(found)
        signals = (s for held in self.rankings.values() for s in held.ranking.signals)
        return list(dict.fromkeys(s.exchange for s in signals if s.instrument == instrument))

    # Store -------------------------------------------------------------------------------

    async def read(self, query: Callable[[StoredData], Result]) -> Result:
        """Run a blocking query of the store in a thread.

        Raises
        ------
        StoreUnavailable
            Where it takes longer than `READ_TIMEOUT_S`, or the store does not answer.
        """
        try:
            async with asyncio.timeout(READ_TIMEOUT_S), self._reads:
                return await asyncio.to_thread(lambda: query(self._opened_reader()))
        except TimeoutError:
            raise StoreUnavailable(f"the store took longer than {READ_TIMEOUT_S:g} s") from None

    def _opened_reader(self) -> StoredData:
        with self._opening:
            if self._reader is None:
                self._reader = self.open_reader()
            return self._reader


def _exchanges_by_instrument(config: Config) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, exchange in config.exchanges.items():
        for instrument in exchange.instruments if exchange.enabled else ():
            found[instrument] = (*found.get(instrument, ()), name)
    return found
