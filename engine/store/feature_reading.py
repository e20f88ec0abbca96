"""What the features of a segment are made of, and what is stored of them, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.domain.instrument import Market
from engine.domain.market import BookSnapshot
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import FEATURE_NAMES, FEATURE_VERSION
from engine.features.grid import BAR_FIELDS
from engine.features.universe import Member
from engine.indicators.base import Array
from engine.store.client import Store
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

    def those(self, marks: NDArray[np.bool_]) -> StoredRows:
        """Return the rows that are marked."""
        return StoredRows(
            self.open_time[marks],
            self.values[marks],
            self.available_at[marks],
            self.last_receive_time[marks],
        )


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


def _names(markets: Sequence[Market]) -> dict[str, list[str]]:
    return {
        "exchanges": [market.exchange for market in markets],
        "instruments": [market.instrument for market in markets],
    }
