"""The bus: latest snapshots and fan-out over Redis.

Publishing is fast or fails: a short time-out, one try, `BusError`; the caller decides whether a
missed publication matters. Subscribing goes on for ever: after Redis was away a subscription
comes back by itself and starts again from the latest snapshot, so a reader is late, never
stuck. Pub/sub alone would lose what was said meanwhile; the snapshot is what makes it whole.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Any, TypeVar

import msgspec
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from engine.domain.market import Candle
from engine.domain.signal import Alert, Ranking
from engine.errors import BusError

_log = logging.getLogger("engine.bus")

Message = TypeVar("Message")
Answer = TypeVar("Answer")

TIMEOUT_S = 1.0
"""Longest wait for Redis in one publication or look-up."""
BACKOFF_BASE_S = 0.1
BACKOFF_CAP_S = 5.0
PING_S = 5.0
"""A silent subscription asks this often whether Redis still lives."""
ALERTS_KEPT = 200
"""Alerts that a new subscriber is given."""
SEEN_KEPT = 4096

# A message is numbered, stored and told in one step. A subscriber reads the count with
# the snapshot and skips messages up to that count: older ones that were on their way when it
# subscribed must not come after the newer snapshot.
_TELL_HASH = """
local number = redis.call('INCR', KEYS[2])
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PUBLISH', KEYS[1], string.format('%016d', number) .. ARGV[1])
"""
_TELL_LIST = """
local number = redis.call('INCR', KEYS[2])
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], 0, ARGV[2])
redis.call('PUBLISH', KEYS[1], string.format('%016d', number) .. ARGV[1])
"""
# The generic cell rate algorithm: one number a key, the time at which the budget is whole again.
# Redis' own clock counts, so that callers on several machines agree.
_SPEND = """
local now = redis.call('TIME')
local now_us = tonumber(now[1]) * 1000000 + tonumber(now[2])
local spacing_us, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local whole_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now_us)
local wait_us = whole_at + spacing_us - most - now_us
if wait_us > 0 then return wait_us end
local again_at = whole_at + spacing_us
local ttl_ms = math.ceil((again_at - now_us) / 1000) + 1
redis.call('SET', KEYS[1], string.format('%.0f', again_at), 'PX', ttl_ms)
return 0
"""
# Longer, never shorter: an answer that was on its way may name an earlier end than one before it.
_HOLD = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
end
"""
_NUMBER_BYTES = 16

_encode = msgspec.msgpack.Encoder().encode
_ranking_decoder = msgspec.msgpack.Decoder(Ranking)
_candles_decoder = msgspec.msgpack.Decoder(tuple[Candle, ...])
_alert_decoder = msgspec.msgpack.Decoder(Alert)
_status_decoder = msgspec.msgpack.Decoder(dict[str, Any])


