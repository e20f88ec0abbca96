"""Crypto headlines and posts gathered by CryptoPanic.

``GET https://cryptopanic.com/api/developer/v2/posts/?auth_token=…&public=true&page=1`` answers
``{"next": "https://…&page=2" or null, "results": [{"id", "kind", "title", "description",
"published_at", "created_at", "url", "original_url", "source": {…}, "instruments": […], "votes":
{"positive", "negative", "important", "liked", "disliked", "lol", "toxic", "saved", "comments"}},
…]}``, the newest first; rows of the free plan lack some of these. The reference is
https://cryptopanic.com/developers/api/ (API v2); the shape here is the one that public clients of
v2 read on 2026-11-21. The plan's path (``developer``, ``growth``, ``enterprise``) is part of
`location`.

The key can only go in the address, so addresses are never shown or logged, and the link ``next``
is not followed as it is: only the page's number is taken from it. The instruments that CryptoPanic
tags are not used: they are guesses by ticker ("EPS" of a company's earnings for a coin of that
name); the words themselves are read like any other text's.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec

from engine.clock import NS_PER_S, Clock, parse_iso_utc
from engine.settings.sources import SourceConfig
from engine.sources.access import Access
from engine.sources.answer import Refused
from engine.sources.draft import Draft
from engine.sources.keys import required_key
from engine.sources.paged import Page, Request

API = "https://cryptopanic.com/api/developer/v2"
KEY = "CRYPTOPANIC_TOKEN"


class _Post(msgspec.Struct):
    id: int | str
    title: str
    published_at: str
    kind: str = "news"
    description: str | None = None
    url: str | None = None
    original_url: str | None = None
    author: str | None = None
    votes: dict[str, float] | None = None


class _Answer(msgspec.Struct):
    results: list[msgspec.Raw]
    next: str | None = None


class CryptoPanic:
    """CryptoPanic's posts, described; see `engine.sources.paged.PagedApi`.

    Parameters
    ----------
    config
        `query` names currencies (``BTC,ETH``); empty takes all.
    clock
        Not needed.
    """

    per_minute = 30.0
    overlap_ns = 3600 * NS_PER_S
    most_pages = 10
    params: tuple[str, ...] = ("filter", "kind", "regions", "public", "search")

    def __init__(self, config: SourceConfig, clock: Clock) -> None:
        self._source = config.name
        self._url = f"{config.location.rstrip('/') or API}/posts/"
        currencies = {"currencies": config.query} if config.query else {}
        self._asked = {"public": "true", **currencies, **config.params}

    def access(self) -> Access:
        """Return the key's access."""
        key = required_key(
            self._source, KEY, "the API key shown at https://cryptopanic.com/developers/api/"
        )
        return Access(params={"auth_token": key}, secrets=(key,), variables=(KEY,))

    def first(self, since_ns: int) -> Request:
        """Return the newest page."""
        return Request(self._url, {**self._asked, "page": "1"})

    def page(self, content: bytes, request: Request) -> Page:
        """Read a page of posts."""
        answer = msgspec.json.decode(content, type=_Answer)
        number = parse_qs(urlsplit(answer.next or "").query).get("page", [""])[0]
        has_more = bool(answer.results) and number.isdigit()
        return Page(answer.results, request.also(page=number) if has_more else None)

    def draft(self, row: msgspec.Raw) -> Draft | None:
        """Read a post."""
        post = msgspec.json.decode(row, type=_Post)
        return Draft(
            own_id=str(post.id),
            title=post.title,
            published_at=parse_iso_utc(post.published_at),
            body=post.description or "",
            url=post.original_url or post.url or "",
            author=post.author or "",
            engagement=sum(max(0.0, count) for count in (post.votes or {}).values()),
        )

    def is_end(self, refusal: Refused) -> bool:
        """Tell the end: a page past the last one is not found."""
        return refusal.status == httpx.codes.NOT_FOUND
