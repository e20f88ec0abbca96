"""Whether what a live run stored is what a batch run makes of the stored candles, to the bit."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.clock import iso_utc
from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import FEATURE_NAMES
from engine.features.grid import Bars, grid_of_columns
from engine.features.panel import MarketBars, compute_panel
from engine.features.universe import first_of_each_coin, in_order
from engine.store.client import Store
from engine.store.feature_plan import FeatureUnit, Scope, plan_units
from engine.store.feature_reading import (
    Columns,
    StoredRows,
    read_bars,
    snapshots_of,
    stored_values,
)
from engine.store.feature_segments import (
    differ_in_ranks_alone,
    keep_books,
    matched,
    same_bits,
)

MOST_LISTED = 100
"""Differences listed of a timeframe; all are counted."""

MOST_OF_A_ROW = 10
"""Differences listed of one row: where a candle changed, nearly all its features did."""

NEVER = 2**62
"""Nanoseconds."""

ROW = "row"
"""Stands for the feature where there is a stored row and no candle for it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One value of one bar that is not what the candles make it."""

    market: Market
    open_time: int
    """UTC nanoseconds."""
    feature: str
    """Its name; `ROW` where the market has no candle to make the row of."""
    stored: float
    recomputed: float
    """NaN where it is missing."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values; a missing number is null."""
        return {
            "exchange": self.market.exchange,
            "instrument": self.market.instrument,
            "open_time": iso_utc(self.open_time),
            "feature": self.feature,
            "stored": None if np.isnan(self.stored) else self.stored,
            "recomputed": None if np.isnan(self.recomputed) else self.recomputed,
            "stored_bits": bits(self.stored),
            "recomputed_bits": bits(self.recomputed),
        }


@dataclass(slots=True)
class Audit:
    """What came of comparing one timeframe."""

    timeframe: Timeframe
    rows: int = 0
    """Rows of live runs that were compared."""
    batch_rows: int = 0
    """Rows that a batch run made: they are not compared."""
    replaced_rows: int = 0
    """Of them those that it made in place of a live run's, whose candles were corrected since."""
    among_replaced_rows: int = 0
    """Live rows whose ranks alone differ, at bars with a replaced row: they were ranked among the
    row that is gone, so nobody can say what they should be. No difference."""
    missing_rows: int = 0
    """Bars between a market's first and last row that have none: no engine ran."""
    differing_rows: int = 0
    differing_values: int = 0
    differences: list[Difference] = field(default_factory=list)
    """The first hundred, ascending in time within a segment and market."""

    @property
    def is_equal(self) -> bool:
        """Whether every value that was compared is equal, to the bit."""
        return not self.differing_rows

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "timeframe": self.timeframe.value,
            "equal": self.is_equal,
            "rows": self.rows,
            "batch_rows": self.batch_rows,
            "replaced_rows": self.replaced_rows,
            "among_replaced_rows": self.among_replaced_rows,
            "missing_rows": self.missing_rows,
            "differing_rows": self.differing_rows,
            "differing_values": self.differing_values,
            "differences": [each.as_json() for each in self.differences],
        }

    def note(
        self, market: Market, open_time: int, values: Sequence[tuple[str, float, float]]
    ) -> None:
        """Count a row that differs: feature, stored and recomputed value of each difference."""
        self.differing_rows += 1
        self.differing_values += len(values)
        room = min(MOST_OF_A_ROW, MOST_LISTED - len(self.differences))
        self.differences += [Difference(market, open_time, *each) for each in values[:room]]


def bits(value: float) -> str:
    """Return a number's 64 bits as hexadecimal.

    Examples
    --------
    >>> bits(1.0), bits(1.0000000000000002)
    ('3ff0000000000000', '3ff0000000000001')
    """
    return struct.pack(">d", value).hex()


