"""The second stream of a redundant pair: it receives the same trades, and hands them to the first.

The first stream takes each trade once, whoever brings it first. While the first is being started
anew this one keeps what comes, and tells again what its predecessor may have lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from engine.actors.base import EngineActor, Phase
from engine.actors.budget import SharedBudget
from engine.actors.wiring import VenueEndpoint, Wiring
from engine.bus.client import Bus
from engine.bus.hold import SharedHold, own_address
from engine.clock import NS_PER_S, SystemClock
from engine.config import Config
from engine.domain.instrument import ExchangeName
from engine.domain.market import DeadLetter, Gap, Trade
from engine.errors import VenueError
from engine.exchanges.registry import exchange as adapter_of
from engine.exchanges.rest import RestClient
from engine.exchanges.sink import FeedEvent
from engine.exchanges.stream import StreamLoop
from engine.metrics import ERRORS

RETAINED_NS = 60 * NS_PER_S
"""How long trades are kept to be told again to a first stream that was started anew."""

MOST_TRADES = 200_000
"""Trades kept at most, told or not. What leaves untold is counted, and is the first stream's to
repair from its ids."""

RETRY_S = 0.5
CONTRACTS_RETRY_S = 5.0


class TradeInlet(Protocol):
    """Whoever takes trades: the first stream, by its handle."""

    async def offer(self, trades: Sequence[Trade]) -> str:
        """Take trades; answer with an incarnation, new after every restart."""
        ...


class Relay(EngineActor):
    """Streams the same instruments as a `MarketStream`, for it.

    Parameters
    ----------
    name
        Stable name.
    config
        The whole configuration.
    wiring
        Addresses.
    exchange
        Our name of the venue.
    instruments
        The share of the first stream.
    first
        The first stream.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        wiring: Wiring,
        exchange: ExchangeName,
        instruments: tuple[str, ...],
        first: TradeInlet,
    ) -> None:
        super().__init__(name, config)
        self._config = config
        self._venue_config = config.exchanges[exchange].model_copy(
            update={"channels": ("trades",), "repair": False}
        )
        self._instruments = instruments
        self._first = first
        self._adapter = adapter_of(exchange)
        self._bus = Bus(wiring.bus_url, config.bus.prefix)
        self._loop: StreamLoop | None = None
        self._untold: deque[Trade] = deque()
        self._told: deque[Trade] = deque()
        self._filled = asyncio.Event()
        self._incarnation = ""
        self._relayed = 0
        self._dropped = 0

    async def start(self, venue: VenueEndpoint) -> None:
        """Connect and stream until drained."""
        if self.phase is Phase.RUNNING:
            return
        self.phase = Phase.RUNNING
        self.spawn(self._stream(venue), "the stream")
        self.spawn(self._relay_for_ever(), "handing trades on")

    async def _stream(self, venue: VenueEndpoint) -> None:
        if venue.has_rest:
            await self._learn_contract_sizes(venue)
        url = venue.ws_url or self._adapter.ws_url
        permit = SharedBudget(
            self._bus, "connects", url, own_address(), *self._adapter.limits.connects
        )
        self._loop = StreamLoop(
            self._adapter,
            url,
            self._instruments,
            self._venue_config,
            self._config.reconnect,
            SystemClock(),
            self,
            permit=permit.spend,
        )
        self.spawn(self._watch_tickers(self._loop), "watching tickers")
        await self._loop.run()

    async def _watch_tickers(self, loop: StreamLoop) -> None:
        """Start anew where a ticker names another instrument: its ids begin again."""
        await loop.unlisted.wait()
        raise VenueError(f"{self._adapter.name} uses a ticker again: starting anew with its ids")

    async def _learn_contract_sizes(self, venue: VenueEndpoint) -> None:
        """Ask the venue how large its contracts are: without that no amount is right."""
        url = venue.rest_url or self._adapter.rest_url
        hold = SharedHold(self._bus, url, own_address())
        async with RestClient(self._adapter, url, hold=hold) as rest:
            while True:
                try:
                    listed = await rest.metadata()
                except VenueError as error:
                    self.log.warning("asking again for contract sizes: %s", error)
                    await asyncio.sleep(CONTRACTS_RETRY_S)
                    continue
                break
        sizes = {row.instrument: row.contract_size for row in listed if row.contract_size != 1.0}
        self._adapter.contract_sizes.update(sizes)

    # -- what the stream loop hands over ---------------------------------------------------

    async def events(self, events: Sequence[FeedEvent]) -> None:
        """Keep trades for the first stream."""
        self._untold.extend(event for event in events if type(event) is Trade)
        while len(self._untold) > MOST_TRADES:
            self._untold.popleft()
            self._dropped += 1
            ERRORS.labels("relay", "dropped").inc()
        self._filled.set()

    async def repaired(self, trades: Sequence[Trade]) -> None:
        """Nothing is fetched here."""

    async def gap(self, gap: Gap) -> None:
        """Take no note: gaps are the first stream's to notice."""

    async def dead_letter(self, letter: DeadLetter) -> None:
        """Take no note: the first stream has the same frame."""

    async def state(self, *, connected: bool, reason: str) -> None:
        """Note that the connection came or went."""
        self.log.info("%s: %s", "connected" if connected else "disconnected", reason)

    # -- to the first stream ---------------------------------------------------------------

    async def _relay_for_ever(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            await self._relay()

    async def _relay(self) -> None:
        """Hand over what is untold; where somebody new answers, all that is kept."""
        batch = list(self._untold)
        try:
            incarnation = await self._first.offer(batch)
            if incarnation != self._incarnation and self._told:
                incarnation = await self._first.offer(list(self._told))
        except ConnectionError as error:
            self.log.debug("trades wait: %s", error)
            await asyncio.sleep(RETRY_S)
            self._filled.set()
            return
        self._incarnation = incarnation
        self._relayed += len(batch)
        for trade in batch:
            if self._untold and self._untold[0] is trade:
                self._untold.popleft()
        self._told.extend(batch)
        self._forget()

    def _forget(self) -> None:
        told = self._told
        oldest = SystemClock().now_ns() - RETAINED_NS
        while told and (told[0].receive_time < oldest or len(told) > MOST_TRADES):
            told.popleft()

    # -- stopping and telling --------------------------------------------------------------

    async def drain(self) -> None:
        """Close the socket and stop."""
        if self.phase is Phase.DRAINED:
            return
        if self._loop is not None:
            await self._loop.stop()
        if self._untold:
            await self._relay()
        await super().drain()
        await self._bus.close()

    def details(self) -> dict[str, Any]:
        """Return how the second stream fares."""
        if self._loop is None:
            return {"instruments": len(self._instruments)}
        status = self._loop.status()
        return {
            "exchange": self._adapter.name,
            "instruments": len(self._instruments),
            "connected": status.connected,
            "relayed": self._relayed,
            "waiting": len(self._untold),
            "dropped": self._dropped,
            "reconnects": status.reconnects,
        }
