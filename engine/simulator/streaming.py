"""Moving one venue's streams along the market: trades as they fall due, quotes, books."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from engine.clock import NS_PER_S, Clock
from engine.domain.market import Trade
from engine.simulator.connection import Connection
from engine.simulator.listing import Place, place_of
from engine.simulator.market import MarketProcess
from engine.simulator.venues.base import Client, Feed, Venue

QUOTE_NS = 250_000_000
"""Shortest time between two quotes of a market."""

REFRESH_NS = 5 * NS_PER_S
"""After this long without a trade the sizes of a quote change anyhow."""

PREPARE_S = (15, 40)
"""From which second of a minute on, and over how many, the next minute's trades are drawn: each
market at its own, so that not all are drawn at the turn of the minute."""

KEPT_LOOKS = 300_000
"""Of eight hours, at ten a second."""

_Subscribers = dict[tuple[Feed, str], list[Connection]]


class Cursor:
    """A place in one market's trades that only moves forward.

    Parameters
    ----------
    market
        The market process.
    exchange, instrument
        Which market.
    now_ns
        Where it starts: the first trade after this comes next.
    """

    def __init__(self, market: MarketProcess, exchange: str, instrument: str, now_ns: int) -> None:
        self._market = market
        self._exchange = exchange
        self._instrument = instrument
        self._place = place_of(exchange, instrument)
        self._minute = market.minute_of(now_ns)
        self._tape = market.minute(self._place, self._minute)
        self._index = sum(time_ns <= now_ns for time_ns in self._tape.times)
        self._end_ns = market.minute_start(self._minute + 1)
        self._ahead_ns = _ahead_ns(self._place)
        self._prepared = False

    def upto(self, now_ns: int) -> list[Trade]:
        """Return the trades at or before `now_ns` that were not returned yet."""
        found: list[Trade] = []
        while True:
            times = self._tape.times
            while self._index < len(times) and times[self._index] <= now_ns:
                found.append(
                    self._market.trade(self._exchange, self._instrument, self._tape, self._index)
                )
                self._index += 1
            if self._end_ns > now_ns:
                break
            self._minute += 1
            self._tape = self._market.minute(self._place, self._minute)
            self._index = 0
            self._end_ns = self._market.minute_start(self._minute + 1)
            self._prepared = False
        if not self._prepared and self._end_ns - now_ns < self._ahead_ns:
            self._market.minute(self._place, self._minute + 1)
            self._prepared = True
        return found


def _ahead_ns(place: Place) -> int:
    """Return how long before the turn of the minute a market's next minute is drawn."""
    first, spread = PREPARE_S
    return (60 - first - (7 * place.asset + 13 * place.segment) % spread) * NS_PER_S


