"""The simulator's posts and headlines, over its HTTP.

``GET {base}/posts?since=<ns>&limit=<n>`` answers ``{"data": [{"id", "author", "text",
"created_at", "likes", "reposts"}, …], "next": …}``; ``GET {base}/news/rss?since=<ns>`` an RSS
document.

Simulated texts are available when they are published. The simulator is where they come into
being, nothing delays them, and its history from before we started has to count in that
history as it would have then: with the time of our reading, all of it would look new at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from engine.clock import NS_PER_S, Clock, parse_iso_utc
from engine.domain.text import TextItem
from engine.errors import SourceError
from engine.sources.base import Intake, SourceReport, text_id
from engine.sources.feed import FeedReader
from engine.sources.http import SourceClient

PAGE = 500
MAX_PAGES = 40
"""Pages of posts read in one poll: the rest follows in the next."""

OVERLAP_NS = 2 * NS_PER_S
"""Feeds write whole seconds: asking for a little more than needed loses nothing."""


class SimulatedPost(msgspec.Struct):
    """A post as the simulator writes it."""

    id: str | int
    author: str
    text: str
    created_at: str
    likes: int = 0
    reposts: int = 0


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]


class SimulatedSource:
    """The simulator's texts.

    Parameters
    ----------
    base_url
        Of its HTTP server.
    reader
        What makes texts of the headlines, and knows name and mentions for posts.
    client
        Who asks.
    clock
        What time it is.
    """

    def __init__(
        self, base_url: str, reader: FeedReader, client: SourceClient, clock: Clock
    ) -> None:
        self._base = base_url.rstrip("/")
        self._reader = reader
        self._clock = clock
        self._intake = Intake(reader.source)
        self._client = client
        self._posts_since = 0
        self._news_since = 0

    @property
    def name(self) -> str:
        """Its configured name."""
        return self._reader.source

    @property
    def report(self) -> SourceReport:
        """What it has done so far."""
        return self._intake.report

    def resume(self, since_ns: int, seen: Iterable[str] = ()) -> None:
        """Ask for what came after `since_ns` only; see `engine.sources.base.Source`."""
        self._posts_since = self._news_since = max(0, since_ns)
        self._intake.remember(seen)

    async def poll(self) -> list[TextItem]:
        """Return what is new of both; see `engine.sources.base.Source`."""
        posts, reached = await self._posts()
        news = await self._news()
        fresh = self._intake.new([*posts, *news])
        self._posts_since = reached
        self._news_since = max([self._news_since, *(item.published_at for item in news)])
        return fresh

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def _posts(self) -> tuple[list[TextItem], int]:
        items: list[TextItem] = []
        since = max(0, self._posts_since - OVERLAP_NS)
        reached = self._posts_since
        for _ in range(MAX_PAGES):
            rows = await self._page(since)
            page = [item for item in map(self._post, rows) if item is not None]
            items += page
            newest = max([reached, *(item.published_at for item in page)])
            # A page may end within a moment: ask for that moment again, unless it fills a page.
            since = newest - 1 if newest - 1 > since else max(newest, since + 1)
            reached = newest
            if len(rows) < PAGE:
                break
        return items, reached

    async def _page(self, since: int) -> list[msgspec.Raw]:
        params = {"since": str(since), "limit": str(PAGE)}
        answer = await self._client.get(f"{self._base}/posts", params)
        try:
            return msgspec.json.decode(answer.content, type=_Page).data
        except msgspec.MsgspecError as error:
            raise SourceError(
                f"source {self.name}: {self._base}/posts sent something else than posts: {error}"
            ) from None

    def _post(self, row: msgspec.Raw) -> TextItem | None:
        try:
            post = msgspec.json.decode(row, type=SimulatedPost)
            published = parse_iso_utc(post.created_at)
        except (msgspec.MsgspecError, ValueError) as error:
            self._intake.skip("bad_post", f"post {bytes(row)[:80]!r}: {error}")
            return None
        return TextItem(
            text_id=text_id(self.name, f"post:{post.id}"),
            source=self.name,
            kind="post",
            title=post.text,
            body="",
            url="",
            author=self._reader.hash_author(post.author),
            published_at=published,
            available_at=published,
            engagement=float(max(0, post.likes) + max(0, post.reposts)),
            credibility=self._reader.credibility,
            instruments=self._reader.mentions(post.text),
        )

    async def _news(self) -> list[TextItem]:
        params = {"since": str(max(0, self._news_since - OVERLAP_NS))}
        answer = await self._client.get(f"{self._base}/news/rss", params)
        skipped: list[tuple[str, str]] = []
        items = await asyncio.to_thread(
            self._reader.read,
            answer.content,
            self._clock.now_ns(),
            lambda *why: skipped.append(why),
        )
        for kind, reason in skipped:
            self._intake.skip(kind, reason)
        return [msgspec.structs.replace(item, available_at=item.published_at) for item in items]
