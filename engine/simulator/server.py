"""The simulated venues and their news, served on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiohttp import web

from engine.clock import NS_PER_S, Clock, iso_utc
from engine.config import SimulatorConfig
from engine.domain.instrument import first_generation
from engine.domain.market import Trade
from engine.errors import InstrumentError, StartError
from engine.simulator.connection import RULES, Rules
from engine.simulator.faults import FaultCounts
from engine.simulator.lifecycle import Lifecycle
from engine.simulator.listing import LISTINGS
from engine.simulator.market import MarketProcess
from engine.simulator.news import NewsProcess
from engine.simulator.newsfeed import NewsFeed
from engine.simulator.venue_server import VenueServer
from engine.simulator.venues.base import Feed, Venue
from engine.simulator.venues.binance import BinanceVenue
from engine.simulator.venues.binance_perp import BinancePerpVenue
from engine.simulator.venues.bybit import BybitVenue
from engine.simulator.venues.coinbase import CoinbaseVenue
from engine.simulator.venues.kraken import KrakenVenue
from engine.simulator.venues.okx import OkxVenue

LOGGER = logging.getLogger(__name__)

TICK_S = 0.1
"""Time between looks at the market, seconds: trades arrive in steps of it."""

HOST = "127.0.0.1"

VENUE_TYPES: dict[str, type[Venue]] = {
    kind.name: kind
    for kind in (
        BinanceVenue,
        BinancePerpVenue,
        CoinbaseVenue,
        KrakenVenue,
        BybitVenue,
        OkxVenue,
    )
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
    rules
        What each venue asks of its clients; by default what the real ones ask.

    Raises
    ------
    InstrumentError
        Where an instrument, or one of the relistings, is not simulated.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        clock: Clock,
        instruments: Mapping[str, Sequence[str]] | None = None,
        rules: Mapping[str, Rules] | None = None,
    ) -> None:
        listed = LISTINGS if instruments is None else instruments
        self.market = MarketProcess(config, sum(len(names) for names in listed.values()))
        self.news = NewsProcess(config)
        self.lifecycle = Lifecycle(self.market, config.faults, clock.now_ns())
        self._config = config
        self._clock = clock
        self._counts: FaultCounts = Counter()
        self._servers = {
            name: VenueServer(
                VENUE_TYPES[name](self.market, clock, names, self.lifecycle),
                config.faults,
                config.seed,
                clock,
                (rules or {}).get(name, RULES[name]),
                self._counts,
            )
            for name, names in listed.items()
        }
        for plan in config.faults.relistings:
            self._listing(plan.exchange, plan.instrument)
        self._runners: list[web.AppRunner] = []
        self._ticker: asyncio.Task[None] | None = None

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
        for name, server in self._servers.items():
            address = await self._listen(server.application())
            exchanges[name] = (f"ws://{address}{server.venue.base_path}", f"http://{address}")
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
        for server in self._servers.values():
            for connection in server.connections:
                connection.drop()
        while self._runners:
            await self._runners.pop().cleanup()

    # -- the truth -----------------------------------------------------------------------

    def ledger(self, exchange: str, instrument: str, start_ns: int, end_ns: int) -> list[Trade]:
        """Return every trade of an instrument: what a perfect observer would have stored.

        Parameters
        ----------
        exchange
            The venue.
        instrument
            Canonical name; each generation has its own trades.
        start_ns, end_ns
            ``[start_ns, end_ns)`` by the venue's clock, UTC nanoseconds.

        Raises
        ------
        InstrumentError
            Where the venue is not served, or has no such market.
        """
        trades = self._served(exchange).venue.ledger(first_generation(instrument), start_ns, end_ns)
        return [trade for trade in trades if trade.instrument == instrument]

    def looks(self, exchange: str) -> list[int]:
        """Return when a venue sent what had happened, for the last eight hours: its own clock, ns.

        A trade goes out with the first look at or after it: a simulator that has to wait for its
        turn is late, and whoever measures a reader must know by how much.
        """
        return list(self._served(exchange).stream.looks)

    def instruments(self, exchange: str) -> list[str]:
        """Return what a venue has listed until now, every generation, canonical names."""
        venue = self._served(exchange).venue
        now = venue.clock.now_ns()
        return [
            life.name(instrument)
            for instrument in venue.assets
            for life in self.lifecycle.lives(exchange, instrument)
            if life.start_ns <= now
        ]

    def injected(self) -> FaultCounts:
        """Return how often each fault happened, by venue and kind (`FaultKind`)."""
        return self._counts.copy()

    @property
    def exchanges(self) -> list[str]:
        """The venues that are served."""
        return list(self._servers)

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return sum(len(server.connections) for server in self._servers.values())

    # -- what a test does to it ----------------------------------------------------------

    def disconnect(self, exchange: str | None = None) -> int:
        """Break a venue's connections (all venues' by default) as a failing network does.

        Returns
        -------
        int
            How many there were.
        """
        return sum(server.disconnect() for server in self._some(exchange))

    def cut(self, exchange: str | None = None) -> int:
        """Close a venue's connections properly, as at their age's end; return how many."""
        return sum(server.cut() for server in self._some(exchange))

    def stall(self, exchange: str | None, seconds: float) -> int:
        """Let a venue's connections fall silent for so long; return how many."""
        return sum(server.stall(seconds) for server in self._some(exchange))

    def deafen(self, exchange: str, instrument: str, feed: Feed = "trades") -> int:
        """Let a venue's connections forget a subscription, and not say so.

        Returns
        -------
        int
            How many had it.

        Raises
        ------
        InstrumentError
            Where the venue is not served, or has no such market.
        """
        self._listing(exchange, instrument)
        return self._served(exchange).deafen(feed, first_generation(instrument))

    def calm(self) -> None:
        """Commit no more faults, on connections old and new; clocks and listings stay."""
        for server in self._servers.values():
            server.calm()

    def delist(self, exchange: str, instrument: str) -> None:
        """Delist an instrument now.

        Raises
        ------
        InstrumentError
            Where it is not listed.
        """
        venue = self._listing(exchange, instrument)
        self.lifecycle.delist(exchange, instrument, venue.clock.now_ns())

    def relist(self, exchange: str, instrument: str) -> None:
        """Use a delisted instrument's ticker again, for another instrument.

        Raises
        ------
        InstrumentError
            Where the ticker is not free.
        """
        venue = self._listing(exchange, instrument)
        self.lifecycle.relist(exchange, instrument, venue.clock.now_ns())

    def _served(self, exchange: str) -> VenueServer:
        server = self._servers.get(exchange)
        if server is None:
            raise InstrumentError(
                f"this simulator serves no venue {exchange!r}; it serves {', '.join(self._servers)}"
            )
        return server

    def _listing(self, exchange: str, instrument: str) -> Venue:
        """Return the venue that lists an instrument, of any generation, or say that it does not."""
        venue = self._served(exchange).venue
        if first_generation(instrument) not in venue.assets:
            raise InstrumentError(
                f"the simulated {exchange} lists no {instrument} here; "
                f"it lists {', '.join(venue.assets)}"
            )
        return venue

    def _some(self, exchange: str | None) -> list[VenueServer]:
        return list(self._servers.values()) if exchange is None else [self._served(exchange)]

    # -- serving -------------------------------------------------------------------------

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
            for name, server in self._servers.items():
                try:
                    server.stream.advance(now, beats=beats)
                except Exception:
                    LOGGER.exception("the simulated %s failed at %d", name, now)
                    raise
