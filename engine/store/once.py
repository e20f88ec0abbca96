"""Trades and book tops exactly once, in tables that merge nothing away.

A block token cannot see a replay that is cut into other batches, so rows are compared by the
venue's own ids: a batch that lies wholly beyond what the market is known to hold is new; of
any other, the ids already stored are asked for and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import pyarrow as pa

from engine.domain.instrument import Market
from engine.domain.market import BookTop, Trade
from engine.store.client import Store
from engine.store.columns import python_values

Row = Trade | BookTop
Position = tuple[int, int]
"""The largest sequence and the latest time that a market holds."""

_NOTHING: Position = (-(2**63), -(2**63))

_TRADE_IDS = """
SELECT trade_id AS id FROM trades
WHERE exchange = {exchange:String} AND instrument = {instrument:String}
  AND exchange_time >= fromUnixTimestamp64Nano({low:Int64})
  AND exchange_time <= fromUnixTimestamp64Nano({high:Int64})
"""
_TOP_IDS = """
SELECT sequence AS id FROM book_tops
WHERE exchange = {exchange:String} AND instrument = {instrument:String}
  AND sequence BETWEEN {low:Int64} AND {high:Int64}
"""
_POSITIONS = {
    "trades": """
SELECT max(sequence) AS sequence, max(exchange_time) AS time, count() AS rows FROM trades
WHERE exchange = {exchange:String} AND instrument = {instrument:String}
""",
    "book_tops": """
SELECT max(sequence) AS sequence, max(receive_time) AS time, count() AS rows FROM book_tops
WHERE exchange = {exchange:String} AND instrument = {instrument:String}
""",
}


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
    """

    def __init__(self, store: Store, table: str) -> None:
        self._store = store
        self._table = table
        self._held: dict[Market, Position] = {}

    def missing(self, rows: Sequence[Row]) -> list[Row]:
        """Return those of `rows` that the store does not hold, each once, by market.

        Raises
        ------
        StoreUnavailable
            Where the store cannot be asked.
        """
        markets: dict[Market, list[Row]] = {}
        for row in rows:
            markets.setdefault(Market(row.exchange, row.instrument), []).append(row)
        return [row for market, its in markets.items() for row in self._new(market, its)]

    def written(self, rows: Sequence[Row]) -> None:
        """Remember that `rows` are stored now."""
        for row in rows:
            market = Market(row.exchange, row.instrument)
            sequence, time = self._held.get(market, _NOTHING)
            self._held[market] = (max(sequence, row.sequence), max(time, _time(row)))

    def _new(self, market: Market, rows: list[Row]) -> list[Row]:
        unique: dict[Hashable, Row] = {}
        for row in rows:
            unique.setdefault(_key(row), row)
        fresh = list(unique.values())
        sequence, time = self._position(market)
        counted = all(row.sequence > 0 for row in fresh)
        if counted and min(row.sequence for row in fresh) > sequence:
            return fresh
        if not counted and min(_time(row) for row in fresh) > time:
            return fresh
        stored = self._stored(market, fresh)
        return [row for row in fresh if _key(row) not in stored]

    def _position(self, market: Market) -> Position:
        if market not in self._held:
            found = self._store.query_arrow(_POSITIONS[self._table], market._asdict())
            if python_values(found.column("rows"))[0]:
                sequence, time = (python_values(found.column(c))[0] for c in ("sequence", "time"))
                self._held[market] = (sequence, time)
            else:
                self._held[market] = _NOTHING
        return self._held[market]

    def _stored(self, market: Market, rows: list[Row]) -> set[Hashable]:
        measure: Callable[[Any], int] = _time if self._table == "trades" else _sequence
        places = [measure(row) for row in rows if self._table == "trades" or row.sequence > 0]
        if not places:
            return set()
        found: pa.Table = self._store.query_arrow(
            _TRADE_IDS if self._table == "trades" else _TOP_IDS,
            {**market._asdict(), "low": min(places), "high": max(places)},
        )
        return set(python_values(found.column("id")))


def _key(row: Row) -> Hashable:
    if isinstance(row, Trade):
        return row.trade_id
    return row.sequence if row.sequence > 0 else ("no number", id(row))


def _time(row: Row) -> int:
    return row.exchange_time if isinstance(row, Trade) else row.receive_time


def _sequence(row: Row) -> int:
    return row.sequence
