"""The one REST client: it does what adapters describe, at the pace that venues allow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import ceil
from types import TracebackType
from typing import Protocol, Self

import httpx

from engine.clock import NS_PER_S, Clock, SystemClock, iso_utc
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
LONGEST_HOLD_S = 7 * 86_400.0
"""No venue bans for longer: more is a mistake, and would silence us for ever."""

_BUSY = frozenset({418, 429})

Sleep = Callable[[float], Awaitable[None]]

Permit = Callable[[float], Awaitable[None]]
"""Returns when a request of the given weight may be sent: a budget shared with others."""


class Hold(Protocol):
    """Pauses that the venue asked for, shared with others behind the same address."""

    async def begin(self, seconds: float) -> None:
        """Tell the others to leave the venue alone for so long."""
        ...

    async def left_s(self) -> float:
        """Return for how many seconds the venue is to be left alone; 0 where it may be asked."""
        ...


class RestClient:
    """Sends an adapter's requests, one at a time, and decodes the answers.

    Answers 418, 429 and 5xx, damaged ones and broken connections are tried again, after the time
    in ``Retry-After`` where there is one. After a 418 or 429 no request at all is sent before that
    time is over: who asks on meanwhile is banned. A request that would have to wait for more than
    `LONGEST_PAUSE_S` fails at once instead.

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
    hold
        Is told of pauses that the venue asks for, and tells of those that others were asked for.
    transport
        For tests: answers instead of the network.
    sleep, monotonic
        For tests: wait instead of `asyncio.sleep`, and tell the seconds instead of
        `time.monotonic`.
    """

    def __init__(
        self,
        exchange: Exchange,
        base_url: str = "",
        clock: Clock | None = None,
        *,
        requests_per_second: float | None = None,
        permit: Permit | None = None,
        hold: Hold | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exchange = exchange
        self._spacing_s = 1 / (requests_per_second or exchange.limits.requests_per_second)
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._monotonic = monotonic
        self._permit = permit
        self._hold = hold
        self._client = httpx.AsyncClient(
            base_url=(base_url or exchange.rest_url).rstrip("/"),
            timeout=TIMEOUT_S,
            transport=transport,
            headers={"User-Agent": "signal-engine"},
        )
        self._turn = asyncio.Lock()
        self._next_at = 0.0
        self._held_until = 0.0

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
            With status and address, where the venue refuses, or keeps failing; without asking it,
            where it wants to be left alone for longer than we wait.
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
                pause = max(pause, _retry_after_s(answer, self._clock.now_ns()))
                if answer.status_code in _BUSY:
                    await self._hold_back(pause)
                if pause > LONGEST_PAUSE_S:
                    problem += f" (and asks for a pause of {pause:.0f} s)"
                    break
                if answer.status_code in _BUSY:
                    continue  # its next turn waits
            if attempt + 1 < ATTEMPTS:
                await self._sleep(pause)
        raise VenueError(f"{self._exchange.name}: {problem}")

    async def _hold_back(self, pause: float) -> None:
        """Have every request wait, of others behind our address too: who asks on is banned."""
        self._held_until = max(self._held_until, self._monotonic() + pause)
        if self._hold is not None:
            await self._hold.begin(pause)

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
        while True:
            await self._take_turn(request.weight)
            if self._permit is not None:
                await self._permit(request.weight)
            if self._hold is not None:
                left = await self._hold.left_s()
                self._held_until = max(self._held_until, self._monotonic() + left)
            # Where a pause began while this one waited, it takes another turn behind the pause:
            # else all that waited would be sent at once when it is over.
            if self._held_until <= self._monotonic():
                return await self._client.get(request.path, params=dict(request.params))

    async def _take_turn(self, weight: float) -> None:
        """Wait for the venue's pace, and until it may be asked again.

        Raises
        ------
        VenueError
            Where that is too long.
        """
        async with self._turn:
            while True:
                now = self._monotonic()
                held_s = self._held_until - now
                if held_s > LONGEST_PAUSE_S:
                    until = iso_utc(self._clock.now_ns() + ceil(held_s) * NS_PER_S)
                    raise VenueError(
                        f"{self._exchange.name} wants no request of this address before {until} "
                        "(it answered 429 or 418): not asked"
                    )
                wait = max(held_s, self._next_at - now)
                if wait <= 0:
                    break
                await self._sleep(wait)
            self._next_at = now + self._spacing_s * weight


def _retry_after_s(answer: httpx.Response, now_ns: int) -> float:
    """Return the pause the venue asks for, seconds; 0 where it asks for none."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_HOLD_S)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)  # how "-0000" is read
    return min(max(0.0, moment.timestamp() - now_ns / NS_PER_S), LONGEST_HOLD_S)
