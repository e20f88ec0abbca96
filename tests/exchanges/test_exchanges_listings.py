"""The dated registry: what a look at a venue's list adds to it."""

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.domain.instrument import Instrument
from engine.domain.market import Listing, SymbolMetadata
from engine.exchanges.listings import (
    ABSENT_NS,
    LONG_HALT_NS,
    as_of,
    current,
    doubt,
    is_missing,
    observe,
)

DAY = 86_400 * 1_000_000_000
NAMES = ["AAA-USDT", "BBB-USDT", "CCC-USDT", "DDD-USDT", "EEE-USDT-PERP"]


def look(name="LUNA-USDT", status="trading", **fields):
    fields = {"tick_size": 0.01, "lot_size": 0.1} | fields
    symbol = fields.pop("symbol", name.replace("-", ""))
    return SymbolMetadata("binance", name, symbol, status, **fields)


def others(count=3):
    """Symbols that stay, so that one's absence is plausible."""
    return [look(name) for name in NAMES[:count]]


def history(*looks, **options):
    """Observe looks one after another; a look is (time, metadata)."""
    known = []
    for now, seen in looks:
        known += observe(known, seen, now, **options)
    return known


def rows_of(known, base="LUNA"):
    return [
        (row.instrument, row.status, row.listed_at, row.delisted_at, row.valid_from)
        for row in known
        if row.instrument.startswith(base)
    ]


# -- what changes ------------------------------------------------------------------------------


def test_observe_new_symbol_writes_what_the_venue_says():
    seen = look(listed_at=7, delisted_at=99, contract_size=0.5)
    assert observe([], [seen], 10) == [
        Listing("binance", "LUNA-USDT", "LUNAUSDT", "trading", 0.01, 0.1, 0.5, 7, 99, 10)
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"tick_size": 0.001}, {"lot_size": 1.0}, {"contract_size": 10.0}, {"status": "halted"},
        {"symbol": "XLUNA"}, {"delisted_at": 5 * DAY}, {"listed_at": 1},
    ],
)  # fmt: skip
def test_observe_change_writes_one_row_and_keeps_the_rest(change):
    first = observe([], [look()], 10)
    [row] = observe(first, [look(**change)], 20)
    assert row == replace(first[0], **change, valid_from=20)
    assert observe([*first, row], [look(**change)], 30) == []


def test_observe_untold_sizes_keep_what_is_known():
    first = observe([], [look(listed_at=4)], 10)
    assert observe(first, [look(tick_size=None, lot_size=None)], 20) == []


def test_observe_two_symbols_of_one_name_takes_the_one_that_trades():
    old, new = look(symbol="XBTUSD", status="halted"), look(symbol="BTCUSD")
    assert observe([], [old, new], 1) == observe([], [new, old], 1)
    assert observe([], [old, new], 1)[0].symbol == "BTCUSD"


def test_observe_clock_behind_writes_behind_the_newest_row():
    first = observe([], [look()], 100)
    [row] = observe(first, [look(tick_size=0.5)], 40)
    assert row.valid_from == 101


def test_observe_venues_mixed_is_refused():
    foreign = replace(look(), exchange="okx")
    with pytest.raises(ValueError, match="one venue at a time is observed, not binance, okx"):
        observe([], [look(), foreign], 1)


# -- delistings --------------------------------------------------------------------------------


def test_observe_absent_twice_delists_when_first_missed():
    known = history(
        (0, [look(), *others()]), (DAY, others()), (DAY + ABSENT_NS - 1, others()),
        (DAY + ABSENT_NS, others()), (9 * DAY, others()),
    )  # fmt: skip
    assert rows_of(known) == [
        ("LUNA-USDT", "trading", None, None, 0),
        ("LUNA-USDT", "halted", None, DAY, DAY),
        ("LUNA-USDT", "delisted", None, DAY, DAY + ABSENT_NS),
    ]
    assert [is_missing(row) for row in known if row.instrument == "LUNA-USDT"] == [
        False, True, False,
    ]  # fmt: skip


def test_observe_back_after_one_absence_goes_on_as_the_same():
    known = history((0, [look(), *others()]), (DAY, others()), (DAY + 5, [look(), *others()]))
    assert rows_of(known)[-1] == ("LUNA-USDT", "trading", None, None, DAY + 5)


def test_observe_venue_says_delisted_is_believed_at_once():
    known = history((0, [look()]), (5, [look(status="delisted")]), (9, [look(status="delisted")]))
    assert rows_of(known)[1:] == [("LUNA-USDT", "delisted", None, 5, 5)]


def test_observe_announced_end_has_come_delists_at_that_moment():
    known = history((0, [look(delisted_at=DAY), *others()]), (DAY + 3, others()))
    assert rows_of(known)[1:] == [("LUNA-USDT", "delisted", None, DAY, DAY + 3)]


def test_observe_first_seen_delisted_claims_no_moment():
    known = history((5, [look(status="delisted")]), (9, [look(status="delisted")]))
    assert rows_of(known) == [("LUNA-USDT", "delisted", None, None, 5)]


