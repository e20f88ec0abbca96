"""What a killed process left: ids that are missing in the store and that no gap tells of."""

from __future__ import annotations

import msgspec
import pytest
from store_samples import HOUR, T0, trade, uncounted

from engine.actors.left_gaps import (
    LOOK_BACK_NS,
    ended,
    left_endings,
    left_holes,
    left_starts,
    unanswerable,
)
from engine.clock import SKEW_NS
from engine.domain.market import UNUSED_IDS, Gap
from engine.domain.timeframe import Timeframe
from engine.exchanges.feeds import delisting_gap
from engine.store.client import Store
from engine.store.reader import FirstTrade

NOW = T0 + HOUR
MINE = {"BTC-USDT"}


def told(low: int, high: int, **changes: object) -> Gap:
    gap = Gap("told", "binance", "BTC-USDT", "trades", "sequence", low, high, T0, T0 + 9, NOW)
    return msgspec.structs.replace(gap, **changes)


def ranges(store: Store, instruments: set[str] = MINE, now: int = NOW) -> list[object]:
    found = left_holes(store, "binance", instruments, now)
    return [(gap.from_sequence, gap.to_sequence) for gap in found]


def test_left_holes_names_each_range_that_is_missing_with_its_times(store: Store) -> None:
    store.insert("trades", [trade(n) for n in (1, 2, 6, 7, 9)])
    first, second = left_holes(store, "binance", MINE, NOW)
    assert (first.from_sequence, first.to_sequence) == (3, 5)
    assert (second.from_sequence, second.to_sequence) == (8, 8)
    assert (first.cause, first.channel, first.opened_at) == ("restart", "trades", NOW)
    assert first.repaired_at is None
    assert first.from_time <= trade(3).exchange_time
    assert first.to_time is not None
    assert first.to_time >= trade(5).exchange_time
    assert first.gap_id != second.gap_id


def test_left_holes_of_a_whole_market_and_of_an_empty_store_are_none(store: Store) -> None:
    assert ranges(store) == []
    store.insert("trades", [trade(n) for n in range(1, 6)])
    assert ranges(store) == []


def test_left_holes_that_a_gap_tells_of_are_not_told_again(store: Store) -> None:
    store.insert("trades", [trade(n) for n in (1, 5, 9)])
    store.insert("feed_gaps", [told(2, 4)])
    assert ranges(store) == [(6, 8)]


def test_left_holes_of_ids_that_the_venue_never_gave_are_none(store: Store) -> None:
    store.insert("trades", [trade(1), trade(5)])
    store.insert("feed_gaps", [told(2, 4, repaired_at=NOW, how=UNUSED_IDS)])
    assert ranges(store) == []


def test_left_holes_of_a_repair_that_was_lost_are_told_again(store: Store) -> None:
    store.insert("trades", [trade(1), trade(5)])
    store.insert("feed_gaps", [told(2, 4, repaired_at=NOW, how="fetched 3 over REST")])
    assert ranges(store) == [(2, 4)]


def test_left_holes_looks_at_its_own_instruments_and_at_one_day(store: Store) -> None:
    store.insert("trades", [trade(1, "ETH-USDT"), trade(5, "ETH-USDT"), trade(1), trade(3)])
    assert ranges(store) == [(2, 2)]
    assert ranges(store, set()) == []
    assert ranges(store, now=NOW + LOOK_BACK_NS) == []


def test_left_holes_of_a_venue_that_does_not_count_are_none(store: Store) -> None:
    store.insert("trades", [uncounted(1), uncounted(9)])
    assert left_holes(store, "kraken", {"ETH-USD"}, NOW) == []


def test_ended_gap_is_over_and_never_ends_before_it_began() -> None:
    lasting = told(1, 2, from_sequence=None, to_sequence=None, to_time=None, opened_at=T0 + 5)
    closed = ended(lasting, T0 + 7)
    assert (closed.to_time, closed.repaired_at, closed.how) == (T0 + 7, T0 + 7, "restarted")
    early = ended(lasting, T0 - 1)
    assert (early.to_time, early.repaired_at) == (T0, T0 + 5)


