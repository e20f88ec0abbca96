"""Robust z-scores over a cross-section."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, isfinite

Z_LIMIT = 3.0
"""Scores are clipped to plus or minus this."""

MAD_TO_DEVIATION = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""

MEAN_AD_TO_DEVIATION = 1.2533
"""Mean absolute deviation to standard deviation, for a normal distribution."""


def median(values: Sequence[float]) -> float:
    """Return the middle value, or the mean of the two in the middle; `values` is not empty."""
    ordered = sorted(values)
    half, odd = divmod(len(ordered), 2)
    return ordered[half] if odd else ordered[half - 1] / 2 + ordered[half] / 2


def robust_z(values: Sequence[float | None]) -> list[float | None]:
    """Measure each value against the others, so that no outlier sets the scale.

    ``(x - median) / (1.4826 x MAD)``, clipped to [-3, 3]. Where more than half are equal the
    MAD is 0 and ``1.2533 x`` the mean absolute deviation stands in; where all are equal, or
    only one is there, every score is 0.

    Parameters
    ----------
    values
        One per market; None, NaN and infinities are missing and take no part.

    Returns
    -------
    list of float or None
        In the same order; None where the value is missing.

    Examples
    --------
    >>> robust_z([1.0, 2.0, 3.0, None, 500.0])
    [-1.01173613..., -0.33724537..., 0.33724537..., None, 3.0]
    >>> robust_z([5.0, 5.0])
    [0.0, 0.0]
    """
    present = [value for value in values if value is not None and isfinite(value)]
    if not present:
        return [None] * len(values)
    middle = median(present)
    distances = [abs(value - middle) for value in present]
    scale = MAD_TO_DEVIATION * median(distances)
    if scale == 0:
        scale = MEAN_AD_TO_DEVIATION * fsum(distances) / len(distances)
    return [
        _clipped(value - middle, scale) if value is not None and isfinite(value) else None
        for value in values
    ]


def _clipped(distance: float, scale: float) -> float:
    if scale == 0:
        return 0.0
    return max(-Z_LIMIT, min(Z_LIMIT, distance / scale))
