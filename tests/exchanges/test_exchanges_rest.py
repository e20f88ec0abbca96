from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from engine.clock import DataClock, parse_iso_utc
from engine.domain.timeframe import Timeframe
from engine.errors import VenueError
from engine.exchanges.base import RestRequest
from engine.exchanges.registry import exchange
from engine.exchanges.rest import ATTEMPTS, LONGEST_HOLD_S, Permit, RestClient

Answer = Callable[[httpx.Request], httpx.Response]
ANSWER_S = 0.25
NOON = parse_iso_utc("2026-01-05T12:00:00Z")


class Garbage(httpx.AsyncByteStream):
    """What claims to be compressed, and is not."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"no gzip"


class Sleeps(list[float]):
    """Sleeps that end at once, and what time it would be then."""

    def now(self) -> float:
        return sum(self)

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


class Timeline:
    """Time that passes when nothing else happens: requests side by side, without waiting."""

    def __init__(self) -> None:
        self.time = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = itertools.count()

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + seconds, next(self._number), woken))
        await woken

    async def all(self, *work: Awaitable[object]) -> list[object]:
        """Do all of it, and return what came of each: its value, or what it raised."""
        task = asyncio.gather(*work, return_exceptions=True)
        while not task.done():
            for _ in range(100):
                await asyncio.sleep(0)
            if self._sleepers:
                due, _, woken = heapq.heappop(self._sleepers)
                self.time = max(self.time, due)
                woken.set_result(None)
        return list(await task)


class Held:
    """What others behind the same address were asked for."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.until = 0.0

    async def begin(self, seconds: float) -> None:
        self.until = max(self.until, self._timeline.now() + seconds)

    async def left_s(self) -> float:
        return max(0.0, self.until - self._timeline.now())


