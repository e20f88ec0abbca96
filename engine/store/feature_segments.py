"""The features of one segment from what is stored: read, computed, compared with what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.domain.instrument import Market
from engine.features.books import BOOK_FEATURE_NAMES
from engine.features.catalogue import FEATURE_INDEX
from engine.features.columns import panel_columns
from engine.features.cross_section import RANKS
from engine.features.grid import Bars, grid_of_columns
from engine.features.panel import MarketBars, Panel, compute_panel
from engine.features.universe import Member, belongs, first_of_each_coin
from engine.indicators.base import Array
from engine.store.client import Store
from engine.store.feature_plan import FeatureUnit
from engine.store.feature_reading import (
    Columns,
    StoredRows,
    Times,
    read_bars,
    snapshots_of,
    stored_values,
)
from engine.store.units import UnitRows

_NONE = np.empty(0, dtype=np.bool_)
_BOOK_INDEX = [FEATURE_INDEX[name] for name in BOOK_FEATURE_NAMES]
_RANKS = [rank for rank, _ in RANKS]
_EQUAL = "equal"

REPLACED = "live rows replaced"
"""What the summary of ``build_features`` calls rows of live runs whose candles were corrected."""
AMONG_OTHERS = "live rows left, ranked among other markets"
"""What it calls those of which the ranks alone would be others."""


def market_bars(store: Store, unit: FeatureUnit) -> tuple[list[MarketBars], Bars | None]:
    """Read what a unit is computed from, and say which of its bars are wanted.

    Returns
    -------
    tuple
        The markets' bars in the universe's order, and the reference's.
    """
    held = read_bars(store, unit.members, unit.timeframe, unit.warm_up_start, unit.end)
    members = [member for member in unit.members if member.market in held]
    grids = {m.market: _grid(held[m.market], unit, m.market) for m in members}
    present = [_present(unit, member, grids[member.market], held) for member in members]
    ranked = first_of_each_coin([member.market for member in members], present)
    scope = unit.scope
    books = snapshots_of(store, [m.market for m in members], unit.timeframe, unit.start, unit.end)
    inputs = []
    for member, times, marks in zip(members, present, ranked, strict=True):
        # Of a coin's second market rows are made where somebody asks for them.
        is_asked_for = scope.is_narrow and scope.wants(member.market)
        wanted = np.full(len(times), True) if is_asked_for else marks
        inputs.append(
            MarketBars(
                member.market,
                grids[member.market],
                times[wanted],
                marks[wanted],
                books.get(member.market, ()),
            )
        )
    return inputs, None if unit.reference is None else grids.get(unit.reference)


def _grid(candles: Columns, unit: FeatureUnit, market: Market) -> Bars:
    through = unit.through.get(market.exchange, 0)
    within = candles.time < through
    return grid_of_columns(
        candles.time[within], candles.table[within], unit.timeframe, unit.warm_up_start, through
    )


def _present(
    unit: FeatureUnit, member: Member, grid: Bars, held: Mapping[Market, Columns]
) -> Times:
    times = grid.open_time[grid.position(unit.start) :]
    if not len(times):
        return times
    scope = unit.scope
    candles = held[member.market].time
    marks = belongs(member, times, candles, scope.silence_ns, unit.timeframe.ns)
    return times[marks]


def new_rows(store: Store, unit: FeatureUnit, now: int) -> UnitRows:
    """Compute a unit, and return its rows that are not stored as they are now.

    Parameters
    ----------
    store
        Where candles and features are.
    unit
        Which.
    now
        When this run began, UTC nanoseconds.

    Returns
    -------
    UnitRows
        The rows as columns of the table ``features``; how many were equal, to the bit, to what is
        stored and so left alone; and of the rows of live runs that are not, how many are replaced
        and how many are left alone for their ranks.

    Notes
    -----
    A row made here is available at its close: it reads nothing that opened later, so an engine
    that ran then and missed nothing would have known it then. A row that a live run stored
    (available after its close) keeps its own moment while its values stand; where they do not, a
    candle was corrected since, and the new row is available from `now` on. Where its ranks alone
    do not, it was made among other markets (some of today's candles were imported since, or were
    late then): that was the universe of then, and the row stays. The book of a bar whose snapshots
    have expired stays what the stored row says.
    """
    inputs, reference = market_bars(store, unit)
    panel = compute_panel(inputs, unit.timeframe, unit.start, reference)
    rows = _Rows.of(panel, np.concatenate([_NONE, *(_asked(each, unit) for each in inputs)]))
    counts: Counter[str] = Counter()
    if unit.stored:
        stored = stored_values(store, unit.timeframe, unit.start, unit.end)
        for index, market in enumerate(panel.markets):
            if market in stored:
                counts.update(_leave_alone(rows, index, stored[market], now))
    table = panel_columns(panel, rows.available_at, rows.last_receive_time)
    fresh = table if rows.fresh.all() else table.filter(pa.array(rows.fresh))
    return UnitRows(fresh, counts.pop(_EQUAL, 0), dict(counts))


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """A panel's rows on their way to the store."""

    panel: Panel
    fresh: NDArray[np.bool_]
    """Which of them to write."""
    available_at: Times
    last_receive_time: Times

    @classmethod
    def of(cls, panel: Panel, asked: NDArray[np.bool_]) -> _Rows:
        close_time = panel.open_time + panel.timeframe.ns
        return cls(panel, asked, close_time.copy(), close_time)


