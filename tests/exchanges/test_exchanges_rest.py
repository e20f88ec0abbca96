from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from engine.clock import DataClock
from engine.domain.timeframe import Timeframe
from engine.errors import VenueError
from engine.exchanges.base import RestRequest
from engine.exchanges.registry import exchange
from engine.exchanges.rest import ATTEMPTS, RestClient

Answer = Callable[[httpx.Request], httpx.Response]


class Garbage(httpx.AsyncByteStream):
    """What claims to be compressed, and is not."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"no gzip"


class Sleeps(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def client(answer: Answer, sleeps: Sleeps, name: str = "binance") -> RestClient:
    return RestClient(
        exchange(name),
        "http://venue.test/",
        DataClock(10**18),
        transport=httpx.MockTransport(answer),
        sleep=sleeps,
    )


def _pauses(sleeps: Sleeps) -> list[float]:
    return [seconds for seconds in sleeps if seconds >= 0.5]


@pytest.mark.parametrize("status", [418, 429, 500, 503])
async def test_get_busy_venue_is_asked_again_after_its_pause(status: int) -> None:
    answers = [httpx.Response(status, headers={"Retry-After": "7"}), httpx.Response(200, text="x")]
    sleeps = Sleeps()
    async with client(lambda _: answers.pop(0), sleeps) as rest:
        assert await rest.get(RestRequest("/a", (("b", "c"),))) == b"x"
    assert _pauses(sleeps)[0] == 7.0


async def test_get_busy_venue_is_left_alone_by_every_other_request_too() -> None:
    answers = [httpx.Response(429, headers={"Retry-After": "7"}), httpx.Response(200, text="x")]
    sleeps = Sleeps()
    async with client(lambda _: answers.pop(0), sleeps) as rest:
        await rest.get(RestRequest("/a"))
    # No time passes in a test's sleep, so what is held back is still to be waited for.
    assert [round(pause) for pause in _pauses(sleeps)] == [7, 7]


async def test_get_failing_venue_is_given_up_with_growing_pauses() -> None:
    sleeps, seen = Sleeps(), []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(502, text="bad gateway")

    async with client(answer, sleeps) as rest:
        with pytest.raises(VenueError, match=r"http://venue.test/a answered 502: bad gateway"):
            await rest.get(RestRequest("/a"))
    assert len(seen) == ATTEMPTS
    assert _pauses(sleeps) == [0.5, 1.0, 2.0, 4.0]


async def test_get_refusal_is_not_repeated() -> None:
    sleeps = Sleeps()
    async with client(lambda _: httpx.Response(400, text="Invalid symbol."), sleeps) as rest:
        with pytest.raises(VenueError, match=r"binance: .* answered 400: Invalid symbol"):
            await rest.get(RestRequest("/a"))
    assert _pauses(sleeps) == []


async def test_get_ban_longer_than_we_wait_is_reported() -> None:
    sleeps = Sleeps()
    banned = httpx.Response(418, headers={"Retry-After": "7200"}, text="banned")
    async with client(lambda _: banned, sleeps) as rest:
        with pytest.raises(VenueError, match="asks for a pause of 7200 s"):
            await rest.get(RestRequest("/a"))
    assert _pauses(sleeps) == []


async def test_get_unreachable_venue_is_named() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with client(answer, Sleeps()) as rest:
        with pytest.raises(VenueError, match=r"http://venue.test/a does not answer: refused"):
            await rest.get(RestRequest("/a"))


async def test_requests_keep_the_venues_pace() -> None:
    sleeps = Sleeps()
    async with client(lambda _: httpx.Response(200), sleeps, "kraken") as rest:
        for _ in range(3):
            await rest.get(RestRequest("/a"))
    assert len(sleeps) == 2
    assert all(0.9 < pause <= 1.0 for pause in sleeps[:1])


async def test_candles_of_many_requests_are_ascending_and_inside_the_range() -> None:
    minute = Timeframe.M1.ns

    def answer(request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        first, last = int(asked["startTime"]), int(asked["endTime"])
        rows = [
            [opened, "1", "1", "1", "1", "2", opened + 59_999, "2", 1, "1", "1", "0"]
            for opened in range(first, last + 120_000, 60_000)
        ]
        return httpx.Response(200, text=json.dumps(rows))

    async with client(answer, Sleeps()) as rest:
        found = await rest.candles("BTC-USDT", Timeframe.M1, 0, 1001 * minute)
    assert [candle.open_time for candle in found] == [n * minute for n in range(1001)]
    assert {candle.version for candle in found} == {10**18}


async def test_metadata_is_fetched_and_tracked() -> None:
    body = '[{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","status":"online"}]'

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url == "http://venue.test/products"
        return httpx.Response(200, text=body)

    async with client(answer, Sleeps(), "coinbase") as rest:
        (listed,) = await rest.metadata()
    assert (listed.instrument, listed.status) == ("BTC-USD", "trading")


async def test_get_answer_that_was_damaged_on_the_way_is_asked_for_again() -> None:
    damaged = httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Garbage())
    answers = [damaged, httpx.Response(200, text="x")]
    async with client(lambda _: answers.pop(0), Sleeps()) as rest:
        assert await rest.get(RestRequest("/a")) == b"x"
