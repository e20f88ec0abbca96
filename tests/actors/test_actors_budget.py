"""What streams may ask of a venue together, over a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.actors.budget import SharedBudget
from engine.bus.client import Bus
from engine.bus.embedded import EmbeddedRedis

URL = "wss://stream.example.test:9443/ws"


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    server = EmbeddedRedis(tmp_path)
    try:
        yield server.start()
    finally:
        server.stop()


class Waits:
    """Counts what a budget waits, and ends the wait at once."""

    def __init__(self) -> None:
        self.total = 0.0
        self.most = 10**9

    async def sleep(self, seconds: float) -> None:
        self.total += seconds
        if self.total > self.most:
            raise asyncio.CancelledError
        await asyncio.sleep(0)


async def test_budget_is_shared_by_host_and_address(redis_url: str) -> None:
    one, two = Bus(redis_url), Bus(redis_url)
    first = SharedBudget(one, "connects", URL, "192.0.2.1", 3, 3600.0)
    second = SharedBudget(two, "connects", URL, "192.0.2.1", 3, 3600.0)
    await first.spend()
    await second.spend()
    await first.spend()
    name = "connects:stream.example.test:9443:192.0.2.1"
    assert await two.spend(name, 3, 3600.0) == pytest.approx(1200.0, abs=1.0)
    other = SharedBudget(one, "connects", URL, "192.0.2.2", 3, 3600.0)
    await other.spend()
    for bus in (one, two):
        await bus.close()


async def test_budget_that_is_spent_is_waited_for(redis_url: str) -> None:
    bus, waits = Bus(redis_url), Waits()
    budget = SharedBudget(bus, "requests", URL, "a", 1, 0.05, sleep=asyncio.sleep)
    started = asyncio.get_running_loop().time()
    for _ in range(3):
        await budget.spend()
    assert asyncio.get_running_loop().time() - started > 0.09
    costly = SharedBudget(bus, "requests", URL, "b", 10, 10.0, sleep=waits.sleep)
    waits.most = 1.0
    await costly.spend(10.0)
    with pytest.raises(asyncio.CancelledError):
        await costly.spend(1.0)
    await bus.close()


async def test_budget_without_a_bus_keeps_the_same_rate_alone() -> None:
    bus, waits = Bus("redis://127.0.0.1:1/0"), Waits()
    budget = SharedBudget(bus, "requests", URL, "a", 10, 1.0, sleep=waits.sleep)
    for _ in range(4):
        await budget.spend()
    assert waits.total == pytest.approx(0.1 + 0.2 + 0.3, abs=0.2)
    await bus.close()
