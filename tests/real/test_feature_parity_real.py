"""Live equals batch, bit for bit, on recorded candles."""

from datetime import UTC, datetime

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine.clock import parse_iso_utc
from engine.domain.instrument import Market
from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe
from engine.features.batch import compute_segment
from engine.features.catalogue import FEATURE_NAMES, FEATURES
from engine.features.grid import regular_grid
from engine.features.live import LiveFeatures
from engine.features.warm_up import WARM_UP_BARS

pytestmark = pytest.mark.real

HOURLY = "binance_spot_1h_60sym_2021_2023.parquet"
MINUTES = "binance_perp_1m_80sym_2025-06-17_23.parquet"


def bars(path, symbol, timeframe, start_ns, end_ns):
    """The grid of one recorded symbol."""
    bounds = [datetime.fromtimestamp(t / 1e9, UTC).replace(tzinfo=None) for t in (start_ns, end_ns)]
    table = pq.read_table(
        path,
        filters=(pc.field("symbol") == symbol)
        & (pc.field("ts") >= bounds[0])
        & (pc.field("ts") < bounds[1]),
    ).sort_by("ts")
    times = table["ts"].cast("timestamp[ns]").cast("int64").to_pylist()
    columns = [table[n].to_pylist() for n in ("open", "high", "low", "close", "volume")]
    candles = [
        Candle(
            "binance", symbol, timeframe.value, time, time + timeframe.ns, *values,
            quote_volume=None, trade_count=None, vwap=None, twap=None, taker_buy_volume=None,
            source="rest", is_closed=True, version=1,
        )
        for time, *values in zip(times, *columns, strict=True)
    ]  # fmt: skip
    return regular_grid(candles, start_ns, end_ns)


def symbols(path):
    return set(pc.unique(pq.read_table(path, columns=["symbol"])["symbol"]).to_pylist())


def named(path, base):
    """The file's own name of BASE against USDT."""
    (name,) = [s for s in symbols(path) if s.replace("/", "").replace(":USDT", "") == f"{base}USDT"]
    return name


@pytest.mark.parametrize(
    ("file", "base", "timeframe", "start", "count"),
    [
        (HOURLY, "ETH", Timeframe.H1, "2022-11-01T00:00:00Z", 30 * 24),
        (HOURLY, "LUNA", Timeframe.H1, "2022-05-01T00:00:00Z", 31 * 24),
        (HOURLY, "BTC", Timeframe.H1, "2023-03-01T00:00:00Z", 31 * 24),
        (MINUTES, "ETH", Timeframe.M1, "2025-06-20T00:00:00Z", 1440),
        (MINUTES, "SOL", Timeframe.M1, "2025-06-21T00:00:00Z", 1440),
    ],
)
def test_live_over_a_recorded_segment_equals_batch_bit_for_bit(
    real_data, file, base, timeframe, start, count
):
    path = real_data / "candles" / file
    start_ns = parse_iso_utc(start)
    span = (start_ns - WARM_UP_BARS * timeframe.ns, start_ns + count * timeframe.ns)
    own = bars(path, named(path, base), timeframe, *span)
    reference = bars(path, named(path, "BTC"), timeframe, *span)
    assert len(own) == len(reference) == WARM_UP_BARS + count
    expected = compute_segment(own, timeframe, start_ns, reference)

    live = LiveFeatures(Market("binance", f"{base}-USDT"), timeframe)
    live.open(own[:WARM_UP_BARS], reference[:WARM_UP_BARS])
    rows = np.empty_like(expected)
    for index in range(count):
        if index == count // 2:  # a restart
            here = slice(0, WARM_UP_BARS + index)
            live = LiveFeatures(live.market, timeframe)
            live.open(own[here], reference[here])
        bar, other = own.bar(WARM_UP_BARS + index), reference.bar(WARM_UP_BARS + index)
        live.preview(bar._replace(close=bar.high), other)
        rows[index] = live.push(bar, other)
    assert rows.tobytes() == expected.tobytes()

    for column, feature in enumerate(FEATURES):
        known = expected[:, column][~np.isnan(expected[:, column])]
        assert ((known >= feature.low) & (known <= feature.high)).all(), feature.name
    assert np.isfinite(expected[:, FEATURE_NAMES.index("rsi_14")]).all()
    assert np.isnan(expected[:, FEATURE_NAMES.index("taker_imbalance")]).all()
