"""Posts of subreddits, over Reddit's API.

``GET https://oauth.reddit.com/r/A+B/new?limit=100&after=t3_…`` answers a *listing*: ``{"kind":
"Listing", "data": {"after": …, "children": [{"kind": "t3", "data": {"name", "title", "selftext",
"author", "score", "num_comments", "permalink", "created_utc", …}}, …]}}``, the newest first, at
most 1,000 posts back. A token comes from ``POST https://www.reddit.com/api/v1/access_token`` with
the app's id and secret (``grant_type=client_credentials``) and lasts ``expires_in`` seconds. An
app may ask 100 times a minute, averaged over ten; ``X-Ratelimit-Remaining`` and
``X-Ratelimit-Reset`` tell what is left. Sources, read 2026-11-21:
https://github.com/reddit-archive/reddit/wiki/OAuth2 (application-only), /wiki/API (headers of
limits, User-Agent) and /wiki/JSON (listings, posts).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from urllib.parse import urljoin

import httpx
import msgspec

from engine.clock import NS_PER_S, Clock
from engine.errors import ConfigError, SourceError
from engine.settings.sources import SourceConfig
from engine.sources.access import Access, Post
from engine.sources.answer import Refused
from engine.sources.draft import Draft, RowError
from engine.sources.keys import optional_key, required_key
from engine.sources.paged import Page, Request

API = "https://oauth.reddit.com"
GRANT_URL = "https://www.reddit.com/api/v1/access_token"
SITE = "https://www.reddit.com"
ID, SECRET, USER = "REDDIT_CLIENT_ID", "REDDIT_CLIENT_SECRET", "REDDIT_USERNAME"
PAGE = 100
EARLY_NS = 60 * NS_PER_S
"""A token is renewed so long before it ends."""

_SUBREDDITS = re.compile(r"[A-Za-z0-9_]{2,21}(\+[A-Za-z0-9_]{2,21})*")
_GONE = frozenset({"[removed]", "[deleted]"})


class _Post(msgspec.Struct):
    name: str
    title: str
    created_utc: float
    selftext: str = ""
    author: str | None = None
    score: float = 0.0
    num_comments: float = 0.0
    permalink: str = ""


class _Child(msgspec.Struct):
    kind: str
    data: _Post


class _Listing(msgspec.Struct):
    children: list[msgspec.Raw]
    after: str | None = None


class _Answer(msgspec.Struct):
    data: _Listing


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float


class RedditToken:
    """The app's own token, asked for when there is none or it is about to end.

    Parameters
    ----------
    source
        Configured name, for errors.
    url
        Where tokens come from.
    client_id, secret
        The app's.
    clock
        When a token ends.
    """

    def __init__(self, source: str, url: str, client_id: str, secret: str, clock: Clock) -> None:
        self._source = source
        self._url = url
        self._app = (client_id, secret)
        self._clock = clock
        self._token = ""
        self._ends = 0

    async def headers(self, post: Post) -> Mapping[str, str]:
        """Return the header with a valid token; see `engine.sources.access.Authorizer`."""
        if not self._token or self._clock.now_ns() >= self._ends - EARLY_NS:
            form = {"grant_type": "client_credentials"}
            answer = await post(self._url, form, self._app)
            try:
                token = msgspec.json.decode(answer.content, type=_Token)
            except msgspec.MsgspecError as error:
                raise SourceError(
                    f"source {self._source}: {self._url} sent no token ({error}); check {ID} and "
                    f"{SECRET}"
                ) from None
            self._token = token.access_token
            self._ends = self._clock.now_ns() + int(token.expires_in * NS_PER_S)
        return {"Authorization": f"bearer {self._token}"}

    def expire(self) -> None:
        """Forget the token."""
        self._token = ""


class Reddit:
    """Reddit's listings of new posts, described; see `engine.sources.paged.PagedApi`.

    Parameters
    ----------
    config
        `query` names subreddits, joined by ``+``. A `location` stands for both of Reddit's hosts.
    clock
        When a token ends.

    Raises
    ------
    ConfigError
        Where `query` names no subreddits.
    """

    per_minute = 60.0
    overlap_ns = 600 * NS_PER_S
    most_pages = 10
    params: tuple[str, ...] = ()

    def __init__(self, config: SourceConfig, clock: Clock) -> None:
        if not _SUBREDDITS.fullmatch(config.query):
            raise ConfigError(
                f"source {config.name}: query {config.query!r} names no subreddits; write them "
                "joined by +, for example CryptoCurrency+Bitcoin"
            )
        base = config.location.rstrip("/")
        self._source = config.name
        self._clock = clock
        self._url = f"{base or API}/r/{config.query}/new"
        self._token_url = f"{base}/api/v1/access_token" if base else GRANT_URL

    def access(self) -> Access:
        """Return the app's access."""
        mine = "of an app made at https://www.reddit.com/prefs/apps"
        client_id = required_key(self._source, ID, f"the id {mine}")
        secret = required_key(self._source, SECRET, f"the secret {mine}")
        user = optional_key(self._source, USER)
        agent = "python:signal-engine:v0.1" + (f" (by /u/{user})" if user else "")
        return Access(
            headers={"User-Agent": agent},
            secrets=(secret, client_id),
            variables=(ID, SECRET),
            authorizer=RedditToken(self._source, self._token_url, client_id, secret, self._clock),
        )

    def first(self, since_ns: int) -> Request:
        """Return the newest page."""
        # raw_json: without it, text comes with &lt; for <.
        return Request(self._url, {"limit": str(PAGE), "raw_json": "1"})

    def page(self, content: bytes, request: Request) -> Page:
        """Read a listing."""
        listing = msgspec.json.decode(content, type=_Answer).data
        return Page(listing.children, request.also(after=listing.after) if listing.after else None)

    def draft(self, row: msgspec.Raw) -> Draft | None:
        """Read a post; None for one that was removed."""
        post = msgspec.json.decode(row, type=_Child).data
        if post.title.strip().lower() in ("[removed by reddit]", "[deleted by user]"):
            return None
        if not math.isfinite(post.created_utc) or post.created_utc <= 0:
            raise RowError(f"created_utc is {post.created_utc}")
        return Draft(
            own_id=post.name,
            title=post.title,
            published_at=int(post.created_utc * NS_PER_S),
            body="" if post.selftext.strip() in _GONE else post.selftext,
            url=urljoin(SITE, post.permalink) if post.permalink else "",
            author="" if post.author in (None, "[deleted]") else str(post.author),
            engagement=max(0.0, post.score) + max(0.0, post.num_comments),
            kind="post",
        )

    def is_end(self, refusal: Refused) -> bool:
        """Tell an end: Reddit refuses no page that it has named itself."""
        return refusal.status == httpx.codes.NOT_FOUND
