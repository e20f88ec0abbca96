from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import ReconnectConfig
from engine.domain.market import BookTop, Gap, Trade
from engine.errors import VenueError
from engine.exchanges.backoff import Backoff
from engine.exchanges.feeds import HISTORY_NS, FeedLedger
from engine.exchanges.registry import exchange

T0 = 1_700_000_000_000_000_000
S = 10**9


def trade(number: int, at: int = T0, age: int = 0) -> Trade:
    return Trade("binance", "BTC-USDT", str(number), number, 1.0, 1.0, "buy", at - age, at)


def top(at: int = T0) -> BookTop:
    return BookTop("binance", "BTC-USDT", 1.0, 1.0, 2.0, 1.0, 1, None, at)


def ledger(known: tuple[int, int] | None = None, *, can_repair: bool = False) -> FeedLedger:
    return FeedLedger(
        "binance",
        ["BTC-USDT"],
        ["trades", "book_top"],
        stale_after_ns=60 * S,
        known_last={"BTC-USDT": known} if known else {},
        now=T0,
        can_repair=can_repair,
    )


def test_ledger_skipped_ids_open_a_gap_and_late_trades_repair_it() -> None:
    feeds = ledger()
    assert all(feeds.accept(trade(number, T0 + number)) for number in (1, 4))
    (gap,) = feeds.take_changes()
    assert (gap.cause, gap.from_sequence, gap.to_sequence) == ("sequence", 2, 3)
    assert (gap.from_time, gap.to_time, gap.repaired_at) == (T0 + 1, T0 + 4, None)
    assert feeds.accept(trade(3, T0 + 5))
    assert feeds.take_changes() == []
    assert feeds.accept(trade(2, T0 + 6))
    (repaired,) = feeds.take_changes()
    assert (repaired.gap_id, repaired.repaired_at, repaired.how) == (
        gap.gap_id,
        T0 + 6,
        "arrived late",
    )
    assert not feeds.accept(trade(2))
    assert (feeds.out_of_order, feeds.duplicates) == (2, 1)


@given(st.permutations(range(100, 130)), st.lists(st.integers(100, 129), max_size=20))
def test_ledger_any_order_passes_each_trade_once_and_leaves_no_gap(
    order: list[int], again: list[int]
) -> None:
    feeds = ledger(known=(99, T0))
    numbers = [*order, *again]
    passed = [number for number in numbers if feeds.accept(trade(number))]
    assert passed == order
    assert feeds.duplicates == len(again)
    newest = {gap.gap_id: gap for gap in feeds.take_changes()}
    assert all(gap.repaired_at is not None for gap in newest.values())


@given(st.sets(st.integers(1, 60), min_size=1))
def test_ledger_open_gaps_are_exactly_the_missing_ids(kept: set[int]) -> None:
    feeds = ledger(known=(1000, T0))
    numbers = sorted(1000 + number for number in kept)
    for number in numbers:
        assert feeds.accept(trade(number))
    missing = {
        number
        for gap in feeds.take_changes()
        for number in range(gap.from_sequence or 0, (gap.to_sequence or 0) + 1)
    }
    assert missing == set(range(1001, numbers[-1])) - set(numbers)


def test_ledger_first_trade_after_a_restart_names_its_hole() -> None:
    feeds = ledger(known=(10, T0 - 100 * S))
    assert feeds.accept(trade(15))
    (gap,) = feeds.take_changes()
    assert (gap.cause, gap.from_sequence, gap.to_sequence) == ("restart", 11, 14)
    assert (gap.from_time, gap.to_time) == (T0 - 100 * S, T0)
    assert feeds.accept(trade(17))
    assert feeds.take_changes()[0].cause == "sequence"


def test_ledger_repeated_history_only_tells_the_next_id() -> None:
    feeds = ledger()
    old = HISTORY_NS + 1
    assert not feeds.accept(trade(7, age=2 * old))
    assert not feeds.accept(trade(8, age=old))
    assert feeds.accept(trade(10))
    (gap,) = feeds.take_changes()
    assert (gap.from_sequence, gap.to_sequence) == (9, 9)
    assert feeds.history == 2


