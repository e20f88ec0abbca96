"""What the batch benchmark works on: candles as a Parquet file, and texts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.clock import NS_PER_S, parse_iso_utc
from engine.config import SimulatorConfig
from engine.domain.text import TextItem
from engine.simulator.news import NewsProcess, TextEvent
from engine.store.columns import TIME

HOUR_NS = 3_600 * NS_PER_S
FIRST = parse_iso_utc("2021-04-04T21:00:00Z")
HOURS = 24_000
"""Bars of each synthetic instrument, as many as the recorded ones have."""
_REAL = Path("candles") / "binance_spot_1h_60sym_2021_2023.parquet"
_BATCH_NS = 86_400 * NS_PER_S


def recorded_candles() -> Path | None:
    """Return the recorded hourly candles beside the checkout (see CONTRIBUTING.md), if there."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    found = Path(os.environ.get("ENGINE_REAL_DATA", beside)) / _REAL
    return found if found.is_file() else None


def first_symbols(source: Path | None, count: int, target: Path) -> int:
    """Write the candles of `count` symbols into a Parquet file, and return how many there are.

    Parameters
    ----------
    source
        A Parquet file with ``symbol``, ``ts`` and prices; random walks where there is none.
    count
        Symbols, by name.
    target
        The file to write.
    """
    rows = _random_walks(count) if source is None else _of_file(source, count)
    pq.write_table(rows, target)
    return int(rows.num_rows)


def _of_file(source: Path, count: int) -> pa.Table:
    names = sorted(pq.read_table(source, columns=["symbol"]).column("symbol").unique().to_pylist())
    # The reference instrument of the features is always among them.
    chosen = ["BTCUSDT", *(name for name in names if name != "BTCUSDT")][:count]
    return pq.read_table(source, filters=[("symbol", "in", chosen)])


def _random_walks(count: int) -> pa.Table:
    draw = np.random.default_rng(7)
    times = pa.array(FIRST + np.arange(HOURS) * HOUR_NS).cast(TIME).cast(pa.timestamp("us", "UTC"))
    parts = []
    for number in range(count):
        close = 100.0 * np.exp(draw.normal(0, 0.01, HOURS).cumsum())
        opened = np.concatenate([[100.0], close[:-1]])
        wick = np.abs(draw.normal(0, 0.003, (2, HOURS)))
        columns = {
            "symbol": pa.array(["BTCUSDT" if not number else f"C{number:02}USDT"] * HOURS),
            "ts": times,
            "open": opened,
            "high": np.maximum(opened, close) * (1 + wick[0]),
            "low": np.minimum(opened, close) * (1 - wick[1]),
            "close": close,
            "volume": draw.exponential(1_000, HOURS),
        }
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def simulated_texts(count: int) -> list[TextItem]:
    """Return texts of the simulated venues' news, each with an id of its own."""
    config = SimulatorConfig()
    events: list[TextEvent] = []
    start = config.epoch_ns
    while len(events) < min(count, 5_000):
        events += NewsProcess(config).texts(start, start + _BATCH_NS)
        start += _BATCH_NS
    chosen = (events[number % len(events)] for number in range(count))
    return [
        TextItem(
            text_id=f"text-{number:08}",
            source="simulated",
            kind="news",
            title=event.title,
            body=event.body,
            url="",
            author="",
            published_at=FIRST + number * NS_PER_S,
            available_at=FIRST + number * NS_PER_S,
            engagement=1.0,
            credibility=1.0,
            instruments=(),
        )
        for number, event in enumerate(chosen)
    ]
