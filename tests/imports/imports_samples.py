"""Files of candles, sound and not, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.domain.timeframe import Timeframe
from engine.exchanges.registry import exchange
from engine.imports.census import Census, take_census
from engine.imports.files import ImportFile, find_files
from engine.imports.rows import Reading
from engine.imports.symbols import SymbolNames

HOUR = Timeframe.H1.ns
START = 1_640_995_200_000_000_000
"""2022-01-01."""
NOW = START + 2 * 365 * 24 * HOUR


def reading(**changes: Any) -> Reading:
    """Return how files are read: as of 2024, everything."""
    values: dict[str, Any] = {
        "columns": {},
        "names": SymbolNames(exchange(changes.pop("venue", "binance")), changes.pop("symbols", {})),
        "timeframe": None,
        "naive_timezone": "",
        "wanted": frozenset(),
        "begin": 0,
        "end": 2**63 - 1,
        "now": NOW,
    }
    return Reading(**(values | changes))


def rows(symbol: str, hours: Sequence[int], price: float = 100.0) -> dict[str, list[Any]]:
    """Return hourly candles of a symbol: open = price + hour, high + 2, low - 2, close + 1."""
    return {
        "symbol": [symbol] * len(hours),
        "ts": [START + hour * HOUR for hour in hours],
        "open": [price + hour for hour in hours],
        "high": [price + hour + 2 for hour in hours],
        "low": [price + hour - 2 for hour in hours],
        "close": [price + hour + 1 for hour in hours],
        "volume": [10.0 + hour for hour in hours],
    }


def table(*parts: dict[str, list[Any]], **changes: list[Any]) -> pa.Table:
    """Return candles as a table with UTC times; `changes` are whole columns."""
    columns = {name: [value for part in parts for value in part[name]] for name in parts[0]}
    found = pa.table(columns | changes)
    place = found.column_names.index("ts")
    if pa.types.is_integer(found["ts"].type):
        times = found["ts"].cast(pa.timestamp("ns", "UTC"))
        found = found.set_column(place, "ts", times)
    return found


def parquet(
    folder: Path, found: pa.Table, name: str = "candles.parquet", **options: Any
) -> ImportFile:
    """Write a Parquet file."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(found, folder / name, **options)
    return find_files(str(folder / name))[0]


def text_file(folder: Path, text: str, name: str = "candles.csv") -> ImportFile:
    """Write a CSV file."""
    (folder / name).write_text(text)
    return find_files(str(folder / name))[0]


def census_of(folder: Path, found: pa.Table, **changes: Any) -> Census:
    """Write a table as Parquet, and look at it."""
    return take_census(parquet(folder, found), reading(**changes))
