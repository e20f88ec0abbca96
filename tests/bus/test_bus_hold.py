"""Pauses that venues ask for, shared over a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from engine.bus.client import Bus
from engine.bus.embedded import EmbeddedRedis
from engine.bus.hold import SharedHold
from engine.clock import DataClock, parse_iso_utc
from engine.errors import VenueError
from engine.exchanges.base import RestRequest
from engine.exchanges.registry import exchange
from engine.exchanges.rest import RestClient
from engine.metrics import REGISTRY

URL = "https://api.example.test"
BANNED = httpx.Response(418, headers={"Retry-After": "7200"})


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    server = EmbeddedRedis(tmp_path)
    try:
        yield server.start()
    finally:
        server.stop()


async def test_hold_is_known_to_all_behind_the_address_and_to_no_other(redis_url: str) -> None:
    one, two = Bus(redis_url), Bus(redis_url)
    first, second = SharedHold(one, URL, "192.0.2.1"), SharedHold(two, f"{URL}/v3", "192.0.2.1")
    others = [SharedHold(two, URL, "192.0.2.2"), SharedHold(two, "https://b.test", "192.0.2.1")]
    assert await second.left_s() == 0.0
    await first.begin(7200.0)
    assert await second.left_s() == pytest.approx(7200.0, abs=1.0)
    assert [await other.left_s() for other in others] == [0.0, 0.0]
    for bus in (one, two):
        await bus.close()


async def test_hold_that_is_begun_again_is_never_shorter_and_ends(redis_url: str) -> None:
    bus = Bus(redis_url)
    hold, short = SharedHold(bus, URL, "a"), SharedHold(bus, URL, "b")
    await hold.begin(60.0)
    await hold.begin(5.0)
    assert await hold.left_s() == pytest.approx(60.0, abs=1.0)
    await hold.begin(90.0)
    assert await hold.left_s() == pytest.approx(90.0, abs=1.0)
    await short.begin(0.05)
    await asyncio.sleep(0.1)
    assert await short.left_s() == 0.0
    await bus.close()


async def test_hold_without_a_bus_is_counted_and_asks_nobody_to_wait() -> None:
    bus = Bus("redis://127.0.0.1:1/0")
    hold = SharedHold(bus, URL, "a")
    labels = {"stage": "budget", "kind": "bus"}
    before = REGISTRY.get_sample_value("engine_errors_total", labels) or 0.0
    await hold.begin(60.0)
    assert await hold.left_s() == 0.0
    assert REGISTRY.get_sample_value("engine_errors_total", labels) == before + 2
    await bus.close()


@pytest.mark.parametrize("bus_is_there", [True, False])
async def test_ban_is_kept_by_both_clients_where_the_bus_is_there(
    redis_url: str, *, bus_is_there: bool
) -> None:
    url = redis_url if bus_is_there else "redis://127.0.0.1:1/0"
    buses, asked = [Bus(url), Bus(url)], [0, 0]
    clock = DataClock(parse_iso_utc("2026-01-05T12:00:00Z"))

    def client(number: int) -> RestClient:
        def answer(request: httpx.Request) -> httpx.Response:
            asked[number] += 1
            return BANNED

        return RestClient(
            exchange("binance"),
            URL,
            clock,
            hold=SharedHold(buses[number], URL, "a"),
            transport=httpx.MockTransport(answer),
        )

    async with client(0) as first, client(1) as second:
        for rest in (first, first, second):
            with pytest.raises(VenueError, match="418"):
                await rest.get(RestRequest("/a"))
    assert asked == [1, 0 if bus_is_there else 1]
    for bus in buses:
        await bus.close()
