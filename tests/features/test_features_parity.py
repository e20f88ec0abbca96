"""Live equals batch, bit for bit, whatever happens in between."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.features.batch import compute_segment
from engine.features.catalogue import FEATURE_NAMES, FEATURES
from engine.features.grid import Bar, Bars
from engine.features.live import LiveFeatures
from engine.features.warm_up import WARM_UP_BARS

H1 = Timeframe.H1
W = WARM_UP_BARS
MARKET = Market("binance", "SOL-USDT")
LEAP_FEBRUARY = 29 * 24
MARKETS = {
    "plain": {},
    "tiny_price": {"price": 3e-7, "quiet": 0.05},
    "huge_price": {"price": 4e12, "step": 0.2},
    "quiet": {"quiet": 0.7},
    "missing_fields": {"missing": 0.3, "quiet": 0.1},
    "stuck": {"stuck": 0.5, "missing": 0.05},
    "calm": {"step": 1e-8},
}


def assert_same_bits(actual, expected):
    actual, expected = np.ascontiguousarray(actual), np.ascontiguousarray(expected)
    assert actual.shape == expected.shape
    differs = actual.view(np.uint64) != expected.view(np.uint64)
    assert not differs.any(), [FEATURE_NAMES[i] for i in np.flatnonzero(differs.any(axis=0))]


def opened(bars, reference=(), **options):
    live = LiveFeatures(MARKET, H1, **options)
    live.open(Bars.of(bars), Bars.of(reference))
    return live


def pushed(live, bars, reference):
    return np.array([live.push(*pair) for pair in zip(bars, reference, strict=True)])


@pytest.mark.parametrize("kind", MARKETS)
def test_live_over_a_month_equals_batch_bit_for_bit(walk, month, kind):
    bars = walk(7, W + LEAP_FEBRUARY, **MARKETS[kind])
    reference = walk(8, W + LEAP_FEBRUARY, price=60_000.0, quiet=0.02)
    expected = compute_segment(Bars.of(bars), H1, month, Bars.of(reference))
    live = opened(bars[:W], reference[:W])
    assert_same_bits(pushed(live, bars[W:], reference[W:]), expected)


def test_live_restarted_in_the_middle_with_previews_between_equals_batch(walk, month):
    bars = walk(1, W + 200, missing=0.2, quiet=0.1)
    reference = walk(2, W + 200)
    expected = compute_segment(Bars.of(bars), H1, month, Bars.of(reference))
    live = opened(bars[:W], reference[:W])
    rows = []
    for index in range(W, W + 200):
        if index == W + 97:
            live = opened(bars[:index], reference[:index])
        wild = bars[index]._replace(close=bars[index].close * 3, volume=1e9)
        live.preview(wild, None)
        previewed = live.preview(bars[index], reference[index])
        rows.append(live.push(bars[index], reference[index]))
        assert_same_bits([previewed], [rows[-1]])
    assert_same_bits(rows, expected)


def test_open_over_half_a_segment_answers_its_rows_as_batch_does(walk, month):
    bars = walk(3, W + 100)
    live = LiveFeatures(MARKET, H1)
    rows = live.open(Bars.of(bars))
    assert_same_bits(rows, compute_segment(Bars.of(bars), H1, month, None))


@pytest.mark.parametrize("timeframe", [Timeframe.S1, Timeframe.M1, Timeframe.M15, Timeframe.H4])
def test_live_across_a_segment_boundary_equals_batch_of_the_next_segment(walk, month, timeframe):
    before = W + 60
    options = {"timeframe": timeframe, "start_ns": month - before * timeframe.ns}
    bars = walk(4, before + 60, quiet=0.1, **options)
    reference = walk(5, before + 60, **options)
    live = LiveFeatures(MARKET, timeframe)
    live.open(Bars.of(bars[:W]), Bars.of(reference[:W]))
    rows = []
    for bar, other in zip(bars[W:], reference[W:], strict=True):
        live.preview(bar, other)
        rows.append(live.push(bar, other))
    expected = compute_segment(Bars.of(bars), timeframe, month, Bars.of(reference))
    assert_same_bits(rows[60:], expected)
    assert len(live.bars) == W + 60


def test_new_market_from_its_first_bar_equals_batch(walk, month):
    bars = walk(6, 300, start_ns=month + 5 * H1.ns, missing=0.3, quiet=0.2)
    live = LiveFeatures(MARKET, H1)
    rows = []
    for bar in bars:
        previewed = live.preview(bar)
        rows.append(live.push(bar))
        assert_same_bits([previewed], [rows[-1]])
    assert_same_bits(rows, compute_segment(Bars.of(bars), H1, month, None))


def test_reference_market_has_correlation_and_beta_of_one_in_both_runs(walk, month):
    bars = walk(9, W + 50)
    expected = compute_segment(Bars.of(bars), H1, month, Bars.of(bars))
    live = opened(bars[:W], is_reference=True)
    rows = np.array([live.push(bar) for bar in bars[W:]])
    assert_same_bits(rows, expected)
    for name in ("correlation_btc_72", "beta_btc_168"):
        assert rows[:, FEATURE_NAMES.index(name)].tolist() == [1.0] * 50


def test_missing_reference_bars_leave_only_what_depends_on_them_missing(walk, month):
    bars, reference = walk(10, W + 40), walk(11, W + 40)
    holed = [bar for index, bar in enumerate(reference) if index not in range(W + 10, W + 15)]
    live = opened(bars[:W], reference[:W])
    by_time = {bar.open_time: bar for bar in holed}
    rows = np.array([live.push(bar, by_time.get(bar.open_time)) for bar in bars[W:]])
    assert_same_bits(rows, compute_segment(Bars.of(bars), H1, month, Bars.of(holed)))
    whole = compute_segment(Bars.of(bars), H1, month, Bars.of(reference))
    differs = {FEATURE_NAMES[i] for i in np.flatnonzero((rows != whole)[12] & ~np.isnan(whole[12]))}
    assert differs == {f.name for f in FEATURES if "reference_close" in f.inputs}
    assert not np.isnan(rows[16, FEATURE_NAMES.index("correlation_btc_72")])


@pytest.mark.parametrize("position", [W + 20, W - 30, W + 59])
def test_revise_answers_exactly_the_changed_rows_of_batch(walk, month, position):
    bars, reference = walk(12, W + 60, quiet=0.3), walk(13, W + 60)
    live = opened(bars[:W], reference[:W])
    before = pushed(live, bars[W:], reference[W:])
    late = bars[position]._replace(close=bars[position].close * 1.01, volume=77.0, filled=False)
    changed = live.revise(late)
    revised = [*bars]
    revised[position] = late
    for index in range(position + 1, len(bars)):
        if not bars[index].filled:
            break
        revised[index] = Bar.flat(bars[index].open_time, late.close)
    after = compute_segment(Bars.of(revised), H1, month, Bars.of(reference))
    rows = before.copy()
    for open_time, values in changed:
        rows[(open_time - month) // H1.ns] = values
    assert_same_bits(rows, after)
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    times = [month + int(i) * H1.ns for i in np.flatnonzero(~same.all(axis=1))]
    assert [open_time for open_time, _ in changed] == times
    following = bars[-1]._replace(open_time=bars[-1].open_time + H1.ns, filled=False)
    expected = compute_segment(Bars.of([*revised, following]), H1, month, Bars.of(reference))
    assert_same_bits([live.push(following)], expected[-1:])


def test_revise_with_a_late_reference_bar_equals_having_had_it(walk, month):
    bars, reference = walk(14, W + 30), walk(15, W + 30)
    live = opened(bars[:W], reference[:W])
    for index in range(W, W + 30):
        live.push(bars[index], None if index == W + 12 else reference[index])
    changed = dict(live.revise(reference_bar=reference[W + 12]))
    expected = compute_segment(Bars.of(bars), H1, month, Bars.of(reference))
    assert min(changed) == month + 12 * H1.ns
    for open_time, values in changed.items():
        assert_same_bits([values], expected[[(open_time - month) // H1.ns]])


def test_revise_of_a_bar_no_longer_kept_answers_nothing(walk):
    bars = walk(16, W + 30)
    live = opened(bars)
    assert live.revise(bars[0]._replace(open_time=bars[0].open_time - H1.ns)) == []


finite = st.floats(1e-9, 1e12)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    prices=st.lists(st.tuples(finite, finite, finite, finite), min_size=1, max_size=60),
    volumes=st.lists(st.one_of(st.just(0.0), st.floats(1e-12, 1e15)), min_size=1, max_size=7),
    unknown=st.sets(st.integers(0, 59)),
    split=st.integers(0, 60),
)
def test_live_with_any_prices_and_volumes_equals_batch(month, prices, volumes, unknown, split):
    bars = []
    for index, four in enumerate(prices * 5):
        low, first, close, high = sorted(four)
        volume = volumes[index % len(volumes)]
        some = float("nan") if index % 60 in unknown else close
        bars.append(
            Bar(month + index * H1.ns, first, high, low, close, volume, some, close, volume / 2)
        )
    live = opened(bars[:split], bars[:split])
    rows = [live.push(bar, bar) for bar in bars[split:]]
    expected = compute_segment(Bars.of(bars), H1, month, Bars.of(bars))
    assert_same_bits(rows or np.empty((0, len(FEATURES))), expected[min(split, len(bars)) :])
