"""Candles that labels are made of, and which of the labels are stored already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import pyarrow as pa

from engine.store.client import Store
from engine.store.feature_inputs import segment_of
from engine.store.outcome_plan import CANDLES, LabelScope, LabelUnit, candle_parameters
from engine.store.tables import table_named

_OF_SCOPE = (
    "AND open_time >= fromUnixTimestamp64Nano({begin:Int64}) "
    "AND open_time < fromUnixTimestamp64Nano({end:Int64}) GROUP BY exchange, segment"
)
_LABELS = (
    "count() AS number FROM outcomes FINAL WHERE timeframe = {timeframe:String} "
    "AND ({exchange:String} = '' OR exchange = {exchange:String}) "
    "AND (empty({instruments:Array(String)}) OR has({instruments:Array(String)}, instrument)) "
    "AND has({horizons:Array(String)}, horizon) AND version = {version:String} "
)
_LABELS_WANTED = (
    "sum(arrayCount(length -> toUnixTimestamp64Nano(close_time) + length "
    "<= transform(exchange, {venues:Array(String)}, {reaches:Array(Int64)}, toInt64(0)), "
    "{lengths:Array(Int64)})) AS number " + CANDLES
)


def todo(
    store: Store, units: Sequence[LabelUnit], done: Mapping[str, set[str]], scope: LabelScope
) -> list[LabelUnit]:
    """Return the units that are not stored as they would be made now.

    Parameters
    ----------
    store
        Where candles and labels are.
    units
        Of `engine.store.outcome_plan.plan_outcomes`.
    done
        Unit -> fingerprints, of `engine.store.units.done_units`. One that is noted there and of
        which labels are missing (they expired, or were dropped) is to be done again.
    scope
        Of the units.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    reaches: dict[str, int] = {}
    for unit in units:
        reaches[unit.exchange] = max(unit.closed_until, reaches.get(unit.exchange, 0))
    asked = {
        **candle_parameters(scope, scope.exchange),
        "begin": scope.begin,
        "end": scope.end,
        "version": scope.version,
        "horizons": list(scope.horizons),
        "lengths": [bars * scope.timeframe.ns for bars in scope.horizons.values()],
        "venues": list(reaches),
        "reaches": list(reaches.values()),
    }
    held, wanted = (_by_segment(store, what, scope, asked) for what in (_LABELS, _LABELS_WANTED))

    def is_whole(unit: LabelUnit) -> bool:
        key = unit.exchange, scope.timeframe.segment_start(unit.start)
        return held.get(key, 0) >= wanted.get(key, 0)

    return [
        unit
        for unit in units
        if unit.fingerprint not in done.get(unit.name, set()) or not is_whole(unit)
    ]


def _by_segment(
    store: Store, what: str, scope: LabelScope, asked: Mapping[str, object]
) -> dict[tuple[str, int], int]:
    """Return how many labels there are, or should be: exchange, start of the segment -> number."""
    segment = segment_of(scope.timeframe, "open_time")
    found = store.query_arrow(
        f"SELECT exchange, {segment} AS segment, {what} {_OF_SCOPE}", dict(asked)
    )
    return {(row["exchange"], row["segment"]): row["number"] for row in found.to_pylist()}


def read_prices(store: Store, unit: LabelUnit, scope: LabelScope) -> pa.Table:
    """Return the closed candles that the labels of a unit look at.

    Returns
    -------
    Table
        instrument, open_time (int64, UTC nanoseconds), open, high, low, close, by instrument and
        time.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    return store.query_arrow(
        "SELECT instrument, toUnixTimestamp64Nano(open_time) AS opened, open, high, low, close "
        f"{CANDLES} AND open_time >= fromUnixTimestamp64Nano({{start:Int64}}) "
        "AND open_time < fromUnixTimestamp64Nano({end:Int64}) ORDER BY instrument, open_time",
        {
            **candle_parameters(scope, unit.exchange),
            "start": max(0, unit.start - scope.look_back),
            "end": unit.closed_until,
        },
    ).rename_columns(["instrument", "open_time", "open", "high", "low", "close"])


def not_stored(store: Store, rows: pa.Table, unit: LabelUnit, scope: LabelScope) -> pa.Table:
    """Leave out the rows that are stored as they are.

    Parameters
    ----------
    store
        Where they are.
    rows
        Of a unit, in the columns and types of the table ``outcomes``.
    unit, scope
        Which rows may be stored.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    table = table_named("outcomes")
    stored = store.query_arrow(
        f"SELECT {table.select} FROM outcomes FINAL WHERE timeframe = {{timeframe:String}} "
        "AND exchange = {exchange:String} "
        "AND open_time >= fromUnixTimestamp64Nano({start:Int64}) "
        "AND open_time < fromUnixTimestamp64Nano({end:Int64}) "
        "AND has({horizons:Array(String)}, horizon)",
        {
            "timeframe": scope.timeframe.value,
            "exchange": unit.exchange,
            "start": unit.start,
            "end": unit.end,
            "horizons": list(scope.horizons),
        },
    )
    if not stored.num_rows:
        return rows
    held = pd.Series(_hashes(stored.cast(rows.schema)))
    return rows.filter(pa.array(~pd.Series(_hashes(rows)).isin(held)))


def outcome_counts(store: Store, scope: LabelScope) -> dict[str, str]:
    """Return what is stored of a scope, in words: horizon -> rows by status, touches by barrier.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    found = store.query_arrow(
        "SELECT horizon, countIf(status = 'whole') AS whole, countIf(status = 'gap') AS gap, "
        "countIf(status = 'delisted') AS delisted, countIf(barrier = 'upper') AS upper, "
        "countIf(barrier = 'lower') AS lower, countIf(barrier = 'both') AS both, "
        "countIf(barrier = 'vertical') AS vertical FROM outcomes FINAL "
        "WHERE timeframe = {timeframe:String} "
        "AND ({exchange:String} = '' OR exchange = {exchange:String}) "
        "AND (empty({instruments:Array(String)}) OR has({instruments:Array(String)}, instrument)) "
        "AND has({horizons:Array(String)}, horizon) GROUP BY horizon",
        {**candle_parameters(scope, scope.exchange), "horizons": list(scope.horizons)},
    ).to_pylist()
    rows = {row.pop("horizon"): row for row in found}
    return {
        horizon: ", ".join(f"{count:,} {word}" for word, count in rows[horizon].items() if count)
        for horizon in scope.horizons
        if horizon in rows
    }


def _hashes(rows: pa.Table) -> pd.Series[int]:
    """Return 64 bits of each row's content."""
    return pd.util.hash_pandas_object(rows.to_pandas(), index=False)