def client(answer: Answer, sleeps: Sleeps, name: str = "binance") -> RestClient:
    return RestClient(
        exchange(name),
        "http://venue.test/",
        DataClock(10**18),
        transport=httpx.MockTransport(answer),
        sleep=sleeps,
        monotonic=sleeps.now,
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


class Spaced:
    """A client of Kraken with ten requests a second, and when they reached the venue."""

    def __init__(
        self,
        timeline: Timeline,
        answers: Callable[[int], httpx.Response],
        hold: Held | None = None,
        permit: Permit | None = None,
    ) -> None:
        self.sent: list[tuple[float, str]] = []
        self._timeline = timeline
        self._answers = answers
        self.rest = RestClient(
            exchange("kraken"),
            "http://venue.test/",
            DataClock(NOON),
            requests_per_second=10.0,
            permit=permit,
            hold=hold,
            transport=httpx.MockTransport(self._answer),
            sleep=timeline.sleep,
            monotonic=timeline.now,
        )

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append((round(self._timeline.now(), 6), request.url.path))
        answer = self._answers(len(self.sent) - 1)
        await self._timeline.sleep(ANSWER_S)
        return answer

    def get(self, *names: str) -> list[Awaitable[object]]:
        return [self.rest.get(RestRequest(f"/{name}")) for name in names]


def busy_at_first(status: int, pause: str) -> Callable[[int], httpx.Response]:
    refused = httpx.Response(status, headers={"Retry-After": pause}, text="slow down")
    return lambda number: httpx.Response(200, text="x") if number else refused


async def test_get_busy_venue_is_left_alone_by_requests_that_wait_for_their_turn() -> None:
    timeline = Timeline()
    spaced = Spaced(timeline, busy_at_first(429, "4"))
    assert await timeline.all(*spaced.get("a", "b", "c", "d", "e")) == [b"x"] * 5
    # Two were under way and one slept already when the answer to the first came.
    assert spaced.sent == [
        (0.0, "/a"), (0.1, "/b"), (0.2, "/c"), (4.25, "/d"), (4.35, "/e"), (4.45, "/a"),
    ]  # fmt: skip


async def test_get_busy_venue_is_left_alone_by_requests_that_wait_for_a_permit() -> None:
    timeline = Timeline()
    permits = 0

    async def permit(weight: float) -> None:
        nonlocal permits
        permits += 1
        await timeline.sleep(1.0 if 1 < permits <= 3 else 0.0)

    spaced = Spaced(timeline, busy_at_first(429, "4"), permit=permit)
    assert await timeline.all(*spaced.get("a", "b", "c")) == [b"x"] * 3
    # One behind the other, as the pace asks, and not all at once when the pause is over.
    assert [moment for moment, _ in spaced.sent] == [0.0, 4.25, 4.35, 4.45]


async def test_get_ban_holds_every_request_for_all_its_time_and_says_until_when() -> None:
    timeline = Timeline()
    spaced = Spaced(timeline, busy_at_first(418, "7200"))
    banned, *under_way, waiting = await timeline.all(*spaced.get("a", "b", "c", "d"))
    assert "asks for a pause of 7200 s" in str(banned)
    assert under_way == [b"x", b"x"]
    assert "kraken wants no request of this address before 2026-01-05T14:00:00" in str(waiting)
    timeline.time = 7_140.0
    (early,) = await timeline.all(*spaced.get("e"))
    assert isinstance(early, VenueError)
    timeline.time = 7_141.0
    assert await timeline.all(*spaced.get("f")) == [b"x"]
    assert spaced.sent == [(0.0, "/a"), (0.1, "/b"), (0.2, "/c"), (7_200.25, "/f")]


@pytest.mark.parametrize(
    "moment",
    ["Mon, 05 Jan 2026 12:00:30 GMT", "Mon, 05 Jan 2026 12:00:30 -0000"],
)
async def test_get_pause_that_is_a_date_is_kept(moment: str) -> None:
    timeline = Timeline()
    spaced = Spaced(timeline, busy_at_first(429, moment))
    assert await timeline.all(*spaced.get("a")) == [b"x"]
    assert [sent for sent, _ in spaced.sent] == [0.0, 30.25]


@pytest.mark.parametrize("pause", ["", "soon", "-4", "²", "Mon, 05 Jan 2026 11:00:00 GMT"])
async def test_get_pause_that_says_nothing_is_our_own(pause: str) -> None:
    timeline = Timeline()
    refused = httpx.Response(429, headers={"Retry-After": pause.encode()})
    spaced = Spaced(timeline, lambda n: refused if n < 2 else httpx.Response(200, text="x"))
    assert await timeline.all(*spaced.get("a")) == [b"x"]
    assert [sent for sent, _ in spaced.sent] == [0.0, 0.75, 2.0]


async def test_get_pause_longer_than_any_ban_does_not_silence_us_for_ever() -> None:
    timeline = Timeline()
    spaced = Spaced(timeline, busy_at_first(429, "9" * 400))
    await timeline.all(*spaced.get("a"))
    timeline.time = LONGEST_HOLD_S + ANSWER_S
    assert await timeline.all(*spaced.get("b")) == [b"x"]


async def test_get_pause_of_one_client_is_kept_by_others_of_the_address() -> None:
    timeline = Timeline()
    held = Held(timeline)
    first = Spaced(timeline, busy_at_first(429, "4"), held)
    second = Spaced(timeline, lambda _: httpx.Response(200, text="y"), held)

    async def later(seconds: float, work: Awaitable[object]) -> object:
        await timeline.sleep(seconds)
        return await work

    asked = [*first.get("a"), *(later(1, one) for one in second.get("b", "c"))]
    assert await timeline.all(*asked) == [b"x", b"y", b"y"]
    assert first.sent == [(0.0, "/a"), (4.25, "/a")]
    assert [sent for sent, _ in second.sent] == [4.25, 4.35]


async def test_get_ban_of_another_client_is_reported_without_asking() -> None:
    timeline = Timeline()
    held = Held(timeline)
    held.until = 600.0
    spaced = Spaced(timeline, lambda _: httpx.Response(200), held)
    (found,) = await timeline.all(*spaced.get("a"))
    assert "before 2026-01-05T12:10:00.000000Z" in str(found)
    assert spaced.sent == []


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
