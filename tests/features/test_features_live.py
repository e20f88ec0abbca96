"""What the live run refuses, keeps and forgets."""

import numpy as np
import pytest

from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.features.batch import compute_segment
from engine.features.catalogue import FEATURE_VERSION, FEATURES
from engine.features.grid import Bars
from engine.features.live import LiveFeatures
from engine.features.rows import feature_row
from engine.features.warm_up import WARM_UP_BARS

H1 = Timeframe.H1
MARKET = Market("kraken", "ETH-USD")


@pytest.fixture
def live(walk):
    features = LiveFeatures(MARKET, H1)
    features.open(Bars.of(walk(1, 300)))
    return features


def test_push_of_a_bar_that_is_not_the_next_raises_naming_market_and_times(live):
    last = live.last_bar
    with pytest.raises(ValueError, match=f"kraken:ETH-USD 1h: .*not {last.open_time}; push flat"):
        live.push(last)


def test_push_with_a_reference_bar_of_another_time_raises(live):
    bar = live.flat_bar()
    with pytest.raises(ValueError, match="the reference's bar opens at"):
        live.push(bar, bar._replace(open_time=0))


def test_open_with_a_hole_in_the_bars_raises(walk):
    bars = walk(1, 10)
    with pytest.raises(ValueError, match="do not follow one another after"):
        LiveFeatures(MARKET, H1).open(Bars.of(bars[:4] + bars[5:]))


def test_flat_bar_before_any_bar_raises():
    with pytest.raises(ValueError, match="has no bar yet"):
        LiveFeatures(MARKET, H1).flat_bar()


def test_empty_features_have_no_next_time_and_open_answers_no_rows():
    live = LiveFeatures(MARKET, H1)
    assert live.open(Bars.of([])).shape == (0, len(FEATURES))
    assert live.next_open_time is None
    assert live.revise() == []


def test_flat_bar_follows_the_last_at_its_close(live):
    last = live.last_bar
    flat = live.flat_bar()
    assert flat.open_time == last.open_time + H1.ns == live.next_open_time
    assert set(flat[1:5]) == {last.close}
    assert (flat.volume, flat.taker_buy_volume, flat.filled) == (0.0, 0.0, True)


def test_bars_kept_never_pass_warm_up_and_segment(walk):
    live = LiveFeatures(MARKET, Timeframe.M15)
    for bar in walk(2, 800, timeframe=Timeframe.M15):
        live.push(bar)
        assert len(live.bars) <= WARM_UP_BARS + 96


def test_preview_of_the_next_segment_leaves_the_old_one_open_to_revision(walk, month):
    bars = walk(3, WARM_UP_BARS, start_ns=month - WARM_UP_BARS * H1.ns)
    plain, previewed = LiveFeatures(MARKET, H1), LiveFeatures(MARKET, H1)
    for live in (plain, previewed):
        live.open(Bars.of(bars))
    late = bars[100]._replace(close=bars[100].close * 1.02)
    previewed.preview(previewed.flat_bar())
    np.testing.assert_array_equal(
        [values for _, values in previewed.revise(late)],
        [values for _, values in plain.revise(late)],
    )
    np.testing.assert_array_equal(
        previewed.push(previewed.flat_bar()), plain.push(plain.flat_bar())
    )


def test_compute_segment_off_a_segment_start_raises(walk, month):
    with pytest.raises(ValueError, match="not the start of a segment of 1h"):
        compute_segment(Bars.of(walk(1, 3)), H1, month + 1, None)


def test_compute_segment_leaves_bars_of_other_segments_out(walk, month):
    bars = walk(4, 2 * WARM_UP_BARS + 29 * 24 + 30, start_ns=month - 2 * WARM_UP_BARS * H1.ns)
    whole = compute_segment(Bars.of(bars), H1, month, None)
    exact = bars[WARM_UP_BARS : 2 * WARM_UP_BARS + 29 * 24]
    assert whole.shape == (29 * 24, len(FEATURES))
    np.testing.assert_array_equal(whole, compute_segment(Bars.of(exact), H1, month, None))


def test_compute_segment_without_a_bar_in_the_segment_answers_no_rows(walk, month):
    before = walk(5, 20, start_ns=month - 20 * H1.ns)
    assert compute_segment(Bars.of(before), H1, month, None).shape == (0, len(FEATURES))


def test_feature_row_of_a_closed_bar_holds_values_version_and_times():
    values = np.arange(float(len(FEATURES)))
    row = feature_row(
        MARKET, H1, 0, 5.0, values, available_at=H1.ns, last_receive_time=7, is_closed=True
    )
    assert row.values == tuple(range(len(FEATURES)))
    assert {type(value) for value in row.values} == {float}
    assert (row.exchange, row.instrument, row.timeframe) == ("kraken", "ETH-USD", "1h")
    assert (row.open_time, row.close_time, row.version) == (0, H1.ns, FEATURE_VERSION)


@pytest.mark.parametrize(
    ("count", "available_at", "message"),
    [(3, H1.ns, "3 values for a catalogue"), (len(FEATURES), H1.ns - 1, "cannot be known")],
)
def test_feature_row_that_cannot_be_raises(count, available_at, message):
    with pytest.raises(ValueError, match=message):
        feature_row(
            MARKET, H1, 0, 5.0, [0.0] * count,
            available_at=available_at, last_receive_time=0, is_closed=True,
        )  # fmt: skip
