"""Whatever a connection does to updates, a book that is given out is the venue's."""

from __future__ import annotations

from books_samples import BTC, SECOND, Model, in_digits, keeper, snapshot, total, update
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.market import BookUpdate, Level

State = tuple[list[Level], list[Level]]

level = st.tuples(st.integers(1, 8).map(float), st.sampled_from([0.0, 1.0, 2.0]))
far_level = st.tuples(st.integers(11, 18).map(float), st.sampled_from([0.0, 1.0, 2.0]))
change = st.tuples(st.lists(level, max_size=3), st.lists(far_level, max_size=3))
DEEDS = st.sampled_from(["deliver"] * 6 + ["lose", "repeat", "swap", "reconnect"] + ["answer"] * 3)


class Venue:
    """Numbers its updates in its own way, and knows its book after each."""

    def __init__(self, style: str, changes: list[tuple[list[Level], list[Level]]]) -> None:
        self.style = style
        self.updates: list[BookUpdate] = []
        self.states: dict[int, State] = {}
        model = Model()
        model.apply(snapshot())
        self.states[100] = (model.bids, model.asks)
        last = 100
        for number, (bids, asks) in enumerate(changes, 1):
            first, end = last + 1, last + 1 + number % 3
            if style == "spot":
                made = update(bids, asks, first=first, last=end, time=number * SECOND)
            elif style == "bybit":
                end = first
                made = update(bids, asks, first=first, last=end, time=number * SECOND)
            elif style == "clock":
                made = update(bids, asks, last=end, time=number * SECOND)
            else:
                made = update(bids, asks, previous=last, last=end, time=number * SECOND)
            self.updates.append(made)
            model.apply(made)
            self.states[end] = (model.bids, model.asks)
            last = end

    def snapshot_at(self, position: int) -> BookUpdate:
        """The book after `position` updates."""
        last = list(self.states)[position]
        bids, asks = self.states[last]
        return snapshot(bids, asks, last=last, time=position * SECOND)


@given(
    st.sampled_from(["spot", "perpetual", "okx", "bybit"]),
    st.lists(change, min_size=1, max_size=40),
    st.data(),
)
def test_numbered_book_that_is_live_is_the_venues_at_its_number(style, changes, data):
    venue = Venue(style, changes)
    asked = style in ("spot", "perpetual")
    kept = keeper(snapshots="rest" if asked else "stream", most_buffered=6)
    coming = list(venue.updates)
    given_out = 0
    if not asked:
        kept.take(venue.snapshot_at(0))
    while coming:
        deed = data.draw(DEEDS)
        position = len(venue.updates) - len(coming)
        if deed == "swap" and len(coming) > 1:
            coming[:2] = coming[1::-1]
        elif deed == "lose":
            coming.pop(0)
        elif deed == "repeat" and position:
            kept.take(data.draw(st.sampled_from(venue.updates[:position])))
        elif deed == "answer" and (asked or kept.wanted()):
            behind = data.draw(st.integers(0, 3)) if asked else 0
            kept.take(venue.snapshot_at(max(0, position - behind)))
        elif deed == "reconnect":
            kept.disconnected()
            if not asked:
                kept.take(venue.snapshot_at(position))
        else:
            kept.take(coming.pop(0))
        book = kept.book(BTC)
        if book is not None:
            assert (book.bids(), book.asks()) == venue.states[book.sequence]
            given_out += 1
    assert given_out or asked, "a stream's snapshot was believed"


told = st.tuples(
    level, far_level, st.sampled_from(["deliver", "answer", "end"]), st.integers(-2, 3)
)


@given(st.lists(told, min_size=8, max_size=30))
def test_clocked_book_that_is_live_is_the_venues_however_old_the_answer(steps):
    venue = Venue("clock", [([bid], [ask]) for bid, ask, _, _ in steps])
    kept = keeper(snapshots="rest", most_buffered=6)
    for position, (_, _, deed, behind) in enumerate(steps):
        # A connection loses nothing but by ending, and the next may begin anywhere.
        if deed == "end":
            kept.disconnected()
            continue
        if deed == "answer":
            kept.take(venue.snapshot_at(min(max(0, position - behind), len(steps))))
        kept.take(venue.updates[position])
        book = kept.book(BTC)
        if book is not None:
            assert (book.bids(), book.asks()) == venue.states[book.sequence]


@given(st.lists(change, min_size=2, max_size=30), st.data())
def test_checksummed_book_that_is_live_has_the_venues_best_levels(changes, data):
    model = Model()
    first = snapshot(
        texts=True, checksum=total(in_digits([(9.0, 1.0)]), in_digits([(10.0, 1.0)]))
    )  # fmt: skip
    model.apply(first)
    kept = keeper(checksum=total, checksum_levels=3)
    kept.take(first)
    for bids, asks in changes:
        made = update(bids, asks, texts=True)
        model.apply(made)
        right = total(in_digits(model.bids[:3]), in_digits(model.asks[:3]))
        if data.draw(st.integers(0, 5)):
            kept.take(update(bids, asks, texts=True, checksum=right))
            book = kept.book(BTC)
            assert book is None or (book.bids(3), book.asks(3)) == (model.bids[:3], model.asks[:3])
            assert (book is None) == bool(kept.faults()) or kept.stale
