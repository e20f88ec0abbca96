"""Labels and rank ICs against scipy and by hand."""

from __future__ import annotations

from math import isnan, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.evaluation.labels import forward_returns
from engine.evaluation.metrics import (
    average_ranks,
    newey_west_error,
    rank_ic,
    rank_ic_by_time,
    summarise,
)

numbers = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.5, -4.0, 1e9]), min_size=3, max_size=20)


@given(numbers)
def test_average_ranks_equal_scipys(values):
    assert average_ranks(np.array(values)).tolist() == stats.rankdata(values).tolist()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=30))
def test_rank_ic_equals_scipys_spearman(pairs):
    left, right = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    ours = rank_ic(left, right)
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        assert isnan(ours)
    else:
        assert ours == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-12)


def test_rank_ic_leaves_missing_pairs_out():
    ic = rank_ic(np.array([1.0, 2.0, nan, 3.0]), np.array([5.0, 6.0, 1.0, 7.0]))
    assert ic == 1.0
    assert isnan(rank_ic(np.array([1.0, 2.0, nan]), np.array([1.0, 2.0, 3.0])))


def test_rank_ic_by_time_takes_each_row():
    values = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    labels = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    assert rank_ic_by_time(values, labels).tolist() == [1.0, -1.0]


def test_newey_west_error_matches_the_formula_by_hand():
    series = np.array([1.0, 3.0, 2.0, 6.0])
    centred = series - 3.0
    gamma0, gamma1 = (centred @ centred) / 4, (centred[1:] @ centred[:-1]) / 4
    assert newey_west_error(series, 0) == sqrt(gamma0 / 4)
    assert newey_west_error(series, 1) == pytest.approx(sqrt((gamma0 + gamma1) / 4))


def test_newey_west_error_grows_where_labels_overlap():
    noise = np.random.default_rng(5).normal(size=4000)
    overlapping = np.convolve(noise, np.ones(24), "valid")
    plain, aware = newey_west_error(overlapping, 0), newey_west_error(overlapping, 23)
    assert 3 < aware / plain < 5.5


def test_summary_of_ics_is_exact_and_skips_missing():
    summary = summarise(np.array([0.1, nan, 0.3, -0.1]))
    assert summary.mean == pytest.approx(0.1)
    assert summary.icir == pytest.approx(0.1 / 0.2)
    assert summary.t == pytest.approx(0.1 / sqrt(0.08 / 3 / 3))
    assert (summary.positive_share, summary.count) == (2 / 3, 3)
    assert summarise(np.array([nan])).count == 0


def test_forward_return_needs_the_very_bar():
    times = np.array([0, 10, 20, 40, 50])
    closes = np.array([1.0, 2.0, 4.0, 8.0, 4.0])
    labels = forward_returns(times, closes, 2, 10)
    assert labels[[0, 2]].tolist() == [3.0, 1.0]
    assert np.isnan(labels[[1, 3, 4]]).all()


def test_forward_return_of_the_past_does_not_change_with_the_future():
    times, closes = np.arange(20), np.linspace(1, 3, 20)
    short = forward_returns(times[:12], closes[:12], 3, 1)
    assert short[:9].tolist() == forward_returns(times, closes, 3, 1)[:9].tolist()
    assert np.isnan(short[9:]).all()


def test_forward_return_refuses_looking_back_and_disorder():
    with pytest.raises(ValueError, match="forward"):
        forward_returns(np.array([0]), np.array([1.0]), 0, 1)
    with pytest.raises(ValueError, match="ascend"):
        forward_returns(np.array([1, 1]), np.array([1.0, 1.0]), 1, 1)
