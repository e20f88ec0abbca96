"""Trades and book tops exactly once, in tables that merge nothing away.

A block token cannot see a replay that is cut into other batches, so rows are compared by the
venue's own ids: what lies beyond all that its market is known to hold is new; of anything else
(a replay, a repair between what is held, a time stamp shared with the newest row) the ids
already stored over its stretch of time are asked for and left out. That holds for every kind of
id, counted or not (a UUID). Whole Arrow columns are compared, never rows one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.clock import NS_PER_MS, NS_PER_S
from engine.domain.instrument import Market
from engine.store.client import Store
from engine.store.columns import python_values


class Reach(NamedTuple):
    """How far a market's rows reach."""

    sequence: int
    """Their largest sequence."""
    time: int
    """Their latest time, UTC nanoseconds."""


_NOTHING = Reach(-(2**63), -(2**63))

_IN_MARKETS = (
    "(exchange, instrument) IN (SELECT arrayJoin("
    "arrayZip({exchanges:Array(String)}, {instruments:Array(String)})))"
)
_REACHES = (
    """
SELECT exchange, instrument, max(sequence) AS sequence, max({time:Identifier}) AS time
FROM {table:Identifier} WHERE """
    + _IN_MARKETS
    + " GROUP BY exchange, instrument"
)
_MARKET = "WHERE exchange = {exchange:String} AND instrument = {instrument:String} AND "


@dataclass(frozen=True, slots=True)
class _Identity:
    """What tells a table's rows apart within a market."""

    id: str
    """Column that is unique; rows of sequence 0 have none where it is the sequence itself."""
    time: str
    """Column of the time that orders them."""
    measure: str
    """Column over whose range stored ids are asked for."""
    stored: str
    """Query for them."""
    slack: int
    """How far apart, in `measure`, a venue may tell of the same row twice: its REST gives the
    time of a trade in other digits than its stream."""
    stretch: int
    """Rows further apart, in `measure`, are asked for by themselves: a batch may hold repaired
    trades of today and of last week, and what is stored between them is of no interest."""


_IDENTITIES: Mapping[str, _Identity] = {
    "trades": _Identity(
        "trade_id",
        "exchange_time",
        "exchange_time",
        f"SELECT trade_id AS id FROM trades {_MARKET}"
        "exchange_time >= fromUnixTimestamp64Nano({low:Int64}) "
        "AND exchange_time <= fromUnixTimestamp64Nano({high:Int64})",
        NS_PER_MS,
        3_600 * NS_PER_S,
    ),
    "book_tops": _Identity(
        "sequence",
        "receive_time",
        "sequence",
        f"SELECT sequence AS id FROM book_tops {_MARKET}"
        "sequence BETWEEN {low:Int64} AND {high:Int64}",
        0,
        1_000_000,
    ),
}
ONCE_TABLES = tuple(_IDENTITIES)
"""Tables whose rows are compared before they are written."""