@pytest.mark.parametrize("left", [0, 1])
def test_observe_implausibly_short_list_delists_nothing(left):
    looks = [look(name) for name in NAMES]
    known = observe([], looks, 0)
    for now in (DAY, 2 * DAY, 3 * DAY):
        assert observe(known, looks[:left], now) == []
    assert doubt(known, looks[:left]) == (
        f"binance lists {left} symbols and lacks {5 - left} of 5 that were listed before: "
        "taken for an incomplete answer, so nothing is delisted"
    )
    assert doubt(known, looks[:3]) == ""


def test_observe_implausibly_short_list_still_takes_what_it_holds():
    known = observe([], [look(name) for name in NAMES], 0)
    [row] = observe(known, [look(NAMES[0], "halted")], DAY)
    assert (row.instrument, row.status) == (NAMES[0], "halted")


# -- reused tickers ----------------------------------------------------------------------------


def test_observe_listed_again_after_delisting_is_the_next_generation():
    seen = [look(), *others()]
    known = history((0, seen), (DAY, others()), (2 * DAY, others()), (9 * DAY, seen))
    assert rows_of(known)[-1] == ("LUNA~2-USDT", "trading", None, None, 9 * DAY)
    known += observe(known, others(), 20 * DAY)
    known += observe(known, others(), 21 * DAY)
    known += observe(known, seen, 30 * DAY)
    assert rows_of(known)[-1] == ("LUNA~3-USDT", "trading", None, None, 30 * DAY)
    assert observe(known, seen, 31 * DAY) == []


def test_observe_later_listing_date_closes_the_old_and_opens_the_next():
    known = history((10 * DAY, [look(listed_at=DAY)]), (30 * DAY, [look(listed_at=20 * DAY)]))
    assert rows_of(known)[1:] == [
        ("LUNA-USDT", "delisted", DAY, 20 * DAY, 30 * DAY),
        ("LUNA~2-USDT", "trading", 20 * DAY, None, 30 * DAY),
    ]


def test_observe_equal_listing_date_after_delisting_is_the_same_again():
    dated = [look(listed_at=DAY), *others()]
    known = history((2 * DAY, dated), (3 * DAY, others()), (4 * DAY, others()), (5 * DAY, dated))
    assert rows_of(known)[-1] == ("LUNA-USDT", "trading", DAY, None, 5 * DAY)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (look(listed_at=9 * DAY, status="halted"), look(listed_at=11 * DAY)),  # postponed
        (look(listed_at=3 * DAY), look(listed_at=2 * DAY)),  # corrected
        (look(listed_at=3 * DAY), look(listed_at=4 * DAY)),  # corrected, before we knew it
        (look(), look(listed_at=2 * DAY)),  # told at last
    ],
)
def test_observe_listing_date_not_after_known_trading_is_the_same(before, after):
    known = history((8 * DAY, [before]), (12 * DAY, [after]))
    assert rows_of(known)[1:] == [("LUNA-USDT", "trading", after.listed_at, None, 12 * DAY)]


def test_observe_date_told_after_undated_trading_is_the_next_generation():
    known = history((8 * DAY, [look()]), (12 * DAY, [look(listed_at=10 * DAY)]))
    assert [row[:4] for row in rows_of(known)[1:]] == [
        ("LUNA-USDT", "delisted", None, 10 * DAY),
        ("LUNA~2-USDT", "trading", 10 * DAY, None),
    ]


def test_observe_trading_after_long_halt_without_dates_is_the_next_generation():
    halted = [look(status="halted"), *others()]
    resized = [look(status="halted", tick_size=0.5), *others()]
    known = history(
        (0, [look(), *others()]), (DAY, halted), (2 * DAY, resized),
        (DAY + LONG_HALT_NS, [look(tick_size=0.5), *others()]),
    )  # fmt: skip
    assert rows_of(known)[3:] == [
        ("LUNA-USDT", "delisted", None, DAY, DAY + LONG_HALT_NS),
        ("LUNA~2-USDT", "trading", None, None, DAY + LONG_HALT_NS),
    ]


@pytest.mark.parametrize(
    "looks",
    [
        [(0, look()), (DAY, look(status="halted")), (DAY + LONG_HALT_NS - 1, look())],
        [(0, look(status="halted")), (9 * DAY, look())],
        [(0, look(listed_at=5)), (DAY, look("LUNA-USDT", "halted")), (9 * DAY, look(listed_at=5))],
    ],
    ids=["short", "before trading", "dated"],
)
def test_observe_trading_after_halt_is_the_same(looks):
    known = history(*((now, [seen, *others()]) for now, seen in looks))
    assert rows_of(known)[-1][:2] == ("LUNA-USDT", "trading")


def test_observe_whole_venue_back_from_long_halt_splits_nothing():
    halted = [look(name, "halted") for name in NAMES]
    known = history((0, others(5)), (DAY, halted), (30 * DAY, others(5)))
    assert {row.instrument for row in known} == set(NAMES)


