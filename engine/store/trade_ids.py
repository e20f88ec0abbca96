"""What the stored trades of a market say of their own completeness: ids, holes, duplicates.

The database counts; only what is wrong comes back. Memory stays bounded for any number of
trades: consecutive ids are counted in bitmaps, holes are looked for in stretches of ids that lack
some, and ids that are no numbers are compared in as many passes as they need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa

from engine.domain.instrument import Market
from engine.store.client import Store
from engine.store.columns import python_values

BUCKET_IDS = 65_536
"""Ids counted together; only stretches that lack some are looked at one by one."""
BUCKETS_AT_ONCE = 64
IDS_AT_ONCE = 4_000_000
"""Ids that are no numbers compared in one pass; about 200 MB in the database."""
MOST_HOLES = 10_000
"""Holes listed of a market; further ones are only counted."""

NEAR_NS = 86_400 * 1_000_000_000
"""How far from a range the trades beside it are looked for first: to look everywhere takes long."""
_LAST = 2**63 - 1

_OF_MARKET = "exchange = {exchange:String} AND instrument = {instrument:String}"
_THESE = (
    f"{_OF_MARKET} AND exchange_time >= fromUnixTimestamp64Nano({{start:Int64}}) "
    "AND exchange_time < fromUnixTimestamp64Nano({end:Int64})"
)


@dataclass(frozen=True, slots=True)
class TradeCounts:
    """The trades of one market in a range of time."""

    trades: int
    """Rows."""
    first_id: str
    """Of the first trade in the venue's order; empty where there is none."""
    last_id: str
    first_time: int
    """UTC nanoseconds; 0 where there is none."""
    last_time: int
    counted: int
    """Rows whose ids the venue counts."""
    unique_counted: int
    low: int
    """Smallest counted id, 0 where there is none."""
    high: int
    """Largest counted id."""

    @property
    def missing(self) -> int:
        """Ids between the smallest and the largest that no row has."""
        return self.high - self.low + 1 - self.unique_counted if self.counted else 0


