"""Every feature of the catalogue, discovered and held to what it declares."""

import re
from dataclasses import replace
from itertools import pairwise
from math import isfinite

import numpy as np
import pytest

from engine.domain.timeframe import Timeframe
from engine.features.batch import compute_segment
from engine.features.books import BarBook
from engine.features.catalogue import (
    COMPUTED,
    FEATURE_NAMES,
    FEATURE_VERSION,
    FEATURES,
    PROGRAM,
    WARM_UP_BARS,
    feature_columns,
)
from engine.features.definitions.series import INPUTS
from engine.features.grid import Bar, Bars
from engine.features.segment import program_inputs

H1 = Timeframe.H1
W = WARM_UP_BARS
EACH = pytest.mark.parametrize("feature", FEATURES, ids=FEATURE_NAMES)
EACH_COMPUTED = pytest.mark.parametrize(
    ("index", "feature"), list(enumerate(COMPUTED)), ids=[f.name for f in COMPUTED]
)


def compute(bars, reference, unit=1.0):
    grid = Bars.of(bars)
    return PROGRAM.compute(program_inputs(grid, Bars.of(reference).column("close"), unit))


@pytest.fixture(scope="module")
def pair(walk):
    return walk(21, 320, stuck=0.05), walk(22, 320)


@pytest.fixture(scope="module")
def table(pair):
    return compute(*pair)


@pytest.fixture(scope="module")
def wild_tables(walk, book_walk, month):
    """Segments of markets that do everything, with the catalogue's own order of columns."""
    kinds = (
        {"stuck": 0.4},
        {"quiet": 0.8},
        {"missing": 0.4, "quiet": 0.2},
        {"step": 0.3},
        {"price": 2e-9, "step": 1e-7},
    )
    return np.concatenate(
        [
            compute_segment(
                Bars.of(walk(seed, W + 300, **kind)),
                H1,
                month,
                Bars.of(walk(90, W + 300)),
                book_walk(seed, 300, start_ns=month),
            )
            for seed, kind in enumerate(kinds)
        ]
    )


@EACH
def test_feature_is_named_described_and_bounded(feature):
    assert re.fullmatch(r"[a-z][a-z0-9_]{2,40}", feature.name)
    assert feature.doc.endswith(".")
    assert len(feature.doc) > 20
    assert feature.low < feature.high
    assert set(feature.inputs) <= set(INPUTS)
    assert feature.warm_up < WARM_UP_BARS
    assert (feature.kind == "cross_section") == (feature.ranks in FEATURE_NAMES)
    assert (feature.kind == "book") == (feature.measure in BarBook._fields)


@EACH_COMPUTED
def test_feature_without_missing_input_starts_exactly_at_its_warm_up(index, feature, walk):
    # Bars that all trade and move: nothing but the warm-up can be missing.
    values = compute(walk(30, 260), walk(31, 260))[:, index]
    if feature.kind == "pattern":
        assert not np.isnan(values).any()
        assert (values[: feature.warm_up] == 0.0).all()
    else:
        assert np.isnan(values[: feature.warm_up]).all()
        assert np.isfinite(values[feature.warm_up :]).all()


@EACH
def test_feature_on_wild_markets_stays_within_its_declared_range(feature, wild_tables):
    values = wild_tables[:, FEATURE_NAMES.index(feature.name)]
    known = values[~np.isnan(values)]
    assert (known.size > 0) == (feature.kind != "cross_section")
    assert (known >= feature.low).all()
    assert (known <= feature.high).all()
    if feature.kind == "pattern":
        assert set(np.unique(known)) <= {-200.0, -100.0, -80.0, 0.0, 80.0, 100.0, 200.0}


@pytest.mark.parametrize("cut", [1, 2, 30, 199, 200, 251, 319])
def test_every_feature_when_the_future_is_cut_off_keeps_its_past(cut, pair, table):
    bars, reference = pair
    np.testing.assert_array_equal(compute(bars[:cut], reference[:cut]), table[:cut])


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e300, 1e-300, -5.0])
def test_every_feature_when_the_future_is_poisoned_keeps_its_past(poison, pair, table):
    bars, reference = pair
    fields = Bar._fields[1:-1]
    poisoned = [bar._replace(**dict.fromkeys(fields, poison)) for bar in bars[260:]]
    spoiled = compute(bars[:260] + poisoned, reference[:260] + poisoned)
    np.testing.assert_array_equal(spoiled[:260], table[:260])
    assert not np.array_equal(spoiled[260:], table[260:], equal_nan=True)


@EACH_COMPUTED
def test_feature_depends_on_each_input_it_names_and_on_no_other(index, feature, pair, table):
    bars, reference = pair
    inputs = program_inputs(Bars.of(bars), Bars.of(reference).column("close"), 1.0)
    unchanged = {k: v for k, v in inputs.items() if k not in feature.inputs}
    other = {name: values * 1.5 for name, values in unchanged.items()}
    values = PROGRAM.compute(inputs | other)[:, index]
    np.testing.assert_array_equal(values, table[:, index])


