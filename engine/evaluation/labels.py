"""What really happened: forward returns, known only after their horizon has passed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def forward_returns(
    open_times: NDArray[np.int64], closes: NDArray[np.float64], horizon_bars: int, step_ns: int
) -> NDArray[np.float64]:
    """Return the simple return from each bar's close to that of `horizon_bars` later.

    Parameters
    ----------
    open_times
        Strictly ascending, UTC nanoseconds; bars may be missing.
    closes
        Above zero.
    horizon_bars
        At least 1.
    step_ns
        Length of a bar.

    Returns
    -------
    ndarray
        In the same order. NaN where the bar exactly that much later is not there: a gap is
        never bridged by whatever comes after it.

    Raises
    ------
    ValueError
        Where the times do not ascend or the horizon is below 1.

    Examples
    --------
    >>> forward_returns(np.array([0, 10, 30]), np.array([1.0, 2.0, 3.0]), 1, 10)
    array([ 1., nan, nan])
    """
    if horizon_bars < 1:
        raise ValueError(f"a horizon of {horizon_bars} bars does not look forward")
    if np.any(np.diff(open_times) <= 0):
        raise ValueError("bars must ascend strictly in time")
    labels = np.full(len(open_times), np.nan)
    target = open_times + horizon_bars * step_ns
    at = np.searchsorted(open_times, target)
    inside = at < len(open_times)
    found = np.zeros(len(open_times), dtype=bool)
    found[inside] = open_times[at[inside]] == target[inside]
    labels[found] = closes[at[found]] / closes[found] - 1.0
    return labels
