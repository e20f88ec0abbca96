"""Moving one venue's streams along the market: trades as they fall due, then quotes."""

from __future__ import annotations

from engine.clock import NS_PER_S, Clock
from engine.domain.market import Trade
from engine.simulator.connection import Connection
from engine.simulator.listing import asset_of
from engine.simulator.market import MarketProcess
from engine.simulator.venues.base import Client, Venue

QUOTE_NS = 250_000_000
"""Shortest time between two quotes of a market."""

REFRESH_NS = 5 * NS_PER_S
"""After this long without a trade the sizes of a quote change anyhow."""


class Cursor:
    """A place in one market's trades that only moves forward.

    Parameters
    ----------
    market
        The market process.
    exchange, instrument, asset
        Which market; `asset` is its place in the list of assets.
    now_ns
        Where it starts: the first trade after this comes next.
    """

    def __init__(
        self, market: MarketProcess, exchange: str, instrument: str, asset: int, now_ns: int
    ) -> None:
        self._market = market
        self._key = (exchange, asset)
        self._instrument = instrument
        self._minute = market.minute_of(now_ns)
        self._tape = market.minute(exchange, asset, self._minute)
        self._index = sum(time_ns <= now_ns for time_ns in self._tape.times)

    def upto(self, now_ns: int) -> list[Trade]:
        """Return the trades at or before `now_ns` that were not returned yet."""
        found: list[Trade] = []
        while True:
            times = self._tape.times
            while self._index < len(times) and times[self._index] <= now_ns:
                found.append(
                    self._market.trade(self._key[0], self._instrument, self._tape, self._index)
                )
                self._index += 1
            if self._market.minute_start(self._minute + 1) > now_ns:
                return found
            self._minute += 1
            self._tape = self._market.minute(*self._key, self._minute)
            self._index = 0


class VenueStream:
    """One venue's connections and what they are owed.

    Parameters
    ----------
    venue
        The venue.
    clock
        Where the streams start.
    """

    def __init__(self, venue: Venue, clock: Clock) -> None:
        self.venue = venue
        self.connections: set[Connection] = set()
        self._looked_ns = clock.now_ns()
        self._cursors: dict[str, Cursor] = {}
        self._quoted: dict[str, tuple[int, bool]] = {}
        self._sent: dict[Connection, int] = {}

    def advance(self, now_ns: int, *, beats: bool) -> None:
        """Send what happened up to now, and heartbeats where they are due."""
        wanted = {name for each in self.connections for _, name in each.client.wanted}
        for instrument in self._cursors.keys() - wanted:
            del self._cursors[instrument]
            self.venue.latest.pop(instrument, None)
        for instrument in wanted:
            self._advance_market(instrument, now_ns)
        for connection in list(self.connections):
            connection.tick()
            if beats:
                idle = self._sent.get(connection) == connection.sent
                connection.send(self.venue.heartbeats(connection.client, idle=idle))
                self._sent[connection] = connection.sent
        for gone in self._sent.keys() - self.connections:
            del self._sent[gone]
        self._looked_ns = now_ns

    def _advance_market(self, instrument: str, now_ns: int) -> None:
        cursor = self._cursors.get(instrument)
        if cursor is None:
            # From the look before: what fell between a subscription and now is sent too.
            cursor = self._cursors[instrument] = Cursor(
                self.venue.market,
                self.venue.name,
                instrument,
                asset_of(self.venue.name, instrument),
                self._looked_ns,
            )
        trades = cursor.upto(now_ns)
        if trades:
            self.venue.latest[instrument] = trades[-1]
            self._send_trades(instrument, trades)
        quoted_ns, owed = self._quoted.get(instrument, (0, False))
        owed = owed or bool(trades)
        if now_ns - quoted_ns >= (QUOTE_NS if owed else REFRESH_NS):
            self._send_quote(instrument, now_ns, traded=owed)
            self._quoted[instrument] = (now_ns, False)
        else:
            self._quoted[instrument] = (quoted_ns, owed)

    def _send_trades(self, instrument: str, trades: list[Trade]) -> None:
        encoded: dict[bool, list[str]] = {}
        for connection in self._subscribers("trades", instrument):
            frames = self._encoded(encoded, connection.client, trades)
            connection.send(frames, is_trade=True)

    def _encoded(
        self, encoded: dict[bool, list[str]], client: Client, trades: list[Trade]
    ) -> list[str]:
        """Encode once for all clients of one kind."""
        if client.combined not in encoded:
            encoded[client.combined] = self.venue.trade_frames(client, trades)
        return encoded[client.combined]

    def _send_quote(self, instrument: str, now_ns: int, *, traded: bool) -> None:
        subscribers = self._subscribers("book_top", instrument)
        last = self.venue.latest_trade(instrument) if subscribers else None
        if last is None:
            return
        top = self.venue.top(last, now_ns)
        for connection in subscribers:
            connection.send(self.venue.top_frames(connection.client, top, last, traded=traded))

    def _subscribers(self, feed: str, instrument: str) -> list[Connection]:
        key = (feed, instrument)
        return [each for each in self.connections if key in each.client.wanted]
