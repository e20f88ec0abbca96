"""What only perpetual swaps have: index, mark, funding and open interest at any time.

Pure functions of (seed, market, time), like all of the simulated market.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from engine.clock import NS_PER_S
from engine.simulator.draws import Stream, generator
from engine.simulator.lifecycle import PRICE_FACTOR
from engine.simulator.listing import ASSETS, MEAN_TRADE_QUOTE, Place, place_of, trade_share
from engine.simulator.market import MarketProcess
from engine.simulator.planted import DAY_NS

FUNDING_NS = 8 * 3_600 * NS_PER_S
"""Length of a funding interval; intervals begin at 00:00, 08:00 and 16:00 UTC."""

INTEREST_RATE = 0.0001
"""Funding rate that holds where premiums are small, a fraction of an interval."""

MOST_FUNDING = 0.003
"""Largest funding rate either way."""

_HOURS = 24
_PREMIUM = 0.0004
_INTEREST_DAYS = 0.5
"""Open interest in daily volumes."""


class Perpetual(NamedTuple):
    """One perpetual swap at one moment; prices in quote currency."""

    index_price: float
    mark_price: float
    funding_rate: float
    """Of the running interval, a fraction."""
    funding_time_ns: int
    """When the running interval ends, UTC nanoseconds."""
    open_interest: float
    """Base currency."""


class PerpetualProcess:
    """The perpetual swaps of a market.

    Parameters
    ----------
    market
        The market process.
    """

    def __init__(self, market: MarketProcess) -> None:
        self._market = market
        self._hours = lru_cache(1_024)(self._draw_hours)

    def at(self, exchange: str, instrument: str, time_ns: int, generation: int = 1) -> Perpetual:
        """Return what a venue says of a generation of a swap at a time."""
        place = place_of(exchange, instrument)
        base = ASSETS[place.asset].base
        index = math.exp(float(self._market.log_prices([base], [time_ns])[0, 0]))
        index *= PRICE_FACTOR ** (generation - 1)
        premium, interest = self._between_hours(place, time_ns)
        interval = time_ns // FUNDING_NS
        return Perpetual(
            index,
            index * (1.0 + premium),
            self._funding(place, interval),
            (interval + 1) * FUNDING_NS,
            interest,
        )

    def _funding(self, place: Place, interval: int) -> float:
        """Return an interval's rate: the premium as it began, towards the interest rate."""
        premium, _ = self._between_hours(place, interval * FUNDING_NS)
        rate = premium + min(max(INTEREST_RATE - premium, -0.0005), 0.0005)
        return round(min(max(rate, -MOST_FUNDING), MOST_FUNDING), 8)

    def _between_hours(self, place: Place, time_ns: int) -> tuple[float, float]:
        """Return premium (a fraction) and open interest (base currency) at a time."""
        day, rest = divmod(
            max(time_ns, self._market.first_day_ns) - self._market.first_day_ns, DAY_NS
        )
        hour = rest / DAY_NS * _HOURS
        premiums, interests = self._hours(place, day)
        ticks = range(_HOURS + 1)
        return float(np.interp(hour, ticks, premiums)), float(np.interp(hour, ticks, interests))

    def _draw_hours(self, place: Place, day: int) -> tuple[list[float], list[float]]:
        """Draw each hour's values; the day after begins where a day ends."""
        here, after = (
            generator(self._market.config.seed, Stream.PERPETUALS, *place, number).standard_normal(
                (2, _HOURS)
            )
            for number in (day, day + 1)
        )
        noise = np.column_stack((here, after[:, :1]))
        asset = ASSETS[place.asset]
        daily = self._market.config.trades_per_second * trade_share(place) * 86_400
        volume = daily * MEAN_TRADE_QUOTE / asset.price
        interests = _INTEREST_DAYS * volume * np.exp(0.05 * noise[1])
        return (_PREMIUM * noise[0]).tolist(), interests.tolist()
