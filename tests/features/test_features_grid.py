"""Candles on the regular grid: the rule for intervals without trades."""

import numpy as np
import pytest

from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe
from engine.features.grid import Bar, Bars, align_close, regular_grid

M1 = Timeframe.M1.ns


def candle(minute, close=10.0, **changes):
    fields = {
        "exchange": "okx", "instrument": "BTC-USDT", "timeframe": "1m",
        "open_time": minute * M1, "close_time": (minute + 1) * M1,
        "open": close - 1, "high": close + 1, "low": close - 2, "close": close, "volume": 3.0,
        "quote_volume": None, "trade_count": None, "vwap": None, "twap": 9.5,
        "taker_buy_volume": 1.0, "source": "rest", "is_closed": True, "version": 1,
    }  # fmt: skip
    return Candle(**(fields | changes))


def minutes(bars):
    return [time // M1 for time in bars.open_time.tolist()]


def test_regular_grid_fills_empty_intervals_at_the_previous_close():
    bars = regular_grid([candle(2, 10.0), candle(5, 20.0)], 0, 7 * M1)
    assert minutes(bars) == [2, 3, 4, 5, 6]
    assert bars.filled.tolist() == [False, True, True, False, True]
    assert bars.bar(1) == Bar(3 * M1, 10.0, 10.0, 10.0, 10.0, 0.0, 10.0, 10.0, 0.0, True)
    assert bars.bar(4) == Bar.flat(6 * M1, 20.0)
    assert bars.bar(3)[1:6] == (19.0, 21.0, 18.0, 20.0, 3.0)
    assert np.isnan(bars.bar(3).vwap)


def test_regular_grid_starts_from_the_candle_before_its_start():
    bars = regular_grid([candle(1, 7.0), candle(6)], 4 * M1, 7 * M1)
    assert minutes(bars) == [4, 5, 6]
    assert bars.bar(0) == Bar.flat(4 * M1, 7.0)


def test_regular_grid_leaves_candles_after_its_end_out():
    assert minutes(regular_grid([candle(1), candle(2), candle(9)], 0, 4 * M1)) == [1, 2, 3]


def test_regular_grid_without_candles_is_empty():
    assert len(regular_grid([], 0, 10 * M1)) == 0
    assert len(regular_grid([candle(20)], 0, 10 * M1)) == 0


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (candle(1), "follows one at"),
        (candle(0), "follows one at"),
        (candle(3, instrument="ETH-USDT"), "another market"),
        (candle(3, open_time=3 * M1 + 1), "off its timeframe's grid"),
    ],
)
def test_regular_grid_of_misplaced_candles_raises(second, message):
    with pytest.raises(ValueError, match=message):
        regular_grid([candle(1), second], 0, 9 * M1)


def test_align_close_takes_bars_of_the_same_time_only():
    reference = Bars.of([Bar.flat(2 * M1, 5.0), Bar.flat(4 * M1, 6.0)])
    aligned = align_close(reference, np.array([1, 2, 3, 4, 5]) * M1)
    np.testing.assert_array_equal(aligned, [np.nan, 5.0, np.nan, 6.0, np.nan])


@pytest.mark.parametrize("reference", [None, Bars.of([])])
def test_align_close_without_a_reference_is_missing(reference):
    assert np.isnan(align_close(reference, np.array([M1]))).all()