def test_ledger_minute_of_the_first_trade_begins_with_a_gap_though_history_told_its_id() -> None:
    feeds = ledger(can_repair=True)
    old = HISTORY_NS + 1
    assert not feeds.accept(trade(8, age=old))
    first = trade(9)
    assert feeds.accept(first)
    (gap,) = feeds.take_changes()
    assert (gap.cause, gap.from_sequence, gap.to_sequence) == ("start", None, 8)
    assert [held.sequence for held in feeds.fill(gap, [trade(7), trade(8)])] == [7, 8]
    assert feeds.fill(gap, [trade(7), trade(8), first]) == []


def test_ledger_trades_up_to_a_told_id_are_history_though_a_second_stream_heard_them() -> None:
    # It was up for minutes before the first one could take anything, and heard a part of them.
    feeds = ledger(can_repair=True)
    assert not feeds.accept(trade(9, age=HISTORY_NS + 1))
    heard = T0 - 2 * HISTORY_NS
    assert not any(feeds.accept(trade(number, heard)) for number in (7, 8, 9))
    assert feeds.history == 4
    assert feeds.accept(trade(10))
    (gap,) = feeds.take_changes()
    assert (gap.cause, gap.to_sequence) == ("start", 9)


def test_ledger_first_trade_of_a_venue_that_counts_from_one_has_nothing_before_it() -> None:
    feeds = ledger(can_repair=True)
    assert feeds.accept(trade(1))
    assert feeds.take_changes() == []


def test_ledger_trade_from_before_the_first_minute_is_history_whoever_tells_it() -> None:
    # A second stream came up sooner: it heard a part of the minute before, and no gap tells of
    # the rest.
    minute = T0 - T0 % (60 * S)
    feeds = ledger(can_repair=True)
    assert feeds.accept(trade(9, minute + 2 * S))
    feeds.take_changes()
    assert not feeds.accept(trade(3, minute + 2 * S, age=3 * S))
    assert feeds.history == 1
    assert feeds.accept(trade(5, minute + 2 * S, age=1 * S))
    again = FeedLedger(
        "binance",
        ["BTC-USDT"],
        ["trades"],
        stale_after_ns=60 * S,
        known_last={"BTC-USDT": (9, minute + 2 * S)},
        known_first={"BTC-USDT": minute + 1 * S},
        now=minute + 9 * S,
    )
    assert not again.accept(trade(3, minute + 9 * S, age=10 * S))
    assert again.accept(trade(4, minute + 9 * S, age=8 * S))


@pytest.mark.parametrize("can_repair", [True, False])
def test_ledger_uncounted_trade_from_before_the_first_minute_is_history(can_repair: bool) -> None:
    def told(trade_id: str, at: int) -> Trade:
        return Trade("binance", "BTC-USDT", trade_id, 0, 1.0, 1.0, "buy", at, minute + 9 * S)

    minute = T0 - T0 % (60 * S)
    feeds = ledger(can_repair=can_repair)
    assert feeds.accept(told("b", minute + 2 * S))
    assert not feeds.accept(told("z", minute - 1 * S))
    assert feeds.accept(told("a", minute + 1 * S))
    assert feeds.history == 1


def test_ledger_audit_after_a_restart_finds_what_the_process_before_had_not() -> None:
    feeds = FeedLedger(
        "bybit",
        ["BTC-USDT"],
        ["trades"],
        stale_after_ns=60 * S,
        known_last={"BTC-USDT": (0, T0 + 3)},
        known_ids={"BTC-USDT": {"a": T0, "c": T0 + 3}},
        now=T0 + 5,
    )

    def told(trade_id: str, at: int) -> Trade:
        return Trade("bybit", "BTC-USDT", trade_id, 0, 1.0, 1.0, "buy", at, at)

    assert feeds.accept(told("d", T0 + 6))
    before_all = told("z", T0 - 1)
    past = [before_all, told("a", T0 + 1), told("b", T0 + 2), told("c", T0 + 3), told("d", T0 + 6)]
    fresh, gap = feeds.audit("BTC-USDT", past, T0 + 9)
    assert [trade.trade_id for trade in fresh] == ["b"]
    assert gap is not None
    assert (gap.cause, gap.from_time, gap.how) == ("audit", T0 + 2, "fetched 1 over REST")
    assert feeds.audit("BTC-USDT", past, T0 + 10) == ([], None)