def _leave_alone(rows: _Rows, index: int, stored: StoredRows, now: int) -> dict[str, int]:
    """Take out what is stored of one market as it is now, or was then; return counts."""
    panel = rows.panel
    mine, theirs = matched(panel, index, stored.open_time)
    keep_books(panel.values, mine, stored.values[theirs])
    same = same_bits(panel.values[:, mine].T, stored.values[theirs])
    close_time = panel.open_time[mine] + panel.timeframe.ns
    was_live = stored.available_at[theirs] > close_time
    asked = rows.fresh[mine]
    equal = same.all(axis=1)
    among_others = was_live & differ_in_ranks_alone(same)
    rows.fresh[mine[equal | among_others]] = False
    rows.available_at[mine[was_live]] = np.maximum(now, close_time[was_live])
    rows.last_receive_time[mine[was_live]] = stored.last_receive_time[theirs[was_live]]
    replaced = was_live & ~equal & ~among_others
    counted = ((_EQUAL, equal), (REPLACED, replaced), (AMONG_OTHERS, among_others))
    return {what: int((marks & asked).sum()) for what, marks in counted}


def _asked(each: MarketBars, unit: FeatureUnit) -> NDArray[np.bool_]:
    """Say which of a market's rows are asked for; the others are there for the ranks."""
    scope = unit.scope
    if not scope.wants(each.market):
        return np.full(len(each.wanted), False)
    marks: NDArray[np.bool_] = (each.wanted >= scope.begin) & (
        each.wanted + unit.timeframe.ns <= scope.end
    )
    return marks


def matched(panel: Panel, index: int, times: Times) -> tuple[Times, Times]:
    """Return which rows of a panel's market are among some times: their places here, and there."""
    here = panel.rows_of(index)
    _, mine, theirs = np.intersect1d(
        panel.open_time[here], times, assume_unique=True, return_indices=True
    )
    return mine + here.start, theirs


def keep_books(values: Array, rows: Times, stored: Array) -> None:
    """Put the books of stored rows to the places of bars whose snapshots have expired.

    Parameters
    ----------
    values
        Shape (features, n); changed in place.
    rows
        Places, shape (m,).
    stored
        Values of the stored rows, shape (m, features).
    """
    for feature in _BOOK_INDEX:
        gone = np.isnan(values[feature, rows]) & ~np.isnan(stored[:, feature])
        values[feature, rows[gone]] = stored[gone, feature]


def same_bits(first: Array, second: Array) -> NDArray[np.bool_]:
    """Say where two tables hold the same bits; missing equals missing.

    Examples
    --------
    >>> same_bits(np.array([[0.0, np.nan]]), np.array([[-0.0, np.nan]])).tolist()
    [[False, True]]
    """
    bits = [np.ascontiguousarray(table).view(np.int64) for table in (first, second)]
    same: NDArray[np.bool_] = (bits[0] == bits[1]) | (np.isnan(first) & np.isnan(second))
    return same


def differ_in_ranks_alone(same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say of which rows only ranks over the universe differ.

    Parameters
    ----------
    same
        Of each row and feature whether it is equal, shape (rows, features).
    """
    return np.asarray(~same.all(axis=1) & np.delete(same, _RANKS, axis=1).all(axis=1))
