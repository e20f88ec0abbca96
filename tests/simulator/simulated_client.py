"""A client of one simulated venue without sockets: it connects and asks as the engine does."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from engine.clock import DataClock, parse_iso_utc
from engine.config import SimulatorConfig
from engine.domain.instrument import first_generation
from engine.domain.market import Channel, MarketEvent
from engine.exchanges.base import Exchange, RestRequest
from engine.exchanges.registry import exchange
from engine.simulator.lifecycle import Lifecycle
from engine.simulator.market import MarketProcess
from engine.simulator.server import VENUE_TYPES
from engine.simulator.streaming import VenueStream
from engine.simulator.venues.base import Client, Venue

MS = 1_000_000
SECOND = 1_000 * MS
START = parse_iso_utc("2026-02-03T14:30:50Z")
"""Ten seconds before a minute ends."""

MARKETS = {
    "binance": ["BTC-USDT", "PEPE-USDT"],
    "binance_perp": ["BTC-USDT-PERP", "DOGE-USDT-PERP"],
    "coinbase": ["BTC-USD", "ETH-USD"],
    "kraken": ["BTC-USD", "DOGE-USD"],
    "bybit": ["BTC-USDT", "BTC-USDT-PERP", "ETH-USDC-PERP"],
    "okx": ["BTC-USDT", "BTC-USDT-PERP", "SHIB-USDT-PERP"],
}


class Wire:
    """Stands in for `engine.simulator.connection.Connection`: keeps what was sent."""

    def __init__(self, client: Client, adapter: Exchange) -> None:
        self.client = client
        self.adapter = adapter
        self.frames: list[str] = []
        self.sent = 0

    def send(self, frames: Sequence[str], *, is_trade: bool = False, is_book: bool = False) -> None:
        """Keep frames."""
        del is_trade, is_book
        self.frames += frames
        self.sent += len(frames)

    def tick(self) -> None:
        """Do nothing: there are no faults."""


class World:
    """One venue, its stream, and the connections that a client of ours would open.

    Parameters
    ----------
    name
        The venue.
    faults
        Options of `SimulatorConfig.faults`.
    """

    def __init__(self, name: str, faults: dict[str, object] | None = None, **options) -> None:
        config = SimulatorConfig(faults=faults or {}, **{"trades_per_second": 400, **options})
        self.name = name
        self.instruments = MARKETS[name]
        self.clock = DataClock(START)
        self.market = MarketProcess(config)
        lifecycle = Lifecycle(self.market, config.faults, START)
        self.venue: Venue = VENUE_TYPES[name](self.market, self.clock, self.instruments, lifecycle)
        self.stream = VenueStream(self.venue, self.clock)
        self.wires: list[Wire] = []

    def connect(self, channels: Sequence[Channel]) -> None:
        """Open every connection that these channels need."""
        groups: dict[tuple[str, str], tuple[list[str], list[Channel]]] = {}
        for instrument in self.instruments:
            for channel in channels:
                adapter = exchange(self.name)
                key = (adapter.group(instrument), adapter.channel_group(channel))
                names, wanted = groups.setdefault(key, ([], []))
                names += [instrument] * (instrument not in names)
                wanted += [channel] * (channel not in wanted)
        for names, wanted in groups.values():
            self.open(names, wanted)

    def open(self, instruments: Sequence[str], channels: Sequence[Channel]) -> Wire:
        """Open one connection."""
        adapter = exchange(self.name)
        for instrument in instruments:
            if self.name == "okx" and instrument.endswith("-PERP"):
                adapter.contract_sizes[instrument] = self.venue.contract_size(instrument)
        url = adapter.url(f"ws://venue{self.venue.base_path}", instruments, channels)
        path = url.removeprefix("ws://venue") or "/"
        assert path.partition("?")[0] in self.venue.socket_paths
        wire = Wire(self.venue.client(make_mocked_request("GET", path)), adapter)
        self.stream.connections.add(wire)
        self.wires.append(wire)
        wire.send(self.venue.welcome(wire.client))
        for message in adapter.subscribe(instruments, channels):
            wire.send(self.venue.answer(message, wire.client))
        return wire

    def run(self, seconds: float, step_ms: int = 100) -> None:
        """Let time pass."""
        end = self.clock.now_ns() + int(seconds * SECOND)
        while self.clock.now_ns() < end:
            now = min(self.clock.now_ns() + step_ms * MS, end)
            self.clock.advance(now)
            self.stream.advance(now, beats=now % SECOND == 0)

    def events(self) -> list[MarketEvent]:
        """Return what the adapters make of all that was sent until now."""
        now = self.clock.now_ns()
        return [
            event
            for wire in self.wires
            for frame in wire.frames
            for event in wire.adapter.parse(frame.encode(), now)
        ]

    def names(self) -> list[str]:
        """Return the instruments' first generations."""
        return [first_generation(name) for name in self.instruments]


class Rest:
    """The venue's REST on a free port.

    Parameters
    ----------
    world
        Whose.
    """

    def __init__(self, world: World) -> None:
        application = web.Application()
        application.add_routes(world.venue.routes())
        self._client: TestClient = TestClient(TestServer(application))

    async def __aenter__(self) -> Rest:
        await self._client.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def ask(self, request: RestRequest) -> bytes:
        """Send an adapter's request, and return the body."""
        answer: aiohttp.ClientResponse
        async with self._client.get(request.path, params=list(request.params)) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read()

    async def get(self, path: str) -> tuple[int, object]:
        """Return status and JSON of any request."""
        async with self._client.get(path) as answer:
            return answer.status, await answer.json()
