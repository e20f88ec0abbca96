"""Labels: what followed a bar, to the bit, and never across what is missing."""

from __future__ import annotations

import itertools
from math import exp, log, sqrt
from statistics import stdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.evaluation.barriers import BARRIERS, BOTH, LOWER, UNKNOWN, UPPER, VERTICAL
from engine.evaluation.costs import net_returns
from engine.evaluation.labels import (
    DELISTED,
    GAP,
    STILL_LISTED,
    WHOLE,
    LabelRules,
    Labels,
    forward_returns,
    label_panel,
)
from engine.evaluation.panel import PricePanel, lay_panel
from engine.evaluation.volatility import LEAST_RETURNS, realised_volatility

NAN = float("nan")
RULES = LabelRules(cost_bps=10.0, barrier_volatilities=1.0, volatility_bars=4)
STEP = 60


def panel_of(*closes: float, high: dict[int, float] | None = None,
             low: dict[int, float] | None = None, opened: dict[int, float] | None = None
             ) -> PricePanel:  # fmt: skip
    """One market whose bars are flat at their close, but where told otherwise."""
    close = np.array([closes]).T
    sides = [close.copy() for _ in range(3)]
    for side, changed in zip(sides, (opened, high, low), strict=True):
        for row, price in (changed or {}).items():
            side[row] = price
    return PricePanel(0, STEP, *sides, close)


def calm_then(*closes: float) -> list[float]:
    """Bars enough for a volatility: the price goes up and down by one percent, and ends at 100."""
    return [100.0, 101.0, 100.0, 101.0, 100.0, *closes]


def at(labels: Labels, row: int, market: int = 0) -> tuple[str, int]:
    return BARRIERS[labels.barrier[row, market]], int(labels.barrier_bars[row, market])


def test_forward_return_is_from_close_to_close() -> None:
    labels = label_panel(panel_of(100.0, 110.0, 99.0), 1, RULES)
    assert labels.forward_return[:, 0].tolist() == [110.0 / 100.0 - 1.0, 99.0 / 110.0 - 1.0]
    assert labels.status[:, 0].tolist() == [WHOLE, WHOLE]


def test_bars_whose_horizon_is_not_over_have_no_label() -> None:
    assert len(label_panel(panel_of(1.0, 2.0, 3.0), 2, RULES)) == 1
    assert len(label_panel(panel_of(1.0, 2.0, 3.0), 3, RULES)) == 0


def test_forward_return_over_a_missing_bar_is_a_gap_not_the_next_price() -> None:
    labels = label_panel(panel_of(100.0, NAN, 120.0, 130.0), 1, RULES)
    assert labels.status[:, 0].tolist() == [GAP, GAP, WHOLE]
    assert labels.has_bar[:, 0].tolist() == [True, False, True]
    assert np.isnan(labels.forward_return[0, 0])
    assert np.isnan(labels.net_return_short[0, 0])


def test_gap_inside_a_horizon_leaves_the_return_and_takes_the_barrier() -> None:
    panel = panel_of(*calm_then(NAN, 100.5, 100.6))
    labels = label_panel(panel, 3, RULES)
    assert labels.status[4, 0] == WHOLE
    assert labels.forward_return[4, 0] == 100.6 / 100.0 - 1.0
    assert at(labels, 4) == ("", -1)


def test_delisted_market_is_followed_to_its_last_price() -> None:
    # Delisted at the end of bar 6: the horizon of bar 4 runs over it.
    panel = panel_of(*calm_then(100.2, 100.3, NAN, NAN))
    labels = label_panel(panel, 4, RULES, np.array([7 * STEP]))
    assert labels.status[:, 0].tolist() == [WHOLE, WHOLE, WHOLE, DELISTED, DELISTED]
    assert labels.forward_return[4, 0] == 100.3 / 100.0 - 1.0
    assert at(labels, 4) == ("vertical", 2)


def test_last_bar_of_a_delisted_market_returns_nothing() -> None:
    labels = label_panel(panel_of(*calm_then(NAN, NAN)), 2, RULES, np.array([5 * STEP]))
    assert labels.forward_return[4, 0] == 0.0
    assert at(labels, 4) == ("vertical", 0)


def test_market_delisted_after_the_horizon_is_none_of_its_business() -> None:
    panel = panel_of(*calm_then(100.2, 100.3))
    plain = label_panel(panel, 1, RULES)
    later = label_panel(panel, 1, RULES, np.array([len(panel) * STEP]))
    assert later.status.tolist() == plain.status.tolist()


def test_net_returns_pay_the_round_trip_in_either_direction() -> None:
    gross = np.array([0.01, -0.002, NAN])
    net = net_returns(gross, 10.0)
    assert net.long[:2].tolist() == [0.01 - 0.001, -0.002 - 0.001]
    assert net.short[:2].tolist() == [-0.01 - 0.001, 0.002 - 0.001]
    assert np.isnan(net.long[2])
    assert np.isnan(net.short[2])


