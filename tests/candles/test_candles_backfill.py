"""Planning of what to fetch, and resampling's refusals."""

from __future__ import annotations

import msgspec
import pytest

from engine.candles.backfill import (
    TimeRange,
    accepted,
    missing_ranges,
    needed_range,
    restore_ranges,
)
from engine.candles.resample import resample
from engine.clock import parse_iso_utc
from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe

HOUR = Timeframe.H1.ns


def bar(open_time: int, **more) -> Candle:
    fields = {
        "exchange": "kraken", "instrument": "BTC-USD", "timeframe": "1h", "open_time": open_time,
        "close_time": open_time + HOUR, "open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5,
        "volume": 4.0, "quote_volume": None, "trade_count": None, "vwap": None, "twap": None,
        "taker_buy_volume": None, "source": "rest", "is_closed": True, "version": 77,
    }  # fmt: skip
    return Candle(**(fields | more))


def test_needed_range_starts_warm_up_before_the_month():
    now = parse_iso_utc("2024-03-05T10:37:00Z")
    start = parse_iso_utc("2024-02-29T14:00:00Z")
    assert needed_range(Timeframe.H1, now, 10) == (start, parse_iso_utc("2024-03-05T10:00:00Z"))


def test_missing_ranges_finds_head_hole_and_tail():
    have = [3 * HOUR, 2 * HOUR, 5 * HOUR]
    assert missing_ranges(have, Timeframe.H1, 1, 7 * HOUR + 5) == [
        (HOUR, 2 * HOUR),
        (4 * HOUR, 5 * HOUR),
        (6 * HOUR, 7 * HOUR),
    ]


def test_missing_ranges_of_nothing_wanted_is_empty():
    assert missing_ranges([], Timeframe.H1, 5, HOUR) == []


def test_accepted_keeps_exact_candles_and_replaces_partial_ones():
    exact, partial = bar(0, source="trades", version=90), bar(HOUR, source="trades", version=90)
    kept = accepted([bar(0), bar(HOUR), bar(2 * HOUR)], [exact, partial], [TimeRange(0, HOUR + 5)])
    assert [(c.open_time, c.version, c.source) for c in kept] == [
        (HOUR, 91, "rest"),
        (2 * HOUR, 2 * HOUR, "rest"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"volume": 0.0},
        {"is_closed": False},
        {"low": 0.0},
        {"low": 2.2},
        {"high": float("inf")},
        {"close": float("nan")},
        {"volume": float("nan")},
    ],
)
def test_accepted_leaves_out_bars_that_are_no_candles(wrong):
    assert accepted([bar(0, **wrong)], [], []) == []


def test_restore_ranges_asks_for_the_unfinished_intervals_only():
    cut = parse_iso_utc("2024-03-05T10:37:00Z")
    ranges = dict(restore_ranges(tuple(Timeframe), cut))
    assert {tf.value: (span.end - span.start) // tf.ns for tf, span in ranges.items()} == {
        "1m": 2,
        "5m": 1,
        "15m": 2,
        "1h": 2,
        "4h": 2,
    }


def test_restore_ranges_refuses_a_cut_inside_the_finest_interval():
    with pytest.raises(ValueError, match="1m"):
        restore_ranges((Timeframe.M1, Timeframe.H1), Timeframe.S1.ns)


def test_resample_takes_the_newest_version_and_any_order():
    old, new = bar(0, close=9.0, version=1), bar(0, close=7.0, version=2)
    (day,) = resample([bar(4 * HOUR, close=5.0), new, old], Timeframe.D1)
    assert (day.open, day.close, day.volume, day.source) == (2.0, 5.0, 8.0, "rest")
    (four,) = resample([new, old], Timeframe.H4)
    assert (four.close, four.version) == (7.0, 2)


def test_resample_refuses_mixed_or_longer_candles():
    with pytest.raises(ValueError, match="several"):
        resample([bar(0), msgspec.structs.replace(bar(0), timeframe="1m")], Timeframe.D1)
    with pytest.raises(ValueError, match="shorter"):
        resample([bar(0)], Timeframe.M1)
    assert resample([], Timeframe.D1) == []
