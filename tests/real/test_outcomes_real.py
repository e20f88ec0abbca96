"""Labels of recorded candles: what LUNA's end and its reused ticker are, and what 293 gaps are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine.domain.timeframe import Timeframe
from engine.evaluation.labels import GAP, WHOLE, LabelRules, forward_returns, label_panel
from engine.evaluation.panel import PRICES, PricePanel, lay_panel

pytestmark = pytest.mark.real

HOUR = Timeframe.H1.ns
FILE = "candles/binance_spot_1h_60sym_2021_2023.parquet"


@pytest.fixture(scope="module")
def candles(real_data: Path) -> pa.Table:
    table = pq.read_table(real_data / FILE)
    opened = table.column("ts").cast(pa.timestamp("ns")).cast(pa.int64())
    return table.append_column("open_time", opened)


def panel_of(candles: pa.Table, symbols: list[str]) -> PricePanel:
    own = candles.filter(pc.is_in(candles.column("symbol"), pa.array(symbols, pa.large_string())))
    times = own.column("open_time").to_numpy()
    market = np.array([symbols.index(one) for one in own.column("symbol").to_pylist()], np.intp)
    return lay_panel(
        times, market, {name: own.column(name).to_numpy() for name in PRICES},
        markets=len(symbols), start=int(times.min()), end=int(times.max()) + HOUR, step=HOUR,
    )  # fmt: skip


def test_no_label_looks_over_the_silence_in_which_luna_became_another_coin(
    candles: pa.Table,
) -> None:
    panel = panel_of(candles, ["LUNAUSDT"])
    labels = label_panel(panel, 24, LabelRules())
    missing = np.isnan(panel.close[:, 0])
    silent = np.flatnonzero(missing)
    silence = max(np.split(silent, np.flatnonzero(np.diff(silent) > 1) + 1), key=len)
    assert len(silence) > 17 * 24
    before = np.arange(silence[0] - 24, silence[0])
    assert (labels.status[before, 0] == GAP).all()
    assert np.isnan(labels.forward_return[before, 0]).all()
    # The new coin's first volatility is of its own returns alone.
    first = silence[-1] + 1
    assert np.isnan(labels.volatility[first : first + 8, 0]).all()
    assert np.isfinite(labels.volatility[first + 8, 0])
    assert labels.status[first, 0] == WHOLE


def test_labels_of_the_panel_equal_those_of_each_series(candles: pa.Table) -> None:
    symbols = ["BTCUSDT", "ETHUSDT", "LUNAUSDT"]
    panel = panel_of(candles, symbols)
    labels = label_panel(panel, 24, LabelRules())
    for column, symbol in enumerate(symbols):
        own = candles.filter(pc.equal(candles.column("symbol"), symbol)).sort_by("open_time")
        times = own.column("open_time").to_numpy()
        series = forward_returns(times, own.column("close").to_numpy(), 24, HOUR)
        row = (times - panel.start) // HOUR
        known = row < len(labels)
        laid = labels.forward_return[row[known], column]
        assert np.array_equal(laid, series[known], equal_nan=True)