@pytest.mark.parametrize("name", ["vwap", "twap", "taker_buy_volume", "reference_close"])
def test_missing_field_leaves_other_features_alone_and_its_own_recover(name, pair, table):
    bars, reference = pair
    inputs = program_inputs(Bars.of(bars), Bars.of(reference).column("close"), 1.0)
    holed = inputs[name].copy()
    holed[300] = np.nan
    spoiled = PROGRAM.compute(inputs | {name: holed})
    for index, feature in enumerate(COMPUTED):
        if name in feature.inputs:
            assert np.isnan(spoiled[300, index]), feature.name
            recovered = 326 if feature.name in {"excess_return_24", "residual_return_24"} else 303
            if recovered < len(spoiled):
                assert np.isfinite(spoiled[recovered, index]), feature.name
        else:
            np.testing.assert_array_equal(spoiled[:, index], table[:, index])


def test_price_scale_of_a_power_of_two_changes_no_ratio_and_scales_every_price(pair, table):
    bars, reference = pair
    scaled = compute(bars, reference, 2.0**-9)
    np.testing.assert_array_equal(scaled, table)


def test_names_are_unique_and_columns_follow_them():
    columns = feature_columns()
    assert len(set(FEATURE_NAMES)) == len(FEATURES)
    assert [column.name for column in columns] == list(FEATURE_NAMES)
    types = {column.name: column.type for column in columns}
    assert types["rsi_14"] == "Float64"
    assert types["pattern_doji"] == "Int16"
    assert sum(kind == "Int16" for kind in types.values()) == 61


def test_version_is_the_hash_of_every_definition():
    assert re.fullmatch(r"[0-9a-f]{12}", FEATURE_VERSION)
    definitions = {feature.definition for feature in FEATURES}
    assert len(definitions) == len(FEATURES)
    rsi = next(feature for feature in FEATURES if feature.name == "rsi_14")
    assert rsi.definition == "rsi_14 [0, 100] = RSI(close, timeperiod=14)"
    assert replace(rsi, high=99.0).definition != rsi.definition


# --- against plain Python, written from the textbooks -----------------------------------


def column(table, name):
    return table[:, [feature.name for feature in COMPUTED].index(name)]


def test_rsi_equals_wilders_definition(pair, table):
    closes = [bar.close for bar in pair[0]]
    changes = [b - a for a, b in pairwise(closes)]
    gain = sum(max(c, 0.0) for c in changes[:14]) / 14
    loss = sum(max(-c, 0.0) for c in changes[:14]) / 14
    expected = [100 * gain / (gain + loss)]
    for change in changes[14:]:
        gain = (gain * 13 + max(change, 0.0)) / 14
        loss = (loss * 13 + max(-change, 0.0)) / 14
        expected.append(100 * gain / (gain + loss))
    np.testing.assert_allclose(column(table, "rsi_14")[14:], expected, rtol=1e-9)


def test_ema_starts_from_the_mean_and_follows_two_over_n_plus_one(pair, table):
    closes = [bar.close for bar in pair[0]]
    average = sum(closes[:21]) / 21
    expected = [average]
    for close in closes[21:]:
        average += (close - average) * 2 / 22
        expected.append(average)
    np.testing.assert_allclose(column(table, "ema_21")[20:], expected, rtol=1e-9)


def test_atr_equals_wilders_definition(pair, table):
    bars = pair[0]
    ranges = [max(b.high, a.close) - min(b.low, a.close) for a, b in pairwise(bars)]
    average = sum(ranges[:14]) / 14
    expected = [average]
    for true_range in ranges[14:]:
        average = (average * 13 + true_range) / 14
        expected.append(average)
    np.testing.assert_allclose(column(table, "atr_14")[14:], expected, rtol=1e-9)


def test_windows_equal_numpy_over_the_same_bars(pair, table):
    bars, reference = pair
    close = np.array([bar.close for bar in bars])
    other = np.array([bar.close for bar in reference])
    high, low = np.array([b.high for b in bars]), np.array([b.low for b in bars])
    volume = np.array([bar.volume for bar in bars])
    own, market = np.diff(np.log(close)), np.diff(np.log(other))
    end = 300
    a, b = own[end - 168 : end], market[end - 168 : end]
    last = own[end - 72 : end]
    line = np.polyfit(np.arange(24.0), close[end - 23 : end + 1], 1)[0]
    fit = np.corrcoef(np.arange(24.0), close[end - 23 : end + 1])[0, 1]
    top, bottom = high[end - 167 : end + 1].max(), low[end - 167 : end + 1].min()
    typical = (high + low + close) / 3
    quartiles = np.percentile(own[end - 96 : end], [25, 50, 75], method="inverted_cdf")
    expected = {
        "return_24": close[end] / close[end - 24] - 1,
        "realised_volatility_72": 1e4 * np.sqrt((last**2).mean()),
        "skewness_72": ((last - last.mean()) ** 3).mean() / last.std() ** 3,
        "correlation_btc_168": np.corrcoef(a, b)[0, 1],
        "beta_btc_168": np.cov(a, b, bias=True)[0, 1] / b.var(),
        "trend_slope_24": line / close[end] * 1e4,
        "trend_strength_24": np.sign(fit) * fit**2,
        "range_position_168": (close[end] - bottom) / (top - bottom),
        "drawdown_168": close[end] / top - 1,
        "dollar_volume_24": (typical * volume)[end - 23 : end + 1].sum(),
        "volume_surprise_24": np.log(volume[end] / volume[end - 23 : end + 1].mean()),
        "return_z_96": (own[end - 1] - quartiles[1]) / ((quartiles[2] - quartiles[0]) / 1.349),
    }
    actual = {name: column(table, name)[end] for name in expected}
    assert actual == {name: pytest.approx(value, rel=1e-9) for name, value in expected.items()}
    assert all(isfinite(value) for value in actual.values())
