"""Ranks over the universe at one bar time, the same for live and batch rows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from engine.domain.features import FeatureRow
from engine.features.catalogue import FEATURE_INDEX, FEATURES
from engine.indicators.base import MISSING, Array

RANKS = tuple((FEATURE_INDEX[f.name], FEATURE_INDEX[f.ranks]) for f in FEATURES if f.ranks)
"""Where each rank over the universe is among the values of a row, and what it ranks."""


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


def fractional_ranks(table: Array) -> Array:
    """Rank each row of a table: `fractional_rank` of many bars at once, to the same bits.

    Parameters
    ----------
    table
        Shape (bars, markets).

    Returns
    -------
    Array
        Shape (bars, markets).

    Examples
    --------
    >>> fractional_ranks(np.array([[3.0, 1.0, np.nan, 3.0]])).tolist()
    [[0.75, 0.0, nan, 0.75]]
    """
    bars, markets = table.shape
    order = np.argsort(table, axis=1, kind="stable")
    ordered = np.take_along_axis(table, order, axis=1)  # NaN last
    places = np.broadcast_to(np.arange(markets), (bars, markets))
    starts = np.ones((bars, markets), dtype=np.bool_)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ends = np.ones((bars, markets), dtype=np.bool_)
    ends[:, :-1] = starts[:, 1:]
    below = np.maximum.accumulate(np.where(starts, places, 0), axis=1)
    backwards = np.where(ends, places + 1, markets)[:, ::-1]
    up_to = np.minimum.accumulate(backwards, axis=1)[:, ::-1]
    count = np.sum(~np.isnan(table), axis=1)[:, np.newaxis]
    ranked = (below + up_to - 1) / 2.0 / np.maximum(count - 1, 1)
    ranked[(count == 1)[:, 0]] = 0.5
    ranked[np.isnan(ordered)] = MISSING
    ranks = np.empty_like(table)
    np.put_along_axis(ranks, order, ranked, axis=1)
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
    for target, source in RANKS:
        table[:, target] = fractional_rank(table[:, source])
    return [
        msgspec.structs.replace(row, values=tuple(values))
        for row, values in zip(rows, table.tolist(), strict=True)
    ]
