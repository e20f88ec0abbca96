"""The life of a book: snapshot, changes, faults, and a fresh start."""

from __future__ import annotations

from typing import Literal

import pytest
from books_samples import BTC, ETH, SECOND, Model, in_digits, keeper, snapshot, total, update
from hypothesis import given
from hypothesis import strategies as st

from engine.books.fault import BookFault
from engine.books.keeper import BookKeeper
from engine.domain.market import BookUpdate
from engine.errors import FrameError

Style = Literal["spot", "perpetual", "okx", "bybit"]


def bid(number: int) -> tuple[tuple[float, float], ...]:
    return ((1.0 + number % 7, float(number)),)


def chain(style: Style, count: int) -> tuple[BookUpdate, list[BookUpdate]]:
    """A snapshot of number 100, and updates that follow, numbered as a venue numbers them."""
    changes = []
    last = 100
    for number in range(1, count + 1):
        step = number % 3 + 1
        numbers: dict[str, int] = {"last": last + step}
        if style == "spot":
            numbers["first"] = last + 1
        elif style == "bybit":
            numbers = {"first": last + 1, "last": last + 1}
        else:
            numbers["previous"] = last
        if style == "perpetual":
            numbers["first"] = last + step
        changes.append(update(bid(number), time=number * SECOND, **numbers))
        last = numbers["last"]
    return snapshot(last=100, time=0), changes


def of_style(style: Style) -> BookKeeper:
    return keeper(snapshots="rest" if style in ("spot", "perpetual") else "stream")


def started(style: Style, count: int) -> tuple[BookKeeper, list[BookUpdate], BookUpdate]:
    """A keeper with a live book that took the snapshot and the first update."""
    first, changes = chain(style, count)
    kept = of_style(style)
    if style in ("spot", "perpetual"):
        kept.take(changes[0])
        assert kept.take(first) == [first, changes[0]]
    else:
        assert kept.take(first) == [first]
        assert kept.take(changes[0]) == [changes[0]]
    kept.wanted()
    return kept, changes, first


STYLES = st.sampled_from(["spot", "perpetual", "okx", "bybit"])


@given(STYLES, st.integers(2, 20))
def test_keeper_takes_an_unbroken_chain_whole(style, count):
    kept, changes, first = started(style, count)
    model = Model()
    model.apply(first)
    model.apply(changes[0])
    for change in changes[1:]:
        assert kept.take(change) == [change]
        model.apply(change)
    assert kept.book(BTC).bids() == model.bids
    assert kept.book(BTC).asks() == model.asks
    assert (kept.faults(), kept.wanted(), kept.stale) == ([], [], 0)


@given(STYLES, st.integers(3, 12), st.data())
def test_keeper_notices_every_lost_update(style, count, data):
    kept, changes, _ = started(style, count)
    lost = data.draw(st.integers(1, count - 2))
    for change in changes[1:lost]:
        kept.take(change)
    kept.take(changes[lost + 1])
    (fault,) = kept.faults()
    assert (fault.instrument, fault.cause, fault.at) == (BTC, "sequence", (lost + 2) * SECOND)
    assert kept.book(BTC) is None
    assert kept.live == set()
    assert kept.wanted() == [BTC]


@given(STYLES, st.integers(2, 12), st.data())
def test_keeper_drops_every_repeated_update_and_stays_live(style, count, data):
    kept, changes, _ = started(style, count)
    for change in changes[1:]:
        kept.take(change)
    before = kept.book(BTC).bids()
    again = data.draw(st.lists(st.sampled_from(changes), max_size=5))
    for change in again:
        assert kept.take(change) == []
    assert (kept.stale, kept.faults(), kept.book(BTC).bids()) == (len(again), [], before)


@given(STYLES, st.integers(3, 12), st.data())
def test_keeper_notices_every_pair_of_updates_that_changed_places(style, count, data):
    kept, changes, _ = started(style, count)
    swapped = data.draw(st.integers(1, count - 2))
    changes[swapped : swapped + 2] = changes[swapped : swapped + 2][::-1]
    for change in changes[1 : swapped + 1]:
        kept.take(change)
    (fault,) = kept.faults()
    assert fault.cause == "sequence"
    assert kept.book(BTC) is None


@pytest.mark.parametrize("style", ["okx", "bybit"])
def test_keeper_wants_first_snapshot_that_did_not_come_once_it_is_overdue(style):
    first, changes = chain(style, 3)
    kept = keeper(BTC, ETH, snapshots="stream")
    assert [kept.take(change) for change in changes] == [[], [], []]
    assert (kept.wanted(), kept.faults(), kept.stale) == ([], [], 3)
    kept.want_missing()
    assert kept.wanted() == [BTC, ETH]
    kept.take(first)
    kept.want_missing(but={ETH})
    assert kept.wanted() == []


