"""Stretches of time without a hole, as arrays of ``[start, end)`` rows in UTC nanoseconds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
Runs = NDArray[np.int64]
"""Shape (n, 2), ascending; neighbours do not touch."""

NO_RUNS: Runs = np.empty((0, 2), np.int64)


def runs_of(times: Times, step: int) -> Runs:
    """Return the stretches that intervals of a length cover.

    Parameters
    ----------
    times
        Their starts, ascending, each once.
    step
        Their length, nanoseconds.

    Examples
    --------
    >>> runs_of(np.array([0, 10, 30]), 10).tolist()
    [[0, 20], [30, 40]]
    """
    if not len(times):
        return NO_RUNS
    breaks = np.flatnonzero(np.diff(times) != step)
    starts = times[np.concatenate([[0], breaks + 1])]
    ends = times[np.concatenate([breaks, [len(times) - 1]])] + step
    return np.stack([starts, ends], axis=1)


def union(several: Iterable[Runs], bridge: int = 0) -> Runs:
    """Return what any of them covers; holes of at most `bridge` nanoseconds are closed.

    Examples
    --------
    >>> union([np.array([[0, 10]]), np.array([[5, 20], [40, 50]])]).tolist()
    [[0, 20], [40, 50]]
    """
    every = np.concatenate([NO_RUNS, *several])
    if not len(every):
        return NO_RUNS
    every = every[np.argsort(every[:, 0], kind="stable")]
    reach = np.maximum.accumulate(every[:, 1])
    breaks = np.flatnonzero(every[1:, 0] > reach[:-1] + bridge)
    starts = every[np.concatenate([[0], breaks + 1]), 0]
    ends = reach[np.concatenate([breaks, [len(every) - 1]])]
    return np.stack([starts, ends], axis=1)


def holes(runs: Runs) -> Runs:
    """Return the stretches between neighbours."""
    return np.stack([runs[:-1, 1], runs[1:, 0]], axis=1) if len(runs) > 1 else NO_RUNS


def overlap(one: Runs, other: Runs) -> Runs:
    """Return what both cover.

    Examples
    --------
    >>> overlap(np.array([[0, 20]]), np.array([[5, 10], [15, 30]])).tolist()
    [[5, 10], [15, 20]]
    """
    found: list[tuple[int, int]] = []
    i = j = 0
    while i < len(one) and j < len(other):
        start, end = max(one[i, 0], other[j, 0]), min(one[i, 1], other[j, 1])
        if start < end:
            found.append((start, end))
        if one[i, 1] < other[j, 1]:
            i += 1
        else:
            j += 1
    return np.array(found, np.int64).reshape(-1, 2)


def within(times: Times, runs: Runs) -> NDArray[np.bool_]:
    """Say which times lie in one of the stretches."""
    if not len(runs):
        return np.zeros(len(times), bool)
    place = np.searchsorted(runs[:, 0], times, side="right") - 1
    found: NDArray[np.bool_] = (place >= 0) & (times < runs[np.maximum(place, 0), 1])
    return found
