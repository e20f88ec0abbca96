"""The features of one segment from what is stored: read, computed, compared with what is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.domain.instrument import Market
from engine.domain.market import BookSnapshot
from engine.domain.timeframe import Timeframe
from engine.features.books import BOOK_FEATURE_NAMES
from engine.features.catalogue import FEATURE_INDEX, FEATURE_NAMES, FEATURE_VERSION
from engine.features.columns import panel_columns
from engine.features.grid import BAR_FIELDS, Bars, grid_of_columns
from engine.features.panel import MarketBars, Panel, compute_panel
from engine.features.universe import Member, belongs, first_of_each_coin
from engine.indicators.base import Array
from engine.store.client import Store
from engine.store.feature_plan import FeatureUnit
from engine.store.reader import Reader

Times = NDArray[np.int64]

_IN_MARKETS = (
    "(exchange, instrument) IN (SELECT arrayJoin("
    "arrayZip({exchanges:Array(String)}, {instruments:Array(String)})))"
)
_CANDLES = (
    f"SELECT exchange, instrument, open_time, {', '.join(BAR_FIELDS)} FROM candles FINAL "
    f"WHERE {_IN_MARKETS} AND timeframe = {{timeframe:String}} AND is_closed AND "
)
_BOOK_INDEX = [FEATURE_INDEX[name] for name in BOOK_FEATURE_NAMES]


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Times of some rows of one market, ascending, and a table of their values."""

    time: Times
    table: Array


def read_bars(
    store: Store, members: Iterable[Member], timeframe: Timeframe, start: int, end: int
) -> dict[Market, Columns]:
    """Read closed candles of many markets that open in ``[start, end)``, and the last one before.

    The one before is read where no candle opens at `start` and the market is older than that:
    intervals without trades take its close.
    """
    known = list(members)
    held = _candles(
        store,
        [member.market for member in known],
        timeframe,
        "open_time >= fromUnixTimestamp64Nano({start:Int64}) "
        "AND open_time < fromUnixTimestamp64Nano({end:Int64}) "
        "ORDER BY exchange, instrument, open_time",
        start=start,
        end=end,
    )
    late = [
        member.market
        for member in known
        if member.first_open < start
        and (member.market not in held or held[member.market].time[0] > start)
    ]
    before = _candles(
        store,
        late,
        timeframe,
        "open_time < fromUnixTimestamp64Nano({start:Int64}) "
        "ORDER BY exchange, instrument, open_time DESC LIMIT 1 BY exchange, instrument",
        start=start,
    )
    for market, one in before.items():
        its = held.get(market)
        held[market] = one if its is None else Columns(
            np.concatenate([one.time, its.time]), np.concatenate([one.table, its.table])
        )  # fmt: skip
    return held


def _candles(
    store: Store,
    markets: Sequence[Market],
    timeframe: Timeframe,
    rest: str,
    **bounds: int,
) -> dict[Market, Columns]:
    if not markets:
        return {}
    found = store.query_arrow(
        _CANDLES + rest, {**_names(markets), "timeframe": timeframe.value, **bounds}
    )
    return dict(_by_market(found, BAR_FIELDS))


def _by_market(found: pa.Table, names: Sequence[str]) -> Iterator[tuple[Market, Columns]]:
    """Cut rows, which are in the order of their markets, into each market's."""
    if not found.num_rows:
        return
    time = found.column("open_time").cast(pa.int64()).to_numpy()
    table = np.empty((found.num_rows, len(names)))
    for column, name in enumerate(names):
        table[:, column] = found.column(name).cast(pa.float64()).to_numpy()
    changes = np.zeros(found.num_rows, dtype=np.bool_)
    keys = []
    for name in ("exchange", "instrument"):
        encoded = found.column(name).combine_chunks().cast(pa.string()).dictionary_encode()
        indices = encoded.indices.to_numpy()
        changes[1:] |= indices[1:] != indices[:-1]
        keys.append((encoded.dictionary.to_pylist(), indices))
    changes[0] = True
    starts = np.flatnonzero(changes)
    for low, high in zip(starts, [*starts[1:], found.num_rows], strict=True):
        exchange, instrument = (texts[indices[low]] for texts, indices in keys)
        yield Market(exchange, instrument), Columns(time[low:high], table[low:high])


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
    marks = belongs(member, times, held[member.market].time, scope.silence_ns)
    return times[marks]


