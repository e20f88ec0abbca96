"""The simulated venues and their news, served on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiohttp import web

from engine.clock import NS_PER_S, Clock, iso_utc
from engine.config import SimulatorConfig
from engine.domain.market import Trade
from engine.errors import StartError
from engine.simulator.connection import Connection
from engine.simulator.faults import FaultInjector
from engine.simulator.listing import LISTINGS
from engine.simulator.market import MarketProcess
from engine.simulator.news import NewsProcess
from engine.simulator.newsfeed import NewsFeed
from engine.simulator.streaming import VenueStream
from engine.simulator.venues.base import Venue
from engine.simulator.venues.binance import BinanceVenue
from engine.simulator.venues.coinbase import CoinbaseVenue
from engine.simulator.venues.kraken import KrakenVenue

LOGGER = logging.getLogger(__name__)

TICK_S = 0.1
"""Time between looks at the market, seconds: trades arrive in steps of it."""

PING_S = 20.0
"""Time between the venues' pings, seconds; a client that answers none for half of it is cut."""

HOST = "127.0.0.1"

VENUE_TYPES: dict[str, type[Venue]] = {
    kind.name: kind for kind in (BinanceVenue, CoinbaseVenue, KrakenVenue)
}


class SimulatedEndpoints(NamedTuple):
    """Where the simulated world listens."""

    exchanges: dict[str, tuple[str, str]]
    """For each venue its WebSocket and REST addresses, to be used as ``ws_url``, ``rest_url``."""
    news_url: str
    """Base address of ``/news/rss``, ``/posts`` and ``/fng/``."""


class SimulatedVenues:
    """All simulated venues and the news feed, in the running event loop.

    Parameters
    ----------
    config
        The market's seed, rates, planted strength and faults.
    clock
        How far the market has come. It may be a settable one.
    instruments
        What each venue lists, canonical names; by default `LISTINGS`.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        clock: Clock,
        instruments: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.market = MarketProcess(config)
        self.news = NewsProcess(config)
        self._config = config
        self._clock = clock
        self._venues = {
            name: VENUE_TYPES[name](self.market, clock, names)
            for name, names in (LISTINGS if instruments is None else instruments).items()
        }
        self._streams = {name: VenueStream(venue, clock) for name, venue in self._venues.items()}
        self._runners: list[web.AppRunner] = []
        self._ticker: asyncio.Task[None] | None = None
        self._opened = 0
        self.dropped_slow = 0
        """Clients dropped because they read too slowly."""

    async def start(self) -> SimulatedEndpoints:
        """Listen on free loopback ports and let the market run.

        Raises
        ------
        StartError
            Where the configured epoch lies in the future.
        """
        if self._clock.now_ns() < self.market.epoch_ns:
            raise StartError(
                f"simulator.epoch {self._config.epoch} lies after now "
                f"({iso_utc(self._clock.now_ns())}); set an earlier one"
            )
        exchanges = {}
        for name, venue in self._venues.items():
            address = await self._listen(self._application(venue))
            exchanges[name] = (f"ws://{address}{venue.base_path}", f"http://{address}")
        feed = web.Application()
        feed.add_routes(NewsFeed(self.news, self._clock).routes())
        news = await self._listen(feed)
        self._ticker = asyncio.create_task(self._run(), name="simulated-venues")
        return SimulatedEndpoints(exchanges, f"http://{news}")

    async def stop(self) -> None:
        """Close every connection and port; again does nothing."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
            self._ticker = None
        for stream in self._streams.values():
            for connection in list(stream.connections):
                connection.drop()
        while self._runners:
            await self._runners.pop().cleanup()

    def ledger(self, exchange: str, instrument: str, start_ns: int, end_ns: int) -> list[Trade]:
        """Return every trade of a market in ``[start_ns, end_ns)``: the truth for tests."""
        return self.market.trades(exchange, instrument, start_ns, end_ns)

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return sum(len(stream.connections) for stream in self._streams.values())

    def disconnect_all(self) -> None:
        """Break every connection at once, as a failing network does."""
        for stream in self._streams.values():
            for connection in list(stream.connections):
                connection.drop()

    def _application(self, venue: Venue) -> web.Application:
        application = web.Application()
        stream = self._streams[venue.name]

        async def accept(request: web.Request) -> web.StreamResponse:
            return await self._accept(request, venue, stream)

        application.add_routes([web.get(path, accept) for path in venue.socket_paths])
        application.add_routes(venue.routes())
        return application

    async def _accept(
        self, request: web.Request, venue: Venue, stream: VenueStream
    ) -> web.StreamResponse:
        socket = web.WebSocketResponse(heartbeat=PING_S, compress=False)
        if not socket.can_prepare(request).ok:
            return web.json_response({"message": "this is a WebSocket endpoint"}, status=426)
        await socket.prepare(request)
        self._opened += 1
        faults = FaultInjector(
            self._config.faults, self._config.seed, self._opened, self._clock.now_ns()
        )
        connection = Connection(venue, venue.client(request), socket, faults, self._clock)
        stream.connections.add(connection)
        try:
            await connection.run()
        finally:
            stream.connections.discard(connection)
            self.dropped_slow += connection.slow
        return socket

    async def _listen(self, application: web.Application) -> str:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, HOST, 0).start()
        host, port = runner.addresses[0][:2]
        return f"{host}:{port}"

    async def _run(self) -> None:
        """Move every venue on to now, again and again."""
        beat_ns = self._clock.now_ns()
        while True:
            await asyncio.sleep(TICK_S)
            now = self._clock.now_ns()
            beats = now - beat_ns >= NS_PER_S
            if beats:
                beat_ns = now
            for stream in self._streams.values():
                try:
                    stream.advance(now, beats=beats)
                except Exception:
                    LOGGER.exception("the simulated %s failed at %d", stream.venue.name, now)
                    raise
