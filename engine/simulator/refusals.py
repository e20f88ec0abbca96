"""Faults of a venue's REST: slow answers, too many requests, bans and server errors.

Every venue answers too many requests with 429, ``Retry-After`` and its own body, though some of
the real ones send no such header; Binance bans with 418 who does not heed it
(developers.binance.com, "LIMITS", as of 2026-11-21).
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from engine.clock import NS_PER_S, Clock
from engine.config import FaultsConfig
from engine.simulator.faults import FaultCounts, FaultKind, draws

BANNING = frozenset({"binance", "binance_perp"})
"""Venues that ban an address that does not heed Retry-After, with status 418."""

PATIENCE = 3
"""Requests within Retry-After that are forgiven: they were under way, perhaps."""

_ERRORS = (500, 502, 503, 504)

_BUSY_BODIES: dict[str, object] = {
    "binance": {"code": -1003, "msg": "Too many requests; please use the websocket instead."},
    "binance_perp": {"code": -1003, "msg": "Too many requests; please use the websocket instead."},
    "coinbase": {"message": "Public rate limit exceeded"},
    "kraken": {"error": ["EGeneral:Too many requests"]},
    "bybit": {"retCode": 10006, "retMsg": "Too many visits!", "result": {}, "retExtInfo": {}},
    "okx": {"code": "50011", "msg": "Too Many Requests", "data": []},
}


class Verdict(NamedTuple):
    """What becomes of one request."""

    status: int = 200
    """200 lets it through."""
    retry_after_s: int = 0
    """What the answer asks for; 0 nothing."""
    delay_s: float = 0.0
    """How long the answer takes on top."""


class RestFaults:
    """Decides what becomes of a venue's REST requests. All clients share one address.

    Parameters
    ----------
    venue
        Our name of it.
    config
        How often what goes wrong.
    seed
        The simulation's seed: the n-th request always fares alike.
    clock
        Measures bans and Retry-After.
    counts
        Where what happens is counted.
    """

    def __init__(
        self, venue: str, config: FaultsConfig, seed: int, clock: Clock, counts: FaultCounts
    ) -> None:
        self._venue = venue
        self._config = config
        self._clock = clock
        self._counts = counts
        kinds: tuple[FaultKind, ...] = ("rest_slow", "rest_busy", "rest_error")
        self._rngs = {kind: draws(seed, venue, 0, kind) for kind in kinds}
        self._busy_until = 0
        self._banned_until = 0
        self._heedless = 0

    def calm(self) -> None:
        """Let every request through from now on."""
        self._config = FaultsConfig()
        self._busy_until = self._banned_until = 0

    def judge(self, now_ns: int) -> Verdict:
        """Return what becomes of a request that comes now."""
        if now_ns < self._banned_until:
            return self._refused("rest_banned", 418, self._banned_until - now_ns)
        if now_ns < self._busy_until:
            return self._heeded_not(now_ns)
        if self._chance("rest_busy", self._config.rest_busy_share):
            self._heedless = 0
            self._busy_until = now_ns + self._config.rest_retry_after_s * NS_PER_S
            return self._refused("rest_busy", 429, self._busy_until - now_ns)
        if self._chance("rest_error", self._config.rest_error_share):
            self._counts[self._venue, "rest_error"] += 1
            return Verdict(_ERRORS[int(self._rngs["rest_error"].integers(len(_ERRORS)))])
        if not self._config.rest_slow_ms:
            return Verdict()
        self._counts[self._venue, "rest_slow"] += 1
        return Verdict(
            delay_s=float(self._rngs["rest_slow"].uniform(0, self._config.rest_slow_ms)) / 1000
        )

    def middleware(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        """Return the aiohttp middleware that does as `judge` says; sockets pass."""

        @web.middleware
        async def judged(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await handler(request)
            verdict = self.judge(self._clock.now_ns())
            if verdict.delay_s:
                await asyncio.sleep(verdict.delay_s)
            return await handler(request) if verdict.status == 200 else self._answer(verdict)

        return judged

    def _heeded_not(self, now_ns: int) -> Verdict:
        self._heedless += 1
        if self._heedless > PATIENCE and self._venue in BANNING:
            self._banned_until = now_ns + self._config.rest_ban_s * NS_PER_S
            return self._refused("rest_banned", 418, self._banned_until - now_ns)
        return self._refused("rest_busy", 429, self._busy_until - now_ns)

    def _refused(self, kind: FaultKind, status: int, left_ns: int) -> Verdict:
        self._counts[self._venue, kind] += 1
        return Verdict(status, math.ceil(left_ns / NS_PER_S))

    def _chance(self, kind: FaultKind, share: float) -> bool:
        return share > 0 and self._rngs[kind].random() < share

    def _answer(self, verdict: Verdict) -> web.Response:
        if not verdict.retry_after_s:
            page = f"<html><body>{verdict.status}</body></html>"
            return web.Response(status=verdict.status, text=page, content_type="text/html")
        return web.Response(
            status=verdict.status,
            text=json.dumps(_BUSY_BODIES[self._venue]),
            content_type="application/json",
            headers={"Retry-After": str(verdict.retry_after_s)},
        )
