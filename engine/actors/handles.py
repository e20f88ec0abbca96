"""Ray handles behind the small protocols that the actors speak to one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayActorError

from engine.actors.messages import CandleBatch, FeatureBatch, SentimentBatch
from engine.actors.placement import Handle
from engine.domain.market import Trade
from engine.metrics import IN_FLIGHT


@dataclass(frozen=True, slots=True)
class RemoteActor:
    """Another actor: one call at a time is acknowledged, and counted while in flight."""

    handle: Handle
    stage: str
    """Label of the gauge ``engine_in_flight``."""

    async def _call(self, method: str, *arguments: object) -> Any:
        """Call and wait for the answer.

        Raises
        ------
        ConnectionError
            Where its process is gone or being restarted: the caller keeps the arguments and
            tries again.
        """
        with IN_FLIGHT.labels(self.stage).track_inprogress():
            try:
                return await getattr(self.handle, method).remote(*arguments)
            except RayActorError as error:
                raise ConnectionError(str(error).splitlines()[0]) from None


class RemoteStream(RemoteActor):
    """A stream, by its handle."""

    async def offer(self, trades: Sequence[Trade]) -> str:
        """Hand over trades; answers with the stream's incarnation."""
        incarnation: str = await self._call("offer", list(trades))
        return incarnation


class RemoteFeatureWorker(RemoteActor):
    """A feature worker, by its handle."""

    async def ingest(self, batch: CandleBatch) -> str:
        """Hand over candles; answers with the worker's incarnation."""
        incarnation: str = await self._call("ingest", batch)
        return incarnation


class RemoteRanker(RemoteActor):
    """The ranker, by its handle."""

    async def ingest(self, batch: FeatureBatch) -> str:
        """Hand over rows; answers with the ranker's incarnation."""
        incarnation: str = await self._call("ingest", batch)
        return incarnation

    async def ingest_sentiment(self, batch: SentimentBatch) -> str:
        """Hand over aggregates; answers with the ranker's incarnation."""
        incarnation: str = await self._call("ingest_sentiment", batch)
        return incarnation
