"""What one address may ask of a venue, shared by every actor of the cluster behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from engine.bus.client import Bus
from engine.errors import BusError
from engine.log import OncePerKind
from engine.metrics import ERRORS

LONGEST_WAIT_S = 5.0
"""A longer wait is slept in parts: the budget may have been given back with its Redis."""


class SharedBudget:
    """Waits until the budget of a venue's host, for our address, allows one thing more.

    It is kept on the bus, under the host and our address, so that streams on several nodes
    behind one address share it, and streams behind another have their own. While the bus does
    not answer every process keeps to the same rate by itself.

    Parameters
    ----------
    bus
        Where it is kept.
    kind
        What is spent: ``connects`` or ``requests``.
    url
        Of the venue: its host counts.
    address
        Ours, as the venue sees it or as this node calls itself.
    count, seconds
        So many in any so many seconds.
    sleep
        For tests: waits instead of `asyncio.sleep`.
    """

    def __init__(
        self,
        bus: Bus,
        kind: str,
        url: str,
        address: str,
        count: int,
        seconds: float,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bus = bus
        self._name = f"{kind}:{urlsplit(url).netloc}:{address}"
        self._count = count
        self._seconds = seconds
        self._sleep = sleep
        self._alone_at = 0.0
        self._once = OncePerKind(logging.getLogger("engine.budget"))

    async def spend(self, cost: float = 1.0) -> None:
        """Return when `cost` may be spent, and has been."""
        while True:
            try:
                wait_s = await self._bus.spend(self._name, self._count, self._seconds, cost)
            except BusError as error:
                ERRORS.labels("budget", "bus").inc()
                self._once.warn("bus", f"{self._name} is not shared for now: {error}")
                await self._spend_alone(cost)
                return
            if wait_s <= 0:
                return
            await self._sleep(min(wait_s, LONGEST_WAIT_S))

    async def _spend_alone(self, cost: float) -> None:
        now = asyncio.get_running_loop().time()
        spacing_s = self._seconds / self._count * cost
        wait_s = self._alone_at - now
        self._alone_at = max(self._alone_at, now) + spacing_s
        if wait_s > 0:
            await self._sleep(wait_s)
