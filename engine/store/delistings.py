"""Which markets are delisted, and since when that is known: what the registry's rows come to."""

from __future__ import annotations

from engine.domain.delisting import Delisting, newest_delistings
from engine.domain.instrument import Market
from engine.store.client import Store


def delistings(store: Store) -> dict[Market, Delisting]:
    """Return the end of every market that is delisted by the registry's newest row.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    rows = store.query_arrow(
        "SELECT exchange, instrument, toUnixTimestamp64Nano(valid_from) AS told_at, "
        "if(status = 'delisted', toUnixTimestamp64Nano(delisted_at), NULL) AS ended "
        "FROM instruments FINAL WHERE (exchange, instrument) IN "
        "(SELECT exchange, instrument FROM instruments WHERE status = 'delisted') "
        "ORDER BY exchange, instrument, valid_from"
    ).to_pylist()
    return newest_delistings(
        (Market(row["exchange"], row["instrument"]), row["ended"], row["told_at"]) for row in rows
    )
