"""Ranks over the universe."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.features import FeatureRow
from engine.features.catalogue import FEATURE_INDEX, FEATURES
from engine.features.cross_section import fill_cross_section, fractional_rank

NAN = float("nan")


def row(instrument, **values):
    filled = [NAN] * len(FEATURES)
    for name, value in values.items():
        filled[FEATURE_INDEX[name]] = value
    return FeatureRow("binance", instrument, "1h", 0, 1, 1, 1.0, tuple(filled), "v", True, 0)


def test_fill_cross_section_ranks_each_feature_and_touches_no_other():
    rows = [row("A-USDT", return_24=0.3), row("B-USDT", return_24=-0.1), row("C-USDT")]
    filled = fill_cross_section(rows)
    ranks = [r.values[FEATURE_INDEX["rank_return_24"]] for r in filled]
    assert ranks[:2] == [1.0, 0.0]
    assert np.isnan(ranks[2])
    target = FEATURE_INDEX["rank_return_24"]
    for before, after in zip(rows, filled, strict=True):
        kept = [v for i, v in enumerate(after.values) if i != target]
        np.testing.assert_array_equal(kept, [v for i, v in enumerate(before.values) if i != target])
        assert after.instrument == before.instrument


def test_fill_cross_section_fills_every_rank_of_the_catalogue():
    named = {f.ranks: 1.0 for f in FEATURES if f.ranks}
    (filled,) = fill_cross_section([row("A-USDT", **named)])
    assert {filled.values[FEATURE_INDEX[f.name]] for f in FEATURES if f.ranks} == {0.5}


def test_fill_cross_section_of_different_bar_times_raises():
    rows = [row("A-USDT"), msgspec.structs.replace(row("B-USDT"), open_time=5)]
    with pytest.raises(ValueError, match="one timeframe and one open time"):
        fill_cross_section(rows)


def test_fill_cross_section_of_another_catalogue_raises():
    with pytest.raises(ValueError, match="not those of the catalogue"):
        fill_cross_section([msgspec.structs.replace(row("A-USDT"), values=(1.0,))])


def test_fill_cross_section_of_nothing_is_nothing():
    assert fill_cross_section([]) == []


def test_fractional_rank_averages_ties_and_leaves_nan_out():
    ranks = fractional_rank(np.array([2.0, NAN, 1.0, 2.0, 9.0]))
    np.testing.assert_array_equal(ranks, [0.5, NAN, 0.0, 0.5, 1.0])


@given(st.lists(st.one_of(st.floats(-5, 5), st.just(NAN)), max_size=30), st.randoms())
def test_fractional_rank_follows_the_values_whatever_their_order(values, random):
    ranks = fractional_rank(np.array(values))
    known = ranks[~np.isnan(ranks)]
    assert len(known) == sum(value == value for value in values)
    assert known.sum() == pytest.approx(len(known) / 2)
    order = list(range(len(values)))
    random.shuffle(order)
    shuffled = fractional_rank(np.array([values[i] for i in order]))
    np.testing.assert_array_equal(shuffled, ranks[order])
