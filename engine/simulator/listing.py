"""What the simulated venues list: assets and their markets, read from ``assets.json``.

A venue trades any asset of the file in each of its segments; the file only says which markets
it lists where a configuration names none. Adding an asset is one line of that file. Existing
assets keep their own minute-level
draws, but the daily ones are taken for all assets together, so the market changes.
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib import resources
from typing import NamedTuple

from engine.domain.instrument import Instrument
from engine.errors import InstrumentError


class Segment(NamedTuple):
    """The markets of one venue against one quote currency, of one kind."""

    exchange: str
    quote: str
    perpetual: bool
    weight: float
    """Trades relative to Binance spot's."""
    listed_as: str
    """What ``assets.json`` calls it; empty where it lists nothing unless asked."""


SEGMENTS = (
    Segment("binance", "USDT", False, 1.0, "binance"),
    Segment("coinbase", "USD", False, 0.6, "coinbase"),
    Segment("kraken", "USD", False, 0.35, "kraken"),
    Segment("binance_perp", "USDT", True, 1.2, "binance_perp"),
    Segment("bybit", "USDT", False, 0.4, "bybit"),
    Segment("bybit", "USDT", True, 0.7, "bybit_linear"),
    Segment("okx", "USDT", False, 0.4, "okx"),
    Segment("okx", "USDT", True, 0.7, "okx_swap"),
    Segment("binance", "USDC", False, 0.2, ""),
    Segment("binance", "FDUSD", False, 0.2, ""),
    Segment("coinbase", "USDT", False, 0.1, ""),
    Segment("coinbase", "USDC", False, 0.1, ""),
    Segment("kraken", "USDT", False, 0.1, ""),
    Segment("kraken", "USDC", False, 0.1, ""),
    Segment("binance_perp", "USDC", True, 0.2, ""),
    Segment("bybit", "USDC", False, 0.1, ""),
    Segment("bybit", "USDC", True, 0.1, ""),
    Segment("okx", "USDC", False, 0.1, ""),
    Segment("okx", "USDC", True, 0.1, ""),
)
"""Every kind of market; its place here numbers it in the random streams: never reorder."""

_COUNTED_SEGMENTS = SEGMENTS[:3]
"""Those whose default markets make ``simulator.trades_per_second`` together."""

VENUES = tuple(dict.fromkeys(segment.exchange for segment in SEGMENTS))
"""Simulated venues."""

MEAN_TRADE_QUOTE = 800.0
"""Mean size of a trade at an asset's base price, quote currency."""


class Asset(NamedTuple):
    """One base currency of the simulated market."""

    base: str
    price: float
    """Price at the epoch, in US dollars."""
    daily_volatility: float
    """Standard deviation of its daily log return in an ordinary regime."""
    beta: float
    """Loading on the market factor."""
    activity: float
    """Relative number of trades; only ratios count."""
    names: tuple[str, ...]
    """What people call it; the first is its usual name."""
    venues: tuple[str, ...]
    """Segments (`Segment.listed_as`) that list it by default."""

    @property
    def price_decimals(self) -> int:
        """Digits after the point of its prices: about six significant ones, at most 8."""
        return _price_decimals(self.price)

    @property
    def amount_decimals(self) -> int:
        """Digits after the point of its amounts: a mean trade is 1,000 to 10,000 lots."""
        return _amount_decimals(self.price)


@cache
def _price_decimals(price: float) -> int:
    return min(8, max(0, 5 - math.floor(math.log10(price))))


@cache
def _amount_decimals(price: float) -> int:
    return min(8, max(0, 3 - math.floor(math.log10(MEAN_TRADE_QUOTE / price))))


def _read_assets() -> tuple[Asset, ...]:
    text = resources.files(__package__).joinpath("assets.json").read_text(encoding="utf-8")
    return tuple(
        Asset(**{**row, "names": tuple(row["names"]), "venues": tuple(row["venues"])})
        for row in json.loads(text)
    )


ASSETS = _read_assets()
"""Every simulated asset; its place here numbers it in the random streams."""

ASSET_INDEX = {asset.base: index for index, asset in enumerate(ASSETS)}

LISTINGS: dict[str, tuple[str, ...]] = {
    venue: tuple(
        str(Instrument(asset.base, segment.quote, segment.perpetual))
        for segment in SEGMENTS
        if segment.exchange == venue
        for asset in ASSETS
        if segment.listed_as in asset.venues
    )
    for venue in VENUES
}
"""Instruments that each venue lists by default, canonical names."""


class Place(NamedTuple):
    """A market's two numbers in the random streams."""

    segment: int
    """Place in `SEGMENTS`."""
    asset: int
    """Place in `ASSETS`."""


@cache
def _counted_activity() -> float:
    return math.fsum(
        asset.activity * segment.weight
        for asset in ASSETS
        for segment in _COUNTED_SEGMENTS
        if segment.listed_as in asset.venues
    )


def trade_share(place: Place) -> float:
    """Return the market's trades relative to ``simulator.trades_per_second``.

    The default markets of Binance spot, Coinbase and Kraken sum to 1.
    """
    return ASSETS[place.asset].activity * SEGMENTS[place.segment].weight / _counted_activity()


@cache
def place_of(venue: str, instrument: str) -> Place:
    """Return the place in the random streams of `venue`'s `instrument`, of any generation.

    Raises
    ------
    InstrumentError
        Where no such venue is simulated, it has no such kind of market, or the asset is unknown.
    """
    if venue not in VENUES:
        raise InstrumentError(f"no venue {venue!r} is simulated; there are {', '.join(VENUES)}")
    name = Instrument.parse(instrument)
    for number, segment in enumerate(SEGMENTS):
        kind = (segment.exchange, segment.quote, segment.perpetual)
        if kind == (venue, name.quote, name.perpetual) and name.expiry is None:
            if name.base in ASSET_INDEX:
                return Place(number, ASSET_INDEX[name.base])
            break
    quotes = dict.fromkeys(segment.quote for segment in SEGMENTS if segment.exchange == venue)
    raise InstrumentError(
        f"the simulated {venue} has no {instrument}; "
        f"it trades {len(ASSETS)} assets against {', '.join(quotes)}, "
        f"for example {LISTINGS[venue][0]}"
    )


@cache
def asset_of(venue: str, instrument: str) -> int:
    """Return the place in `ASSETS` of the asset behind `venue`'s `instrument`.

    Raises
    ------
    InstrumentError
        As `place_of`.
    """
    return place_of(venue, instrument).asset