@dataclass(frozen=True, slots=True)
class Hole:
    """Consecutive ids that are missing between two trades."""

    low: int
    """First missing id."""
    high: int
    """Last missing id."""
    from_time: int
    """Of the trade before it, UTC nanoseconds."""
    to_time: int
    """Of the trade after it."""

    @property
    def ids(self) -> int:
        """How many are missing."""
        return self.high - self.low + 1


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What a range holds of a market, and the trades beside it; ids and times are 0 for none.

    Times are UTC nanoseconds of the trades with these ids.
    """

    inside: int
    """Trades in the range."""
    straddles: bool
    """Whether trades are stored before the range and behind it."""
    before: int
    """Largest counted id before the range."""
    before_time: int
    low: int
    """Smallest and largest counted id in the range."""
    low_time: int
    high: int
    high_time: int
    after: int
    """Smallest counted id behind the range."""
    after_time: int


def neighbours(
    store: Store, exchange: str, instrument: str, start: int, end: int
) -> dict[Market, Neighbours]:
    """Look at what lies beside ``[start, end)``, of every market at once; empty texts match all.

    Looked for within `NEAR_NS` first; of markets that have no trade so near, everywhere.
    """
    wanted = markets(store, exchange, instrument)
    near = _beside(store, wanted, start, end, max(0, start - NEAR_NS), min(_LAST, end + NEAR_NS))
    needed = [key for key, is_open in (("earlier", start > 0), ("later", end < _LAST)) if is_open]
    alone = [m for m in wanted if not all(near.get(m, {}).get(key) for key in needed)]
    if alone:
        near |= _beside(store, alone, start, end, 0, _LAST)
    return {
        market: Neighbours(straddles=min(row.pop("earlier"), row.pop("later")) > 0, **row)
        for market, row in near.items()
    }


def _beside(
    store: Store, wanted: Sequence[Market], start: int, end: int, low: int, high: int
) -> dict[Market, dict[str, Any]]:
    """Count what some markets have in ``[start, end)``, and beside it in ``[low, high]``."""
    found = store.query_arrow(
        "WITH fromUnixTimestamp64Nano({start:Int64}) AS start, "
        "fromUnixTimestamp64Nano({end:Int64}) AS end, "
        "exchange_time < start AS is_before, exchange_time >= end AS is_after, "
        "NOT is_before AND NOT is_after AS is_inside, sequence > 0 AS counts "
        "SELECT exchange, instrument, countIf(is_inside) AS inside, "
        "countIf(is_before) AS earlier, countIf(is_after) AS later, "
        "maxIf(sequence, is_before) AS before, "
        "argMaxIf(exchange_time, sequence, is_before AND counts) AS before_time, "
        "minIf(sequence, is_inside AND counts) AS low, "
        "argMinIf(exchange_time, sequence, is_inside AND counts) AS low_time, "
        "maxIf(sequence, is_inside) AS high, "
        "argMaxIf(exchange_time, sequence, is_inside AND counts) AS high_time, "
        "minIf(sequence, is_after AND counts) AS after, "
        "argMinIf(exchange_time, sequence, is_after AND counts) AS after_time "
        "FROM trades WHERE exchange IN {exchanges:Array(String)} "
        "AND instrument IN {instruments:Array(String)} "
        "AND exchange_time BETWEEN fromUnixTimestamp64Nano({from:Int64}) "
        "AND fromUnixTimestamp64Nano({to:Int64}) GROUP BY exchange, instrument",
        {
            "exchanges": sorted({market.exchange for market in wanted}),
            "instruments": sorted({market.instrument for market in wanted}),
            "start": start,
            "end": end,
            "from": low,
            "to": high,
        },
    )
    rows = {Market(row.pop("exchange"), row.pop("instrument")): row for row in _as_rows(found)}
    return {market: rows[market] for market in wanted if market in rows}


def find_edge_holes(
    store: Store, market: Market, beside: Neighbours, start: int, end: int
) -> list[Hole]:
    """Return ids that are missing across an edge of ``[start, end)``, ascending.

    They lie between a trade in the range and the nearest one outside, or between those on both
    sides of a range without trades. Whether the missing ones were traded inside it nobody can say.
    """
    stretches = [(beside.before, beside.low or beside.after), (beside.high, beside.after)]
    holes: list[Hole] = []
    for low, high in stretches:
        if low and high > low + 1:
            # Whenever those between them were traded.
            holes += _missing(store, market, _OF_MARKET, "", low=low, high=high, most=MOST_HOLES)
    return [
        hole
        for hole in holes
        if max(hole.from_time, hole.to_time) >= start and min(hole.from_time, hole.to_time) < end
    ]


def markets(store: Store, exchange: str = "", instrument: str = "") -> list[Market]:
    """Return the markets with stored trades, by name; empty texts match all."""
    found = store.query_arrow(
        "SELECT DISTINCT exchange, instrument FROM trades "
        "WHERE ({exchange:String} = '' OR exchange = {exchange:String}) "
        "AND ({instrument:String} = '' OR instrument = {instrument:String}) "
        "ORDER BY exchange, instrument",
        {"exchange": exchange, "instrument": instrument},
    )
    names = (python_values(found.column(name)) for name in ("exchange", "instrument"))
    return [Market(*pair) for pair in zip(*names, strict=True)]


def lacking_markets(store: Store, exchange: str, start: int, end: int) -> list[Market]:
    """Return a venue's markets that lack ids between their first and last trade in a range."""
    found = store.query_arrow(
        "SELECT instrument FROM trades WHERE exchange = {exchange:String} AND sequence > 0 "
        "AND exchange_time >= fromUnixTimestamp64Nano({start:Int64}) "
        "AND exchange_time < fromUnixTimestamp64Nano({end:Int64}) GROUP BY instrument "
        "HAVING groupBitmap(toUInt64(sequence)) < max(sequence) - min(sequence) + 1 "
        "ORDER BY instrument",
        {"exchange": exchange, "start": start, "end": end},
    )
    return [Market(exchange, name) for name in python_values(found.column("instrument"))]


def count_trades(store: Store, market: Market, start: int, end: int) -> TradeCounts:
    """Count a market's trades in ``[start, end)``."""
    (row,) = _rows(
        store,
        "SELECT count() AS trades, "
        "argMin(trade_id, (exchange_time, sequence, trade_id)) AS first_id, "
        "argMax(trade_id, (exchange_time, sequence, trade_id)) AS last_id, "
        "min(exchange_time) AS first_time, max(exchange_time) AS last_time, "
        "countIf(sequence > 0) AS counted, "
        "groupBitmapIf(toUInt64(sequence), sequence > 0) AS unique_counted, "
        "minIf(sequence, sequence > 0) AS low, max(sequence) AS high "
        f"FROM trades WHERE {_THESE}",
        market,
        start,
        end,
    )
    return TradeCounts(**row)


