"""The cache of readings against a real Redis, and without one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bus import sentiment_cache
from engine.bus.embedded import EmbeddedRedis
from engine.bus.sentiment_cache import SentimentCache, text_key
from engine.errors import BusError


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    yield server.start()
    server.stop()


@pytest.fixture
async def cache(redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[SentimentCache]:
    made = SentimentCache(redis_url, request.node.name, 60.0)
    yield made
    await made.close()


async def test_cache_returns_what_was_put_in_the_order_asked(cache: SentimentCache) -> None:
    await cache.put("minilm-1", {"a": b"\x00\xff", "b": b"two"})
    assert await cache.get("minilm-1", ["b", "missing", "a"]) == [b"two", None, b"\x00\xff"]
    assert await cache.get("minilm-1", []) == []


async def test_cache_of_another_version_is_empty(cache: SentimentCache) -> None:
    await cache.put("minilm-1", {"a": b"old"})
    assert await cache.get("minilm-2", ["a"]) == [None]


async def test_cache_values_live_as_long_as_was_said(cache: SentimentCache) -> None:
    await cache.put("minilm-1", {"a": b"x"})
    left_ms = await cache._redis.pttl(cache._key("minilm-1", "a"))
    assert 59_000 < left_ms <= 60_000


async def test_cache_of_no_time_to_live_keeps_nothing(redis_url: str) -> None:
    cache = SentimentCache(redis_url, "none", 0.0)
    await cache.put("minilm-1", {"a": b"x"})
    assert await cache.get("minilm-1", ["a"]) == [None]
    assert await cache._redis.dbsize() == 0 or not await cache._redis.keys("none:*")
    await cache.close()


async def test_cache_clear_drops_all_versions_of_its_prefix_alone(
    cache: SentimentCache, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentiment_cache, "SWEEP_KEYS", 10)
    other = SentimentCache(redis_url, "another*[engine]", 60.0)
    await other.put("minilm-1", {"a": b"stays"})
    for version in ("minilm-1", "lexicon-1"):
        await cache.put(version, {str(number): b"x" for number in range(40)})
    assert await cache.clear() == 80
    assert await cache.clear() == 0
    assert await other.get("minilm-1", ["a"]) == [b"stays"]
    assert await other.clear() == 1
    await other.close()


async def test_cache_without_redis_holds_nothing_and_asks_again_after_a_pause(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = SentimentCache("redis://127.0.0.1:1/0", "engine", 60.0)
    assert await cache.get("minilm-1", ["a"]) == [None]
    asked = 0

    async def counted(keys: list[str]) -> list[bytes | None]:
        nonlocal asked
        asked += 1
        return [b"back"]

    monkeypatch.setattr(cache._redis, "mget", counted)
    await cache.put("minilm-1", {"a": b"x"})
    assert await cache.get("minilm-1", ["a"]) == [None]
    assert asked == 0, "it pauses"
    cache._away_until = 1e-9
    assert await cache.get("minilm-1", ["a"]) == [b"back"]
    assert await cache.get("minilm-1", ["a"]) == [b"back"]
    assert caplog.text.count("without the cache") == 1
    with pytest.raises(BusError, match="does not answer"):
        await cache.clear()
    await cache.close()


def test_cache_url_that_is_none_is_refused() -> None:
    with pytest.raises(BusError, match=r"bus\.url is not a Redis URL"):
        SentimentCache("127.0.0.1", "engine", 60.0)


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_text_key_is_equal_exactly_for_equal_parts(one: list[str], two: list[str]) -> None:
    assert (text_key(*one) == text_key(*two)) == (one == two)
    assert len(text_key(*one)) == 32
