"""The market's days: regimes, the common factor, volatility and each asset's daily nodes.

A few dozen numbers a day, built once from the epoch on and extended in blocks; what
happens inside a day hangs between these nodes and is computed only when asked for
(`engine.simulator.paths`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from engine.simulator.draws import Floats, Stream, generator, heavy_tailed
from engine.simulator.listing import ASSETS

FACTOR_VOLATILITY = 0.024
"""Standard deviation of the market factor's daily log return in an ordinary regime."""

BLOCK_DAYS = 64
"""Days by which the skeleton grows."""

_REVERSION = 1 / 250
_PERSISTENCE = 0.90
_VOLATILITY_OF_VOLATILITY = 0.16
_WEEKEND_ACTIVITY = 0.75
_TREND_DRIFT = 0.45


class Regime(IntEnum):
    """The market's state for some days."""

    CALM = 0
    TREND = 1
    TURBULENT = 2


REGIME_VOLATILITY = np.array([0.65, 0.95, 1.9])
"""Factor by which a regime scales volatility."""

TRANSITIONS = np.array([[0.92, 0.06, 0.02], [0.08, 0.87, 0.05], [0.08, 0.10, 0.82]])
"""Daily probabilities of passing from the row's regime to the column's."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Daily arrays from the epoch's day on; rows are days, columns assets.

    Planted sentiment is not in it: it comes on top.
    """

    regime: np.ndarray[tuple[int], np.dtype[np.int64]]
    factor_return: Floats
    """Market factor's log return of the day."""
    factor_sigma: Floats
    """Its standard deviation that day."""
    own_return: Floats
    """Each asset's own log return of the day, reversion to its base price included."""
    own_sigma: Floats
    node: Floats
    """Log price at the start of the day."""
    activity: Floats
    """Trades of the day relative to an ordinary one."""


class SkeletonBuilder:
    """Builds the skeleton as far as it is needed.

    Parameters
    ----------
    seed
        The simulation's seed.
    weekday
        Weekday of the epoch's day, Monday 0.
    """

    def __init__(self, seed: int, weekday: int) -> None:
        self._seed = seed
        self._weekday = weekday
        self._beta = np.array([asset.beta for asset in ASSETS])
        self._own = np.array([_own_volatility(a.daily_volatility, a.beta) for a in ASSETS])
        self._base = np.log(np.array([asset.price for asset in ASSETS]))
        self._regime = Regime.CALM
        self._direction = 1.0
        self._log_volatility = 0.0
        self._node = self._base.copy()
        self._rows: list[tuple[float | Floats, ...]] = []
        self._skeleton: Skeleton | None = None

    def upto(self, day: int) -> Skeleton:
        """Return the skeleton, holding at least day `day` (0 is the epoch's)."""
        if self._skeleton is None or day >= len(self._rows):
            target = (day // BLOCK_DAYS + 1) * BLOCK_DAYS
            while len(self._rows) < target:
                self._rows.append(self._next_day(len(self._rows)))
            columns = [np.array(column) for column in zip(*self._rows, strict=True)]
            self._skeleton = Skeleton(*columns)
        return self._skeleton

    def _next_day(self, day: int) -> tuple[float | Floats, ...]:
        rng = generator(self._seed, Stream.DAY, day)
        self._enter_regime(rng)
        self._log_volatility = (
            _PERSISTENCE * self._log_volatility + _VOLATILITY_OF_VOLATILITY * rng.standard_normal()
        )
        scale = float(REGIME_VOLATILITY[self._regime] * np.exp(self._log_volatility))
        drift = self._direction * _TREND_DRIFT if self._regime is Regime.TREND else 0.0
        factor_sigma = FACTOR_VOLATILITY * scale
        factor = factor_sigma * (float(heavy_tailed(rng, 1)[0]) + drift)
        own_sigma = self._own * np.sqrt(scale)
        own = own_sigma * heavy_tailed(rng, len(ASSETS))
        own -= _REVERSION * (self._node - self._base)
        noise = rng.standard_normal(len(ASSETS))
        weekend = _WEEKEND_ACTIVITY if (self._weekday + day) % 7 >= 5 else 1.0
        activity = weekend * scale**0.4 * np.exp(0.25 * noise - 0.25**2 / 2)
        node = self._node
        self._node = node + self._beta * factor + own
        return (int(self._regime), factor, factor_sigma, own, own_sigma, node, activity)

    def _enter_regime(self, rng: np.random.Generator) -> None:
        chance, direction = rng.random(2)
        edges = np.cumsum(TRANSITIONS[self._regime])
        following = Regime(min(int(np.searchsorted(edges, chance, side="right")), 2))
        if following is Regime.TREND and self._regime is not Regime.TREND:
            self._direction = 1.0 if direction < 0.5 else -1.0
        self._regime = following


def _own_volatility(daily: float, beta: float) -> float:
    """Return what the factor leaves of an asset's volatility, at least 45 % of it."""
    rest = daily**2 - (beta * FACTOR_VOLATILITY) ** 2
    return float(np.sqrt(max(rest, (0.45 * daily) ** 2)))
