"""Candles to bars: order, empty intervals, corrections."""

from __future__ import annotations

import numpy as np
import pytest
from actors_samples import MINUTE, candle
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.actors.bar_series import BarSeries
from engine.domain.delisting import Delisting
from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.features.live import LiveFeatures
from engine.features.universe import Member, belongs

BTC, ETH = Market("binance", "BTC-USDT"), Market("binance", "ETH-USDT")


def series(market: Market = BTC) -> BarSeries:
    return BarSeries(LiveFeatures(market, Timeframe.M1, market == BTC))


@pytest.fixture
def loaded() -> BarSeries:
    found = series()
    found.load([candle(index * MINUTE, 100.0 + index) for index in range(5)], 0, None)
    return found


def test_bar_series_opened_from_the_store_knows_what_comes_next(loaded: BarSeries) -> None:
    assert loaded.next_close == 6 * MINUTE
    assert series().next_close is None


def test_bar_series_makes_a_bar_only_once_its_interval_is_over(loaded: BarSeries) -> None:
    assert loaded.take(candle(5 * MINUTE, 200.0)) == []
    assert loaded.advance(6 * MINUTE - 1, None) == []
    (made,) = loaded.advance(6 * MINUTE, None)
    assert (made.open_time, made.close, made.is_closed) == (5 * MINUTE, 200.0, True)


