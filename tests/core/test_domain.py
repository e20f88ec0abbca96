"""Instruments and timeframes."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import iso_utc, parse_iso_utc
from engine.domain.instrument import Instrument
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, InstrumentError, StoreQueryError

TIMES = st.integers(min_value=0, max_value=4_000_000_000_000_000_000)


@pytest.mark.parametrize("name", ["BTC-USDT", "1INCH-USD", "ETH-USDT-PERP"])
def test_instrument_canonical_name_reads_back(name: str) -> None:
    assert str(Instrument.parse(name)) == name


@pytest.mark.parametrize("name", ["", "BTC", "btc-usdt", "BTC/USDT", "BTC-USDT-SWAP", "BTC-"])
def test_instrument_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(InstrumentError, match="BASE-QUOTE"):
        Instrument.parse(name)


@given(TIMES, st.sampled_from(Timeframe))
def test_timeframe_floor_is_the_interval_that_holds_a_time(time: int, timeframe: Timeframe) -> None:
    start = timeframe.floor(time)
    assert start <= time < start + timeframe.ns
    assert timeframe.floor(start) == start


@given(TIMES, st.sampled_from(Timeframe))
def test_timeframe_segment_starts_at_a_bar_and_holds_it(time: int, timeframe: Timeframe) -> None:
    start = timeframe.segment_start(time)
    assert start <= time
    assert timeframe.floor(start) == start
    assert timeframe.segment_start(start) == start


@pytest.mark.parametrize(
    ("timeframe", "start"),
    [
        (Timeframe.S1, "2024-08-08T23:00:00.000000Z"),
        (Timeframe.M1, "2024-08-08T00:00:00.000000Z"),
        (Timeframe.H1, "2024-08-01T00:00:00.000000Z"),
        (Timeframe.D1, "2024-08-01T00:00:00.000000Z"),
    ],
)
def test_timeframe_segment_spans_hour_day_or_month(timeframe: Timeframe, start: str) -> None:
    time = parse_iso_utc("2024-08-08T23:54:15Z")
    assert iso_utc(timeframe.segment_start(time)) == start


def test_timeframe_parents_divide_their_children() -> None:
    for timeframe in Timeframe:
        if timeframe.parent is not None:
            assert timeframe.ns % timeframe.parent.ns == 0


def test_errors_with_more_than_a_message_survive_pickling() -> None:
    frame = pickle.loads(pickle.dumps(FrameError("not_json", "what")))
    query = pickle.loads(pickle.dumps(StoreQueryError("what", 60)))
    assert (frame.kind, str(frame), query.code, str(query)) == ("not_json", "what", 60, "what")


@pytest.mark.parametrize(
    ("name", "is_spot"),
    [
        ("BTC-USDT", True),
        ("LUNA~2-USDT", True),
        ("BTC-USDT-PERP", False),
        ("BTC-USD-261225", False),
    ],
)
def test_instrument_is_spot_where_the_coin_itself_is_traded(name: str, is_spot: bool) -> None:
    assert Instrument.parse(name).is_spot is is_spot