def find_holes(
    store: Store, market: Market, counts: TradeCounts, start: int, end: int
) -> tuple[list[Hole], bool]:
    """Return the ranges of missing ids, ascending, and whether these are all.

    Parameters
    ----------
    store
        Where the trades are.
    market
        Whose.
    counts
        From `count_trades` over the same range: where nothing is missing nothing is asked.
    start, end
        Range of the venue's time.
    """
    if counts.missing <= 0:
        return [], True
    buckets = _rows(
        store,
        "SELECT intDiv(sequence, {size:Int64}) AS bucket, min(sequence) AS low, "
        "max(sequence) AS high, groupBitmap(toUInt64(sequence)) AS held, "
        "argMin(exchange_time, sequence) AS low_time, argMax(exchange_time, sequence) AS high_time "
        f"FROM trades WHERE {_THESE} AND sequence > 0 GROUP BY bucket ORDER BY bucket",
        market,
        start,
        end,
        size=BUCKET_IDS,
    )
    holes = [
        Hole(before["high"] + 1, after["low"] - 1, before["high_time"], after["low_time"])
        for before, after in pairwise(buckets)
        if after["low"] > before["high"] + 1
    ]
    lacking = [b["bucket"] for b in buckets if b["held"] < b["high"] - b["low"] + 1]
    for hole in _holes_within(store, market, lacking, start, end):
        holes.append(hole)
        if len(holes) > MOST_HOLES:
            break
    holes.sort(key=lambda hole: hole.low)
    return holes[:MOST_HOLES], len(holes) <= MOST_HOLES


def _holes_within(
    store: Store, market: Market, buckets: Sequence[int], start: int, end: int
) -> Iterator[Hole]:
    for index in range(0, len(buckets), BUCKETS_AT_ONCE):
        hand = list(buckets[index : index + BUCKETS_AT_ONCE])
        yield from _missing(
            store,
            market,
            f"{_THESE} AND has({{buckets:Array(Int64)}}, intDiv(sequence, {{size:Int64}}))",
            "PARTITION BY intDiv(sequence, {size:Int64})",
            start,
            end,
            size=BUCKET_IDS,
            buckets=hand,
            low=hand[0] * BUCKET_IDS,
            high=(hand[-1] + 1) * BUCKET_IDS - 1,
            most=MOST_HOLES + 1,
        )


def _missing(
    store: Store,
    market: Market,
    trades: str,
    partition: str,
    start: int = 0,
    end: int = 0,
    **values: Any,
) -> list[Hole]:
    """Return what no row has between ids of `trades` that follow each other, by part."""
    rows = _rows(
        store,
        "SELECT previous + 1 AS low, sequence - 1 AS high, from_time, to_time FROM ("
        "SELECT sequence, exchange_time AS to_time, "
        "lagInFrame(sequence) OVER neighbours AS previous, "
        "lagInFrame(exchange_time) OVER neighbours AS from_time "
        f"FROM trades WHERE {trades} AND sequence BETWEEN {{low:Int64}} AND {{high:Int64}} "
        f"WINDOW neighbours AS ({partition} ORDER BY sequence "
        "ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)"
        ") WHERE previous > 0 AND sequence > previous + 1 ORDER BY low LIMIT {most:UInt64}",
        market,
        start,
        end,
        **values,
    )
    return [Hole(**row) for row in rows]


def count_duplicates(
    store: Store, market: Market, counts: TradeCounts, start: int, end: int
) -> int:
    """Return how many rows repeat the id of another row of the market."""
    doubled = counts.counted - counts.unique_counted
    uncounted = counts.trades - counts.counted
    passes = -(-uncounted // IDS_AT_ONCE)
    for number in range(passes):
        (row,) = _rows(
            store,
            "SELECT count() - uniqExact(trade_id) AS doubled "
            f"FROM trades WHERE {_THESE} AND sequence = 0 "
            "AND cityHash64(trade_id) % {passes:UInt64} = {number:UInt64}",
            market,
            start,
            end,
            passes=passes,
            number=number,
        )
        doubled += row["doubled"]
    return doubled


def _rows(
    store: Store, sql: str, market: Market, start: int = 0, end: int = 0, **more: Any
) -> list[dict[str, Any]]:
    found = store.query_arrow(sql, {**market._asdict(), "start": start, "end": end, **more})
    return _as_rows(found)


def _as_rows(found: pa.Table) -> list[dict[str, Any]]:
    columns = [python_values(found.column(name)) for name in found.column_names]
    return [dict(zip(found.column_names, row, strict=True)) for row in zip(*columns, strict=True)]
