"""How fast `engine verify` proves a market complete, and how much memory it takes.

Run it with ``python -m benchmarks.verify [--rows 5000000]``. The market has consecutive ids, one
trade in ten milliseconds (a busy market), and the candles of all timeframes that its trades make.
The figure is rows a second of one whole verification, ids, duplicates and candles.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pyarrow as pa

from benchmarks.machine import describe_machine
from engine.clock import parse_iso_utc
from engine.config import RetentionConfig
from engine.domain.instrument import Market
from engine.store.client import Store
from engine.store.columns import TIME
from engine.store.completeness import LATEST, Selection, verify
from engine.store.embedded import EmbeddedStore
from engine.store.recompute import recompute
from engine.store.schema import migrate
from engine.store.tables import table_named

MARKET = Market("binance", "BTC-USDT")
START = parse_iso_utc("2026-01-01T00:00:00Z")
SPACING_NS = 10_000_000
BATCH = 250_000
KEPT = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))


def make_trades(rows: int, first: int) -> pa.Table:
    """Return `rows` trades numbered from `first`."""
    draw = np.random.default_rng(first)
    numbers = np.arange(first, first + rows)
    times = START + numbers * SPACING_NS
    columns = [
        pa.array([MARKET.exchange] * rows),
        pa.array([MARKET.instrument] * rows),
        pa.array(numbers.astype(str)),
        pa.array(numbers),
        pa.array(np.round(60_000 + draw.normal(0, 1, rows).cumsum(), 2)),
        pa.array(np.round(draw.exponential(0.01, rows), 5) + 1e-5),
        pa.array(np.where(draw.random(rows) < 0.5, "buy", "sell")),
        pa.array(times).cast(TIME),
        pa.array(times).cast(TIME),
    ]
    return pa.table(columns, names=[column.name for column in table_named("trades").columns])


def fill(store: Store, rows: int) -> None:
    """Write trades and their candles."""
    for first in range(1, rows + 1, BATCH):
        store.insert_arrow("trades", make_trades(min(BATCH, rows + 1 - first), first))
    for stretch in recompute(store, MARKET, START, START + (rows + 1) * SPACING_NS):
        store.insert("candles", [msgspec.structs.replace(c, version=1) for c in stretch.candles])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000, help="trades")
    rows = parser.parse_args().rows
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        home = EmbeddedStore(Path(folder) / "store")
        try:
            with Store(home.start()) as store:
                migrate(store, KEPT)
                began = time.perf_counter()
                fill(store, rows)
                print(f"{describe_machine()}\nwritten in {time.perf_counter() - began:.0f} s")
                before = process.memory_info().rss
                began = time.perf_counter()
                (report,) = verify(store, Selection(end=LATEST))
                took = time.perf_counter() - began
        finally:
            home.stop()
    grown = (process.memory_info().rss - before) / 2**20
    print(f"{rows:,} trades, {report.candles.compared:,} candles: complete={report.is_complete}")
    print(f"verified in {took:.1f} s, {rows / took:,.0f} trades/s, memory grew {grown:.0f} MiB")


if __name__ == "__main__":
    main()
