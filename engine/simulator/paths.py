"""Inside a day: each asset's log price minute by minute, between the day's nodes.

Minute returns are heavy-tailed, with volatility that follows the time of day and a slow
noise; a bridge then spreads what is missing to the day's return over the minutes in proportion
to their variance, so that a day always ends where the skeleton says.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from engine.simulator.draws import Floats, Stream, generator, heavy_tailed
from engine.simulator.listing import ASSETS
from engine.simulator.skeleton import Skeleton, SkeletonBuilder

MINUTES = 1440
"""Minutes of a day."""

CACHED_DAYS = 400
"""Asset days (and factor days) kept in memory, 35 KB each."""

_CLUSTERING = 0.45


def _time_of_day() -> Floats:
    """Volatility and volume over the day (UTC): low at night, high as New York opens."""
    hour = np.arange(MINUTES) / 60.0
    shape = (
        0.75
        + 0.75 * np.exp(-(((hour - 14.8) / 2.6) ** 2))
        + 0.30 * np.exp(-(((hour - 8.0) / 2.0) ** 2))
        + 0.20 * np.exp(-(((hour - 0.5) / 1.2) ** 2))
    )
    return np.asarray(shape / shape.mean(), dtype=np.float64)


TIME_OF_DAY = _time_of_day()
"""Relative volatility of each minute of the day; its mean is 1."""

_MINUTE = np.arange(MINUTES, dtype=np.float64)
_HOURS = np.arange(25, dtype=np.float64) * 60.0


class DayPath(NamedTuple):
    """One day's way of the factor or of one asset."""

    log_price: Floats
    """At each minute's start and at the day's end, 1,441 values."""
    sigma: Floats
    """Standard deviation of each minute's log return, 1,440 values."""


class Paths:
    """Minute paths of all assets, without planted sentiment.

    Parameters
    ----------
    seed
        The simulation's seed.
    weekday
        Weekday of the epoch's day, Monday 0.
    """

    def __init__(self, seed: int, weekday: int) -> None:
        self._seed = seed
        self._skeleton = SkeletonBuilder(seed, weekday)
        self.asset_day = lru_cache(CACHED_DAYS)(self._asset_day)
        self._factor_day = lru_cache(CACHED_DAYS)(self._make_factor_day)

    def skeleton(self, day: int) -> Skeleton:
        """Return the daily arrays, holding at least `day`."""
        return self._skeleton.upto(day)

    def _make_factor_day(self, day: int) -> DayPath:
        days = self._skeleton.upto(day)
        rng = generator(self._seed, Stream.FACTOR_MINUTES, day)
        share = _variance_shares(rng, _CLUSTERING)
        return _bridge(rng, share, float(days.factor_sigma[day]), float(days.factor_return[day]))

    def _asset_day(self, asset: int, day: int) -> DayPath:
        """Return `asset`'s day `day` (0 is the epoch's)."""
        days = self._skeleton.upto(day)
        factor = self._factor_day(day)
        rng = generator(self._seed, Stream.ASSET_MINUTES, asset, day)
        share = _variance_shares(rng, _CLUSTERING)
        own = _bridge(
            rng, share, float(days.own_sigma[day, asset]), float(days.own_return[day, asset])
        )
        beta = ASSETS[asset].beta
        return DayPath(
            days.node[day, asset] + beta * factor.log_price + own.log_price,
            np.sqrt((beta * factor.sigma) ** 2 + own.sigma**2),
        )


def _variance_shares(rng: np.random.Generator, clustering: float) -> Floats:
    """Split a day's variance over its minutes; sums to 1."""
    slow = np.interp(_MINUTE, _HOURS, rng.standard_normal(25))
    variance = (TIME_OF_DAY * np.exp(clustering * slow)) ** 2
    return np.asarray(variance / variance.sum(), dtype=np.float64)


def _bridge(rng: np.random.Generator, share: Floats, sigma: float, total: float) -> DayPath:
    """Walk from 0 to `total` in minutes of variance ``sigma**2 * share``."""
    minute_sigma = sigma * np.sqrt(share)
    steps = minute_sigma * heavy_tailed(rng, MINUTES)
    steps += (total - steps.sum()) * share
    path = np.empty(MINUTES + 1)
    path[0] = 0.0
    np.cumsum(steps, out=path[1:])
    path[-1] = total
    return DayPath(path, minute_sigma)
