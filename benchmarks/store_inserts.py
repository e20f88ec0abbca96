"""Rows a second into and out of `trades`: through HTTP, through the writer, and by bare chDB.

Run it with ``python -m benchmarks.store_inserts``. The bare insert is the ceiling: the same rows,
the same table, the same format, without HTTP, client or look-ups. Every figure is the median of
several runs on the machine that is printed; each run writes rows of its own, so that none is
dropped as a repetition.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.machine import describe_machine
from engine.clock import NS_PER_S, SystemClock
from engine.config import RetentionConfig, StoreConfig
from engine.domain.market import Trade
from engine.store.client import Store
from engine.store.columns import TIME
from engine.store.embedded import EmbeddedStore
from engine.store.embedded.engine import ChdbEngine
from engine.store.endpoint import DEFAULT_DATABASE
from engine.store.reader import Reader
from engine.store.schema import migrate
from engine.store.tables import content_token, table_named
from engine.store.writer import BatchWriter

EXCHANGE, INSTRUMENT = "binance", "BTC-USDT"
_INSERT = "INSERT INTO trades (" + table_named("trades").select + ")"


def make_trades(rows: int, first: int, start_ns: int) -> pa.Table:
    """Return `rows` trades of one market, a millisecond apart, numbered from `first`."""
    draw = np.random.default_rng(first)
    numbers = np.arange(first, first + rows)
    times = start_ns + numbers * 1_000_000
    columns = [
        pa.array([EXCHANGE] * rows),
        pa.array([INSTRUMENT] * rows),
        pa.array(numbers.astype(str)),
        pa.array(numbers),
        pa.array(np.round(60_000 + draw.normal(0, 1, rows).cumsum(), 2)),
        pa.array(np.round(draw.exponential(0.01, rows), 5) + 1e-5),
        pa.array(np.where(draw.random(rows) < 0.5, "buy", "sell")),
        pa.array(times).cast(TIME),
        pa.array(times + 20_000_000).cast(TIME),
    ]
    return pa.table(columns, names=[c.name for c in table_named("trades").columns])


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def insert_bare(engine: ChdbEngine, rows: pa.Table) -> None:
    """Insert by chDB in this process, as one Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    connection = engine.connection(DEFAULT_DATABASE, {})
    try:
        connection.open_insert(_INSERT, "ArrowStream")
        connection.append(sink.getvalue().to_pybytes())
        connection.finish_insert()
    finally:
        connection.close()


def write_structs(store: Store, trades: list[Trade]) -> None:
    """Write structs the way the engine does."""

    async def write() -> None:
        writer = BatchWriter(store, StoreConfig())
        await writer.put("trades", trades)
        await writer.close()

    asyncio.run(write())


def measure(rows: int, runs: int, folder: Path) -> dict[str, float]:
    """Return the median rows a second of each way.

    Parameters
    ----------
    rows
        Trades of one insert.
    runs
        Inserts of each way. The ways take turns, and another goes first each time, so that
        neither a slow moment nor the database's own merging strikes one of them alone.
    folder
        Where the store is made.
    """
    start = SystemClock().now_ns() - NS_PER_S * rows
    times: dict[str, list[float]] = {}
    batches = (make_trades(rows, 1 + n * rows, start) for n in range(4 * (runs + 1)))
    home = EmbeddedStore(folder)
    bare = ChdbEngine(folder, 2048)
    store = Store(home.start())
    try:
        migrate(store, RetentionConfig())
        bare.open()
        for run in range(runs + 1):
            direct, over_http, tokened, structs = (next(batches) for _ in range(4))
            trades = table_named("trades").from_arrow(structs)
            token = content_token("trades", tokened)
            ways: dict[str, Callable[[], object]] = {
                "bare": partial(insert_bare, bare, direct),
                "http": partial(store.insert_arrow, "trades", over_http),
                "http_token": partial(store.insert_arrow, "trades", tokened, token),
                "writer": partial(write_structs, store, trades),
            }
            turn = run % len(ways)
            order = [*list(ways)[turn:], *list(ways)[:turn]]
            took = {name: seconds(ways[name]) for name in order}
            took["read_arrow"] = seconds(partial(_read_arrow, store, structs))
            took["read_structs"] = seconds(partial(_read_structs, store, trades))
            if run:  # the first run warms up
                for name, value in took.items():
                    times.setdefault(name, []).append(value)
    finally:
        store.close()
        bare.close()
        home.stop()
    return {name: rows / statistics.median(each) for name, each in times.items()}


def _read_arrow(store: Store, rows: pa.Table) -> None:
    sequence = rows.column("sequence")
    found = store.query_arrow(
        "SELECT * FROM trades WHERE sequence BETWEEN {a:Int64} AND {b:Int64}",
        {"a": sequence[0].as_py(), "b": sequence[-1].as_py()},
    )
    _expect(found.num_rows, rows.num_rows)


def _read_structs(store: Store, trades: list[Trade]) -> None:
    found = Reader(store).trades(
        EXCHANGE, INSTRUMENT, trades[0].exchange_time, trades[-1].exchange_time + 1
    )
    _expect(len(found), len(trades))


def _expect(got: int, wanted: int) -> None:
    if got != wanted:
        raise RuntimeError(f"{got} rows were read back, {wanted} were written")


def main() -> None:
    """Print the machine, the medians and their ratios to the bare insert."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="trades of one insert")
    parser.add_argument("--runs", type=int, default=8, help="timed runs of each way")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments.rows, arguments.runs, Path(folder) / "store")
    print(describe_machine())
    print(f"median of {arguments.runs} runs of {arguments.rows:,} trades, rows a second:")
    for name in sorted(found):
        speed = found[name]
        print(f"  {name:13} {speed:12,.0f}   {speed / found['bare']:5.2f} of bare")


if __name__ == "__main__":
    main()
