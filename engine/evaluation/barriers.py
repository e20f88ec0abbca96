"""The triple barrier: which of an upper, a lower and a vertical barrier was touched first.

After López de Prado, *Advances in Financial Machine Learning* (2018), chapter 3, with highs and
lows instead of closes alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.panel import Floats, PricePanel

Counts = NDArray[np.intp]

BARRIERS = ("", "upper", "lower", "both", "vertical")
"""Names of the codes in `Touches.barrier`; empty: not known."""

UNKNOWN, UPPER, LOWER, BOTH, VERTICAL = range(5)


class Touches(NamedTuple):
    """What was touched first, shape (rows, markets)."""

    barrier: NDArray[np.int8]
    """Codes of `BARRIERS`."""
    bars: Counts
    """How many bars later: 1 is the next one; -1 where it is not known."""


def first_touches(panel: PricePanel, width: Floats, within: Counts) -> Touches:
    """Say which barrier each bar's price touched first.

    The upper barrier lies at ``close * exp(width)``, the lower at ``close * exp(-width)``; a high
    at or above the one or a low at or below the other touches it. Where one bar touches both, its
    open decides if it lies at or beyond one of them; else the candle does not tell which came
    first, and neither do we: `BOTH`. Whoever takes a side has to count that as a loss.

    A bar that is missing before a touch leaves the barrier unknown.

    Parameters
    ----------
    panel
        Prices on the grid.
    width
        Log distance of the barriers for the panel's first rows, shape (rows, markets); where it
        is not finite and above zero there are no barriers.
    within
        Last bar that counts, in bars after each, same shape, at least 0; it lies in the panel.
    """
    rows, markets = width.shape
    if not rows:
        return Touches(np.zeros((0, markets), np.int8), np.zeros((0, markets), np.intp))
    close = panel.close[:rows]
    has_barriers = np.isfinite(close) & np.isfinite(width) & (width > 0.0)
    distance = np.where(has_barriers, width, np.inf)
    with np.errstate(over="ignore"):
        upper, lower = close * np.exp(distance), close * np.exp(-distance)
    highest = int(within.max(initial=0))
    above = _skipped(_maxima(panel.high, highest), upper, within)
    below = _skipped(_maxima(-panel.low, highest), -lower, within)
    present = _present_after(panel.close)[:rows]
    touched = np.minimum(above, below)
    is_touched = (touched < within) & (touched < present)
    barrier = np.where(
        is_touched,
        _which(panel, above, below, upper, lower),
        np.where(present >= within, VERTICAL, UNKNOWN),
    )
    barrier = np.where(has_barriers, barrier, UNKNOWN).astype(np.int8)
    bars = np.where(is_touched, touched + 1, within)
    return Touches(barrier, np.where(barrier == UNKNOWN, -1, bars))


def _which(
    panel: PricePanel, above: Counts, below: Counts, upper: Floats, lower: Floats
) -> NDArray[np.int8]:
    """Return which barrier the touching bar touched first."""
    rows, markets = above.shape
    bar = np.arange(rows)[:, None] + 1 + np.minimum(above, below)
    opened = panel.open[np.minimum(bar, len(panel) - 1), np.arange(markets)]
    together = np.where(opened >= upper, UPPER, np.where(opened <= lower, LOWER, BOTH))
    return np.where(above < below, UPPER, np.where(below < above, LOWER, together)).astype(np.int8)


def _maxima(values: Floats, longest: int) -> list[Floats]:
    """Return the maxima over 1, 2, 4, … bars from each on, up to `longest`; NaN never counts."""
    tables = [np.where(np.isnan(values), -np.inf, values)]
    span = 1
    while 2 * span <= longest:
        last = tables[-1]
        tables.append(np.maximum(last[:-span], last[span:]))
        span *= 2
    return tables


def _skipped(maxima: list[Floats], threshold: Floats, within: Counts) -> Counts:
    """Return how many bars after each stay below its threshold, at most `within`.

    Skips the longest stretch that stays below, then half of it, and so on: the logarithm of the
    horizon instead of the horizon.
    """
    rows, markets = threshold.shape
    row, column = np.arange(rows)[:, None] + 1, np.arange(markets)
    skipped = np.zeros((rows, markets), dtype=np.intp)
    for level in range(len(maxima) - 1, -1, -1):
        span = 1 << level
        fits = skipped + span <= within
        at = np.minimum(row + skipped, len(maxima[level]) - 1)
        # NaN: where there is no threshold nothing is below it.
        stays = fits & (maxima[level][at, column] < threshold)
        skipped += span * stays
    return skipped


def _present_after(close: Floats) -> Counts:
    """Return how many bars in a row are there after each."""
    bars = len(close)
    index = np.arange(bars)[:, None]
    missing = np.where(np.isnan(close), index, bars)
    first_missing = np.minimum.accumulate(missing[::-1], axis=0)[::-1]
    after = np.full(close.shape, bars, dtype=np.intp)
    after[:-1] = first_missing[1:]
    return after - index - 1