@given(st.lists(st.floats(-0.9, 9.0), min_size=1), st.floats(0.0, 500.0))
def test_both_directions_together_pay_twice(gross: list[float], cost_bps: float) -> None:
    net = net_returns(np.array(gross), cost_bps)
    assert net.long + net.short == pytest.approx(-2e-4 * cost_bps, abs=1e-12)


# Volatility


def test_volatility_is_the_deviation_of_the_returns_behind_a_bar() -> None:
    closes = [100.0, 103.0, 101.0, 104.0, 99.0, 98.0]
    returns = [log(b / a) for a, b in itertools.pairwise(closes)]
    found = realised_volatility(np.array(closes), 4)
    assert np.isnan(found[:4]).all()
    assert found[4] == pytest.approx(stdev(returns[:4]), rel=1e-12)
    assert found[5] == pytest.approx(stdev(returns[1:5]), rel=1e-12)


def test_volatility_of_a_young_market_takes_what_there_is_from_eight_returns_on() -> None:
    closes = 100.0 + np.arange(12.0) ** 1.5
    returns = np.diff(np.log(closes))
    found = realised_volatility(closes, 48)
    assert np.isnan(found[:LEAST_RETURNS]).all()
    assert found[LEAST_RETURNS] == pytest.approx(returns[:8].std(ddof=1), rel=1e-12)
    assert found[-1] == pytest.approx(returns.std(ddof=1), rel=1e-12)


def test_volatility_does_not_bridge_a_gap() -> None:
    calm = [100.0, 101.0] * 6
    broken = np.array([*calm, NAN, *(value * 5.0 for value in calm)])
    found = realised_volatility(broken, 24)
    assert np.isnan(found[12])
    # The jump by a factor of five is no return: 11 returns before it, 11 behind.
    steps = [log(1.01), -log(1.01)] * 5 + [log(1.01)]
    assert found[-1] == pytest.approx(stdev(steps * 2), rel=1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(0.5, 2.0) | st.just(NAN), min_size=20, max_size=60), st.integers(0, 12))
def test_volatility_depends_on_its_window_alone_to_the_bit(
    closes: list[float], begins: int
) -> None:
    whole = realised_volatility(np.array(closes), 6)
    later = realised_volatility(np.array(closes[begins:]), 6)
    assert later[7:].tobytes() == whole[begins + 7 :].tobytes()


# Barriers


def test_barrier_is_touched_by_a_high_first() -> None:
    closes = calm_then(100.0, 100.0, 100.0)
    labels = label_panel(panel_of(*closes, high={6: 110.0}, low={7: 90.0}), 3, RULES)
    assert at(labels, 4) == ("upper", 2)


def test_barrier_is_touched_by_a_low_first() -> None:
    closes = calm_then(100.0, 100.0, 100.0)
    labels = label_panel(panel_of(*closes, high={7: 110.0}, low={5: 90.0}), 3, RULES)
    assert at(labels, 4) == ("lower", 1)


def test_one_bar_that_touches_both_barriers_tells_neither() -> None:
    closes = calm_then(100.0, 100.0, 100.0)
    labels = label_panel(panel_of(*closes, high={6: 110.0}, low={6: 90.0}), 3, RULES)
    assert at(labels, 4) == ("both", 2)


@pytest.mark.parametrize(("opened", "first"), [(111.0, "upper"), (89.0, "lower")])
def test_open_beyond_a_barrier_decides_a_bar_that_touches_both(opened: float, first: str) -> None:
    closes = calm_then(100.0, 100.0, 100.0)
    panel = panel_of(*closes, high={6: 112.0}, low={6: 88.0}, opened={6: opened})
    assert at(label_panel(panel, 3, RULES), 4) == (first, 2)


def test_untouched_barriers_leave_the_vertical_one_at_the_horizon() -> None:
    assert at(label_panel(panel_of(*calm_then(100.1, 99.9, 100.0)), 3, RULES), 4) == ("vertical", 3)


def test_barriers_lie_at_whole_deviations_over_the_horizon() -> None:
    sigma = stdev([log(1.01), -log(1.01), log(1.01), -log(1.01)]) * sqrt(2)
    just_below, touching = 100.0 * exp(sigma) * (1 - 1e-9), 100.0 * exp(sigma) * (1 + 1e-9)
    closes = calm_then(100.0, 100.0)
    below = label_panel(panel_of(*closes, high={5: just_below}), 2, RULES)
    above = label_panel(panel_of(*closes, high={5: touching}), 2, RULES)
    assert below.volatility[4, 0] == pytest.approx(sigma, rel=1e-12)
    assert (at(below, 4), at(above, 4)) == (("vertical", 2), ("upper", 1))


def test_flat_price_has_no_barriers() -> None:
    labels = label_panel(panel_of(*[100.0] * 9), 2, RULES)
    assert labels.volatility[5, 0] == 0.0
    assert at(labels, 5) == ("", -1)
    assert labels.forward_return[5, 0] == 0.0


