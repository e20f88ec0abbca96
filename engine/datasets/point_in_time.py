"""The join that no training set may get wrong: what was known at a moment, and nothing else.

A join on the time that a fact speaks of gives a model what nobody could have known yet: a headline
published at noon and first read at one, an index whose value of Monday came out on Tuesday. Here
only the moment counts at which a fact became available.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Moments = NDArray[np.int64]
Keys = NDArray[np.intp]
Positions = NDArray[np.intp]

NOTHING = -1
"""Position that stands for: nothing was known."""


def newest_known(
    moment: Moments,
    key: Keys,
    available_at: Moments,
    fact_key: Keys,
    max_age_ns: int | None = None,
) -> Positions:
    """Return the position of the newest fact that was available at each moment.

    Parameters
    ----------
    moment
        When somebody asks, UTC nanoseconds, shape (n,).
    key
        What they ask about, shape (n,).
    available_at
        When each fact became available, shape (m,), in any order. Of facts that became available
        at the same time the later one in this order counts.
    fact_key
        What each fact is about, shape (m,).
    max_age_ns
        A fact counts while less than this has passed since it became available; None: for ever.

    Returns
    -------
    ndarray
        Shape (n,), `NOTHING` where nothing was known.

    Examples
    --------
    >>> one = np.zeros(3, dtype=np.intp)
    >>> newest_known(np.array([9, 10, 25]), one, np.array([10, 20]), one[:2], 8).tolist()
    [-1, 0, 1]
    """
    order = np.lexsort((available_at, fact_key))
    times, keys = available_at[order], fact_key[order]
    found = np.full(len(moment), NOTHING, dtype=np.intp)
    if not len(times):
        return found
    for each in np.unique(key):
        low, high = np.searchsorted(keys, each, "left"), np.searchsorted(keys, each, "right")
        asked = np.flatnonzero(key == each)
        at = low + np.searchsorted(times[low:high], moment[asked], "right") - 1
        is_known = at >= low
        if max_age_ns is not None:
            is_known &= moment[asked] - times[np.maximum(at, 0)] < max_age_ns
        found[asked[is_known]] = order[at[is_known]]
    return found