class Bus:
    """A connection to the bus. Belongs to the event loop that first uses it.

    Parameters
    ----------
    url
        ``redis://[:password@]host:port/db``.
    prefix
        First part of every key and channel: two engines may share one Redis.

    Notes
    -----
    Keys: ``PREFIX:rankings`` (hash: timeframe -> latest ranking), ``PREFIX:candles`` (hash:
    market and timeframe -> latest candle), ``PREFIX:alerts`` (list, newest first),
    ``PREFIX:status``, ``PREFIX:snapshot:NAME``, ``PREFIX:budget:NAME``, ``PREFIX:hold:NAME``.
    Channels bear the names of the first three.
    ``NAME:count`` numbers a channel's messages. Values are MessagePack of the domain's structs;
    on a channel, 16 digits of its number come first.
    """

    def __init__(self, url: str, prefix: str = "engine") -> None:
        try:
            # Any: redis-py types one answer for text and bytes, awaited or not.
            self._redis: Any = aioredis.Redis.from_url(
                url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                health_check_interval=int(PING_S),
                # One more try: a pooled connection may have died with a Redis that is back.
                retry=Retry(NoBackoff(), 1),
            )
        except ValueError as error:
            raise BusError(f"bus.url is not a Redis URL: {error}") from None
        self._prefix = prefix
        self._newest_candle: dict[str, int] = {}

    async def close(self) -> None:
        """Close its connections; iterators of it end with an error at their next turn."""
        await self._redis.aclose()

    async def ping(self) -> None:
        """Return if Redis answers.

        Raises
        ------
        BusError
            Where it does not.
        """
        await self._ask("ping", self._redis.ping())

    # Snapshots ---------------------------------------------------------------------------

    async def put_snapshot(self, name: str, value: bytes, ttl_s: float | None = None) -> None:
        """Keep `value` under `name`, for `ttl_s` seconds or until replaced.

        Raises
        ------
        BusError
            Where Redis does not answer in `TIMEOUT_S`. So do all methods below.
        """
        expire_ms = None if ttl_s is None else max(1, round(ttl_s * 1000))
        await self._ask(
            f"put {name}", self._redis.set(self._key(f"snapshot:{name}"), value, px=expire_ms)
        )

    async def snapshot(self, name: str) -> bytes | None:
        """Return what was last put under `name`, or None where nothing is."""
        value: bytes | None = await self._ask(
            f"get {name}", self._redis.get(self._key(f"snapshot:{name}"))
        )
        return value

    # Budgets -----------------------------------------------------------------------------

    async def spend(self, name: str, count: int, seconds: float, cost: float = 1.0) -> float:
        """Take `cost` from a budget of `count` in any `seconds`, shared by all that name it.

        Returns
        -------
        float
            0 where it was taken; else the seconds after which to ask again: nothing was taken.
        """
        spacing_us = seconds * 1e6 / count * cost
        most_us = max(seconds * 1e6, spacing_us)
        wait_us: int = await self._ask(
            f"spend {name}",
            self._redis.eval(_SPEND, 1, self._key(f"budget:{name}"), spacing_us, most_us),
        )
        return wait_us / 1e6

    async def hold(self, name: str, seconds: float) -> None:
        """Keep note under `name` that something is to be left alone for so long, at least."""
        ttl_ms = max(1, round(seconds * 1000))
        await self._ask(
            f"hold {name}", self._redis.eval(_HOLD, 1, self._key(f"hold:{name}"), ttl_ms)
        )

    async def held(self, name: str) -> float:
        """Return for how many seconds what `hold` named is to be left alone; 0 for not at all."""
        left_ms: int = await self._ask(
            f"look at {name}", self._redis.pttl(self._key(f"hold:{name}"))
        )
        return max(0, left_ms) / 1000

    # Publishing --------------------------------------------------------------------------

    async def publish_ranking(self, ranking: Ranking) -> None:
        """Make it the latest of its timeframe and tell every subscriber, as one step."""
        value = _encode(ranking)
        await self._tell("rankings", value, {ranking.timeframe: value})

    async def publish_candles(self, candles: Sequence[Candle]) -> None:
        """Tell subscribers of candles, closed or forming; remember the newest per market.

        A late trade's rebuilt candle is told but does not become the latest again, as far as
        this publisher remembers (each market has one publisher).
        """
        if not candles:
            return
        value = _encode(candles)
        latest: dict[str, bytes] = {}
        for candle in candles:
            field = f"{candle.exchange}:{candle.instrument}:{candle.timeframe}"
            if candle.open_time >= self._newest_candle.get(field, candle.open_time):
                self._newest_candle[field] = candle.open_time
                latest[field] = _encode((candle,))
        await self._tell("candles", value, latest)

    async def publish_alert(self, alert: Alert) -> None:
        """Tell subscribers, and keep it among the last `ALERTS_KEPT`."""
        keys = self._key("alerts"), self._key("alerts:count")
        await self._ask(
            "publish an alert",
            self._redis.eval(_TELL_LIST, 2, *keys, _encode(alert), ALERTS_KEPT - 1),
        )

    async def publish_status(self, status: dict[str, Any]) -> None:
        """Replace the engine's status: plain values that MessagePack and JSON can hold."""
        await self._ask("publish status", self._redis.set(self._key("status"), _encode(status)))

    # Latest ------------------------------------------------------------------------------

    async def latest_ranking(self, timeframe: str) -> Ranking | None:
        """Return the latest ranking of `timeframe`, or None before the first."""
        value: bytes | None = await self._ask(
            "get a ranking", self._redis.hget(self._key("rankings"), timeframe)
        )
        return None if value is None else _decoded(_ranking_decoder.decode, value)

    async def latest_rankings(self) -> tuple[Ranking, ...]:
        """Return the latest ranking of every timeframe that has one."""
        _, values = await self._snapshot("rankings")
        return tuple(_decoded(_ranking_decoder.decode, value) for value in values)

    async def latest_candles(self) -> tuple[Candle, ...]:
        """Return the newest candle of every market and timeframe told so far."""
        _, values = await self._snapshot("candles")
        return tuple(c for value in values for c in _decoded(_candles_decoder.decode, value))

    async def latest_alerts(self) -> tuple[Alert, ...]:
        """Return the last `ALERTS_KEPT` alerts, oldest first."""
        _, values = await self._snapshot("alerts")
        return tuple(_decoded(_alert_decoder.decode, value) for value in values)

    async def latest_status(self) -> dict[str, Any] | None:
        """Return the status last published, or None where there is none."""
        value: bytes | None = await self._ask("get status", self._redis.get(self._key("status")))
        return None if value is None else _decoded(_status_decoder.decode, value)

    # Subscribing -------------------------------------------------------------------------

    def rankings(self) -> AsyncIterator[Ranking]:
        """Iterate for ever over rankings: the latest of each timeframe, then each new one.

        Outages of Redis are sat out; what was published meanwhile is skipped but for the
        latest, which comes at once when it is back. None comes twice in a row.
        """
        return self._subscribe(
            "rankings",
            lambda value: (_ranking_decoder.decode(value),),
            lambda ranking: (ranking.timeframe, ranking.as_of, ranking.sequence),
        )

    def candles(self) -> AsyncIterator[Candle]:
        """Iterate for ever over candles: the newest of each market, then all that are told."""
        return self._subscribe(
            "candles",
            _candles_decoder.decode,
            lambda c: (c.exchange, c.instrument, c.timeframe, c.open_time, c.version, c.is_closed),
        )

    def alerts(self) -> AsyncIterator[Alert]:
        """Iterate for ever over alerts: those kept, oldest first, then each new one."""
        return self._subscribe(
            "alerts",
            lambda value: (_alert_decoder.decode(value),),
            lambda alert: alert.alert_id,
        )

    async def _subscribe(
        self,
        name: str,
        decode: Callable[[bytes], Iterable[Message]],
        identity: Callable[[Message], Hashable],
    ) -> AsyncIterator[Message]:
        seen: dict[Hashable, None] = {}
        failures = 0
        while True:
            told = 0
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(self._key(name))
                    while True:
                        received = await channel.get_message(timeout=PING_S)
                        batch: Iterable[Message] = ()
                        if received is not None and received["type"] == "subscribe":
                            # Also how redis-py says that it reconnected by itself.
                            told, values = await self._snapshot(name)
                            batch = [m for value in values for m in _decoded(decode, value)]
                        elif received is not None and received["type"] == "message":
                            number, value = _numbered(received["data"])
                            batch = _decoded(decode, value) if number > told else ()
                        for message in batch:
                            if _is_new(identity(message), seen):
                                yield message
                        failures = 0
            except (RedisError, OSError, BusError) as error:
                if not failures:
                    _log.warning("the bus' %s pause until Redis is back: %s", name, error)
                bound = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2**failures)
                failures = min(failures + 1, 16)
                await asyncio.sleep(random.uniform(bound / 2, bound))

    # Redis -------------------------------------------------------------------------------

    def _key(self, name: str) -> str:
        return f"{self._prefix}:{name}"

    async def _tell(self, name: str, value: bytes, latest: Mapping[str, bytes]) -> None:
        """Publish `value` and replace `latest` in the hash of that name, as one step."""
        fields = [part for field in latest.items() for part in field]
        keys = self._key(name), self._key(f"{name}:count")
        await self._ask(f"publish {name}", self._redis.eval(_TELL_HASH, 2, *keys, value, *fields))

    async def _snapshot(self, name: str) -> tuple[int, list[bytes]]:
        """Return the number of the channel's last message, and what is kept as of that one."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.get(self._key(f"{name}:count"))
            if name == "alerts":
                pipe.lrange(self._key(name), 0, -1)
            else:
                pipe.hvals(self._key(name))
            count, values = await self._ask(f"get {name}", pipe.execute())
        return int(count or 0), values[::-1] if name == "alerts" else values

    async def _ask(self, what: str, answer: Awaitable[Answer]) -> Answer:
        try:
            return await asyncio.wait_for(answer, 2 * TIMEOUT_S)
        except (RedisError, OSError, TimeoutError) as error:
            raise BusError(
                f"the bus does not answer ({what}): {error or type(error).__name__}; "
                "check that Redis runs and that bus.url is right"
            ) from error


def _numbered(message: bytes) -> tuple[int, bytes]:
    """Split a message into its number and its value."""
    return int(message[:_NUMBER_BYTES]), message[_NUMBER_BYTES:]


def _decoded(decode: Callable[[bytes], Answer], value: bytes) -> Answer:
    try:
        return decode(value)
    except msgspec.DecodeError as error:
        raise BusError(
            f"the bus holds a value of another version ({error}); restart every part of the "
            "engine, or choose another bus.prefix"
        ) from error


def _is_new(identity: Hashable, seen: dict[Hashable, None]) -> bool:
    """Tell whether `identity` was not met among the last `SEEN_KEPT`, and note it."""
    if identity in seen:
        return False
    seen[identity] = None
    if len(seen) > SEEN_KEPT:
        del seen[next(iter(seen))]
    return True
