"""The order book against a naive one."""

from __future__ import annotations

import pytest
from books_samples import Model, in_digits, snapshot, update
from hypothesis import given
from hypothesis import strategies as st

from engine.books.book import OrderBook

prices = st.integers(1, 30).map(lambda ticks: ticks / 4)
level = st.tuples(prices, st.sampled_from([0.0, 0.0, 1.0, 2.5, 1e-8]))
side = st.lists(level, max_size=12)
changes = st.lists(st.builds(update, side, side, is_snapshot=st.sampled_from([False] * 5 + [True])))


@given(changes, st.sampled_from([0, 1, 3, 10]), st.integers(0, 12))
def test_order_book_after_any_updates_equals_a_naive_one(updates, levels, count):
    book, model = OrderBook(levels), Model(levels)
    for change in updates:
        book.apply(change)
        model.apply(change)
        assert book.bids() == model.bids
        assert book.asks() == model.asks
        assert book.bids(count) == model.bids[:count]
        assert book.asks(count) == model.asks[:count]
        assert book.depth == (len(model.bids), len(model.asks))
        assert not levels or max(book.depth) <= levels
    assert book.updates == len(updates)
    assert book.epoch == sum(change.is_snapshot for change in updates)


@given(changes, st.sampled_from([0, 1, 3, 10]))
def test_order_book_digits_after_any_updates_are_those_of_its_levels(updates, levels):
    book = OrderBook(levels)
    for change in updates:
        book.apply(update(change.bids, change.asks, is_snapshot=change.is_snapshot, texts=True))
        assert book.bid_texts() == in_digits(book.bids())
        assert book.ask_texts(2) == in_digits(book.asks(2))


def test_order_book_snapshot_leaves_no_level_of_before():
    book = OrderBook()
    book.apply(snapshot([(9.0, 1.0), (8.0, 1.0)], [(10.0, 1.0), (11.0, 1.0)], texts=True))
    book.apply(snapshot([(7.0, 2.0)], [(12.0, 3.0)], texts=True))
    assert (book.bids(), book.asks()) == ([(7.0, 2.0)], [(12.0, 3.0)])
    assert (book.bid_texts(), book.ask_texts()) == ([("7.00", "2.000")], [("12.00", "3.000")])
    assert book.epoch == 2


def test_order_book_level_cut_off_beyond_its_depth_does_not_come_back():
    book = OrderBook(2)
    book.apply(snapshot([(9.0, 1.0), (8.0, 1.0), (7.0, 1.0)], [(10.0, 1.0)], texts=True))
    book.apply(update([(9.0, 0.0)], texts=True))
    assert book.bids() == [(8.0, 1.0)]
    assert book.bid_texts() == [("8.00", "1.000")]


def test_order_book_same_price_in_other_digits_is_the_same_level():
    book = OrderBook()
    book.apply(snapshot([(float("1.50"), 1.0)]))
    book.apply(update([(float("1.5000"), 0.0)]))
    assert book.bids() == []


def test_order_book_level_set_without_digits_has_none():
    book = OrderBook()
    book.apply(snapshot([(9.0, 1.0), (8.0, 1.0)], texts=True))
    book.apply(update([(9.0, 2.0)]))
    with pytest.raises(KeyError):
        book.bid_texts(1)


def test_order_book_knows_the_newest_update():
    book = OrderBook()
    book.apply(snapshot(last=5, time=100))
    book.apply(update([(9.0, 2.0)], last=6))
    assert (book.sequence, book.exchange_time, book.receive_time) == (6, 100, 7)
    book.apply(snapshot(last=1))
    assert (book.sequence, book.exchange_time) == (1, None)


@pytest.mark.parametrize(
    ("bids", "asks", "expected"),
    [
        ([(9.0, 1.0)], [(10.0, 1.0)], True),
        ([(10.0, 1.0)], [(10.0, 1.0)], False),
        ([(11.0, 1.0)], [(10.0, 1.0)], False),
        ([], [(10.0, 1.0)], False),
        ([(9.0, 1.0)], [], False),
    ],
)
def test_order_book_is_ordinary_where_bid_is_below_ask(bids, asks, expected):
    book = OrderBook()
    book.apply(snapshot(bids, asks))
    assert book.is_ordinary is expected


def test_order_book_cleared_holds_nothing_and_goes_on_counting():
    book = OrderBook()
    book.apply(snapshot(texts=True))
    book.clear()
    assert (book.bids(), book.asks(), book.bid_texts()) == ([], [], [])
    assert (book.epoch, book.updates) == (1, 1)