def audit(store: Store, timeframe: Timeframe, scope: Scope) -> Audit:
    """Compute again what live runs stored, and compare.

    Ranks are made over the markets that have a live run's row at the bar, or one in its place: a
    row that a batch run made, of a market that was imported since or was late, was in no rank then.

    Parameters
    ----------
    store
        Where candles and features are.
    timeframe
        Of the bars.
    scope
        Which bars: those that open from its `begin` on and close by its `end`.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    found = Audit(timeframe)
    # Whether a market had its place is not asked: its rows say so.
    patient = replace(scope, silence_ns=NEVER)
    planned = {unit.start: unit for unit in plan_units(store, timeframe, patient)}
    start = timeframe.segment_start(timeframe.floor(scope.begin))
    begun = _batch_runs(store)
    for unit in (planned[at] for at in sorted(planned) if at >= start):
        low = max(unit.start, -(-scope.begin // timeframe.ns) * timeframe.ns)
        high = min(unit.end, timeframe.floor(scope.end))
        rows = stored_values(store, timeframe, low, high)
        if rows:
            _compare(store, unit, rows, found, begun)
    return found


def _batch_runs(store: Store) -> NDArray[np.int64]:
    """Return when runs of ``build_features`` began: since then rows that they corrected are there.

    Such a row is later than its bar's close as a live run's is, and equal by its making.
    """
    found = store.query_arrow(
        "SELECT DISTINCT toUnixTimestamp64Nano(started_at) AS at FROM job_runs "
        "WHERE job = 'build_features'"
    )
    return np.asarray(found.column("at").to_numpy(), dtype=np.int64)


def _compare(
    store: Store,
    unit: FeatureUnit,
    stored: dict[Market, StoredRows],
    found: Audit,
    begun: NDArray[np.int64],
) -> None:
    live = _late_rows(stored, found)
    if not live:
        return
    markets = in_order(live, unit.scope.configured)
    members = {member.market: member for member in unit.members}
    known = [members[market] for market in markets if market in members]
    beside = [members[unit.reference]] if unit.reference is not None else []
    held = read_bars(
        store,
        [*known, *(m for m in beside if m not in known)],
        unit.timeframe,
        unit.warm_up_start,
        unit.end,
    )
    last = {market: int(rows.open_time[-1]) for market, rows in live.items()}
    end = max(last.values()) + unit.timeframe.ns
    grids = {market: _grid(unit, candles, end) for market, candles in held.items()}
    inputs = _inputs(store, unit, markets, live, grids)
    reference = None if unit.reference is None else grids.get(unit.reference)
    panel = compute_panel(inputs, unit.timeframe, unit.start, reference)
    replaced = {market: np.isin(rows.available_at, begun) for market, rows in live.items()}
    replaced_at = np.concatenate(
        [live[market].open_time[marks] for market, marks in replaced.items()]
    )
    for index, each in enumerate(inputs):
        theirs, is_live = live[each.market], ~replaced[each.market]
        rows, places = matched(panel, index, theirs.open_time)
        keep_books(panel.values, rows, theirs.values[places])
        computed = np.full(theirs.values.shape, np.nan)
        computed[places] = panel.values[:, rows].T
        has_bar = np.zeros(len(is_live), dtype=np.bool_)
        has_bar[places] = True
        _judge(found, each.market, theirs, computed, has_bar, is_live, replaced_at)
    found.batch_rows += len(replaced_at)
    found.replaced_rows += len(replaced_at)


def _late_rows(stored: dict[Market, StoredRows], found: Audit) -> dict[Market, StoredRows]:
    """Return the rows that were there after their bar's close, and count the others.

    They are of live runs, or were made in the place of a live run's.
    """
    late = {}
    for market, rows in stored.items():
        is_late = rows.available_at > rows.open_time + found.timeframe.ns
        found.batch_rows += int((~is_late).sum())
        span = int(rows.open_time[-1] - rows.open_time[0]) // found.timeframe.ns + 1
        found.missing_rows += span - len(rows.open_time)
        if is_late.any():
            late[market] = rows.those(is_late)
    return late


def _grid(unit: FeatureUnit, candles: Columns, end: int) -> Bars:
    return grid_of_columns(candles.time, candles.table, unit.timeframe, unit.warm_up_start, end)


def _inputs(
    store: Store,
    unit: FeatureUnit,
    markets: Sequence[Market],
    live: dict[Market, StoredRows],
    grids: dict[Market, Bars],
) -> list[MarketBars]:
    """Take of each market the bars that have both a row and a place on its grid."""
    empty = Bars.of([])
    wanted = []
    for market in markets:
        times, grid = live[market].open_time, grids.get(market, empty)
        wanted.append(times[np.isin(times, grid.open_time)])
    ranked = first_of_each_coin(markets, wanted)
    books = snapshots_of(store, markets, unit.timeframe, unit.start, unit.end)
    return [
        MarketBars(market, grids.get(market, empty), times, marks, books.get(market, ()))
        for market, times, marks in zip(markets, wanted, ranked, strict=True)
    ]


def _judge(
    found: Audit,
    market: Market,
    stored: StoredRows,
    computed: NDArray[np.float64],
    has_bar: NDArray[np.bool_],
    is_live: NDArray[np.bool_],
    replaced_at: NDArray[np.int64],
) -> None:
    same = same_bits(stored.values, computed)
    beside_replaced = is_live & np.isin(stored.open_time, replaced_at)
    is_unsettled = beside_replaced & differ_in_ranks_alone(same)
    found.rows += int(is_live.sum())
    found.among_replaced_rows += int(is_unsettled.sum())
    for row in np.flatnonzero(is_live & ~is_unsettled & ~(has_bar & same.all(axis=1))):
        open_time = int(stored.open_time[row])
        if not has_bar[row]:
            found.note(market, open_time, [(ROW, float("nan"), float("nan"))])
            continue
        found.note(
            market,
            open_time,
            [
                (FEATURE_NAMES[i], float(stored.values[row, i]), float(computed[row, i]))
                for i in np.flatnonzero(~same[row])
            ],
        )