def snapshots_of(
    store: Store, markets: Sequence[Market], timeframe: Timeframe, start: int, end: int
) -> dict[Market, list[BookSnapshot]]:
    """Return the last snapshot of the L2 book of each bar that opens in ``[start, end)``."""
    found: dict[Market, list[BookSnapshot]] = {}
    reader = Reader(store)
    for snapshot in reader.last_book_snapshots(markets, timeframe.ns, start + 1, end + 1):
        found.setdefault(Market(snapshot.exchange, snapshot.instrument), []).append(snapshot)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class StoredRows:
    """What is stored of one market's features, ascending in time."""

    open_time: Times
    values: Array
    """Shape (rows, features), NaN where missing."""
    available_at: Times
    last_receive_time: Times


def stored_values(
    store: Store, timeframe: Timeframe, start: int, end: int
) -> dict[Market, StoredRows]:
    """Read the rows of this catalogue that are stored of bars that open in ``[start, end)``."""
    names = ", ".join(f"`{name}`" for name in FEATURE_NAMES)
    found = store.query_arrow(
        "SELECT exchange, instrument, open_time, available_at, last_receive_time, "
        f"{names} FROM features FINAL "
        "WHERE timeframe = {timeframe:String} AND version = {version:String} "
        "AND open_time >= fromUnixTimestamp64Nano({start:Int64}) "
        "AND open_time < fromUnixTimestamp64Nano({end:Int64}) "
        "ORDER BY exchange, instrument, open_time",
        {
            "timeframe": timeframe.value,
            "version": FEATURE_VERSION,
            "start": start,
            "end": end,
        },
    )
    known, received = (
        found.column(name).cast(pa.int64()).to_numpy()
        for name in ("available_at", "last_receive_time")
    )
    rows: dict[Market, StoredRows] = {}
    taken = 0
    for market, its in _by_market(found, FEATURE_NAMES):
        here = slice(taken, taken + len(its.time))
        rows[market] = StoredRows(its.time, its.table, known[here], received[here])
        taken = here.stop
    return rows


def new_rows(store: Store, unit: FeatureUnit, now: int) -> tuple[pa.Table, int]:
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
    tuple
        The rows as columns of the table ``features``, and how many were equal, to the bit, to
        what is stored and so left alone.

    Notes
    -----
    A row made here is available at its close: it reads nothing that opened later, so an engine
    that ran then and missed nothing would have known it then. A row that a live run stored
    (available after its close) keeps its own moment while its values stand; where they do not, a
    candle was corrected since, and the new row is available from `now` on. The book of a bar whose
    snapshots have expired stays what the stored row says.
    """
    inputs, reference = market_bars(store, unit)
    wanted = [_asked(each, unit) for each in inputs]
    panel = compute_panel(inputs, unit.timeframe, unit.start, reference)
    close_time = panel.open_time + unit.timeframe.ns
    available_at, received = close_time.copy(), close_time.copy()
    fresh = np.concatenate([np.empty(0, dtype=np.bool_), *wanted])
    equal = 0
    stored = stored_values(store, unit.timeframe, unit.start, unit.end) if unit.stored else {}
    for index, market in enumerate(panel.markets):
        if market not in stored:
            continue
        theirs = stored[market]
        rows, held = matched(panel, index, theirs.open_time)
        keep_books(panel.values, rows, theirs.values[held])
        same = same_bits(panel.values[:, rows].T, theirs.values[held]).all(axis=1)
        equal += int((same & fresh[rows]).sum())
        fresh[rows[same]] = False
        was_live = theirs.available_at[held] > close_time[rows]
        available_at[rows[was_live]] = np.maximum(now, close_time[rows[was_live]])
        received[rows[was_live]] = theirs.last_receive_time[held[was_live]]
    table = panel_columns(panel, available_at, received)
    return (table if fresh.all() else table.filter(pa.array(fresh))), equal


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


def _names(markets: Sequence[Market]) -> dict[str, list[str]]:
    return {
        "exchanges": [market.exchange for market in markets],
        "instruments": [market.instrument for market in markets],
    }
