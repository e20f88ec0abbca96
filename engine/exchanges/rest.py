"""The one REST client: it does what adapters describe, at the pace that venues allow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

import httpx

from engine.clock import Clock, SystemClock
from engine.domain.market import Candle, SymbolMetadata
from engine.domain.timeframe import Timeframe
from engine.errors import VenueError
from engine.exchanges.base import Exchange, RestRequest

ATTEMPTS = 5
"""Times that a request is sent before its failure is reported."""
TIMEOUT_S = 10.0
FIRST_PAUSE_S = 0.5
"""Pause after the first failure; it doubles from one to the next."""
LONGEST_PAUSE_S = 60.0
"""A venue that asks for a longer pause is reported instead of waited for."""

_BUSY = frozenset({418, 429})

Sleep = Callable[[float], Awaitable[None]]

Permit = Callable[[float], Awaitable[None]]
"""Returns when a request of the given weight may be sent: a budget shared with others."""


class RestClient:
    """Sends an adapter's requests, one at a time, and decodes the answers.

    Answers 418, 429 and 5xx, damaged ones and broken connections are tried again, after the time
    in ``Retry-After`` where there is one.

    Parameters
    ----------
    exchange
        The adapter.
    base_url
        Endpoint; empty takes the venue's public one.
    clock
        Tells when an answer came: candles that end later are open.
    requests_per_second
        Pace, in requests of weight 1; what the venue allows by default.
    permit
        Awaited before every request, beside this client's own pace.
    transport
        For tests: answers instead of the network.
    sleep
        For tests: waits instead of `asyncio.sleep`.
    """

    def __init__(
        self,
        exchange: Exchange,
        base_url: str = "",
        clock: Clock | None = None,
        *,
        requests_per_second: float | None = None,
        permit: Permit | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._exchange = exchange
        self._spacing_s = 1 / (requests_per_second or exchange.limits.requests_per_second)
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._permit = permit
        self._client = httpx.AsyncClient(
            base_url=(base_url or exchange.rest_url).rstrip("/"),
            timeout=TIMEOUT_S,
            transport=transport,
            headers={"User-Agent": "signal-engine"},
        )
        self._turn = asyncio.Lock()
        self._next_at = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def get(self, request: RestRequest) -> bytes:
        """Send one request and return the answer's body.

        Raises
        ------
        VenueError
            With status and address, where the venue refuses, or keeps failing.
        """
        problem = ""
        for attempt in range(ATTEMPTS):
            pause = FIRST_PAUSE_S * 2**attempt
            try:
                answer = await self._send(request)
            except httpx.RequestError as error:  # or the answer cannot be decoded
                url = f"{str(self._client.base_url).rstrip('/')}{request.path}"
                problem = f"{url} does not answer: {str(error) or type(error).__name__}"
            else:
                if answer.is_success:
                    return answer.content
                problem = f"{answer.url} answered {answer.status_code}: {answer.text[:200]}"
                if answer.status_code not in _BUSY and not answer.is_server_error:
                    break
                pause = max(pause, _retry_after_s(answer))
                if answer.status_code in _BUSY:
                    # For all requests: who asks on meanwhile is banned.
                    self._hold_back(pause)
                if pause > LONGEST_PAUSE_S:
                    problem += f" (and asks for a pause of {pause:.0f} s)"
                    break
            if attempt + 1 < ATTEMPTS:
                await self._sleep(pause)
        raise VenueError(f"{self._exchange.name}: {problem}")

    def _hold_back(self, pause: float) -> None:
        until = asyncio.get_running_loop().time() + min(pause, LONGEST_PAUSE_S)
        self._next_at = max(self._next_at, until)

    async def metadata(self) -> list[SymbolMetadata]:
        """Fetch what the venue lists.

        Raises
        ------
        VenueError
            See `get` and `Exchange.parse_metadata`.
        """
        found: list[SymbolMetadata] = []
        waiting = self._exchange.metadata_requests()
        while waiting:
            request = waiting.pop(0)
            body = await self.get(request)
            found += self._exchange.parse_metadata(body)
            following = self._exchange.next_metadata_request(request, body)
            waiting += [] if following is None else [following]
        return found

    async def candles(
        self, instrument: str, timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> list[Candle]:
        """Fetch candles that open in ``[start_ns, end_ns)``, ascending, each once.

        Empty where the venue has none of this length. There may be fewer than asked for:
        Kraken has only the latest 720.

        Raises
        ------
        VenueError
            See `get` and `Exchange.parse_candles`.
        """
        requests: Sequence[RestRequest] = self._exchange.candle_requests(
            instrument, timeframe, start_ns, end_ns
        )
        found: dict[int, Candle] = {}
        for request in requests:
            body = await self.get(request)
            as_of = self._clock.now_ns()
            for candle in self._exchange.parse_candles(body, instrument, timeframe, as_of):
                if start_ns <= candle.open_time < end_ns:
                    found[candle.open_time] = candle
        return [found[open_time] for open_time in sorted(found)]

    async def _send(self, request: RestRequest) -> httpx.Response:
        async with self._turn:
            loop = asyncio.get_running_loop()
            wait = self._next_at - loop.time()
            if wait > 0:
                await self._sleep(wait)
            self._next_at = loop.time() + self._spacing_s * request.weight
        if self._permit is not None:
            await self._permit(request.weight)
        return await self._client.get(request.path, params=dict(request.params))


def _retry_after_s(answer: httpx.Response) -> float:
    """Return the pause the venue asks for, seconds; 0 where it asks for none."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else 0.0
