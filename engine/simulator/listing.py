"""What the simulated venues list: assets and their markets, read from ``assets.json``.

Adding an asset is one line of that file. Existing assets keep their own minute-level
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

VENUES = ("binance", "coinbase", "kraken")
"""Simulated venues, in the order that numbers them in the random streams."""

QUOTES = {"binance": "USDT", "coinbase": "USD", "kraken": "USD"}
"""The one quote currency of each simulated venue."""

MEAN_TRADE_QUOTE = 800.0
"""Mean size of a trade at an asset's base price, quote currency."""

_VENUE_WEIGHT = {"binance": 1.0, "coinbase": 0.6, "kraken": 0.35}


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
    """Venues that list it by default."""

    @property
    def price_decimals(self) -> int:
        """Digits after the point of its prices: about six significant ones, at most 8."""
        return min(8, max(0, 5 - math.floor(math.log10(self.price))))

    @property
    def amount_decimals(self) -> int:
        """Digits after the point of its amounts: a mean trade is 1,000 to 10,000 lots."""
        mean_amount = MEAN_TRADE_QUOTE / self.price
        return min(8, max(0, 3 - math.floor(math.log10(mean_amount))))


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
    venue: tuple(f"{asset.base}-{QUOTES[venue]}" for asset in ASSETS if venue in asset.venues)
    for venue in VENUES
}
"""Instruments that each venue lists by default, canonical names."""


@cache
def _total_activity() -> float:
    return math.fsum(
        asset.activity * _VENUE_WEIGHT[venue] for asset in ASSETS for venue in asset.venues
    )


def trade_share(venue: str, asset: Asset) -> float:
    """Return the market's share of all trades; the default listings sum to 1."""
    return asset.activity * _VENUE_WEIGHT[venue] / _total_activity()


@cache
def asset_of(venue: str, instrument: str) -> int:
    """Return the place in `ASSETS` of the asset behind `venue`'s `instrument`.

    Raises
    ------
    InstrumentError
        Where no such venue is simulated, it has another quote currency, or the asset is unknown.
    """
    if venue not in VENUES:
        raise InstrumentError(f"no venue {venue!r} is simulated; there are {', '.join(VENUES)}")
    name = Instrument.parse(instrument)
    if name.quote != QUOTES[venue] or name.perpetual or name.base not in ASSET_INDEX:
        raise InstrumentError(
            f"the simulated {venue} has no {instrument}; "
            f"it trades {len(ASSETS)} assets against {QUOTES[venue]}, "
            f"for example {LISTINGS[venue][0]}"
        )
    return ASSET_INDEX[name.base]