def test_bar_series_empty_interval_is_a_flat_bar_at_the_last_close(loaded: BarSeries) -> None:
    loaded.take(candle(7 * MINUTE, 200.0))
    made = loaded.advance(8 * MINUTE, None)
    assert [(found.open_time // MINUTE, found.close) for found in made] == [
        (5, 104.0),
        (6, 104.0),
        (7, 200.0),
    ]


def test_bar_series_candles_out_of_order_become_bars_in_order(loaded: BarSeries) -> None:
    loaded.take(candle(6 * MINUTE, 300.0))
    loaded.take(candle(5 * MINUTE, 200.0))
    assert [found.close for found in loaded.advance(7 * MINUTE, None)] == [200.0, 300.0]


def test_bar_series_candle_told_again_changes_nothing(loaded: BarSeries) -> None:
    assert loaded.take(candle(4 * MINUTE, 104.0, version=99)) == []


def test_bar_series_rebuilt_candle_corrects_the_rows_from_it_on(loaded: BarSeries) -> None:
    corrected = loaded.take(candle(3 * MINUTE, 150.0))
    assert {found.open_time // MINUTE for found in corrected} == {3, 4}
    fresh = series()
    closes = (100.0, 101.0, 102.0, 150.0, 104.0)
    row = fresh.load([candle(index * MINUTE, close) for index, close in enumerate(closes)], 0, None)
    assert row is not None
    assert repr(corrected[-1].values) == repr(row.values), "as if it had been so from the start"


def test_bar_series_preview_is_made_once_per_change_and_commits_nothing(loaded: BarSeries) -> None:
    loaded.form(candle(5 * MINUTE, 120.0, is_closed=False))
    preview = loaded.preview(None)
    assert preview is not None
    assert (preview.close, preview.is_closed) == (120.0, False)
    assert loaded.preview(None) is None
    assert loaded.next_close == 6 * MINUTE


def test_bar_series_late_reference_bar_corrects_what_went_without_it() -> None:
    reference, other = series(BTC), series(ETH)
    history = [candle(index * MINUTE, 100.0 + index % 7) for index in range(120)]
    others = [
        candle(index * MINUTE, 50.0 + index % 5, instrument="ETH-USDT") for index in range(120)
    ]
    reference.load(history, 0, None)
    other.load(others, 0, reference)
    other.take(candle(120 * MINUTE, 55.0, instrument="ETH-USDT"))
    (without,) = other.advance(121 * MINUTE, reference)
    reference.take(candle(120 * MINUTE, 103.0))
    reference.advance(121 * MINUTE, None)
    bar = reference.bar_at(120 * MINUTE)
    assert bar is not None
    (corrected,) = other.take_reference(bar)
    assert repr(corrected.values) != repr(without.values)
    again = series(ETH)
    whole = [*others, candle(120 * MINUTE, 55.0, instrument="ETH-USDT")]
    row = again.load(whole, 0, reference)
    assert row is not None
    assert repr(corrected.values) == repr(row.values)


# Its place in the universe

ENDS = st.none() | st.builds(Delisting, ended=st.integers(0, 30), known_at=st.integers(0, 30))


@settings(deadline=None)
@given(
    traded=st.sets(st.integers(1, 30), max_size=8),
    silence=st.integers(0, 12),
    delisted=ENDS,
    loaded=st.integers(1, 20),
)
def test_bar_series_has_the_rows_of_the_bars_at_which_a_batch_run_says_that_it_belongs(
    traded: set[int], silence: int, delisted: Delisting | None, loaded: int
) -> None:
    traded = {0, *traded}
    bars = np.arange(32) * MINUTE
    if delisted is not None:
        delisted = Delisting(*(number * MINUTE for number in delisted))
    marks = belongs(
        Member(BTC, 0, *(delisted or ())), bars, np.array(sorted(traded)) * MINUTE,
        silence * MINUTE, MINUTE,
    )  # fmt: skip
    found = series()
    found.silence_ns, found.delisting = silence * MINUTE, delisted
    stored = [candle(minute * MINUTE, 100.0) for minute in sorted(traded) if minute < loaded]
    found.load(stored, 0, None)
    made = []
    for minute in range(32):
        if minute in traded and minute >= loaded:
            found.take(candle(minute * MINUTE, 100.0))
        made += [row.open_time for row in found.advance((minute + 1) * MINUTE, None)]
        if minute > loaded:
            assert found.is_gone == (not marks[minute])
    since = stored[-1].open_time
    assert made == [int(at) for at in bars[marks] if at > since]


@settings(deadline=None)
@given(
    traded=st.sets(st.integers(1, 30), max_size=6),
    late=st.integers(1, 30),
    silence=st.integers(0, 6),
    delisted=ENDS,
    loaded=st.integers(1, 31),
)
def test_bar_series_late_candle_corrects_no_bar_at_which_it_does_not_belong(
    traded: set[int], late: int, silence: int, delisted: Delisting | None, loaded: int
) -> None:
    known = sorted({0, *traded} - {late})
    if delisted is not None:
        delisted = Delisting(*(number * MINUTE for number in delisted))
    bars = np.arange(late, 32) * MINUTE
    marks = belongs(
        Member(BTC, 0, *(delisted or ())), bars, np.array(sorted({*known, late})) * MINUTE,
        silence * MINUTE, MINUTE,
    )  # fmt: skip
    found = series()
    found.silence_ns, found.delisting = silence * MINUTE, delisted
    found.load([candle(minute * MINUTE, 100.0) for minute in known if minute < loaded], 0, None)
    for minute in known:
        if minute >= loaded:
            found.take(candle(minute * MINUTE, 100.0))
    found.advance(32 * MINUTE, None)
    rows = [row.open_time for row in found.take(candle(late * MINUTE, 150.0))]
    assert rows[0] == late * MINUTE
    assert set(rows) <= {int(at) for at in bars[marks]}


def test_bar_series_is_back_with_the_bar_that_forms(loaded: BarSeries) -> None:
    loaded.silence_ns = MINUTE
    made = loaded.advance(10 * MINUTE, None)
    assert [row.open_time // MINUTE for row in made] == [5]
    assert loaded.is_gone
    loaded.form(candle(10 * MINUTE, 160.0, is_closed=False))
    assert not loaded.is_gone
    loaded.take(candle(10 * MINUTE, 160.0))
    (back,) = loaded.advance(11 * MINUTE, None)
    assert (back.close, loaded.is_gone) == (160.0, False)


def test_bar_series_of_no_bars_is_gone() -> None:
    assert series().is_gone
