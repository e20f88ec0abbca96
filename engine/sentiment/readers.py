"""The models that one process holds: loaded, batched, and replaced while they are at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.errors import ConfigError
from engine.sentiment.batching import Batches
from engine.sentiment.reading import KnownText, Reading, TextOpinion, TextQuery, TextReader


class ReadTexts(msgspec.Struct, frozen=True):
    """Readings, and who made them."""

    model: str
    """Name and version of the model: the same for all."""
    readings: tuple[Reading, ...]

    def body(self) -> dict[str, Any]:
        """Return them as the HTTP API and the command answer them, ready for JSON."""
        return {"model": self.model, "results": [reading.body() for reading in self.readings]}


class Reloaded(msgspec.Struct, frozen=True):
    """A model that was loaded anew."""

    before: str
    """Name with the version that was held."""
    after: str


@dataclass(frozen=True, slots=True)
class _Question:
    reader: TextReader
    asked: TextQuery | KnownText
    """A text and what is asked of it, or one of which is asked what is stored."""


class TextReaders:
    """Holds readers by the configuration's names for their models.

    A call is answered to its end by the reader that was there when it came, so one answer never
    mixes two versions of a model.

    Parameters
    ----------
    open_reader
        Loads a model by its name in the configuration; blocking.
    names
        Which to load; the first is the default.
    batch_texts
        Most texts that a model is given at once.
    """

    def __init__(
        self, open_reader: Callable[[str], TextReader], names: Sequence[str], batch_texts: int
    ) -> None:
        self._open = open_reader
        self._names = tuple(dict.fromkeys(names))
        self._readers: dict[str, TextReader] = {}
        self._prepared: dict[str, TextReader] = {}
        """Loaded anew, and not in anybody's place yet."""
        self._loading: asyncio.Task[None] | None = None
        self._batches = Batches[_Question, Reading | TextOpinion | None](_work, batch_texts)

    @property
    def waiting(self) -> int:
        """Texts without an answer yet."""
        return self._batches.waiting

    @property
    def known(self) -> dict[str, str]:
        """Names of the models that are loaded, with their versions; the default first."""
        return {name: reader.name for name, reader in self._readers.items()}

    async def load(self) -> None:
        """Load what is not loaded yet.

        Raises
        ------
        ConfigError
            Where there is no model of a name, or it lacks what it needs.
        """
        if len(self._readers) == len(self._names):
            return
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load())
        # Whoever gives up waiting does not end it: others wait too.
        await asyncio.shield(self._loading)

    async def _load(self) -> None:
        for name in self._names:
            if name not in self._readers:
                self._readers[name] = await asyncio.to_thread(self._open, name)

    async def versions(self) -> dict[str, str]:
        """Load what is not loaded yet, and return `known`."""
        await self.load()
        return self.known

    async def reload(self, name: str) -> Reloaded:
        """Load a model anew, while the one that is held goes on answering, and take its place.

        Raises
        ------
        ConfigError
            Where the new one cannot be loaded: the old one stays.
        """
        await self.prepare(name)
        return self.switch(name)

    async def prepare(self, name: str) -> str:
        """Load a model anew, beside the one that is held; return its name with the version.

        Raises
        ------
        ConfigError
            Where it cannot be loaded.
        """
        await self._reader(name)
        self._prepared[name] = await asyncio.to_thread(self._open, name)
        return self._prepared[name].name

    def switch(self, name: str) -> Reloaded:
        """Let the prepared model take the place of the one held; where none is, all stays."""
        before = self._readers[name]
        after = self._readers[name] = self._prepared.pop(name, before)
        return Reloaded(before.name, after.name)

    def forget(self, name: str) -> None:
        """Drop a prepared model, if there is one."""
        self._prepared.pop(name, None)

    async def read(self, name: str, queries: Sequence[TextQuery]) -> ReadTexts:
        """Read texts with the model of that name.

        Raises
        ------
        ConfigError
            Where it is not among those that are held.
        """
        reader = await self._reader(name)
        readings = await self._batches.ask([_Question(reader, query) for query in queries])
        # Those questions have such answers: see `_work`.
        return ReadTexts(reader.name, tuple(each for each in readings if isinstance(each, Reading)))

    async def opinions(self, texts: Sequence[KnownText]) -> tuple[str, list[TextOpinion | None]]:
        """Read what is stored of texts, with the default model.

        Returns
        -------
        model, opinions
            Name and version of the model; an opinion per text, None where it has none.
        """
        reader = await self._reader(self._names[0])
        found = await self._batches.ask([_Question(reader, text) for text in texts])
        return reader.name, [each if isinstance(each, TextOpinion) else None for each in found]

    async def idle(self) -> None:
        """Wait until everything that was asked is answered."""
        await self._batches.idle()

    async def _reader(self, name: str) -> TextReader:
        if name not in self._names:
            raise ConfigError(f"model {name!r} is not loaded; loaded: {', '.join(self._names)}")
        if name not in self._readers:
            await self.load()
        return self._readers[name]


def _work(questions: list[_Question]) -> list[Reading | TextOpinion | None]:
    """Answer a batch: each reader is asked once for readings and once for what is stored."""
    answers: list[Reading | TextOpinion | None] = [None] * len(questions)
    for reader in dict.fromkeys(question.reader for question in questions):
        queries: dict[int, TextQuery] = {}
        known: dict[int, KnownText] = {}
        for i, question in enumerate(questions):
            if question.reader is not reader:
                continue
            if isinstance(question.asked, TextQuery):
                queries[i] = question.asked
            else:
                known[i] = question.asked
        for i, reading in zip(queries, reader.read(list(queries.values())), strict=True):
            answers[i] = reading
        for i, opinion in zip(known, reader.opinions(list(known.values())), strict=True):
            answers[i] = opinion
    return answers
