"""RSS and Atom feeds over HTTP, asked for only when they changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import httpx

from engine.clock import Clock
from engine.domain.text import TextItem
from engine.errors import SourceError
from engine.sources.base import Intake, SourceReport
from engine.sources.feed import FeedReader

MAX_FEED_BYTES = 5 * 1024 * 1024
TIMEOUT_S = 15.0
HEADERS = {"User-Agent": "signal-engine/0.1 (feed reader)"}


async def fetch(
    client: httpx.AsyncClient, source: str, url: str, **options: object
) -> httpx.Response:
    """GET a document of bounded size.

    Parameters
    ----------
    client
        Who asks.
    source
        The source's name, for errors.
    url
        Where.
    options
        `headers` and `params` of httpx.

    Returns
    -------
    httpx.Response
        Status 200 with its whole content, or 304.

    Raises
    ------
    SourceError
        Where there is no answer, another status, or too much content.
    """
    try:
        async with client.stream("GET", url, **options) as answer:  # type: ignore[arg-type]
            if answer.status_code == httpx.codes.NOT_MODIFIED:
                return answer
            if answer.status_code != httpx.codes.OK:
                raise SourceError(f"source {source}: {url} answered {answer.status_code}")
            parts = bytearray()
            async for part in answer.aiter_bytes():
                parts += part
                if len(parts) > MAX_FEED_BYTES:
                    raise SourceError(
                        f"source {source}: {url} sent more than {MAX_FEED_BYTES} bytes; "
                        "is it a feed?"
                    )
            headers = {
                key: answer.headers[key]
                for key in ("etag", "last-modified")
                if key in answer.headers
            }
            return httpx.Response(200, content=bytes(parts), headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = str(error) or type(error).__name__
        raise SourceError(f"source {source}: {url} cannot be read: {said}") from None


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
    clock
        What time it is.
    """

    def __init__(self, url: str, reader: FeedReader, clock: Clock) -> None:
        self._url = url
        self._reader = reader
        self._clock = clock
        self._intake = Intake(reader.source)
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_S, follow_redirects=True, headers=HEADERS, max_redirects=5
        )
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
        answer = await fetch(self._client, self.name, self._url, headers=self._validators)
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return []
        now = self._clock.now_ns()
        skipped: list[tuple[str, str]] = []
        items = await asyncio.to_thread(
            self._reader.read, answer.content, now, lambda *why: skipped.append(why)
        )
        for kind, reason in skipped:
            self._intake.skip(kind, reason)
        # Only now: had it been unreadable, the next poll must get it whole again.
        self._validators = {
            ours: answer.headers[theirs]
            for ours, theirs in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified"))
            if theirs in answer.headers
        }
        return self._intake.new(items)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()
