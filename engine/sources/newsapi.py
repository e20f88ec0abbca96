"""Headlines of many publishers, found by a search, over NewsAPI.

``GET https://newsapi.org/v2/everything?q=…&from=…&sortBy=publishedAt&pageSize=100&page=1`` with
the key in ``X-Api-Key`` answers ``{"status": "ok", "totalResults": N, "articles": [{"source":
{"id", "name"}, "author", "title", "description", "url", "urlToImage", "publishedAt", "content"},
…]}``; an error ``{"status": "error", "code": "rateLimited", "message": …}`` with 400, 401, 426
(the plan has no more results), 429 or 500. The free plan gives 100 requests a day (so ``poll_s:
900`` or more), the first 100 results, articles 24 hours late. Source:
https://newsapi.org/docs/endpoints/everything and /docs/errors, read 2026-11-21.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from engine.clock import NS_PER_S, Clock, parse_iso_utc
from engine.settings.sources import SourceConfig
from engine.sources.access import Access
from engine.sources.answer import Refused
from engine.sources.draft import Draft
from engine.sources.keys import required_key
from engine.sources.paged import Page, Request

API = "https://newsapi.org"
KEY = "NEWSAPI_KEY"
PAGE = 100
_REMOVED = "[Removed]"


class _Article(msgspec.Struct, rename="camel"):
    title: str
    url: str
    published_at: str
    author: str | None = None
    description: str | None = None


class _Answer(msgspec.Struct, rename="camel"):
    status: str
    total_results: int
    articles: list[msgspec.Raw]


class _Error(msgspec.Struct):
    code: str = ""


class NewsApi:
    """NewsAPI's search, described; see `engine.sources.paged.PagedApi`.

    Parameters
    ----------
    config
        `query` is the search (``bitcoin OR ethereum``, at most 500 characters).
    clock
        Not needed.
    """

    per_minute = 30.0
    overlap_ns = 6 * 3600 * NS_PER_S
    most_pages = 5
    params: tuple[str, ...] = ("searchIn", "sources", "domains", "excludeDomains", "language")

    def __init__(self, config: SourceConfig, clock: Clock) -> None:
        self._source = config.name
        self._url = f"{config.location.rstrip('/') or API}/v2/everything"
        self._asked = {"q": config.query, **config.params}

    def access(self) -> Access:
        """Return the key's access."""
        key = required_key(self._source, KEY, "a key of https://newsapi.org/account")
        return Access(headers={"X-Api-Key": key}, secrets=(key,), variables=(KEY,))

    def first(self, since_ns: int) -> Request:
        """Return the newest page since a moment."""
        since = datetime.fromtimestamp(since_ns // NS_PER_S, UTC)
        paging = {"sortBy": "publishedAt", "pageSize": str(PAGE), "page": "1"}
        begin = {"from": f"{since:%Y-%m-%dT%H:%M:%S}"} if since_ns else {}
        return Request(self._url, {**self._asked, **begin, **paging})

    def page(self, content: bytes, request: Request) -> Page:
        """Read a page of articles."""
        answer = msgspec.json.decode(content, type=_Answer)
        if answer.status != "ok":
            raise ValueError(f"its status is {answer.status!r}")
        number = int(request.params["page"])
        has_more = bool(answer.articles) and number * PAGE < answer.total_results
        return Page(answer.articles, request.also(page=str(number + 1)) if has_more else None)

    def draft(self, row: msgspec.Raw) -> Draft | None:
        """Read an article; None for one that its publisher has removed."""
        article = msgspec.json.decode(row, type=_Article)
        if article.title.strip() == _REMOVED:
            return None
        # The field `content` is cut at 200 characters in the middle of a word.
        return Draft(
            own_id=article.url,
            title=article.title,
            published_at=parse_iso_utc(article.published_at),
            body=article.description or "",
            url=article.url,
            author=article.author or "",
        )

    def is_end(self, refusal: Refused) -> bool:
        """Tell the end of what the plan shows: the free one ends after the first page."""
        try:
            code = msgspec.json.decode(refusal.content, type=_Error).code
        except msgspec.MsgspecError:
            return False
        return code == "maximumResultsReached"
