"""Which markets are delisted, and since when that is known: what the registry's rows come to."""

from __future__ import annotations

from typing import NamedTuple

from engine.domain.instrument import Market
from engine.store.client import Store


class Delisting(NamedTuple):
    """The end of a market's trading."""

    ended: int
    """UTC nanoseconds."""
    known_at: int
    """Since when it is known; later where only a silence told of it."""


def delistings(store: Store) -> dict[Market, Delisting]:
    """Return the end of every market that is delisted by the registry's newest row.

    It is known since the first row that told of this end: not since an earlier delisting that was
    taken back, and not only since the last row that repeats it.
    """
    rows = store.query_arrow(
        "SELECT exchange, instrument, toUnixTimestamp64Nano(valid_from) AS told_at, "
        "if(status = 'delisted', toUnixTimestamp64Nano(delisted_at), NULL) AS ended "
        "FROM instruments FINAL WHERE (exchange, instrument) IN "
        "(SELECT exchange, instrument FROM instruments WHERE status = 'delisted') "
        "ORDER BY exchange, instrument, valid_from"
    ).to_pylist()
    known: dict[Market, Delisting] = {}
    for row in rows:
        market = Market(row["exchange"], row["instrument"])
        if row["ended"] is None:
            known.pop(market, None)
        elif market not in known or known[market].ended != row["ended"]:
            known[market] = Delisting(row["ended"], row["told_at"])
    return known
