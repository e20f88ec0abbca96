"""How much a price moves, as known at each bar."""

from __future__ import annotations

import numpy as np

from engine.evaluation.panel import Floats

LEAST_RETURNS = 8
"""With fewer returns behind it a bar has no volatility."""


def realised_volatility(close: Floats, bars: int) -> Floats:
    """Return the standard deviation of one-bar log returns up to and including each bar.

    The returns are those into the last `bars` bars of the grid. One into or out of a bar that is
    missing is none: a gap is not bridged. A market that is younger takes what it has, from
    `LEAST_RETURNS` on.

    Parameters
    ----------
    close
        On the regular grid, shape (n,) or (n, markets); NaN where a bar is missing.
    bars
        At least 2.

    Returns
    -------
    ndarray
        Same shape; NaN with too few returns, or where the bar itself is missing. Each value
        depends on its window alone, to the bit, wherever the array begins.

    Raises
    ------
    ValueError
        Where `bars` is below 2.
    """
    if bars < 2:
        raise ValueError(f"{bars} bars have no spread")
    returns = np.full(close.shape, np.nan)
    returns[1:] = np.diff(np.log(close), axis=0)
    known = np.isfinite(returns)
    count = _windowed(known.astype(np.float64), bars)
    enough = (count >= min(bars, LEAST_RETURNS)) & np.isfinite(close)
    divisor = np.where(enough, count, np.nan)
    mean = _windowed(np.where(known, returns, 0.0), bars) / divisor
    squares = np.zeros(close.shape)
    # Two passes: the spread of small returns would drown in the difference of large sums.
    for lag in range(min(bars, len(close))):
        until = len(close) - lag
        deviation = returns[:until] - mean[lag:]
        squares[lag:] += np.where(known[:until], deviation * deviation, 0.0)
    return np.sqrt(squares / (divisor - 1.0))


def _windowed(values: Floats, bars: int) -> Floats:
    """Sum the last `bars` values up to each: always in the same order, newest first."""
    sums = np.zeros(values.shape)
    for lag in range(min(bars, len(values))):
        sums[lag:] += values[: len(values) - lag]
    return sums
