"""How well values rank what follows: rank IC, its mean, error and ratio."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def average_ranks(values: Floats) -> Floats:
    """Return ranks from 1, ties averaged; `values` holds no NaN.

    Examples
    --------
    >>> average_ranks(np.array([30.0, 10.0, 10.0]))
    array([3. , 1.5, 1.5])
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


def rank_ic(values: Floats, labels: Floats, min_pairs: int = 3) -> float:
    """Return Spearman's rank correlation of one cross-section.

    Parameters
    ----------
    values, labels
        One per market; a pair with a missing side is left out.
    min_pairs
        Fewest pairs for an answer.

    Returns
    -------
    float
        In [-1, 1]; NaN with too few pairs or where one side does not vary.
    """
    both = np.isfinite(values) & np.isfinite(labels)
    if int(both.sum()) < min_pairs:
        return nan
    left, right = average_ranks(values[both]), average_ranks(labels[both])
    left, right = left - left.mean(), right - right.mean()
    scale = sqrt(float(left @ left) * float(right @ right))
    return float(np.clip(float(left @ right) / scale, -1.0, 1.0)) if scale > 0 else nan


def newey_west_error(series: Floats, lags: int) -> float:
    """Return the standard error of a mean whose neighbours overlap.

    Bartlett weights (Newey and West 1987). With `lags` 0 it is the plain one, with *n* as the
    divisor of the variance.

    Parameters
    ----------
    series
        In order of time, no NaN.
    lags
        How many steps two values may share: horizon / spacing - 1 for overlapping returns.
    """
    count = len(series)
    if count < 2:
        return nan
    centred = series - series.mean()
    variance = float(centred @ centred) / count
    for lag in range(1, min(lags, count - 1) + 1):
        covariance = float(centred[lag:] @ centred[:-lag]) / count
        variance += 2 * (1 - lag / (lags + 1)) * covariance
    return sqrt(max(variance, 0.0) / count)


@dataclass(frozen=True, slots=True)
class IcSummary:
    """Rank ICs over time, in short."""

    mean: float
    t: float
    """Mean over its Newey-West error; NaN where that is 0."""
    icir: float
    """Mean over the standard deviation of the ICs, per cross-section; NaN where that is 0."""
    positive_share: float
    """Share of cross-sections with an IC above 0."""
    count: int
    """Cross-sections with an IC."""


def summarise(ics: Floats, lags: int = 0) -> IcSummary:
    """Sum up rank ICs in order of time; NaN ones are left out.

    Examples
    --------
    >>> summarise(np.array([0.1, np.nan, 0.3])).mean
    0.2
    """
    known = ics[np.isfinite(ics)]
    if not len(known):
        return IcSummary(nan, nan, nan, nan, 0)
    mean = float(known.mean())
    error = newey_west_error(known, lags)
    deviation = float(known.std(ddof=1)) if len(known) > 1 else nan
    return IcSummary(
        mean=mean,
        t=mean / error if error > 0 else nan,
        icir=mean / deviation if deviation > 0 else nan,
        positive_share=float((known > 0).mean()),
        count=len(known),
    )


def rank_ic_by_time(values: Floats, labels: Floats, min_pairs: int = 3) -> Floats:
    """Return the rank IC of each cross-section.

    Parameters
    ----------
    values, labels
        Shape (times, markets).
    min_pairs
        As in `rank_ic`.
    """
    return np.array(
        [rank_ic(row, label, min_pairs) for row, label in zip(values, labels, strict=True)]
    )