def test_keeper_wants_no_first_snapshot_that_nothing_waits_for_over_rest():
    kept = keeper(snapshots="rest")
    kept.want_missing()
    assert kept.wanted() == []


# -- snapshots asked for over REST ---------------------------------------------------------------


def test_keeper_asked_snapshot_drops_what_it_holds_and_applies_what_follows():
    kept = keeper(snapshots="rest")
    changes = [
        update([(9.0, float(n))], first=10 * n, last=10 * n + 9) for n in range(1, 5)
    ]  # fmt: skip
    assert [kept.take(change) for change in changes] == [[], [], [], []]
    assert (kept.buffered, kept.live) == (4, set())
    answer = snapshot([(9.0, 0.5), (8.0, 1.0)], last=29)
    assert kept.take(answer) == [answer, changes[2], changes[3]]
    assert (kept.stale, kept.buffered, kept.live) == (2, 0, {BTC})
    assert kept.book(BTC).bids() == [(9.0, 4.0), (8.0, 1.0)]
    assert kept.book(BTC).sequence == 49


def test_keeper_wants_a_snapshot_once_a_change_waits_and_names_it_once():
    kept = keeper(BTC, ETH, snapshots="rest")
    assert kept.wanted() == []
    kept.retry(BTC)
    assert kept.wanted() == [], "nothing waits for it yet"
    kept.take(update(first=1, last=1))
    kept.take(update(first=2, last=2))
    assert kept.wanted() == [BTC]
    assert kept.wanted() == []
    kept.retry(BTC)
    assert kept.wanted() == [BTC]


def test_keeper_asked_snapshot_older_than_the_buffer_is_refused_and_wanted_anew():
    kept = keeper(snapshots="rest")
    change = update([(9.0, 3.0)], first=10, last=12)
    kept.take(change)
    kept.wanted()
    assert kept.take(snapshot(last=8)) == []
    assert (kept.live, kept.wanted(), kept.faults(), kept.buffered) == (set(), [BTC], [], 1)
    answer = snapshot(last=9)
    assert kept.take(answer) == [answer, change]


@pytest.mark.parametrize("last", [12, 20])
def test_keeper_asked_snapshot_newer_than_the_buffer_waits_for_the_change_that_covers_it(last):
    kept = keeper(snapshots="rest")
    kept.take(update(first=10, last=12))
    answer = snapshot(last=last)
    assert kept.take(answer) == [answer]
    assert kept.take(update(first=last - 5, last=last)) == []
    covering = update([(9.0, 4.0)], first=last - 2, last=last + 2)
    assert kept.take(covering) == [covering]
    assert kept.take(update(first=last + 4, last=last + 5)) == []
    (fault,) = kept.faults()
    detail = f"a change begins at update {last + 4}, the book stands at {last + 2}"
    assert fault == BookFault(BTC, "sequence", detail, 7, 7)


def test_keeper_asked_snapshot_of_a_perpetual_may_lie_within_its_first_change():
    kept = keeper(snapshots="rest")
    before, first, second = (
        update(first=a, last=b, previous=p) for a, b, p in ((5, 9, 3), (12, 20, 9), (23, 30, 20))
    )
    for change in (before, first, second):
        kept.take(change)
    answer = snapshot(last=15)
    assert kept.take(answer) == [answer, first, second]
    assert kept.stale == 1


def test_keeper_asked_snapshot_of_a_perpetual_before_its_first_change_is_refused():
    kept = keeper(snapshots="rest")
    kept.take(update(first=12, last=20, previous=9))
    kept.wanted()
    assert kept.take(snapshot(last=8)) == []
    assert (kept.live, kept.wanted()) == (set(), [BTC])
    assert len(kept.take(snapshot(last=9))) == 2


def test_keeper_perpetual_change_behind_a_hole_after_its_snapshot_is_a_fault():
    kept = keeper(snapshots="rest")
    kept.take(update(first=12, last=20, previous=9))
    kept.take(snapshot(last=25))
    kept.take(update(first=32, last=40, previous=30))
    (fault,) = kept.faults()
    assert fault.detail == "a change follows update 30, the book stands at 25"


def test_keeper_asked_snapshot_of_a_live_book_is_not_needed():
    kept, changes, _ = started("spot", 3)
    assert kept.take(snapshot(last=101)) == []
    assert kept.take(changes[1]) == [changes[1]]
    assert kept.book(BTC).epoch == 1


