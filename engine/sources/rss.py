"""RSS and Atom feeds over HTTP, asked for only when they changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from engine.clock import Clock
from engine.domain.text import TextItem
from engine.sources.answer import NOT_MODIFIED, validators
from engine.sources.base import Intake, SourceReport
from engine.sources.feed import FeedReader
from engine.sources.http import SourceClient


class RssSource:
    """One feed.

    The feed says what it holds now, not what was new since some time: texts are told apart by
    their ids. Give `resume` the ids stored before, or entries still in the feed come again
    (with the same ids, but a later `available_at`).

    Parameters
    ----------
    url
        Of the feed; redirects are followed.
    reader
        What makes texts of its entries.
    client
        Who asks.
    clock
        What time it is.
    """

    def __init__(self, url: str, reader: FeedReader, client: SourceClient, clock: Clock) -> None:
        self._url = url
        self._reader = reader
        self._clock = clock
        self._intake = Intake(reader.source)
        self._client = client
        self._validators: dict[str, str] = {}

    @property
    def name(self) -> str:
        """Its configured name."""
        return self._reader.source

    @property
    def report(self) -> SourceReport:
        """What it has done so far."""
        return self._intake.report

    def resume(self, since_ns: int, seen: Iterable[str] = ()) -> None:
        """Leave out what is stored already; see `engine.sources.base.Source`."""
        self._intake.remember(seen)

    async def poll(self) -> list[TextItem]:
        """Return the entries that are new; see `engine.sources.base.Source`."""
        answer = await self._client.get(self._url, headers=self._validators)
        if answer.status == NOT_MODIFIED:
            return []
        now = self._clock.now_ns()
        skipped: list[tuple[str, str]] = []
        items = await asyncio.to_thread(
            self._reader.read, answer.content, now, lambda *why: skipped.append(why)
        )
        for kind, reason in skipped:
            self._intake.skip(kind, reason)
        # Only now: had it been unreadable, the next poll must get it whole again.
        self._validators = validators(answer)
        return self._intake.new(items)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()
