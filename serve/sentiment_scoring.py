"""Reading texts for HTTP: who reads them, and the readings that the bus keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from engine.bus.sentiment_cache import SentimentCache, text_key
from engine.sentiment.readers import ReadTexts, Reloaded, TextReaders
from engine.sentiment.reading import Reading, TextQuery

HERE = "here"
"""Stands for the name of a replica where this process holds the models."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reading).decode


class Scoring(Protocol):
    """Whoever reads texts: the pool of replicas, or this process."""

    @property
    def replicas(self) -> Sequence[str]:
        """Names of the replicas that answer."""
        ...

    async def versions(self) -> Mapping[str, str]:
        """Return names of models with their versions, the default first."""
        ...

    async def read(self, model: str, queries: Sequence[TextQuery], /) -> ReadTexts:
        """Read texts with one version of a model."""
        ...

    async def reload(self, model: str, /) -> Mapping[str, Reloaded]:
        """Load a model anew, by replica."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


class ScoringHere:
    """Reads texts in this process, where no actors do.

    Parameters
    ----------
    readers
        The models; they load when first used.
    """

    replicas: tuple[str, ...] = ()

    def __init__(self, readers: TextReaders) -> None:
        self._readers = readers

    async def versions(self) -> Mapping[str, str]:
        """Return names of models with their versions, the default first."""
        return await self._readers.versions()

    async def read(self, model: str, queries: Sequence[TextQuery]) -> ReadTexts:
        """Read texts with one version of a model."""
        return await self._readers.read(model, queries)

    async def reload(self, model: str) -> Mapping[str, Reloaded]:
        """Load a model anew."""
        return {HERE: await self._readers.reload(model)}

    async def close(self) -> None:
        """Do nothing: what the process holds goes with it."""


class CachedScoring:
    """Reads texts that the bus does not keep, and keeps their readings there.

    Parameters
    ----------
    scoring
        Reads texts.
    cache
        Keeps readings; while the bus is away it keeps none, and texts are read all the same.
    """

    def __init__(self, scoring: Scoring, cache: SentimentCache) -> None:
        self._scoring = scoring
        self._cache = cache

    @property
    def replicas(self) -> Sequence[str]:
        """Names of the replicas that answer."""
        return self._scoring.replicas

    async def versions(self) -> Mapping[str, str]:
        """Return names of models with their versions, the default first."""
        return await self._scoring.versions()

    async def read(self, model: str, queries: Sequence[TextQuery]) -> ReadTexts:
        """Read texts, all with one version of the model.

        Parameters
        ----------
        model
            Its name in the configuration, one of `versions`.
        queries
            What is asked.
        """
        version = (await self._scoring.versions())[model]
        keys = [_key(query) for query in queries]
        kept = await self._cache.get(version, keys)
        known = {key: reading for key, value in zip(keys, kept, strict=True)
                 if value is not None and (reading := _decoded(value)) is not None}  # fmt: skip
        lacking = {key: q for key, q in zip(keys, queries, strict=True) if key not in known}
        if lacking:
            found = await self._scoring.read(model, list(lacking.values()))
            if found.model != version and known:
                # The model was replaced between the two questions: one answer, one version.
                lacking = dict(zip(keys, queries, strict=True))
                found = await self._scoring.read(model, list(lacking.values()))
            version = found.model
            fresh = dict(zip(lacking, found.readings, strict=True))
            await self._cache.put(version, {key: _encode(each) for key, each in fresh.items()})
            known |= fresh
        return ReadTexts(version, tuple(known[key] for key in keys))

    async def reload(self, model: str) -> Mapping[str, Reloaded]:
        """Load a model anew, by replica."""
        return await self._scoring.reload(model)

    async def clear(self) -> int:
        """Drop every reading that the bus keeps; return how many.

        Raises
        ------
        BusError
            Where the bus does not answer.
        """
        return await self._cache.clear()

    async def close(self) -> None:
        """Let go of what it holds."""
        await self._scoring.close()
        await self._cache.close()


def _key(query: TextQuery) -> str:
    return text_key(query.text, query.instrument or "", "explain" if query.explain else "")


def _decoded(value: bytes) -> Reading | None:
    """Return a reading that was kept; None for one that another version of ours wrote."""
    try:
        return _decode(value)
    except msgspec.DecodeError:
        return None
