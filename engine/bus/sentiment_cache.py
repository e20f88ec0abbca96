"""Readings of texts on the bus, kept for a while by model, version and text.

A cache must never be what fails: while Redis is away it answers that it holds nothing, asks
again only every `PAUSE_S`, and scoring goes on. A replaced model's answers cannot come back: the
version is part of every key.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from engine.errors import BusError

_log = logging.getLogger("engine.bus")

Answer = TypeVar("Answer")

TIMEOUT_S = 0.25
"""Longest wait for Redis: scoring a text anew is about as fast."""
PAUSE_S = 5.0
"""After a failure Redis is not asked for so long."""
SWEEP_KEYS = 1_000
"""Keys looked at in one step of `SentimentCache.clear`."""


def text_key(*parts: str) -> str:
    """Return a short key for what a reading depends on beside the model.

    Parameters
    ----------
    *parts
        The text, the instrument, and so on; any characters.

    Examples
    --------
    >>> text_key("up", "") == text_key("up", ""), text_key("a", "b") == text_key("ab", "")
    (True, False)
    """
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()


class SentimentCache:
    """Belongs to the event loop that first uses it.

    Parameters
    ----------
    url
        Redis URL of the bus.
    prefix
        First part of every key.
    ttl_s
        How long a reading is kept, s; 0 keeps none.

    Notes
    -----
    Keys: ``PREFIX:sentiment:VERSION:KEY``.
    """

    def __init__(self, url: str, prefix: str, ttl_s: float) -> None:
        try:
            # Any: redis-py types one answer for text and bytes, awaited or not.
            self._redis: Any = aioredis.Redis.from_url(
                url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                # One more try: a pooled connection may have died with a Redis that is back.
                retry=Retry(NoBackoff(), 1),
            )
        except ValueError as error:
            raise BusError(f"bus.url is not a Redis URL: {error}") from None
        self._prefix = f"{prefix}:sentiment:"
        self._ttl_ms = round(ttl_s * 1000)
        self._away_until = 0.0

    async def close(self) -> None:
        """Close its connections."""
        await self._redis.aclose()

    async def get(self, version: str, keys: Sequence[str]) -> list[bytes | None]:
        """Return what is kept under each key; None where nothing is, or Redis is away."""
        nothing: list[bytes | None] = [None] * len(keys)
        if not keys or not self._is_used():
            return nothing
        try:
            found: list[bytes | None] = await self._ask(
                self._redis.mget([self._key(version, key) for key in keys])
            )
        except BusError as error:
            self._pause(error)
            return nothing
        return found

    async def put(self, version: str, values: Mapping[str, bytes]) -> None:
        """Keep values for the time to live; nothing happens while Redis is away."""
        if not values or not self._is_used():
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for key, value in values.items():
                pipe.set(self._key(version, key), value, px=self._ttl_ms)
            try:
                await self._ask(pipe.execute())
            except BusError as error:
                self._pause(error)

    async def clear(self) -> int:
        """Forget every reading of every version.

        Returns
        -------
        int
            How many were kept.

        Raises
        ------
        BusError
            Where Redis does not answer.
        """
        cursor, dropped = 0, 0
        while True:
            cursor, keys = await self._ask(
                self._redis.scan(cursor, match=f"{_escaped(self._prefix)}*", count=SWEEP_KEYS)
            )
            if keys:
                dropped += await self._ask(self._redis.unlink(*keys))
            if not int(cursor):
                return dropped

    def _is_used(self) -> bool:
        return self._ttl_ms > 0 and time.monotonic() >= self._away_until

    def _pause(self, error: BusError) -> None:
        if not self._away_until:
            _log.warning("texts are scored without the cache until Redis is back: %s", error)
        self._away_until = time.monotonic() + PAUSE_S

    def _key(self, version: str, key: str) -> str:
        return f"{self._prefix}{version}:{key}"

    async def _ask(self, answer: Awaitable[Answer]) -> Answer:
        try:
            found = await asyncio.wait_for(answer, 2 * TIMEOUT_S)
        except (RedisError, OSError, TimeoutError) as error:
            raise BusError(f"the bus does not answer: {error or type(error).__name__}") from error
        self._away_until = 0.0
        return found


def _escaped(prefix: str) -> str:
    """Return a prefix in which no character means a pattern."""
    return "".join(f"\\{sign}" if sign in "*?[]^-\\" else sign for sign in prefix)