class VenueStream:
    """One venue's connections and what they are owed.

    Parameters
    ----------
    venue
        The venue.
    clock
        Where the streams start. The venue's own clock, which may be wrong, moves them on.
    """

    def __init__(self, venue: Venue, clock: Clock) -> None:
        del clock
        self.venue = venue
        self.connections: set[Connection] = set()
        self._looked_ns = venue.clock.now_ns()
        self.looks: deque[int] = deque(maxlen=KEPT_LOOKS)
        """When it was looked what had happened, which was sent at once: the venue's clock, ns."""
        self._cursors: dict[str, Cursor] = {}
        self._quoted: dict[str, tuple[int, bool]] = {}
        self._slow_ns: dict[Feed, int] = {}
        self._sent: dict[Connection, int] = {}

    def advance(self, now_ns: int, *, beats: bool) -> None:
        """Send what happened up to now, and heartbeats where they are due."""
        del now_ns
        now = self.venue.clock.now_ns()
        self.looks.append(now)
        subscribers = self._subscribers()
        self._advance_quotes(subscribers, now)
        self._advance_books(subscribers, now)
        self._advance_slow(subscribers, now)
        for connection in list(self.connections):
            connection.tick()
            if beats:
                idle = self._sent.get(connection) == connection.sent
                connection.send(self.venue.heartbeats(connection.client, idle=idle))
                self._sent[connection] = connection.sent
        for gone in self._sent.keys() - self.connections:
            del self._sent[gone]
        self._looked_ns = now

    def _subscribers(self) -> _Subscribers:
        found: _Subscribers = {}
        for connection in self.connections:
            for key in connection.client.wanted:
                found.setdefault(key, []).append(connection)
        return found

    # -- trades and quotes ---------------------------------------------------------------

    def _advance_quotes(self, subscribers: _Subscribers, now: int) -> None:
        wanted = {name for feed, name in subscribers if feed in {"trades", "book_top"}}
        for instrument in self._cursors.keys() - wanted:
            del self._cursors[instrument]
        for instrument in wanted:
            self._advance_market(instrument, subscribers, now)

    def _advance_market(self, instrument: str, subscribers: _Subscribers, now: int) -> None:
        cursor = self._cursors.get(instrument)
        if cursor is None:
            # From the look before: what fell between a subscription and now is sent too.
            venue = self.venue
            cursor = Cursor(venue.market, venue.name, instrument, self._looked_ns)
            self._cursors[instrument] = cursor
        trades = cursor.upto(now)
        listed = self.venue.listed(trades) if trades else trades
        if listed:
            clients = subscribers.get(("trades", instrument), ())
            self._send(
                instrument, clients, lambda c: self.venue.trade_frames(c, listed), is_trade=True
            )
        quoted_ns, owed = self._quoted.get(instrument, (0, False))
        owed = owed or bool(listed)
        if now - quoted_ns < (QUOTE_NS if owed else REFRESH_NS):
            self._quoted[instrument] = (quoted_ns, owed)
            return
        self._quoted[instrument] = (now, False)
        clients = subscribers.get(("book_top", instrument), ())
        last = self.venue.last_trade(instrument, now) if clients else None
        if last is not None:
            top = self.venue.top(last, now)
            self._send(
                instrument, clients, lambda c: self.venue.top_frames(c, top, last, traded=owed)
            )

    # -- books ---------------------------------------------------------------------------

    def _advance_books(self, subscribers: _Subscribers, now: int) -> None:
        wanted = {name: to for (feed, name), to in subscribers.items() if feed == "book"}
        for instrument in self.venue.books.keys() - wanted.keys():
            del self.venue.books[instrument]
        step = self.venue.book_process.step_of(now)
        for instrument, clients in wanted.items():
            self._advance_book(instrument, clients, step)

    def _advance_book(self, instrument: str, clients: Sequence[Connection], step: int) -> None:
        venue = self.venue
        book = venue.books.get(instrument)
        if book is not None and step <= book.step:
            return
        last = venue.last_trade(instrument, venue.book_process.step_start(step))
        if last is None:
            return
        if book is None or book.instrument != last.instrument:
            # Listed again while clients waited: what they have is another coin's book.
            venue.books.pop(instrument, None)
            fresh = venue.live_book(instrument)
            if fresh is not None:
                self._send(
                    instrument,
                    clients,
                    lambda c: venue.snapshot_frames(c, instrument, fresh),
                    is_book=True,
                )
            return
        book.advance(last, step)
        self._send(
            instrument, clients, lambda c: venue.book_frames(c, instrument, book), is_book=True
        )

    # -- what comes on a schedule --------------------------------------------------------

    def _advance_slow(self, subscribers: _Subscribers, now: int) -> None:
        for due, every_s in self.venue.slow_feeds.items():
            if now - self._slow_ns.get(due, 0) < every_s * NS_PER_S:
                continue
            self._slow_ns[due] = now
            for (feed, instrument), clients in subscribers.items():
                if feed == due:
                    self._send_slow(due, instrument, clients)

    def _send_slow(self, feed: Feed, instrument: str, clients: Sequence[Connection]) -> None:
        self._send(instrument, clients, lambda c: self.venue.slow_frames(c, feed, instrument))

    def _send(
        self,
        instrument: str,
        clients: Sequence[Connection],
        encode: Callable[[Client], list[str]],
        *,
        is_trade: bool = False,
        is_book: bool = False,
    ) -> None:
        """Encode once for all clients that are to get the same bytes, and send."""
        encoded: dict[tuple[bool, int], list[str]] = {}
        for connection in clients:
            client = connection.client
            kind = client.combined, client.depths.get(instrument, 0)
            if kind not in encoded:
                encoded[kind] = encode(client)
            connection.send(encoded[kind], is_trade=is_trade, is_book=is_book)