def told(trade_id: str, at: int) -> Trade:
    """A trade of a venue that does not count."""
    return Trade("bybit", "BTC-USDT", trade_id, 0, 1.0, 1.0, "buy", at, at + 1)


def uncounted(known: int | None = None) -> FeedLedger:
    return FeedLedger(
        "bybit",
        ["BTC-USDT"],
        ["trades"],
        stale_after_ns=60 * S,
        known_last={"BTC-USDT": (0, known)} if known else {},
        now=T0,
    )


def spans(gaps: list[Gap]) -> list[tuple[str, int, int | None]]:
    """Return what gaps say, in whole seconds behind `T0`; none is repaired."""
    assert all(gap.repaired_at is None for gap in gaps)
    return [
        (gap.cause, (gap.from_time - T0) // S, gap.to_time and (gap.to_time - T0) // S)
        for gap in gaps
    ]


def test_ledger_uncounted_break_lasts_though_a_second_stream_tells_trades() -> None:
    # The venue drops both streams, the second a little later: what it told until then does not
    # end the gap of the first.
    feeds = uncounted()
    assert feeds.accept(told("a", T0))
    feeds.disconnected(T0 + S)
    assert feeds.accept(told("b", T0 + 2 * S))
    assert feeds.accept(told("c", T0 + 3 * S))
    opened, part, lasting = feeds.take_changes()
    assert spans([opened, part, lasting]) == [
        ("disconnect", 0, None), ("disconnect", 0, 2), ("disconnect", 2, None),
    ]  # fmt: skip
    assert opened.gap_id == lasting.gap_id != part.gap_id
    feeds.connected(T0 + 20 * S)
    assert feeds.accept(told("d", T0 + 30 * S))
    (over,) = feeds.take_changes()
    assert (over.gap_id, spans([over])) == (lasting.gap_id, [("disconnect", 3, 30)])
    assert feeds.broken() == {}


def test_ledger_second_stream_that_was_away_itself_bridges_nothing() -> None:
    feeds = uncounted()
    assert feeds.accept(told("a", T0))
    feeds.disconnected(T0 + S)
    assert feeds.accept(told("b", T0 + 2 * S))
    feeds.take_changes()
    assert feeds.accept(told("c", T0 + 9 * S))
    assert spans(feeds.take_changes()) == [("disconnect", 2, 9), ("disconnect", 9, None)]


def test_ledger_second_stream_that_is_up_first_leaves_the_time_until_the_first_open() -> None:
    feeds = uncounted(known=T0 - 5 * S)
    feeds.disconnected(T0)
    assert feeds.accept(told("b", T0 + 2 * S))
    assert spans(feeds.take_changes()) == [("restart", -5, 2), ("disconnect", 2, None)]
    feeds.connected(T0 + 20 * S)
    assert feeds.accept(told("d", T0 + 30 * S))
    assert spans(feeds.take_changes()) == [("disconnect", 2, 30)]


@pytest.mark.parametrize("is_restart", [False, True])
def test_ledger_uncounted_trade_from_before_a_break_does_not_end_it(is_restart: bool) -> None:
    feeds = uncounted(known=T0 if is_restart else None)
    if not is_restart:
        assert feeds.accept(told("a", T0))
        feeds.disconnected(T0 + S)
        feeds.connected(T0 + 2 * S)
    assert feeds.accept(told("late", T0 - 1))
    assert feeds.accept(told("b", T0 + 30 * S))
    cause = "restart" if is_restart else "disconnect"
    assert spans(feeds.take_changes())[-1] == (cause, 0, 30)


def test_ledger_low_id_with_a_new_time_is_refused_as_counting_anew() -> None:
    feeds = ledger()
    assert feeds.accept(trade(500, T0))
    again = trade(1, T0 + S)
    assert not feeds.accept(again)
    assert feeds.recounts(again)
    assert not feeds.recounts(trade(500, T0)), "a repetition is none"


def test_ledger_old_trade_that_was_missed_is_passed_on() -> None:
    feeds = ledger(known=(6, T0 - 1000 * S))
    assert feeds.accept(trade(7, age=2 * HISTORY_NS))


def test_ledger_disconnect_without_missed_ids_is_repaired_at_once() -> None:
    feeds = ledger()
    feeds.accept(trade(1, T0 + S))
    feeds.accept(top(T0 + 2 * S))
    feeds.disconnected(T0 + 3 * S)
    opened = feeds.take_changes()
    assert {(gap.channel, gap.from_time, gap.to_time) for gap in opened} == {
        ("trades", T0 + S, None),
        ("book_top", T0 + 2 * S, None),
    }
    assert set(feeds.broken().values()) == {"disconnect"}
    assert not feeds.accept(trade(1, T0 + 4 * S))  # repeated: says nothing of what follows
    assert feeds.take_changes() == []
    feeds.accept(trade(2, T0 + 5 * S))
    feeds.accept(top(T0 + 6 * S))
    closed = {gap.channel: gap for gap in feeds.take_changes()}
    assert {gap.gap_id for gap in closed.values()} == {gap.gap_id for gap in opened}
    assert (closed["trades"].to_time, closed["trades"].how) == (T0 + 5 * S, "nothing missed")
    assert (closed["book_top"].to_time, closed["book_top"].how) == (T0 + 6 * S, "resumed")
    assert feeds.broken() == {}


def test_ledger_disconnect_with_missed_ids_stays_unrepaired() -> None:
    feeds = ledger()
    feeds.accept(trade(1, T0 + S))
    feeds.disconnected(T0 + 3 * S)
    (opened,) = feeds.take_changes()
    feeds.accept(trade(5, T0 + 9 * S))
    (closed,) = feeds.take_changes()
    assert closed.gap_id == opened.gap_id
    assert (closed.from_sequence, closed.to_sequence, closed.to_time) == (2, 4, T0 + 9 * S)
    assert closed.repaired_at is None


def test_ledger_silent_feed_is_stale_once_and_recovers() -> None:
    feeds = ledger()
    feeds.accept(trade(1, T0 + S))
    feeds.accept(top(T0 + 30 * S))
    feeds.check_stale(T0 + 61 * S)
    assert feeds.take_changes() == []
    feeds.check_stale(T0 + 62 * S)
    feeds.check_stale(T0 + 63 * S)
    (gap,) = feeds.take_changes()
    assert (gap.channel, gap.cause, gap.from_time) == ("trades", "stale", T0 + S)
    assert feeds.broken() == {("BTC-USDT", "trades"): "stale"}
    feeds.accept(trade(2, T0 + 70 * S))
    (closed,) = feeds.take_changes()
    assert (closed.to_time, closed.how) == (T0 + 70 * S, "nothing missed")


def test_ledger_instrument_nobody_asked_for_is_not_passed_on() -> None:
    feeds = ledger()
    other = Trade("binance", "ETH-USDT", "1", 1, 1.0, 1.0, "buy", T0, T0)
    assert not feeds.accept(other)


def test_ledger_absurd_id_costs_no_trade() -> None:
    feeds = ledger()
    accepted = [feeds.accept(trade(number)) for number in (1, 2**62, 2, 3, 4)]
    assert accepted == [True] * 5


def test_backoff_first_retry_is_immediate_then_bounds_double_up_to_the_cap() -> None:
    class Upper(Random):
        def uniform(self, a: float, b: float) -> float:
            assert a == 0.0
            return b

    backoff = Backoff(ReconnectConfig(base_ms=250, cap_ms=1500, stable_ms=10_000), Upper())
    assert [backoff.delay_s() for _ in range(6)] == [0.0, 0.25, 0.5, 1.0, 1.5, 1.5]
    backoff.data_held(9.9)
    assert backoff.delay_s() == 1.5
    backoff.data_held(10.0)
    assert [backoff.delay_s() for _ in range(2)] == [0.0, 0.25]


def test_backoff_after_very_many_failures_stays_at_the_cap() -> None:
    backoff = Backoff(ReconnectConfig(base_ms=1, cap_ms=2, stable_ms=1), Random(1))
    assert all(0 <= backoff.delay_s() <= 0.002 for _ in range(5000))


def test_registry_unknown_name_lists_the_known() -> None:
    with pytest.raises(
        VenueError, match="'mtgox'; known are binance, binance_perp, coinbase, kraken"
    ):
        exchange("mtgox")