# -- reading -----------------------------------------------------------------------------------


def test_as_of_returns_what_was_known_then():
    seen = [look(), *others()]
    known = history((0, seen), (DAY, others()), (2 * DAY, others()), (9 * DAY, seen))
    states = {
        moment: as_of(known, moment).get("LUNA-USDT") for moment in (-1, 0, DAY, 2 * DAY, 9 * DAY)
    }
    assert {
        moment: (row.instrument, row.status) if row else None for moment, row in states.items()
    } == {
        -1: None,
        0: ("LUNA-USDT", "trading"),
        DAY: ("LUNA-USDT", "halted"),
        2 * DAY: ("LUNA-USDT", "delisted"),
        9 * DAY: ("LUNA~2-USDT", "trading"),
    }
    assert current(known) == as_of(known, 9 * DAY)


# -- laws --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """One look of a generated history."""

    after: int
    seen: tuple[SymbolMetadata, ...]


STEPS = st.sampled_from([1, ABSENT_NS // 2, ABSENT_NS, DAY, LONG_HALT_NS])


@st.composite
def symbols(draw):
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    return tuple(
        look(
            name,
            draw(st.sampled_from(["trading", "trading", "halted", "delisted"])),
            tick_size=draw(st.sampled_from([None, 0.1, 0.2])),
            listed_at=draw(st.sampled_from([None, 3, DAY, 4 * DAY])),
            delisted_at=draw(st.sampled_from([None, None, 2 * DAY])),
        )
        for name in names
    )


HISTORIES = st.lists(st.builds(Look, STEPS, symbols()), min_size=1, max_size=6)


def _observed(looks):
    known, now = [], 0
    for each in looks:
        now += each.after
        known += observe(known, each.seen, now)
    return known, now


def _generation(instrument):
    return Instrument.parse(instrument).generation


@given(HISTORIES)
@settings(max_examples=50, deadline=None)
def test_observe_same_look_again_adds_nothing(looks):
    known, now = _observed(looks)
    assert observe(known, looks[-1].seen, now) == []


@given(HISTORIES, st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_observe_any_order_gives_the_same_rows(looks, seed):
    known, now = _observed(looks[:-1])
    now += looks[-1].after
    shuffled, seen = list(known), list(looks[-1].seen)
    Random(seed).shuffle(shuffled)
    Random(seed + 1).shuffle(seen)
    assert observe(shuffled, seen, now) == observe(known, looks[-1].seen, now)


@given(HISTORIES)
@settings(max_examples=50, deadline=None)
def test_observe_any_history_keeps_the_registry_sound(looks):
    known, now = _observed(looks)
    assert all(0 <= row.valid_from <= now + len(known) for row in known)
    keys = [(row.instrument, row.valid_from) for row in known]
    assert len(keys) == len(set(keys))
    for name, last in current(known).items():
        rows = [row for row in known if row.symbol == last.symbol]
        generations = sorted({row.instrument for row in rows}, key=_generation)
        expected = [name.replace("-", f"~{n}-", 1) if n > 1 else name for n in range(1, 10)]
        assert generations == expected[: len(generations)]
        for old in generations[:-1]:
            ends = [row for row in rows if row.instrument == old]
            assert max(ends, key=lambda row: row.valid_from).status == "delisted"


@given(
    st.lists(
        st.lists(st.integers(3, 9), min_size=1, max_size=6),  # looks present, absent, present, …
        min_size=1,
        max_size=3,
    )
)
@settings(max_examples=50, deadline=None)
def test_observe_regular_looks_find_every_listing_and_its_end(worlds):
    stay = [look(f"STAY{n}-USDT") for n in range(4)]
    known = []
    for turn in range(60):
        listed = [look(NAMES[n]) for n, lengths in enumerate(worlds) if _is_listed(lengths, turn)]
        known += observe(known, [*listed, *stay], turn * ABSENT_NS)
    for n, lengths in enumerate(worlds):
        rows = [row for row in known if row.symbol == look(NAMES[n]).symbol]
        begun = {}
        for row in rows:
            begun.setdefault(row.instrument, row.valid_from // ABSENT_NS)
        ended = [row.delisted_at // ABSENT_NS for row in rows if row.status == "delisted"]
        edges = [sum(lengths[:k]) for k in range(len(lengths) + 1)]
        assert list(begun.values()) == edges[:-1:2]
        assert ended == edges[1::2]


def _is_listed(lengths, turn):
    """Whether a symbol is listed, whose stretches of presence and absence last so long."""
    for n, length in enumerate(lengths):
        if turn < length:
            return n % 2 == 0
        turn -= length
    return False


@given(HISTORIES)
@settings(max_examples=50, deadline=None)
def test_observe_last_plausible_look_is_what_is_current(looks):
    known, _ = _observed(looks)
    for seen in looks[-1].seen:
        row = current(known)[seen.instrument]
        assert row.status == seen.status
        assert seen.tick_size in {None, row.tick_size}
        assert seen.listed_at in {None, row.listed_at}
