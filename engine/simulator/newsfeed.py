"""The texts over HTTP: RSS 2.0, posts as JSON, and a Fear & Greed index."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape

from aiohttp import web

from engine.clock import NS_PER_S, Clock, iso_utc, parse_iso_utc
from engine.simulator.news import NewsProcess, TextEvent
from engine.simulator.planted import DAY_NS

LATEST_HEADLINES = 100
MAX_HEADLINES = 5_000
"""Most headlines of one answer with ``since``; the oldest come first."""
MAX_POSTS = 5_000

_CLASSES = ((25, "Extreme Fear"), (46, "Fear"), (55, "Neutral"), (76, "Greed"))


class NewsFeed:
    """Routes of the feed.

    Parameters
    ----------
    news
        The texts.
    clock
        Nothing later than now is served.
    """

    def __init__(self, news: NewsProcess, clock: Clock) -> None:
        self._news = news
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """Return ``/news/rss``, ``/posts`` and ``/fng/``."""
        return [
            web.get("/news/rss", self._rss),
            web.get("/posts", self._posts),
            web.get("/fng/", self._mood),
        ]

    async def _rss(self, request: web.Request) -> web.Response:
        end = self._clock.now_ns() + 1
        try:
            since = _time(request.query.get("since"))
        except ValueError:
            return _refused("since must be ISO-8601 with a zone, or UTC nanoseconds")
        if since is None:
            texts = self._news.latest(end, LATEST_HEADLINES, "news")
        else:
            texts = self._news.texts(since, end, "news", MAX_HEADLINES)
        items = "".join(_item(text) for text in reversed(texts))
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"><channel>'
            "<title>Simulated Wire</title><link>https://wire.example/</link>"
            "<description>Headlines of a simulated market</description>"
            f"<lastBuildDate>{_rfc822(end - 1)}</lastBuildDate>{items}</channel></rss>"
        )
        return web.Response(text=body, content_type="application/rss+xml", charset="utf-8")

    async def _posts(self, request: web.Request) -> web.Response:
        end = self._clock.now_ns() + 1
        try:
            since = _time(request.query.get("since"))
            limit = int(request.query.get("limit", 100))
        except ValueError:
            return _refused("since must be ISO-8601 with a zone or UTC nanoseconds; limit a number")
        if not 1 <= limit <= MAX_POSTS:
            return _refused(f"limit must be from 1 to {MAX_POSTS}")
        if since is None:
            posts, rest = self._news.latest(end, limit, "post"), False
        else:
            found = self._news.texts(since, end, "post", limit + 1)
            posts, rest = found[:limit], len(found) > limit
        following = str(posts[-1].time_ns + 1) if rest else None
        return web.json_response({"data": [_post(text) for text in posts], "next": following})

    async def _mood(self, request: web.Request) -> web.Response:
        try:
            limit = int(request.query.get("limit", 1))
        except ValueError:
            return _refused("limit must be a number")
        first_day = self._news.draws.first_day_ns
        today = (self._clock.now_ns() - first_day) // DAY_NS
        first = 0 if limit == 0 else max(0, today - limit + 1)
        rows = []
        for day in range(today, first - 1, -1):
            # A day's value comes from the day before: nothing of today is known at its start.
            value = self._news.mood(day - 1) if day else 50
            time_s = (first_day + day * DAY_NS) // NS_PER_S
            name = next((label for bound, label in _CLASSES if value < bound), "Extreme Greed")
            row = {"value": str(value), "value_classification": name, "timestamp": str(time_s)}
            rows.append(row)
        return web.json_response(
            {"name": "Fear and Greed Index", "data": rows, "metadata": {"error": None}}
        )


def _time(text: str | None) -> int | None:
    if text is None:
        return None
    # A bare "+" in a query means a space; an ISO offset written without quoting meant "+".
    return int(text) if text.isdigit() else parse_iso_utc(text.replace(" ", "+"))


def _rfc822(time_ns: int) -> str:
    return format_datetime(datetime.fromtimestamp(time_ns // NS_PER_S, UTC), usegmt=True)


def _item(text: TextEvent) -> str:
    link = f"https://wire.example/{text.text_id}"
    return (
        f"<item><title>{escape(text.title)}</title><link>{link}</link>"
        f'<guid isPermaLink="false">{text.text_id}</guid>'
        f"<pubDate>{_rfc822(text.time_ns)}</pubDate>"
        f"<description>{escape(text.body)}</description></item>"
    )


def _post(text: TextEvent) -> dict[str, object]:
    return {
        "id": text.text_id,
        "author": text.author,
        "text": text.title,
        "created_at": iso_utc(text.time_ns),
        "likes": text.likes,
        "reposts": text.reposts,
        "cashtags": [word.strip("$") for word in text.title.split() if word.startswith("$")],
    }


def _refused(message: str) -> web.Response:
    return web.json_response({"error": message}, status=400)