def test_left_endings_tell_of_what_was_delisted_while_nobody_looked(store: Store) -> None:
    last = {"BTC-USDT": (7, T0 + 5), "LUNA-USDT": (0, T0 + 6)}
    ends = {"LUNA-USDT": None, "FTT-USDT": NOW}
    (gap,) = left_endings(store, "binance", last, ends, NOW)
    assert (gap.instrument, gap.cause, gap.from_sequence) == ("LUNA-USDT", "delisting", None)
    assert (gap.from_time, gap.to_time, gap.opened_at) == (T0 + 6, NOW + SKEW_NS, NOW)
    (counted,) = left_endings(store, "binance", last, {"BTC-USDT": T0 + 9}, NOW)
    assert (counted.from_sequence, counted.to_time) == (8, T0 + 9)


@pytest.mark.parametrize(
    "last", [T0 + 5, T0 + 9], ids=["the last that came", "one that it fetched"]
)
def test_left_endings_that_were_told_are_not_told_again(store: Store, last: int) -> None:
    gap = delisting_gap("binance", "BTC-USDT", 7, T0 + 5, T0 + 9, NOW)
    store.insert("feed_gaps", [msgspec.structs.replace(gap, repaired_at=NOW, how="fetched 1")])
    ends = {"BTC-USDT": T0 + 9}
    assert left_endings(store, "binance", {"BTC-USDT": (7, last)}, ends, NOW) == []
    told_early = {"BTC-USDT": T0 + 11}
    assert len(left_endings(store, "binance", {"BTC-USDT": (7, last)}, told_early, NOW)) == 1
    later = {"BTC-USDT": (9, T0 + 10)}
    assert [each.from_sequence for each in left_endings(store, "binance", later, ends, NOW)] == [10]


def test_unanswerable_gap_says_what_its_symbol_names_now() -> None:
    gap = unanswerable(told(3, 5), "LUNA~2-USDT")
    assert gap.problem.startswith("its symbol names LUNA~2-USDT now, so ")
    assert gap.repaired_at is None
    busy = told(3, 5, problem="the venue keeps 60 trades")
    assert unanswerable(busy, "LUNA~2-USDT") == busy, "what was found out first stays"


def started(at: int, sequence: int = 7, delay: int = 10**9) -> dict[str, FirstTrade]:
    return {"BTC-USDT": FirstTrade(sequence, at, at + delay)}


MINUTE = Timeframe.M1.floor(T0)


def test_left_start_is_what_came_in_the_minute_of_the_first_trade_before_it(store: Store) -> None:
    """The process was killed between the write of its first trades and that of their gap."""
    at = MINUTE + 20 * 10**9
    (gap,) = left_starts(store, "binance", started(at), NOW)
    assert (gap.cause, gap.from_time, gap.to_time) == ("start", MINUTE, at)
    assert (gap.from_sequence, gap.to_sequence, gap.opened_at) == (None, 6, NOW)
    (uncounted_start,) = left_starts(store, "bybit", started(at, sequence=0), NOW)
    assert uncounted_start.to_sequence is None


def test_left_start_that_a_gap_tells_of_is_not_told_again(store: Store) -> None:
    at = MINUTE + 20 * 10**9
    start = told(0, 6, cause="start", from_sequence=None, from_time=MINUTE, to_time=at)
    store.insert("feed_gaps", [start])
    assert left_starts(store, "binance", started(at), NOW) == []
    fetched = MINUTE + 3
    store.insert("feed_gaps", [msgspec.structs.replace(start, repaired_at=NOW, how="fetched 6")])
    assert left_starts(store, "binance", started(fetched, sequence=1234), NOW) == []


@pytest.mark.parametrize(
    "first",
    [
        started(MINUTE),  # nothing was before it in its minute
        started(MINUTE + 5, sequence=1),  # nor before a new listing's first
        started(MINUTE + 5, delay=HOUR),  # fetched by a backfill, which begins where it was told
    ],
)
def test_left_start_is_none_where_the_first_minute_is_whole(
    store: Store, first: dict[str, FirstTrade]
) -> None:
    assert left_starts(store, "binance", first, NOW) == []