def test_keeper_asked_snapshot_that_nothing_waits_for_is_dropped():
    kept = keeper(snapshots="rest")
    kept.take(update(first=1, last=2))
    kept.disconnected()
    assert kept.take(snapshot(last=5)) == []
    assert (kept.live, kept.stale) == (set(), 1)


def test_keeper_buffer_holds_an_unbroken_chain_only():
    kept = keeper(snapshots="rest")
    kept.take(update(first=1, last=2))
    kept.take(update(first=3, last=4))
    kept.take(update(first=3, last=4))
    assert (kept.buffered, kept.stale) == (2, 1)
    behind = update(first=8, last=9)
    kept.take(behind)
    assert (kept.buffered, kept.stale) == (1, 3)
    assert kept.take(snapshot(last=4)) == []
    answer = snapshot(last=7)
    assert kept.take(answer) == [answer, behind]


def test_keeper_buffer_that_overflows_is_a_fault_and_starts_afresh():
    kept = keeper(snapshots="rest", most_buffered=3)
    for number in range(1, 4):
        kept.take(update(first=number, last=number))
    kept.wanted()
    kept.take(update(first=4, last=4, time=50))
    (fault,) = kept.faults()
    detail = "3 changes waited for a snapshot that did not come"
    assert fault == BookFault(BTC, "sequence", detail, 50, 7)
    assert (kept.buffered, kept.overflowed, kept.wanted()) == (1, 3, [BTC])
    answer = snapshot(last=3)
    assert len(kept.take(answer)) == 2


def test_keeper_asked_venue_after_a_hole_keeps_what_came_behind_it():
    kept, changes, _ = started("spot", 5)
    kept.take(changes[2])
    assert (kept.buffered, kept.wanted()) == (1, [BTC])
    kept.take(changes[3])
    answer = snapshot(last=changes[1].last_sequence)
    assert kept.take(answer) == [answer, changes[2], changes[3]]
    assert kept.book(BTC).epoch == 2


# -- snapshots by stream ------------------------------------------------------------------------


def test_keeper_of_a_stream_wants_nothing_before_a_fault():
    kept = keeper()
    assert kept.take(update(first=5, last=5)) == []
    assert (kept.stale, kept.wanted(), kept.faults()) == (1, [], [])


def test_keeper_stream_snapshot_starts_a_new_epoch_at_any_time():
    kept, changes, _ = started("bybit", 3)
    kept.take(changes[1])
    restart = snapshot([(5.0, 1.0)], [(6.0, 1.0)], last=1, time=9 * SECOND)
    assert kept.take(restart) == [restart]
    assert kept.book(BTC).epoch == 2
    follows = update([(5.0, 2.0)], first=2, last=2, time=9 * SECOND)
    assert kept.take(follows) == [follows]
    assert kept.book(BTC).bids() == [(5.0, 2.0)]


def test_keeper_stream_snapshot_that_is_repeated_late_is_dropped():
    kept, changes, first = started("okx", 2)
    assert kept.take(first) == []
    assert kept.take(changes[1]) == [changes[1]]
    assert kept.stale == 1


def test_keeper_okx_heartbeat_and_count_that_begins_anew_are_followed():
    kept = keeper()
    kept.take(snapshot(last=50, time=0))
    rows = [(50, 50), (50, 60), (60, 3), (3, 4)]
    for seconds, (previous, last) in enumerate(rows, 1):
        change = update(bid(seconds), previous=previous, last=last, time=seconds * SECOND)
        assert kept.take(change) == [change]
    assert (kept.faults(), kept.book(BTC).sequence) == ([], 4)


def test_keeper_that_missed_a_count_beginning_anew_notices():
    kept = keeper()
    kept.take(snapshot(last=50, time=0))
    kept.take(update(previous=50, last=60, time=10 * SECOND))
    kept.take(update(previous=3, last=4, time=12 * SECOND))
    (fault,) = kept.faults()
    assert fault.detail == "a change follows update 3, the book stands at 60"


# -- checksums ---------------------------------------------------------------------------------


def checked_keeper() -> BookKeeper:
    return keeper(BTC, ETH, checksum=total, checksum_levels=2, levels=3)


def test_keeper_compares_the_best_levels_with_the_venues_checksum():
    kept = checked_keeper()
    bids, asks = [(9.0, 1.0), (8.0, 1.0), (7.0, 1.0)], [(10.0, 1.0)]
    first = snapshot(
        bids, asks, texts=True, checksum=total(in_digits(bids[:2]), in_digits(asks))
    )  # fmt: skip
    assert kept.take(first) == [first]
    right = update(
        [(9.0, 0.0)], texts=True, checksum=total(in_digits(bids[1:3]), in_digits(asks))
    )  # fmt: skip
    assert kept.take(right) == [right]
    assert kept.checked == 2
    assert kept.take(update([(8.0, 5.0)], texts=True, checksum=12)) == []
    (fault,) = kept.faults()
    assert (fault.instrument, fault.cause) == (BTC, "checksum")
    assert fault.detail.startswith("the venue's checksum is 12, that of our book ")
    assert (kept.live, kept.wanted(), kept.checked) == (set(), [BTC], 2)


