"""Measures and samples of books."""

from __future__ import annotations

import msgspec
import pytest
from books_samples import BTC, ETH, keeper, snapshot, update
from hypothesis import given
from hypothesis import strategies as st

from engine.books.book import OrderBook
from engine.books.measures import (
    imbalance,
    microprice,
    microprice_gap_bps,
    middle,
    snapshot_of,
    spread_bps,
)
from engine.books.sampler import BookSampler, delta_of
from engine.domain.market import BookDelta, BookSnapshot

price = st.floats(1e-9, 1e15)
amount = st.floats(1e-12, 1e15)
levels = st.lists(st.tuples(price, amount), min_size=1, max_size=5)


@given(price, price, amount, amount)
def test_measures_of_any_two_levels_stay_in_their_ranges(one, other, bid_amount, ask_amount):
    bid, ask = min(one, other), max(one, other)
    micro = microprice((bid, bid_amount), (ask, ask_amount))
    assert bid <= middle(bid, ask) <= ask
    assert bid <= micro <= ask
    assert 0 <= spread_bps(bid, ask) <= 20_000
    assert abs(microprice_gap_bps(bid, ask, micro)) <= spread_bps(bid, ask) / 2 * (1 + 1e-9) + 1e-9


@given(levels, levels)
def test_imbalance_is_bounded_and_turns_with_the_sides(bids, asks):
    assert -1 <= imbalance(bids, asks) <= 1
    assert imbalance(bids, asks) == -imbalance(asks, bids)


@given(levels, levels, st.randoms())
def test_imbalance_does_not_depend_on_the_order_of_levels(bids, asks, random):
    expected = imbalance(bids, asks)
    random.shuffle(bids)
    random.shuffle(asks)
    assert imbalance(bids, asks) == expected


def book_of(*updates):
    book = OrderBook()
    for change in updates:
        book.apply(change)
    return book


def test_snapshot_of_a_book_holds_its_best_levels_and_measures():
    book = book_of(
        snapshot([(99.0, 3.0), (98.0, 1.0), (97.0, 9.0)], [(101.0, 1.0)], last=8, time=70)
    )
    assert snapshot_of(book, "kraken", BTC, 2, 90) == BookSnapshot(
        exchange="kraken",
        instrument=BTC,
        bid_prices=(99.0, 98.0),
        bid_amounts=(3.0, 1.0),
        ask_prices=(101.0,),
        ask_amounts=(1.0,),
        spread_bps=200.0,
        imbalance=0.6,
        microprice=100.5,
        sequence=8,
        epoch=1,
        exchange_time=70,
        receive_time=7,
        as_of=90,
    )


@pytest.mark.parametrize("asks", [[], [(9.0, 1.0)], [(8.0, 1.0)]])
def test_snapshot_of_a_one_sided_or_crossed_book_is_none(asks):
    assert snapshot_of(book_of(snapshot([(9.0, 1.0)], asks)), "kraken", BTC, 2, 90) is None


class Sampled:
    """A keeper and a sampler, driven as the stream drives them."""

    def __init__(self) -> None:
        self.keeper = keeper(BTC, ETH)
        self.sampler = BookSampler(1000, 5)

    def take(self, change, at):
        stamped = msgspec.structs.replace(change, receive_time=at)
        taken = self.sampler.before(self.keeper, stamped)
        for applied in self.keeper.take(stamped):
            self.sampler.applied(applied)
        return taken

    def due(self, now):
        return [
            (taken.instrument, taken.as_of, taken.bid_amounts[0])
            for taken in self.sampler.due(self.keeper, now)
        ]


def test_sampler_takes_each_book_at_the_end_of_an_interval_in_which_it_changed():
    sampled = Sampled()
    assert sampled.due(900) == []
    sampled.take(snapshot(), 1100)
    sampled.take(snapshot(instrument=ETH), 1200)
    sampled.take(update([(9.0, 2.0)]), 1999)
    assert sampled.due(1999) == []
    assert sampled.due(2000) == [(BTC, 2000, 2.0), (ETH, 2000, 1.0)]
    assert sampled.due(3000) == []
    sampled.take(update([(9.0, 3.0)], instrument=ETH), 4000)
    assert sampled.due(5250) == [(ETH, 5000, 3.0)]


def test_sampler_holds_nothing_that_came_after_the_intervals_end():
    sampled = Sampled()
    sampled.take(snapshot(), 1100)
    assert sampled.take(update([(9.0, 2.0)]), 1900) == []
    (taken,) = sampled.take(update([(9.0, 5.0)]), 3100)
    assert (taken.as_of, taken.bid_amounts, taken.receive_time) == (2000, (2.0,), 1900)
    assert sampled.due(4000) == [(BTC, 4000, 5.0)]


def test_sampler_answers_the_same_however_often_it_is_asked():
    rows = [(1100 + 370 * n, float(n % 4 + 1)) for n in range(40)]
    answers = []
    for step in (1, 3, 40):
        sampled = Sampled()
        sampled.take(snapshot(), 1000)
        found = []
        for number, (at, amount) in enumerate(rows):
            found += [
                (taken.instrument, taken.as_of, taken.bid_amounts[0])
                for taken in sampled.take(update([(9.0, amount)]), at)
            ]
            if number % step == 0:
                found += sampled.due(at)
        answers.append(found + sampled.due(100_000))
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) == 15


def test_sampler_passes_over_books_that_are_void_or_show_nothing():
    sampled = Sampled()
    sampled.take(snapshot(last=1), 1000)
    sampled.take(snapshot([(9.0, 1.0)], [], instrument=ETH), 1000)
    sampled.take(update(first=5, last=5), 1001)
    assert sampled.due(2000) == []
    sampled.take(update(asks=[(10.0, 1.0)], instrument=ETH), 2000)
    assert sampled.due(3000) == [(ETH, 3000, 1.0)]


def test_sampler_takes_a_book_that_came_back_in_a_new_epoch():
    sampled = Sampled()
    sampled.take(snapshot(), 1000)
    sampled.keeper.disconnected()
    assert sampled.due(2000) == []
    sampled.take(snapshot(), 2001)
    (taken,) = sampled.sampler.due(sampled.keeper, 3000)
    assert taken.epoch == 2


def test_delta_of_an_update_holds_it_whole():
    change = update([(9.0, 0.0)], [(10.0, 1.0), (11.0, 2.0)], first=3, last=4, time=70)
    assert delta_of(change, 6) == BookDelta(
        exchange="venue",
        instrument=BTC,
        is_snapshot=False,
        bid_prices=(9.0,),
        bid_amounts=(0.0,),
        ask_prices=(10.0, 11.0),
        ask_amounts=(1.0, 2.0),
        sequence=4,
        epoch=6,
        exchange_time=70,
        receive_time=7,
    )
    assert delta_of(snapshot(), 1).sequence == 0
