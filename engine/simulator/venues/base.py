"""What every simulated venue does: quotes, subscriptions, and the shape of its wire."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

from aiohttp import web

from engine.clock import NS_PER_MS, Clock
from engine.domain.market import BookTop, Trade
from engine.simulator.bars import bars
from engine.simulator.listing import ASSETS, QUOTES, Asset, asset_of
from engine.simulator.market import MINUTE_NS, MarketProcess

HOUR_NS = 60 * MINUTE_NS

Feed = Literal["trades", "book_top", "heartbeat"]
"""Kinds of subscription."""

_LOOK_BACK_MINUTES = 720


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
        self.messages_ns: list[int] = []
        """When its latest messages came."""


class DayFigures(NamedTuple):
    """A market's last 24 hours, in quote currency and base currency."""

    open: float
    high: float
    low: float
    volume: float
    vwap: float


class Venue(ABC):
    """One simulated venue: answers messages and REST, and encodes what happens.

    Parameters
    ----------
    market
        The market process.
    clock
        Tells how far the market has come.
    instruments
        What it lists, canonical names.
    """

    name: ClassVar[str]
    socket_paths: ClassVar[tuple[str, ...]]
    """Where it accepts WebSockets."""
    base_path: ClassVar[str] = ""
    """What its WebSocket address ends in."""

    def __init__(self, market: MarketProcess, clock: Clock, instruments: Sequence[str]) -> None:
        self.market = market
        self.clock = clock
        self.assets = {name: ASSETS[asset_of(self.name, name)] for name in instruments}
        self.by_symbol = {self.symbol(name): name for name in instruments}
        self.latest: dict[str, Trade] = {}
        """Each instrument's last streamed trade; the server keeps it."""
        self._figures = lru_cache(4 * len(instruments) + 1)(self._compute_figures)

    @abstractmethod
    def symbol(self, instrument: str) -> str:
        """Return the venue's own name of an instrument on its WebSocket."""

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

    def heartbeats(self, client: Client, *, idle: bool) -> list[str]:
        """Return what is sent every second; `idle` where nothing else was sent."""
        del client, idle
        return []

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """Return its REST routes."""

    def top(self, last: Trade, now_ns: int) -> BookTop:
        """Return the best bid and ask after a trade: the price taken, and a spread beside it."""
        asset = self.assets[last.instrument]
        scale, lots = 10**asset.price_decimals, 10**asset.amount_decimals
        tick = round(last.price * scale)
        spread = max(1, tick // 10_000)
        bid, ask = (tick - spread, tick) if last.side == "buy" else (tick, tick + spread)
        shake = (last.sequence * 2_654_435_761 + now_ns // (5_000 * NS_PER_MS) * 40_503) % 2**32
        typical = max(2, round(800 / last.price * lots))
        return BookTop(
            self.name,
            last.instrument,
            max(bid, 1) / scale,
            (1 + shake % (4 * typical)) / lots,
            max(ask, 2) / scale,
            (1 + (shake >> 7) % (4 * typical)) / lots,
            (now_ns - self.market.first_day_ns) // NS_PER_MS,
            now_ns,
            now_ns,
        )

    def last_trades(self, instrument: str, count: int, now_ns: int) -> list[Trade]:
        """Return the latest trades up to now, oldest first; of the last twelve hours at most."""
        found: list[Trade] = []
        end = now_ns + 1
        for _ in range(_LOOK_BACK_MINUTES):
            start = (end - 1) - (end - 1) % MINUTE_NS
            if end <= self.market.epoch_ns:
                break
            found = self.market.trades(self.name, instrument, start, end) + found
            if len(found) >= count:
                break
            end = start
        return found[-count:]

    def latest_trade(self, instrument: str) -> Trade | None:
        """Return the last trade, streamed or looked up; None where there was none lately."""
        if instrument not in self.latest:
            for trade in self.last_trades(instrument, 1, self.clock.now_ns()):
                self.latest[instrument] = trade
        return self.latest.get(instrument)

    def figures(self, instrument: str) -> DayFigures:
        """Return the last 24 hours' figures, as of the last full minute."""
        return self._figures(instrument, self.clock.now_ns() // MINUTE_NS)

    def _compute_figures(self, instrument: str, minute: int) -> DayFigures:
        end = minute * MINUTE_NS
        asset = self.assets[instrument]
        scale, lots = 10**asset.price_decimals, 10**asset.amount_decimals
        rows = bars(self.market, self.name, instrument, HOUR_NS, (end - 24 * HOUR_NS, end), end)
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

    def asset(self, instrument: str) -> Asset:
        """Return the asset behind one of its instruments."""
        return self.assets[instrument]

    @property
    def quote(self) -> str:
        """Its quote currency."""
        return QUOTES[self.name]


def decimal(units: int, decimals: int) -> str:
    """Write a whole number of ticks or lots as a decimal.

    Examples
    --------
    >>> decimal(4790740, 2)
    '47907.40'
    """
    whole, rest = divmod(units, 10**decimals)
    return f"{whole}.{rest:0{decimals}d}" if decimals else str(whole)
