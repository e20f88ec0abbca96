"""One simulated venue as its clients meet it: sockets, REST, and what goes wrong with them."""

from __future__ import annotations

from aiohttp import web

from engine.clock import Clock
from engine.config import FaultsConfig
from engine.simulator.connection import Connection, Rules
from engine.simulator.faults import FaultCounts, FaultInjector
from engine.simulator.refusals import RestFaults
from engine.simulator.streaming import VenueStream
from engine.simulator.venues.base import Feed, Venue


class VenueServer:
    """Accepts a venue's clients.

    Parameters
    ----------
    venue
        The venue.
    config
        What goes wrong.
    seed
        The simulation's seed: the n-th connection always fares alike.
    clock
        The right time.
    rules
        What the venue asks of its clients.
    counts
        Where what goes wrong is counted.
    """

    def __init__(
        self,
        venue: Venue,
        config: FaultsConfig,
        seed: int,
        clock: Clock,
        rules: Rules,
        counts: FaultCounts,
    ) -> None:
        self.venue = venue
        self.stream = VenueStream(venue, clock)
        self._config = config
        self._seed = seed
        self._clock = clock
        self._rules = rules
        self._counts = counts
        self._rest = RestFaults(venue.name, config, seed, clock, counts)
        self._opened = 0

    def application(self) -> web.Application:
        """Return what serves the venue's WebSocket and REST."""
        application = web.Application(middlewares=[self._rest.middleware()])
        application.add_routes([web.get(path, self._accept) for path in self.venue.socket_paths])
        application.add_routes(self.venue.routes())
        return application

    @property
    def connections(self) -> list[Connection]:
        """Who is connected now."""
        return list(self.stream.connections)

    def disconnect(self) -> int:
        """Break every connection as a failing network does; return how many."""
        connections = self.connections
        for connection in connections:
            connection.faults.count("disconnect")
            connection.drop()
        return len(connections)

    def cut(self) -> int:
        """Close every connection properly, behind what is queued; return how many."""
        connections = self.connections
        for connection in connections:
            connection.faults.count("cut")
            connection.close()
        return len(connections)

    def stall(self, seconds: float) -> int:
        """Let every connection be open and silent for so long; return how many."""
        connections = self.connections
        for connection in connections:
            connection.faults.stall(self._clock.now_ns(), seconds)
        return len(connections)

    def deafen(self, feed: Feed, instrument: str) -> int:
        """Have every connection forget a subscription; return how many had it."""
        forgot = [each for each in self.connections if each.forget(feed, instrument)]
        for connection in forgot:
            connection.faults.count("deaf")
        return len(forgot)

    def calm(self) -> None:
        """Commit no more faults, on connections old and new, and over REST."""
        self._config = FaultsConfig()
        self._rest.calm()
        for connection in self.connections:
            connection.calm()

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=False, compress=False)
        transport = request.transport
        if transport is None or not socket.can_prepare(request).ok:
            return web.json_response({"message": "this is a WebSocket endpoint"}, status=426)
        await socket.prepare(request)
        self._opened += 1
        now, name = self._clock.now_ns(), self.venue.name
        connection = Connection(
            self.venue,
            self.venue.client(request),
            socket,
            transport,
            FaultInjector(self._config, self._seed, name, self._opened, now, self._counts),
            self._clock,
            self._rules,
        )
        self.stream.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.stream.connections.discard(connection)
        return socket
