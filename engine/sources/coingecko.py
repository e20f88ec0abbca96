"""The news that CoinGecko gathers.

``GET https://pro-api.coingecko.com/api/v3/news?page=1&per_page=20`` with the key in
``x-cg-pro-api-key`` answers ``[{"title", "url", "image", "author", "posted_at", "type": "news" or
"guide", "source_name", "related_coin_ids"}, …]``: at most 20 pages of 20, refreshed every minute,
for paid plans. Errors are ``{"status": {"error_code", "error_message"}}`` or ``{"error": …}``.
Source: https://docs.coingecko.com/reference/news, read 2026-11-21.

Of what CoinGecko tells, this is what can be dated and read. The votes of its visitors
(``sentiment_votes_up_percentage`` of ``/coins/{id}``) are a running percentage without a time or a
number of votes: a series of them could not be joined to anything. ``related_coin_ids`` are not
used: the documentation's own example ties an article about Bitcoin to two other tokens whose names
are common words; the text's words are read instead. Guides are left out: they are no news.
"""

from __future__ import annotations

import httpx
import msgspec

from engine.clock import NS_PER_S, Clock, parse_iso_utc
from engine.settings.sources import SourceConfig
from engine.sources.access import Access
from engine.sources.answer import Refused
from engine.sources.draft import Draft
from engine.sources.keys import required_key
from engine.sources.paged import Page, Request

API = "https://pro-api.coingecko.com/api/v3"
KEY = "COINGECKO_API_KEY"
PAGE = 20


class _Article(msgspec.Struct):
    title: str
    url: str
    posted_at: str
    author: str | None = None


class CoinGecko:
    """CoinGecko's news, described; see `engine.sources.paged.PagedApi`.

    Parameters
    ----------
    config
        `query` is a coin's id (``bitcoin``); empty takes all news.
    clock
        Not needed.
    """

    per_minute = 30.0
    overlap_ns = 3600 * NS_PER_S
    most_pages = 20
    params: tuple[str, ...] = ("language",)

    def __init__(self, config: SourceConfig, clock: Clock) -> None:
        self._source = config.name
        self._url = f"{config.location.rstrip('/') or API}/news"
        coin = {"coin_id": config.query} if config.query else {}
        self._asked = {"type": "news", **coin, **config.params}

    def access(self) -> Access:
        """Return the key's access."""
        key = required_key(
            self._source, KEY, "the key of a paid plan of https://www.coingecko.com/en/api"
        )
        return Access(headers={"x-cg-pro-api-key": key}, secrets=(key,), variables=(KEY,))

    def first(self, since_ns: int) -> Request:
        """Return the newest page."""
        return Request(self._url, {**self._asked, "page": "1", "per_page": str(PAGE)})

    def page(self, content: bytes, request: Request) -> Page:
        """Read a page of articles."""
        rows = msgspec.json.decode(content, type=list[msgspec.Raw])
        number = int(request.params["page"])
        has_more = len(rows) == PAGE
        return Page(rows, request.also(page=str(number + 1)) if has_more else None)

    def draft(self, row: msgspec.Raw) -> Draft | None:
        """Read an article."""
        article = msgspec.json.decode(row, type=_Article)
        return Draft(
            own_id=article.url,
            title=article.title,
            published_at=parse_iso_utc(article.posted_at),
            url=article.url,
            author=article.author or "",
        )

    def is_end(self, refusal: Refused) -> bool:
        """Tell the end: pages past the twentieth are refused as bad requests."""
        return refusal.status in (httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND)