def slow_touch(panel: PricePanel, labels: Labels, row: int, market: int, within: int) -> int:
    """Say what is touched first by looking at bar after bar."""
    width = labels.volatility[row, market] * RULES.barrier_volatilities
    close = panel.close[row, market]
    if not (width > 0.0 and np.isfinite(close)):
        return UNKNOWN
    upper, lower = close * np.exp(width), close * np.exp(-width)
    for bar in range(row + 1, row + within + 1):
        if np.isnan(panel.close[bar, market]):
            return UNKNOWN
        above, below = panel.high[bar, market] >= upper, panel.low[bar, market] <= lower
        if above and below:
            opened = panel.open[bar, market]
            return UPPER if opened >= upper else LOWER if opened <= lower else BOTH
        if above or below:
            return UPPER if above else LOWER
    return VERTICAL


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(0.0, 0.1))
def test_barriers_equal_a_walk_over_every_bar(seed: int, horizon: int, missing: float) -> None:
    draw = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(draw.normal(0.0, 0.01, (90, 2)), axis=0))
    opened = close * np.exp(draw.normal(0.0, 0.004, close.shape))
    high = np.maximum(opened, close) * np.exp(draw.exponential(0.008, close.shape))
    low = np.minimum(opened, close) * np.exp(-draw.exponential(0.008, close.shape))
    for values in (opened, high, low, close):
        values[draw.random(close.shape) < missing] = NAN
    hole = np.isnan(opened + high + low + close)
    for values in (opened, high, low, close):
        values[hole] = NAN
    panel = PricePanel(0, STEP, opened, high, low, close)
    labels = label_panel(panel, horizon, RULES)
    expected = [
        [slow_touch(panel, labels, row, market, horizon) for market in range(2)]
        for row in range(len(labels))
    ]
    assert labels.barrier.tolist() == expected


def test_forward_returns_of_a_series_equal_those_of_the_panel() -> None:
    times = np.array([0, 1, 2, 4, 5, 6]) * STEP
    closes = np.array([1.0, 2.0, 4.0, 5.0, 10.0, 8.0])
    panel = lay_panel(
        times, np.zeros(6, dtype=np.intp), dict.fromkeys(("open", "high", "low", "close"), closes),
        markets=1, start=0, end=7 * STEP, step=STEP,
    )  # fmt: skip
    series = forward_returns(times, closes, 2, STEP)
    labels = label_panel(panel, 2, RULES)
    laid = labels.forward_return[times[times // STEP < len(labels)] // STEP, 0]
    assert laid.tobytes() == series[: len(laid)].tobytes()


# The panel


def laid(times: list[int], market: list[int], close: list[float]) -> PricePanel:
    prices = dict.fromkeys(("open", "high", "low", "close"), np.array(close))
    return lay_panel(
        np.array(times), np.array(market, dtype=np.intp), prices,
        markets=2, start=0, end=3 * STEP, step=STEP,
    )  # fmt: skip


def test_panel_lays_candles_of_any_order_and_leaves_out_those_outside() -> None:
    panel = laid([60, 0, 60, 180, -60], [1, 0, 0, 0, 1], [2.0, 1.0, 3.0, 9.0, 9.0])
    assert np.nan_to_num(panel.close, nan=0.0).tolist() == [[1.0, 0.0], [3.0, 2.0], [0.0, 0.0]]
    assert panel.open_time.tolist() == [0, 60, 120]


@pytest.mark.parametrize("price", [0.0, -1.0, NAN, float("inf")])
def test_panel_takes_a_price_that_is_none_as_missing(price: float) -> None:
    assert np.isnan(laid([0], [0], [price]).close).all()


def test_panel_refuses_doubled_and_misplaced_candles() -> None:
    with pytest.raises(ValueError, match="two candles of the same time"):
        laid([0, 0], [1, 1], [1.0, 2.0])
    with pytest.raises(ValueError, match="off the grid"):
        laid([7], [0], [1.0])


def test_panel_slice_keeps_its_times() -> None:
    panel = laid([0, 60, 120], [0, 0, 0], [1.0, 2.0, 3.0])[1:]
    assert panel.open_time.tolist() == [60, 120]
    assert panel.close_time.tolist() == [120, 180]


def test_label_version_names_every_setting() -> None:
    versions = {
        LabelRules().version,
        LabelRules(cost_bps=5.0).version,
        LabelRules(barrier_volatilities=1.5).version,
        LabelRules(volatility_bars=24).version,
    }
    assert len(versions) == 4
    assert LabelRules().version == "1 cost 10 bps, barriers 2 sigma of 48 bars"


def test_horizon_that_does_not_look_forward_is_refused() -> None:
    with pytest.raises(ValueError, match="does not look forward"):
        label_panel(panel_of(1.0), 0, RULES)


def test_nobody_delisted_is_the_same_as_no_delistings() -> None:
    panel = panel_of(*calm_then(100.2, 101.0))
    listed = label_panel(panel, 1, RULES, np.array([STILL_LISTED]))
    assert listed.forward_return.tobytes() == label_panel(panel, 1, RULES).forward_return.tobytes()
