"""Indices of how markets feel: what a source of one is, and what all of them need.

A value counts as available when it was published, never at the time it describes. What is found
when the engine starts is history: it is available from when its publisher has it out
(`Reading.published`), an assumption that each module states and that errs on the late side. What
appears while the engine runs is available from when it was first read. A value once given out is
not changed: decisions were made on the first one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from engine.clock import Clock, iso_utc
from engine.domain.text import MarketMood
from engine.errors import SourceError
from engine.sources.answer import NOT_MODIFIED, public_address, validators
from engine.sources.base import Intake, Memory, SourceReport
from engine.sources.http import SourceClient


class Reading(NamedTuple):
    """One value, as its publisher has it."""

    time: int
    """The day it describes, at 00:00 UTC, nanoseconds."""
    value: float
    published: int
    """When it is out at the latest, UTC nanoseconds."""


Skip = Callable[[str], None]
"""Takes the reason why a row cannot be used."""

Reader = Callable[[bytes, Skip], list[Reading]]
"""A document -> its values; raises ValueError where it is none at all."""


class MoodSource(Protocol):
    """Somewhere the values of one index come from; each is given once."""

    @property
    def series(self) -> str:
        """Name of the index, in the configuration and the store."""
        ...

    @property
    def report(self) -> SourceReport:
        """What it has done so far; values count as texts."""
        ...

    @property
    def has_more(self) -> bool:
        """Whether history is left that one look did not reach."""
        ...

    def resume(self, stored: Iterable[MarketMood]) -> None:
        """Leave out what is stored already; call it before the first `poll`."""
        ...

    async def poll(self) -> list[MarketMood]:
        """Return the values that are new since the last call, oldest first.

        Raises
        ------
        SourceError
            Where they cannot be read; the next call misses nothing.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; more than once does no harm."""
        ...


class FirstPrints:
    """The values of a series that were given out, and from when each was available.

    Parameters
    ----------
    series
        Its name.
    clock
        What time it is.
    """

    def __init__(self, series: str, clock: Clock) -> None:
        self.series = series
        self.intake = Intake(series)
        self.is_live = False
        """Whether all history was read: what is new from here on appeared while we looked."""
        self._clock = clock
        self._values: dict[int, float] = {}
        self._said = Memory()

    @property
    def newest(self) -> int | None:
        """The latest day given out, None before the first."""
        return max(self._values, default=None)

    def resume(self, stored: Iterable[MarketMood]) -> None:
        """Treat these as given out."""
        self._values.update((mood.time, mood.value) for mood in stored)

    def skip(self, reason: str, kind: str = "bad_row") -> None:
        """Count what cannot be used, once, though it is met again at every look."""
        if reason not in self._said:
            self._said.add(reason)
            self.intake.skip(kind, reason)

    def new(self, readings: Iterable[Reading]) -> list[MarketMood]:
        """Return those not given out before, oldest first, and remember them."""
        now = self._clock.now_ns()
        fresh = []
        for time, value, published in sorted(readings):
            if time > now:
                self.skip(f"{iso_utc(time)[:10]}: a day that has not begun")
            elif time in self._values:
                self._compare(time, value)
            else:
                self._values[time] = value
                available = now if self.is_live else min(now, published)
                fresh.append(MarketMood(self.series, time, value, available))
        self.intake.report.texts += len(fresh)
        return fresh

    def _compare(self, time: int, value: float) -> None:
        first = self._values[time]
        if value == first:
            self.intake.report.repeats += 1
        else:
            day = iso_utc(time)[:10]
            self.skip(f"{day}: {value} now, {first} at first, which is kept", "revised")


class MoodDocument:
    """An index whose publisher has all its values in one document.

    Parameters
    ----------
    series
        Name of the index.
    location
        URL or path of the document.
    read
        What makes values of it.
    client
        Who asks, where it is a URL.
    clock
        What time it is.
    history, latest
        Parameters of the URL for everything, and for what is new.
    """

    def __init__(
        self,
        series: str,
        location: str,
        read: Reader,
        client: SourceClient,
        clock: Clock,
        *,
        history: Mapping[str, str] | None = None,
        latest: Mapping[str, str] | None = None,
    ) -> None:
        self._location = location
        self._read = read
        self._client = client
        self._history = dict(history or {})
        self._latest = dict(latest or {})
        self._prints = FirstPrints(series, clock)
        self._validators: dict[str, str] = {}

    @property
    def series(self) -> str:
        """Its name."""
        return self._prints.series

    @property
    def report(self) -> SourceReport:
        """What it has done so far."""
        return self._prints.intake.report

    @property
    def has_more(self) -> bool:
        """False: a document is read whole."""
        return False

    def resume(self, stored: Iterable[MarketMood]) -> None:
        """Leave out what is stored already; see `MoodSource`."""
        self._prints.resume(stored)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def poll(self) -> list[MarketMood]:
        """Return what is new; see `MoodSource`."""
        content = await (self._fetch() if "://" in self._location else self._open())
        if content is None:
            return []
        readings = await asyncio.to_thread(
            read_mood, self.series, self._location, self._read, content, self._prints.skip
        )
        fresh = self._prints.new(readings)
        self._prints.is_live = True
        return fresh

    async def _open(self) -> bytes:
        try:
            return await asyncio.to_thread(Path(self._location).read_bytes)
        except OSError as error:
            raise SourceError(
                f"source {self.series}: {self._location} cannot be read: {error.strerror}"
            ) from None

    async def _fetch(self) -> bytes | None:
        """Fetch the document; None where it has not changed."""
        params = self._latest if self._prints.is_live else self._history
        answer = await self._client.get(self._location, params, self._validators)
        if answer.status == NOT_MODIFIED:
            return None
        # A part of the document has its own validators: only the whole one is asked for by them.
        if self._history == self._latest:
            self._validators = validators(answer)
        return answer.content


def read_mood(
    series: str, location: str, read: Reader, content: bytes, skip: Skip
) -> list[Reading]:
    """Read a document.

    Raises
    ------
    SourceError
        Where it is not what it should be.
    """
    try:
        return read(content, skip)
    except ValueError as error:
        raise SourceError(
            f"source {series}: {public_address(location)} is not the expected document: {error}"
        ) from None