class OnceFilter:
    """Leaves out rows that the store already holds.

    It remembers how far each market reaches, so one process writes a market at a time.

    Parameters
    ----------
    store
        Where the rows are.
    table
        ``trades`` (unique by trade_id) or ``book_tops`` (by sequence, where the venue counts;
        rows without one have no natural key and pass).

    Examples
    --------
    >>> once = OnceFilter(store, "trades")                 # doctest: +SKIP
    >>> fresh = once.missing(batch)                        # doctest: +SKIP
    >>> store.insert_arrow("trades", fresh)                # doctest: +SKIP
    >>> once.written(fresh)                                # doctest: +SKIP
    """

    def __init__(self, store: Store, table: str) -> None:
        self._store = store
        self._table = table
        self._identity = _IDENTITIES[table]
        self._held: dict[Market, Reach] = {}

    def missing(self, rows: pa.Table) -> pa.Table:
        """Return those of `rows` that the store does not hold, each once, in their order.

        Parameters
        ----------
        rows
            Columns as `engine.store.tables.Table.to_arrow` makes them.

        Raises
        ------
        StoreUnavailable
            Where the store cannot be asked.
        """
        rows = self._unique(rows)
        spans = _spans(rows, self._identity.time)
        self._learn(spans)
        for market, (low, _) in spans.items():
            held = self._held[market]
            newest = held.time + self._identity.slack
            if low.sequence <= held.sequence if low.sequence > 0 else low.time <= newest:
                rows = self._without_stored(rows, market)
        return rows

    def written(self, rows: pa.Table) -> None:
        """Remember that `rows`, which `missing` returned, are stored now."""
        for market, (_, high) in _spans(rows, self._identity.time).items():
            held = self._held.get(market, _NOTHING)
            self._held[market] = Reach(*map(max, held, high))

    def doubt(self, rows: pa.Table) -> None:
        """Forget how far the markets of `rows` reach: nobody knows whether those are stored.

        The next `missing` asks the store, and so leaves out what arrived of them after all.
        """
        for market in _spans(rows, self._identity.time):
            self._held.pop(market, None)

    def _unique(self, rows: pa.Table) -> pa.Table:
        """Keep the first of each id."""
        places = pa.array(np.arange(rows.num_rows))
        keys = ["exchange", "instrument", self._identity.id]
        firsts = rows.select(keys).append_column("place", places).group_by(keys)
        first = firsts.aggregate([("place", "min")])
        if first.num_rows == rows.num_rows:
            return rows
        keep = pc.is_in(places, value_set=first.column("place_min").combine_chunks())
        return rows.filter(pc.or_(keep, self._unnumbered(rows)))

    def _unnumbered(self, rows: pa.Table) -> pa.ChunkedArray:
        """Mark the rows that have no id."""
        if self._identity.id != "sequence":
            return pa.chunked_array([pa.repeat(False, rows.num_rows)])
        return pc.less_equal(rows.column("sequence"), 0)

    def _learn(self, spans: Mapping[Market, tuple[Reach, Reach]]) -> None:
        """Ask how far the markets reach that we know nothing of."""
        unknown = [market for market in spans if market not in self._held]
        if not unknown:
            return
        found = self._store.query_arrow(
            _REACHES,
            {
                "table": self._table,
                "time": self._identity.time,
                "exchanges": [market.exchange for market in unknown],
                "instruments": [market.instrument for market in unknown],
            },
        )
        names = ("exchange", "instrument", "sequence", "time")
        values = zip(*(python_values(found.column(name)) for name in names), strict=True)
        stored = {Market(exchange, name): Reach(*reach) for exchange, name, *reach in values}
        self._held.update((market, stored.get(market, _NOTHING)) for market in unknown)

    def _without_stored(self, rows: pa.Table, market: Market) -> pa.Table:
        """Ask for the ids over the rows of a market that may be stored, and leave those out."""
        held, identity = self._held[market], self._identity
        sequence, time = rows.column("sequence"), _integers(rows, identity.time)
        within = pc.if_else(
            pc.greater(sequence, 0),
            pc.less_equal(sequence, held.sequence),
            pc.less_equal(time, held.time + identity.slack),
        )
        suspect = pc.and_(
            pc.and_(_of_market(rows, market), within), pc.invert(self._unnumbered(rows))
        )
        asked_for = _integers(rows, identity.measure).filter(suspect).to_numpy()
        kind = rows.schema.field(identity.id).type
        held_ids = []
        for low, high in _stretches(asked_for, identity.stretch):
            found = self._store.query_arrow(
                identity.stored,
                {**market._asdict(), "low": low - identity.slack, "high": high + identity.slack},
            )
            held_ids.append(found.column("id").cast(kind).combine_chunks())
        if not held_ids:
            return rows
        stored = pc.is_in(rows.column(identity.id), value_set=pa.concat_arrays(held_ids))
        return rows.filter(pc.invert(pc.and_(suspect, stored)))


def _stretches(values: np.ndarray, apart: int) -> list[tuple[int, int]]:
    """Return the first and last of every stretch of values that has no hole wider than `apart`."""
    if not len(values):
        return []
    ordered = np.sort(values)
    edges = np.flatnonzero(np.diff(ordered) > apart) + 1
    return [(int(part[0]), int(part[-1])) for part in np.split(ordered, edges)]


def _integers(rows: pa.Table, name: str) -> pa.ChunkedArray:
    return rows.column(name).cast(pa.int64())


def _of_market(rows: pa.Table, market: Market) -> pa.ChunkedArray:
    return pc.and_(
        pc.equal(rows.column("exchange"), market.exchange),
        pc.equal(rows.column("instrument"), market.instrument),
    )


def _spans(rows: pa.Table, time: str) -> dict[Market, tuple[Reach, Reach]]:
    """Return each market's smallest and largest sequence and time."""
    names = ["exchange", "instrument", "sequence", time]
    found = (
        rows.select(names)
        .group_by(names[:2])
        .aggregate([(name, which) for which in ("min", "max") for name in names[2:]])
    )
    wanted = [*names[:2], *(f"{name}_{which}" for which in ("min", "max") for name in names[2:])]
    values = zip(*(python_values(found.column(name)) for name in wanted), strict=True)
    return {
        Market(exchange, instrument): (Reach(*numbers[:2]), Reach(*numbers[2:]))
        for exchange, instrument, *numbers in values
    }
