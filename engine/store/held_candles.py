"""Whether candles that are to be written are stored already."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from engine.store.client import Store

_KEY = ["instrument", "open_time"]
_VALUES = [
    *("open", "high", "low", "close", "volume"),
    *("quote_volume", "trade_count", "vwap", "twap", "taker_buy_volume"),
]
_HELD = f"""
SELECT {", ".join([*_KEY, *_VALUES])}, source FROM candles FINAL
WHERE exchange = {{exchange:String}} AND timeframe = {{timeframe:String}}
AND has({{instruments:Array(String)}}, instrument)
AND open_time >= fromUnixTimestamp64Nano({{first:Int64}})
AND open_time <= fromUnixTimestamp64Nano({{last:Int64}})
"""


def holds(store: Store, rows: pa.Table) -> bool:
    """Say whether each candle of a file is stored: as it is, or another source's in its place.

    Parameters
    ----------
    store
        Where they may be.
    rows
        Of one venue and timeframe and of the source ``import``, with the columns of ``candles``.
        A candle of any other source counts for more.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    first, last = (each.cast(pa.int64()).as_py() for each in pc.min_max(rows["open_time"]).values())
    held = store.query_arrow(
        _HELD,
        {
            "exchange": rows["exchange"][0].as_py(),
            "timeframe": rows["timeframe"][0].as_py(),
            "instruments": pc.unique(rows["instrument"]).to_pylist(),
            "first": first,
            "last": last,
        },
    )
    both = (
        rows.select([*_KEY, *_VALUES, "source"])
        .to_pandas()
        .merge(held.to_pandas(), how="left", on=_KEY, suffixes=("", "_held"))
    )
    theirs = both["source_held"]
    is_there = theirs.notna()
    is_equal = is_there.copy()
    for name in _VALUES:
        value, other = both[name], both[f"{name}_held"]
        is_equal &= (value == other) | (value.isna() & other.isna())
    return bool((is_equal | (is_there & (theirs != both["source"]))).all())
