"""What every simulated venue does: listings, quotes, books, past trades, and its wire's shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

from aiohttp import web

from engine.clock import Clock
from engine.config import FaultsConfig
from engine.domain.instrument import Instrument, first_generation
from engine.domain.market import BookTop, Trade
from engine.simulator.bars import Bar, bars
from engine.simulator.books import BookProcess
from engine.simulator.lifecycle import Life, Lifecycle
from engine.simulator.listing import ASSETS, Asset, place_of
from engine.simulator.live_book import LiveBook
from engine.simulator.market import MINUTE_NS, MarketProcess
from engine.simulator.perpetuals import Perpetual, PerpetualProcess
from engine.simulator.venues.listed_market import ListedMarket

HOUR_NS = 60 * MINUTE_NS

Feed = Literal[
    "trades", "book_top", "book", "heartbeat",
    "ticker", "mark", "index", "funding", "open_interest",
]  # fmt: skip
"""Kinds of subscription."""


class Client:
    """What a venue knows of one connection.

    Parameters
    ----------
    combined
        Whether frames name their stream (Binance's ``/stream``).
    """

    def __init__(self, *, combined: bool = True) -> None:
        self.combined = combined
        self.wanted: set[tuple[Feed, str]] = set()
        """Feeds and instruments (first generations) that it subscribed to."""
        self.depths: dict[str, int] = {}
        """Instrument -> levels of the book that it subscribed to; absent where all."""
        self.section = ""
        """Which part of the venue it connected to, where there are several."""
        self.messages_ns: list[int] = []
        """When its latest messages came."""


class BookFrame(str):
    """A frame that holds a book among others that do not: faults of books befall it."""

    __slots__ = ()


class DayFigures(NamedTuple):
    """A market's last 24 hours, in quote currency and base currency."""

    open: float
    high: float
    low: float
    volume: float
    vwap: float


class Venue(ListedMarket, ABC):
    """One simulated venue: answers messages and REST, and encodes what happens.

    A venue's market runs by its own clock, so every time that it tells is of that clock, and
    agrees with its trades, candles and books.

    Parameters
    ----------
    market
        The market process.
    clock
        Tells how far the market has come.
    instruments
        What it lists, canonical names of first generations.
    lifecycle
        What is delisted and relisted when, and how wrong its clock is; by default nothing.
    """

    name: ClassVar[str]
    socket_paths: ClassVar[tuple[str, ...]]
    """Where it accepts WebSockets."""
    base_path: ClassVar[str] = ""
    """What its WebSocket address ends in."""
    slow_feeds: ClassVar[Mapping[Feed, float]] = {}
    """Feeds that it sends on a schedule -> seconds between two messages."""

    def __init__(
        self,
        market: MarketProcess,
        clock: Clock,
        instruments: Sequence[str],
        lifecycle: Lifecycle | None = None,
    ) -> None:
        listings = lifecycle or Lifecycle(market, FaultsConfig(), market.epoch_ns)
        super().__init__(market, clock, listings)
        self._symbols: dict[str, str] = {}
        self.assets = {name: self.asset(name) for name in instruments}
        self.by_symbol = {self.symbol(name): name for name in instruments}
        self.book_process = BookProcess(market.config)
        self.perpetuals = PerpetualProcess(market)
        self.books: dict[str, LiveBook] = {}
        """Books that somebody follows, by instrument; the stream moves them on."""
        self._figures = lru_cache(4 * len(instruments) + 1)(self._compute_figures)

    # -- names ---------------------------------------------------------------------------

    def symbol(self, instrument: str) -> str:
        """Return the venue's own name of an instrument, the same for all its generations."""
        known = self._symbols.get(instrument)
        if known is None:
            known = self.symbol_of(Instrument.parse(first_generation(instrument)))
            self._symbols[instrument] = known
        return known

    @abstractmethod
    def symbol_of(self, instrument: Instrument) -> str:
        """Return the venue's own name of a first generation on its WebSocket."""

    def asset(self, instrument: str) -> Asset:
        """Return the asset behind one of its instruments."""
        return ASSETS[place_of(self.name, instrument).asset]

    # -- its wire ------------------------------------------------------------------------

    def client(self, request: web.Request) -> Client:
        """Return the state of a new connection."""
        del request
        return Client()

    def welcome(self, client: Client) -> list[str]:
        """Return frames sent on connecting."""
        del client
        return []

    @abstractmethod
    def answer(self, text: str, client: Client) -> list[str]:
        """Take a client's message and return what to send back."""

    @abstractmethod
    def trade_frames(self, client: Client, trades: Sequence[Trade]) -> list[str]:
        """Encode new trades of one instrument, oldest first."""

    @abstractmethod
    def top_frames(self, client: Client, top: BookTop, last: Trade, *, traded: bool) -> list[str]:
        """Encode a new best bid and ask; `traded` where a trade moved it."""

    def book_frames(self, client: Client, instrument: str, book: LiveBook) -> list[str]:
        """Encode the last change of a book."""
        raise NotImplementedError(f"the simulated {self.name} has no books ({instrument})")

    def snapshot_frames(self, client: Client, instrument: str, book: LiveBook) -> list[str]:
        """Encode a whole book, for venues that stream snapshots; else return nothing."""
        del client, instrument, book
        return []

    def first_snapshot(self, client: Client, instrument: str) -> list[str]:
        """Encode what a subscription to a book begins with; nothing while it is not listed."""
        book = self.live_book(instrument)
        frames = self.snapshot_frames(client, instrument, book) if book else []
        return [BookFrame(frame) for frame in frames]

    def slow_frames(self, client: Client, feed: Feed, instrument: str) -> list[str]:
        """Encode what one of `slow_feeds` says now."""
        raise NotImplementedError(f"the simulated {self.name} has no {feed} ({instrument})")

    def heartbeats(self, client: Client, *, idle: bool) -> list[str]:
        """Return what is sent every second; `idle` where nothing else was sent."""
        del client, idle
        return []

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """Return its REST routes."""

    # -- quotes and books ----------------------------------------------------------------

    def top(self, last: Trade, now_ns: int) -> BookTop:
        """Return the best bid and ask after a trade: the price taken, and a spread beside it."""
        asset = self.asset(last.instrument)
        scale, lots = 10**asset.price_decimals, 10**asset.amount_decimals
        step = self.book_process.step_of(now_ns)
        best = self.book_process.best(last, step)
        return BookTop(
            self.name,
            last.instrument,
            best.bid / scale,
            best.bid_lots / lots,
            best.ask / scale,
            best.ask_lots / lots,
            self.book_process.sequence(place_of(self.name, last.instrument), step),
            now_ns,
            now_ns,
        )

    def live_book(self, instrument: str) -> LiveBook | None:
        """Return a book that is followed from now on; None while it is not listed."""
        book = self.books.get(instrument)
        if book is None:
            step = self.book_process.step_of(self.clock.now_ns())
            last = self.last_trade(instrument, self.book_process.step_start(step))
            if last is None:
                return None
            book = LiveBook(place_of(self.name, instrument), self.book_process, last, step)
            self.books[instrument] = book
        return book

    def book_now(self, instrument: str) -> LiveBook | None:
        """Return a book as last sent, or as it is now where nobody follows it."""
        followed = instrument in self.books
        book = self.live_book(instrument)
        if not followed:
            self.books.pop(instrument, None)
        return book

    def perpetual(self, instrument: str) -> Perpetual:
        """Return what it says of one of its perpetual swaps now."""
        generation = self.newest_life(instrument).generation
        return self.perpetuals.at(self.name, instrument, self.clock.now_ns(), generation)

    # -- candles -------------------------------------------------------------------------

    def candles(self, instrument: str, interval_ns: int, span: tuple[int, int]) -> list[Bar]:
        """Return the newest generation's candles that open in a span, as known now."""
        life, now = self.newest_life(instrument), self.clock.now_ns()
        as_of = now if life.end_ns is None else min(now, life.end_ns - 1)
        rows = bars(self.market, self.name, instrument, interval_ns, span, as_of, life.start_ns)
        if life.generation == 1:
            return rows
        return [_repriced(row, life) for row in rows]

    def figures(self, instrument: str) -> DayFigures:
        """Return the last 24 hours' figures, as of the last full minute."""
        return self._figures(first_generation(instrument), self.clock.now_ns() // MINUTE_NS)

    def _compute_figures(self, instrument: str, minute: int) -> DayFigures:
        end = minute * MINUTE_NS
        asset = self.asset(instrument)
        scale, lots = 10**asset.price_decimals, 10**asset.amount_decimals
        rows = self.candles(instrument, HOUR_NS, (end - 24 * HOUR_NS, end))
        rows = [row for row in rows if row.trade_count]
        if not rows:
            return DayFigures(asset.price, asset.price, asset.price, 0.0, asset.price)
        volume = sum(row.lots for row in rows)
        return DayFigures(
            rows[0].open / scale,
            max(row.high for row in rows) / scale,
            min(row.low for row in rows) / scale,
            volume / lots,
            sum(row.quote for row in rows) / volume / scale,
        )


def _repriced(row: Bar, life: Life) -> Bar:
    """Return a candle of the market process with a later generation's prices."""
    ticks = life.ticks
    open_, high, low, close = ticks(row.open), ticks(row.high), ticks(row.low), ticks(row.close)
    share = close / row.close
    return row._replace(
        open=open_,
        high=high,
        low=low,
        close=close,
        quote=row.quote * share,
        buy_quote=row.buy_quote * share,
    )
