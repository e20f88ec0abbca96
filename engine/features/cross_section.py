"""Ranks over the universe at one bar time, the same for live and batch rows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from engine.domain.features import FeatureRow
from engine.features.catalogue import FEATURE_INDEX, FEATURES
from engine.indicators.base import MISSING, Array

_RANKS = tuple((FEATURE_INDEX[f.name], FEATURE_INDEX[f.ranks]) for f in FEATURES if f.ranks)


def fractional_rank(values: Array) -> Array:
    """Rank values in [0, 1]: 0 the lowest, 1 the highest, ties averaged, NaN left out.

    Parameters
    ----------
    values
        Shape (n,).

    Returns
    -------
    Array
        Shape (n,): NaN where the value is NaN; 0.5 where it is the only one.

    Examples
    --------
    >>> fractional_rank(np.array([3.0, 1.0, np.nan, 3.0])).tolist()
    [0.75, 0.0, nan, 0.75]
    """
    ranks = np.full(len(values), MISSING)
    present = ~np.isnan(values)
    count = int(present.sum())
    if count == 1:
        ranks[present] = 0.5
    if count > 1:
        known = values[present]
        ordered = np.sort(known)
        below = np.searchsorted(ordered, known, side="left")
        up_to = np.searchsorted(ordered, known, side="right")
        ranks[present] = (below + up_to - 1) / 2.0 / (count - 1)
    return ranks


def fill_cross_section(rows: Sequence[FeatureRow]) -> list[FeatureRow]:
    """Fill the ranks of rows of one bar time, each row a market of the universe.

    Parameters
    ----------
    rows
        Rows of one timeframe and one open time, one per market; their order does not matter.

    Returns
    -------
    list of FeatureRow
        The same rows in the same order with their ranks.

    Raises
    ------
    ValueError
        Where the rows are not of one timeframe and open time, or of another catalogue's size.
    """
    if len({(row.timeframe, row.open_time) for row in rows}) > 1:
        raise ValueError("a cross-section takes rows of one timeframe and one open time")
    if any(len(row.values) != len(FEATURES) for row in rows):
        raise ValueError(
            f"a row's values are not those of the catalogue's {len(FEATURES)} features"
        )
    if not rows:
        return []
    table = np.array([row.values for row in rows], dtype=np.float64)
    for target, source in _RANKS:
        table[:, target] = fractional_rank(table[:, source])
    return [
        msgspec.structs.replace(row, values=tuple(values))
        for row, values in zip(rows, table.tolist(), strict=True)
    ]
