"""The L2 book in features: which snapshot a bar has, in both runs."""

from __future__ import annotations

from math import isnan

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.domain.timeframe import Timeframe
from engine.features.batch import compute_segment
from engine.features.books import BOOK_FEATURE_NAMES, BarBook, LiveBooks, last_books
from engine.features.catalogue import FEATURE_NAMES, FEATURES
from engine.features.grid import Bars
from engine.features.warm_up import WARM_UP_BARS

H1 = Timeframe.H1
W = WARM_UP_BARS
COLUMNS = [FEATURE_NAMES.index(name) for name in BOOK_FEATURE_NAMES]


@pytest.fixture(scope="module")
def one(book_walk):
    return book_walk(1, 1)[0]


def at(snapshot, as_of, spread=None):
    changed = snapshot if spread is None else msgspec.structs.replace(snapshot, spread_bps=spread)
    return msgspec.structs.replace(changed, as_of=as_of)


def test_last_books_bar_has_the_last_snapshot_after_its_open_up_to_its_close(one):
    moments = {
        5 * H1.ns: 1.0,
        5 * H1.ns + 1: 2.0,
        6 * H1.ns - 1: 3.0,
        6 * H1.ns: 4.0,
        6 * H1.ns + 1: 5.0,
    }
    snapshots = [at(one, moment, spread) for moment, spread in moments.items()]
    found = {
        time // H1.ns: (book.as_of, book.spread_bps)
        for time, book in last_books(snapshots, H1).items()
    }
    assert found == {4: (5 * H1.ns, 1.0), 5: (6 * H1.ns, 4.0), 6: (6 * H1.ns + 1, 5.0)}
    assert last_books(snapshots[::-1], H1) == last_books(snapshots, H1)


def test_last_books_of_two_snapshots_of_one_moment_the_fresher_one_counts(one):
    fresher = msgspec.structs.replace(at(one, 7, 2.0), receive_time=6)
    older = msgspec.structs.replace(at(one, 7, 1.0), receive_time=5)
    for snapshots in ([older, fresher], [fresher, older]):
        (book,) = last_books(snapshots, H1).values()
        assert book.spread_bps == 2.0
        live = LiveBooks(H1)
        changed = [live.take(snapshot) for snapshot in snapshots]
        assert changed == ([0, 0] if snapshots[0] is older else [0, None])


def test_bar_book_holds_the_measures_of_the_snapshot(one):
    gapped = msgspec.structs.replace(
        one, bid_prices=(99.0,), ask_prices=(101.0,), microprice=100.5, spread_bps=200.0,
        imbalance=0.5,
    )  # fmt: skip
    book = BarBook.of(gapped)
    assert book == (one.as_of, one.receive_time, 200.0, 0.5, 50.0)
    assert dict(zip(BOOK_FEATURE_NAMES, book.features, strict=True)) == {
        "book_spread_bps": 200.0,
        "book_imbalance": 0.5,
        "book_microprice_gap_bps": 50.0,
    }
    assert BarBook.of_features(book.features, 3) == (3, 0, 200.0, 0.5, 50.0)


def test_compute_segment_gives_books_to_their_bars_and_changes_nothing_else(walk, book_walk, month):
    bars = Bars.of(walk(40, W + 50))
    snapshots = book_walk(41, 50)
    plain = compute_segment(bars, H1, month, None)
    assert np.isnan(plain[:, COLUMNS]).all()
    filled = compute_segment(bars, H1, month, None, snapshots)
    others = [n for n in range(len(FEATURES)) if n not in COLUMNS]
    np.testing.assert_array_equal(filled[:, others], plain[:, others])
    books = last_books(snapshots, H1)
    assert 0 < len(books) < 50
    for row in range(50):
        book = books.get(month + row * H1.ns)
        expected = [np.nan] * 3 if book is None else book.features
        np.testing.assert_array_equal(filled[row, COLUMNS], expected)


def test_compute_segment_without_snapshots_in_a_bar_never_carries_them_from_before(
    walk, month, one
):
    bars = Bars.of(walk(42, W + 3))
    rows = compute_segment(bars, H1, month, None, [at(one, month), at(one, month + 2 * H1.ns)])
    assert np.isnan(rows[:, COLUMNS]).all(axis=1).tolist() == [True, False, True]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), random=st.randoms())
def test_live_books_from_snapshots_in_any_order_equal_the_batch(book_walk, month, seed, random):
    snapshots = book_walk(seed, 12)
    shuffled = list({snapshot.as_of: snapshot for snapshot in snapshots}.values())
    expected = last_books(shuffled, H1)
    random.shuffle(shuffled)
    live = LiveBooks(H1)
    for snapshot in shuffled:
        live.take(snapshot)
    empty = (float("nan"),) * len(FEATURES)
    for index in range(12):
        open_time = month + index * H1.ns
        values = live.fill(open_time, empty)
        book = expected.get(open_time)
        if book is None:
            assert values is empty
        else:
            assert tuple(values[n] for n in COLUMNS) == book.features
            assert sum(not isnan(value) for value in values) == len(COLUMNS)


def test_live_books_say_whether_a_snapshot_changed_its_bar(one):
    live = LiveBooks(H1)
    assert live.take(at(one, 50, 1.0)) == 0
    assert live.take(at(one, 60, 1.0)) is None, "the same values"
    assert live.take(at(one, 55, 9.0)) is None, "older than what is known"
    assert live.take(at(one, 70, 2.0)) == 0
    assert live.take(at(one, H1.ns + 1, 2.0)) == H1.ns


def test_live_books_forget_what_nobody_asks_for(one):
    live = LiveBooks(H1)
    live.load({0: BarBook(5, 5, 1.0, 0.0, 0.0)})
    for hour in range(1, 6):
        live.take(at(one, hour * H1.ns + 1))
    live.forget_before(4 * H1.ns)
    assert len(live) == 2
    live.forget_before(40 * H1.ns)
    assert len(live) == 0
