"""How far a score may be trusted: five parts, each in [0, 1], and their weighted mean.

docs/ranking.md holds the matrix as a table.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import exp2, fsum, prod

from engine.clock import NS_PER_MS, NS_PER_S
from engine.domain.signal import Confidence
from engine.domain.timeframe import Timeframe

EXPONENTS = {
    "agreement": 0.35,
    "freshness": 0.20,
    "coverage": 0.20,
    "stability": 0.15,
    "liquidity": 0.10,
}
"""Weights of the parts in their geometric mean; they sum to 1."""

FLOOR = 0.25
"""What the least liquid, the most volatile and the unknown get: they are doubted, not barred."""

INCOMPLETE_FEED = 0.5
"""Freshness is multiplied by this while the feed has an open gap or is stale."""


def agreement(contributions: Sequence[float]) -> float:
    """Return the net of the contributions over their gross: 1 where all have one sign."""
    gross = fsum(abs(part) for part in contributions)
    return min(1.0, abs(fsum(contributions)) / gross) if gross > 0 else 0.0


def half_life_ms(timeframe: Timeframe) -> float:
    """Return the data age that halves freshness: a tenth of a bar, at least 10 s."""
    return max(10 * NS_PER_S, timeframe.ns // 10) / NS_PER_MS


def freshness(data_age_ms: int, timeframe: Timeframe, *, feed_complete: bool) -> float:
    """Return ``2^(-age / half life)``, halved while the feed is incomplete."""
    fresh = exp2(-max(0, data_age_ms) / half_life_ms(timeframe))
    return fresh if feed_complete else fresh * INCOMPLETE_FEED


def liquidity(turnover: float | None, universe: Sequence[float]) -> float:
    """Return ``0.25 + 0.75 x`` the share of the universe that trades no more; 0.25 if unknown.

    Parameters
    ----------
    turnover
        Quote currency traded over 24 bars.
    universe
        Those of the universe that are known, ascending.
    """
    if turnover is None or not universe:
        return FLOOR
    return FLOOR + (1 - FLOOR) * bisect_right(universe, turnover) / len(universe)


def stability(volatility: float | None, universe: Sequence[float]) -> float:
    """Return ``1 - 0.75 x`` the share of the universe that is calmer; 0.25 if unknown.

    Parameters
    ----------
    volatility
        Realised volatility over 168 bars.
    universe
        Those of the universe that are known, ascending.
    """
    if volatility is None or not universe:
        return FLOOR
    return 1 - (1 - FLOOR) * bisect_left(universe, volatility) / len(universe)


def overall(parts: Confidence) -> float:
    """Return the weighted geometric mean: one part at 0 leaves nothing."""
    powers = (float(getattr(parts, name)) ** power for name, power in EXPONENTS.items())
    return min(1.0, float(prod(powers)))
