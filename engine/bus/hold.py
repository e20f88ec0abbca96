"""How long a venue wants to be left alone, known to everybody behind one address."""

from __future__ import annotations

import logging
import socket
from urllib.parse import urlsplit

from engine.bus.client import Bus
from engine.errors import BusError
from engine.log import OncePerKind
from engine.metrics import ERRORS


class SharedHold:
    """Passes on that a venue asked our address for a pause (429, 418, ``Retry-After``).

    It is kept on the bus, under the venue's host and our address: a venue bans addresses, so
    whoever asks on behind the same one prolongs the ban of all. While the bus does not answer
    everybody knows only of the pauses that it was asked for itself.

    Parameters
    ----------
    bus
        Where it is kept.
    url
        Of the venue: its host counts.
    address
        Ours, as the venue sees it or as this node calls itself.
    """

    def __init__(self, bus: Bus, url: str, address: str) -> None:
        self._bus = bus
        self._name = f"{urlsplit(url).netloc}:{address}"
        self._once = OncePerKind(logging.getLogger("engine.hold"))

    async def begin(self, seconds: float) -> None:
        """Tell everybody to leave the venue alone for so long; a longer pause stays in force."""
        try:
            await self._bus.hold(self._name, seconds)
        except BusError as error:
            self._is_away(error)

    async def left_s(self) -> float:
        """Return for how many seconds the venue is to be left alone; 0 where it may be asked."""
        try:
            return await self._bus.held(self._name)
        except BusError as error:
            self._is_away(error)
            return 0.0

    def _is_away(self, error: BusError) -> None:
        ERRORS.labels("budget", "bus").inc()
        self._once.warn("bus", f"a pause for {self._name} is not shared for now: {error}")


def own_address() -> str:
    """Return this machine's address towards the outside, by which venues count us.

    Machines behind one router share one; the router's own address cannot be known here, so each
    keeps to its own budget.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses a route
            address: str = probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"
    return address