def test_keeper_snapshot_with_a_wrong_checksum_is_not_believed():
    kept = checked_keeper()
    assert kept.take(snapshot(texts=True, checksum=1)) == []
    assert (kept.book(BTC), kept.wanted()) == (None, [BTC])


def test_keeper_checksum_of_levels_without_digits_is_not_counted():
    kept = checked_keeper()
    first = snapshot(checksum=1)
    assert kept.take(first) == [first]
    assert (kept.checked, kept.faults()) == (0, [])


# -- venues without numbers and checksums ---------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (update([(10.0, 1.0)]), "a change left the book crossed: bid 10.0, ask 10.0"),
        (update([(9.0, 0.0)]), "a change left the book without bids"),
        (update(asks=[(10.0, 0.0)]), "a change left the book without asks"),
        (update([(9.0, 2.0)], time=4), "a change of 4 came behind one of 5"),
    ],
)
def test_keeper_without_another_check_notices_disorder(change, detail):
    kept = keeper()
    kept.take(snapshot(time=9))
    kept.take(update([(8.0, 1.0)], time=5))
    kept.take(update([(8.0, 0.0)], time=5))
    assert kept.take(change) == []
    (fault,) = kept.faults()
    assert (fault.cause, fault.detail) == ("sequence", detail)
    assert (kept.book(BTC), kept.wanted()) == (None, [BTC])


@pytest.mark.parametrize("asks", [[], [(8.0, 1.0)]])
def test_keeper_book_that_its_snapshot_began_in_disorder_is_the_venues_word(asks):
    kept = keeper()
    kept.take(snapshot([(9.0, 1.0)], asks))
    change = update([(9.0, 2.0)])
    assert kept.take(change) == [change]
    assert kept.faults() == []


def test_keeper_numbered_book_that_is_crossed_is_the_venues_word():
    kept, _, _ = started("bybit", 1)
    change = update([(10.0, 1.0)], first=102, last=102)
    assert kept.take(change) == [change]


# -- several books -----------------------------------------------------------------------------


def test_keeper_fault_of_one_book_leaves_the_others_alone():
    kept = keeper(BTC, ETH)
    for instrument in (BTC, ETH):
        kept.take(snapshot(last=1, instrument=instrument))
    kept.take(update(first=5, last=5))
    follows = update([(9.0, 2.0)], first=2, last=2, instrument=ETH)
    assert kept.take(follows) == [follows]
    assert (kept.live, kept.wanted()) == ({ETH}, [BTC])
    assert kept.book(ETH).bids() == [(9.0, 2.0)]


def test_keeper_disconnected_voids_every_book_and_begins_a_new_epoch():
    kept = keeper(BTC, ETH)
    kept.take(snapshot([(9.0, 1.0)], last=1))
    kept.disconnected()
    assert (kept.live, kept.book(BTC), kept.wanted()) == (set(), None, [])
    kept.take(snapshot([(8.0, 1.0)], last=1))
    assert kept.book(BTC).bids() == [(8.0, 1.0)], "no ghost of the time before"
    assert kept.epoch(BTC) == 2


def test_keeper_of_the_next_connection_goes_on_counting_epochs():
    kept = BookKeeper(
        "venue", [BTC, ETH], levels=0, checksum=None, checksum_levels=0, snapshots="stream",
        epochs={BTC: 4},
    )  # fmt: skip
    kept.take(snapshot())
    kept.take(snapshot(instrument=ETH))
    assert (kept.epoch(BTC), kept.epoch(ETH)) == (5, 1)


def test_keeper_void_book_is_wanted_again_on_retry_only():
    kept = keeper()
    kept.take(snapshot(last=1))
    kept.take(update(first=5, last=5))
    assert kept.wanted() == [BTC]
    kept.take(update(first=6, last=6))
    assert kept.wanted() == []
    kept.retry(BTC)
    assert kept.wanted() == [BTC]
    kept.take(snapshot(last=9))
    kept.retry(BTC)
    assert kept.wanted() == [], "it is live"


def test_keeper_refuses_a_book_it_does_not_keep():
    with pytest.raises(FrameError, match="DOGE-USDT, which is not kept here") as caught:
        keeper().take(snapshot(instrument="DOGE-USDT"))
    assert caught.value.kind == "unknown_symbol"
