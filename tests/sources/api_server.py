"""A server on loopback that answers as the documented APIs do, their errors included."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Routes = Mapping[str, Handler]
"""``GET /path`` -> who answers."""


class Seen(NamedTuple):
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]


class Fault(NamedTuple):
    """An answer that takes the place of the API's own."""

    status: int = 503
    headers: Mapping[str, str] = {}
    body: bytes = b""
    stalls: bool = False
    """Nothing is answered until the server ends."""
    trickles: bool = False
    """A byte now and then, without end."""


class ApiServer:
    """Serves routes on a free port, keeps what was asked, and fails as it is told to."""

    def __init__(self, routes: Routes) -> None:
        self.seen: list[Seen] = []
        self.faults: deque[Fault | None] = deque()
        """For the next requests, in order; None lets one through."""
        self._ending = asyncio.Event()
        app = web.Application(middlewares=[self._middleware])
        for place, handler in routes.items():
            method, path = place.split(" ")
            app.router.add_route(method, path, handler)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        await self._runner.cleanup()

    @property
    def pages(self) -> list[dict[str, str]]:
        """The queries of the requests that were no tokens."""
        return [seen.query for seen in self.seen if seen.method == "GET"]

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.seen.append(
            Seen(request.method, request.path, dict(request.query), dict(request.headers))
        )
        fault = self.faults.popleft() if self.faults else None
        if fault is None:
            return await handler(request)
        if fault.stalls:
            await self._ending.wait()
        if fault.trickles:
            return await self._trickle(request)
        return web.Response(status=fault.status, headers=fault.headers, body=fault.body)

    async def _trickle(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not self._ending.is_set():
            await response.write(b" ")
            await asyncio.sleep(0.01)
        return response


def fails(status: int, body: object) -> web.Response:
    """Return an error as JSON."""
    return web.json_response(body, status=status)


class RedditApi:
    """Reddit: tokens, and listings of 100 at most."""

    def __init__(self, posts: Iterable[Any], *, lives_s: float = 86_400.0) -> None:
        self.posts = list(posts)
        self.lives_s = lives_s
        self.tokens: list[str] = []
        self.valid: set[str] = set()
        self.limits = {"X-Ratelimit-Remaining": "99.0", "X-Ratelimit-Reset": "300"}

    def routes(self) -> Routes:
        return {"POST /api/v1/access_token": self._token, "GET /r/{subreddits}/new": self._new}

    async def _token(self, request: web.Request) -> web.Response:
        app = base64.b64encode(b"an-id:a-secret").decode()
        if request.headers.get("Authorization") != f"Basic {app}":
            return fails(401, {"message": "Unauthorized", "error": 401})
        if (await request.post()).get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"})
        token = f"token-{len(self.tokens) + 1}"
        self.tokens.append(token)
        self.valid = {token}
        answer = {"access_token": token, "token_type": "bearer", "scope": "*"}
        return web.json_response({**answer, "expires_in": self.lives_s})

    async def _new(self, request: web.Request) -> web.Response:
        word, _, token = request.headers.get("Authorization", "").partition(" ")
        if word != "bearer" or token not in self.valid:
            return fails(401, {"message": "Unauthorized", "error": 401})
        limit = min(100, int(request.query.get("limit", 25)))
        after = request.query.get("after")
        names = [_name(post) for post in self.posts]
        start = names.index(after) + 1 if after else 0
        children = self.posts[start : start + limit]
        has_more = start + limit < len(self.posts)
        listing = {"children": children, "after": _name(children[-1]) if has_more else None}
        return web.json_response(
            {"kind": "Listing", "data": {**listing, "before": None, "dist": len(children)}},
            headers=self.limits,
        )


def _name(post: Any) -> Any:
    return post["data"]["name"] if isinstance(post, dict) and post.get("data") else None


class NewsApiOrg:
    """NewsAPI: pages of 100 at most, and no more results than the plan has."""

    def __init__(self, articles: Iterable[Any], *, plan_results: int = 10_000) -> None:
        self.articles = list(articles)
        self.plan_results = plan_results

    def routes(self) -> Routes:
        return {"GET /v2/everything": self._everything}

    async def _everything(self, request: web.Request) -> web.Response:
        query = request.query
        key = request.headers.get("X-Api-Key")
        if key != "a-news-key":
            code = "apiKeyInvalid" if key else "apiKeyMissing"
            return self._error(401, code, "Your API key is invalid or incorrect.")
        if not query.get("q"):
            return self._error(400, "parametersMissing", "Required parameters are missing.")
        size, page = int(query.get("pageSize", 100)), int(query.get("page", 1))
        if not 1 <= size <= 100:
            return self._error(400, "parameterInvalid", "The pageSize parameter is invalid.")
        if (page - 1) * size >= self.plan_results:
            return self._error(426, "maximumResultsReached", "You have requested too many results.")
        begin = query.get("from", "")
        found = [
            article
            for article in self.articles
            if not isinstance(article, dict) or str(article.get("publishedAt", "~")) >= begin
        ]
        rows = found[(page - 1) * size : page * size]
        answer = {"status": "ok", "totalResults": len(found), "articles": rows}
        return web.json_response(answer)

    def _error(self, status: int, code: str, message: str) -> web.Response:
        return fails(status, {"status": "error", "code": code, "message": message})


class CryptoPanicApi:
    """CryptoPanic: pages of 20, and a link to the next one that holds the key."""

    PAGE = 20

    def __init__(self, posts: Iterable[Any]) -> None:
        self.posts = list(posts)

    def routes(self) -> Routes:
        return {"GET /api/developer/v2/posts/": self._posts}

    async def _posts(self, request: web.Request) -> web.Response:
        if request.query.get("auth_token") != "a-panic-token":
            return fails(401, {"status": "api_error", "info": "Token not found"})
        page = int(request.query.get("page", 1))
        rows = self.posts[(page - 1) * self.PAGE : page * self.PAGE]
        if not rows and page > 1:
            return fails(404, {"status": "api_error", "info": "Page not found"})
        following = None
        if page * self.PAGE < len(self.posts):
            following = (
                "https://elsewhere.example/api/developer/v2/posts/"
                f"?auth_token=a-panic-token&page={page + 1}"
            )
        return web.json_response({"next": following, "previous": None, "results": rows})


class CoinGeckoApi:
    """CoinGecko: at most 20 pages of 20, for paid plans."""

    def __init__(self, articles: Iterable[Any]) -> None:
        self.articles = list(articles)

    def routes(self) -> Routes:
        return {"GET /api/v3/news": self._news}

    async def _news(self, request: web.Request) -> web.Response:
        key = request.headers.get("x-cg-pro-api-key")
        if key != "a-gecko-key":
            words = "API Key Missing" if key is None else "Invalid API Key"
            return fails(401, {"status": {"error_code": 10002, "error_message": words}})
        page, size = int(request.query.get("page", 1)), int(request.query.get("per_page", 10))
        if page > 20 or size > 20:
            return fails(400, {"error": "page and per_page go up to 20"})
        return web.json_response(self.articles[(page - 1) * size : page * size])


class DatasetViewer:
    """The Hub's dataset viewer: slices of 100 rows at most."""

    def __init__(self, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
        self.columns = list(columns)
        self.rows = [dict(row) for row in rows]
        self.truncated: dict[int, list[str]] = {}
        self.gated = False

    def routes(self) -> Routes:
        return {"GET /rows": self._rows}

    async def _rows(self, request: web.Request) -> web.Response:
        query = request.query
        if self.gated and request.headers.get("Authorization") != "Bearer a-hub-token":
            words = "The dataset does not exist, or is not accessible without authentication"
            return fails(401, {"error": words})
        if [query.get(name) for name in ("dataset", "config", "split")] != [
            "owner/name", "default", "train",
        ]:  # fmt: skip
            return fails(404, {"error": "Not found."})
        offset, length = int(query.get("offset", 0)), int(query.get("length", 100))
        if length > 100:
            return fails(422, {"error": "Parameter 'length' must not be greater than 100"})
        rows = [
            {"row_idx": place, "row": row, "truncated_cells": self.truncated.get(place, [])}
            for place, row in list(enumerate(self.rows))[offset : offset + length]
        ]
        features = [
            {"feature_idx": place, "name": name, "type": {"dtype": "string", "_type": "Value"}}
            for place, name in enumerate(self.columns)
        ]
        return web.json_response(
            {
                "features": features,
                "rows": rows,
                "num_rows_total": len(self.rows),
                "num_rows_per_page": 100,
                "partial": False,
            }
        )


class MoodDocuments:
    """Cboe's tables and daily documents, and alternative.me's index."""

    def __init__(self) -> None:
        self.vix = ""
        self.archive = ""
        self.days: dict[str, str | bytes] = {}
        """By day, the ratio, or a whole document."""
        self.fear_greed: list[tuple[int, str]] = []
        """Second and value, oldest first."""

    def routes(self) -> Routes:
        return {
            "GET /VIX_History.csv": self._vix,
            "GET /totalpc.csv": self._archive,
            "GET /daily/{document}": self._daily,
            "GET /fng/": self._fear_greed,
        }

    async def _vix(self, request: web.Request) -> web.Response:
        tag = f'"{len(self.vix)}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304)
        return web.Response(text=self.vix, headers={"ETag": tag})

    async def _archive(self, request: web.Request) -> web.Response:
        return web.Response(text=self.archive)

    async def _daily(self, request: web.Request) -> web.Response:
        day = request.match_info["document"].removesuffix("_daily_options")
        found = self.days.get(day)
        if found is None:
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")
        if isinstance(found, bytes):
            return web.Response(body=found)
        ratios = [
            {"name": "INDEX PUT/CALL RATIO", "value": "1.21"},
            {"name": "TOTAL PUT/CALL RATIO", "value": found},
        ]
        return web.Response(text=json.dumps({"ratios": ratios, "SUM OF ALL PRODUCTS": []}))

    async def _fear_greed(self, request: web.Request) -> web.Response:
        limit = int(request.query.get("limit", 1))
        newest_first = [
            {"value": value, "value_classification": "Fear", "timestamp": str(second)}
            for second, value in reversed(self.fear_greed)
        ]
        rows = newest_first[:limit] if limit else newest_first
        return web.json_response({"name": "Fear and Greed Index", "data": rows})
