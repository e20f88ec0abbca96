"""The bus' client against a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from engine.bus import client as client_module
from engine.bus.client import Bus
from engine.bus.embedded import EmbeddedRedis, redis_server_path
from engine.domain.market import Candle
from engine.domain.signal import Alert, Ranking
from engine.errors import BusError

HOUR = 3_600_000_000_000


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    yield server.start()
    server.stop()


@pytest.fixture
async def bus(redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    made = Bus(redis_url, prefix=request.node.name)
    yield made
    await made.close()


def _ranking(sequence: int, timeframe: str = "1h") -> Ranking:
    return Ranking(sequence * HOUR, timeframe, ("BTC-USDT",), (), True, sequence)


def _candle(opened: int, close: float = 1.0, instrument: str = "BTC-USDT") -> Candle:
    return Candle(
        "binance", instrument, "1h", opened, opened + HOUR, 1.0, 2.0, 0.5, close, 3.0, None, None,
        None, None, None, "rest", True, 1,
    )  # fmt: skip


def _alert(number: int) -> Alert:
    return Alert(f"a{number}", "feed_gap", "warning", "binance:BTC-USDT", "a gap", number)


async def test_snapshot_put_returns_it_and_none_elsewhere(bus: Bus) -> None:
    await bus.put_snapshot("page", b"\x00\xff")
    assert await bus.snapshot("page") == b"\x00\xff"
    assert await bus.snapshot("other") is None


async def test_snapshot_ttl_is_set_and_lifted_by_the_next_put(bus: Bus) -> None:
    await bus.put_snapshot("page", b"x", ttl_s=60)
    assert 59_000 < await bus._redis.pttl(bus._key("snapshot:page")) <= 60_000
    await bus.put_snapshot("page", b"x")
    assert await bus._redis.pttl(bus._key("snapshot:page")) == -1


async def test_publish_ranking_replaces_latest_of_its_timeframe_only(bus: Bus) -> None:
    await bus.publish_ranking(_ranking(1))
    await bus.publish_ranking(_ranking(2))
    await bus.publish_ranking(_ranking(9, "1m"))
    assert await bus.latest_ranking("1h") == _ranking(2)
    assert await bus.latest_ranking("1m") == _ranking(9, "1m")
    assert await bus.latest_ranking("4h") is None


async def test_rankings_late_subscriber_starts_with_the_latest_then_follows(bus: Bus) -> None:
    await bus.publish_ranking(_ranking(1))
    await bus.publish_ranking(_ranking(2))
    stream = bus.rankings()
    assert await anext(stream) == _ranking(2)
    await bus.publish_ranking(_ranking(3))
    assert await anext(stream) == _ranking(3)


async def test_status_published_is_read_back_and_absent_before(bus: Bus) -> None:
    assert await bus.latest_status() is None
    await bus.publish_status({"actors": [{"name": "Ranker", "restarts": 0}]})
    assert await bus.latest_status() == {"actors": [{"name": "Ranker", "restarts": 0}]}


async def test_candles_rebuilt_older_one_is_told_but_not_latest(bus: Bus) -> None:
    await bus.publish_candles([_candle(0), _candle(HOUR), _candle(0, instrument="ETH-USDT")])
    stream = bus.candles()
    first = {await anext(stream), await anext(stream)}
    assert first == {_candle(HOUR), _candle(0, instrument="ETH-USDT")}
    await bus.publish_candles([_candle(0, close=1.5)])
    assert await anext(stream) == _candle(0, close=1.5)
    assert set(await bus.latest_candles()) == first


async def test_candles_publish_of_none_does_nothing(bus: Bus) -> None:
    await bus.publish_candles([])
    assert await bus.latest_candles() == ()


async def test_alerts_subscriber_gets_kept_ones_oldest_first_then_new(bus: Bus) -> None:
    for number in (1, 2):
        await bus.publish_alert(_alert(number))
    stream = bus.alerts()
    assert [await anext(stream), await anext(stream)] == [_alert(1), _alert(2)]
    await bus.publish_alert(_alert(3))
    assert await anext(stream) == _alert(3)


async def test_alerts_kept_are_bounded(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ALERTS_KEPT", 3)
    for number in range(5):
        await bus.publish_alert(_alert(number))
    assert await bus.latest_alerts() == (_alert(2), _alert(3), _alert(4))


async def test_prefixes_keep_two_engines_on_one_redis_apart(bus: Bus, redis_url: str) -> None:
    other = Bus(redis_url, prefix="another")
    await bus.publish_ranking(_ranking(1))
    assert await other.latest_ranking("1h") is None
    await other.close()


async def test_latest_of_another_version_raises_naming_the_remedy(bus: Bus) -> None:
    await bus._redis.set(bus._key("status"), b"\xc1")
    with pytest.raises(BusError, match="another version"):
        await bus.latest_status()


async def test_publish_with_redis_away_raises_quickly(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    bus = Bus(server.start())
    await bus.ping()
    server.stop()
    began = time.monotonic()
    with pytest.raises(BusError, match=r"check that Redis runs"):
        await bus.publish_ranking(_ranking(1))
    assert time.monotonic() - began < 2 * client_module.TIMEOUT_S
    await bus.close()


async def test_publish_to_silent_server_raises_within_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "TIMEOUT_S", 0.05)
    closed = asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await closed.wait()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    bus = Bus(f"redis://127.0.0.1:{port}/0")
    with pytest.raises(BusError):
        await bus.publish_status({})
    await bus.close()
    closed.set()
    server.close()


async def test_rankings_survive_a_restart_of_redis_and_resume_with_latest(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    publisher, reader = Bus(server.start()), Bus(server.url)
    stream = reader.rankings()
    await publisher.publish_ranking(_ranking(1))
    assert await anext(stream) == _ranking(1)
    waiting = asyncio.ensure_future(anext(stream))
    server.stop()
    server._spawn(redis_server_path())  # on the same port, with the same password
    assert server._answers()
    await publisher.publish_ranking(_ranking(2))
    async with asyncio.timeout(20):
        assert await waiting == _ranking(2)
    await publisher.close()
    await reader.close()
    server.stop()


def test_bus_with_no_redis_url_raises() -> None:
    with pytest.raises(BusError, match=r"bus\.url is not a Redis URL"):
        Bus("http://localhost")


async def test_rankings_message_older_than_the_snapshot_is_not_told_after_it(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = bus._snapshot

    async def busy_moment(name: str) -> tuple[int, list[bytes]]:
        # Subscribed, and not yet looked: 1 and 2 are on their way, and the snapshot is 2.
        for sequence in (1, 2):
            await bus.publish_ranking(_ranking(sequence))
        found = await snapshot(name)
        await bus.publish_ranking(_ranking(3))
        return found

    monkeypatch.setattr(bus, "_snapshot", busy_moment)
    stream = bus.rankings()
    assert await anext(stream) == _ranking(2)
    assert await anext(stream) == _ranking(3)
