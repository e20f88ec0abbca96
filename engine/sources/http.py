"""The one HTTP client of all sources: paced, patient, bounded, and silent about keys."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from random import Random
from typing import Any

import httpx

from engine.clock import Clock, SystemClock
from engine.errors import SourceError
from engine.sources.access import ANYBODY, Access
from engine.sources.answer import (
    NOT_MODIFIED,
    Answer,
    Refused,
    asked_pause_s,
    public_address,
    server_words,
)

ATTEMPTS = 3
"""Times that a request is sent before its failure is reported: the next look tries again."""
FIRST_PAUSE_S = 1.0
"""Bound of the pause after the first failure; it doubles from one to the next."""
PAUSE_CAP_S = 30.0
LONGEST_WAIT_S = 60.0
"""A server that asks for a longer pause is reported and left alone instead of waited for."""
LONGEST_HOLD_S = 86_400.0
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 15.0
"""Longest silence of a server."""
WHOLE_TIMEOUT_S = 60.0
"""Longest time of one answer: a server that trickles is never silent."""
MAX_BYTES = 5 * 1024 * 1024
USER_AGENT = "signal-engine/0.1"

_BUSY = 429
_RETRIED = frozenset({408, 425, 500, 502, 503, 504})

Sleep = Callable[[float], Awaitable[None]]

# httpx writes whole addresses at INFO, and some APIs take their key in the address.
for _chatty in ("httpx", "httpcore"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)


class SourceClient:
    """Sends a source's requests, one at a time.

    Connection errors, silence and the statuses 408, 425 and 5xx are tried again after a pause
    uniform in ``[0, min(30, 2^n)]`` seconds. A pause that the server asks for (``Retry-After``;
    ``X-Ratelimit-Remaining`` below 1 with ``X-Ratelimit-Reset``, as Reddit has it) is kept by all
    requests: up to a minute is waited for, a longer one reported at every look until it is over.
    A 429 that names no pause is reported at once.

    Parameters
    ----------
    source
        The source's name, for errors.
    access
        Who asks.
    per_minute
        Most requests a minute; none for as many as come.
    follow_redirects
        For documents that need no key: a key would follow to wherever it leads.
    clock
        For a ``Retry-After`` that is a date.
    random, sleep
        For tests.
    """

    def __init__(
        self,
        source: str,
        access: Access = ANYBODY,
        *,
        per_minute: float | None = None,
        follow_redirects: bool = False,
        clock: Clock | None = None,
        random: Random | None = None,
        sleep: Sleep | None = None,
    ) -> None:
        self._source = source
        self._access = access
        self._spacing_s = 60 / per_minute if per_minute else 0.0
        self._clock = clock or SystemClock()
        self._random = random or Random()
        self._sleep = sleep or asyncio.sleep
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            verify=_trust(),
            follow_redirects=follow_redirects,
            max_redirects=5,
            headers={"User-Agent": USER_AGENT, **access.headers},
        )
        self._turn = asyncio.Lock()
        self._next_at = 0.0

    async def close(self) -> None:
        """Close its connections; more than once does no harm."""
        await self._client.aclose()

    async def get(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """GET a document of bounded size.

        Parameters
        ----------
        url
            Where; its own query is kept.
        params
            Added to the query.
        headers
            Added to the usual ones: validators, mostly.

        Raises
        ------
        Refused
            Where the server answers with an error that waiting does not mend.
        SourceError
            Where it cannot be reached, keeps failing, asks for a long pause or sends too much.
        """
        asked = {**(params or {}), **self._access.params}
        authorizer = self._access.authorizer
        more = dict(headers or {})
        if authorizer is None:
            return await self._ask("GET", url, params=asked, headers=more)
        granted = await authorizer.headers(self._post)
        try:
            return await self._ask("GET", url, params=asked, headers={**more, **granted})
        except Refused as refusal:
            if refusal.status != httpx.codes.UNAUTHORIZED:
                raise
        authorizer.expire()
        granted = await authorizer.headers(self._post)
        return await self._ask("GET", url, params=asked, headers={**more, **granted})

    async def _post(self, url: str, form: Mapping[str, str], auth: tuple[str, str]) -> Answer:
        return await self._ask("POST", url, data=dict(form), auth=auth)

    async def _ask(self, method: str, url: str, **options: Any) -> Answer:
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await self._sleep(self._jitter_s(attempt - 1))
            await self._wait_turn(url)
            try:
                answer = await self._send(method, url, **options)
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                problem = f"cannot be read: {self._clean(str(error)) or type(error).__name__}"
                continue
            self._keep_limits(answer)
            if answer.status in (httpx.codes.OK, NOT_MODIFIED):
                return answer
            problem = f"answered {answer.status}{self._said(answer)}"
            if answer.status not in _RETRIED and not self._is_worth_waiting(answer):
                raise Refused(self._sentence(url, problem), answer.status, answer.content)
        raise SourceError(self._sentence(url, problem))

    async def _send(
        self, method: str, url: str, params: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        # Given as `params`, they would take the place of the address's own query.
        whole = httpx.URL(url).copy_merge_params(dict(params)) if params else url
        async with (
            asyncio.timeout(WHOLE_TIMEOUT_S),
            self._client.stream(method, whole, **options) as answer,
        ):
            content = bytearray()
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > MAX_BYTES:
                    raise SourceError(self._sentence(url, f"sent more than {MAX_BYTES} bytes"))
            return Answer(answer.status_code, bytes(content), answer.headers)

    async def _wait_turn(self, url: str) -> None:
        async with self._turn:
            loop = asyncio.get_running_loop()
            wait = self._next_at - loop.time()
            if wait > LONGEST_WAIT_S:
                raise SourceError(
                    self._sentence(url, f"asked for a pause, of which {wait:.0f} s are left")
                )
            if wait > 0:
                await self._sleep(wait)
            self._next_at = max(self._next_at, loop.time()) + self._spacing_s

    def _jitter_s(self, failures: int) -> float:
        """Full jitter, so that many who failed together do not come back together."""
        return self._random.uniform(0.0, min(PAUSE_CAP_S, FIRST_PAUSE_S * 2**failures))

    def _keep_limits(self, answer: Answer) -> None:
        pause = asked_pause_s(answer, self._clock.now_ns())
        if pause > 0:
            until = asyncio.get_running_loop().time() + min(pause, LONGEST_HOLD_S)
            self._next_at = max(self._next_at, until)

    def _is_worth_waiting(self, answer: Answer) -> bool:
        return answer.status == _BUSY and self._next_at > asyncio.get_running_loop().time()

    def _said(self, answer: Answer) -> str:
        """Return the server's own words, and which variables to look at; empty for neither."""
        words = self._clean(server_words(answer.content))
        said = f" ({words})" if words else ""
        if answer.status in (401, 403) and self._access.variables:
            said += f"; check {' and '.join(self._access.variables)}"
        return said

    def _sentence(self, url: str, problem: str) -> str:
        return f"source {self._source}: {self._clean(public_address(url))} {problem}"

    def _clean(self, text: str) -> str:
        for secret in self._access.secrets:
            text = text.replace(secret, "***")
        return text


@cache
def _trust() -> ssl.SSLContext:
    """Return who is believed to be whom: read once, since it takes a tenth of a second."""
    return httpx.create_ssl_context()
