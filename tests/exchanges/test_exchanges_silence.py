"""A silent feed: a market in which nobody trades, or trades that do not reach us."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from exchanges_fakes import MARKETS, QUICK, RememberingSink

from engine.clock import NS_PER_S, DataClock, SystemClock
from engine.config import ExchangeConfig, SimulatorConfig
from engine.domain.market import BookTop, Gap, Trade
from engine.errors import VenueError
from engine.exchanges import renewal, repair, stream
from engine.exchanges.base import RestRequest
from engine.exchanges.feeds import ANSWER_PATIENCE_NS, FeedLedger
from engine.exchanges.intake import Intake
from engine.exchanges.registry import exchange
from engine.exchanges.rest import RestClient
from engine.exchanges.stream import StreamLoop
from engine.metrics import RENEWALS
from engine.simulator.server import SimulatedVenues

S = NS_PER_S
T0 = 1_700_000_000 * S
BTC = "BTC-USDT"


# The ledger


def trade(number: int, at: int, *, counted: bool = True) -> Trade:
    sequence = number if counted else 0
    return Trade("binance", BTC, str(number), sequence, 1.0, 1.0, "buy", at, at)


def silent(*, counted: bool = True, can_repair: bool = True) -> FeedLedger:
    """A market with one trade, at `T0`."""
    ledger = FeedLedger(
        "binance", [BTC], ["trades"], stale_after_ns=60 * S, now=T0, can_repair=can_repair
    )
    assert ledger.accept(trade(7, T0, counted=counted))
    ledger.take_changes()  # of the minute in which it began
    return ledger


def test_silent_feed_is_asked_about_once_before_it_is_stale() -> None:
    ledger = silent()
    assert ledger.check_stale(T0 + 60 * S) == []
    assert ledger.check_stale(T0 + 61 * S) == [BTC]
    assert ledger.check_stale(T0 + 62 * S) == []
    wanted = ledger.beyond(BTC, T0 + 62 * S)
    assert wanted is not None
    assert (wanted.from_sequence, wanted.from_time, wanted.to_end) == (8, T0, True)
    assert ledger.take_changes() == []


def test_silent_feed_without_rest_is_stale_at_once() -> None:
    ledger = silent(can_repair=False)
    assert ledger.check_stale(T0 + 61 * S) == []
    assert [gap.cause for gap in ledger.take_changes()] == ["stale"]


def test_silent_feed_of_which_only_an_earlier_run_had_trades_is_stale_at_once() -> None:
    ledger = FeedLedger(
        "binance",
        [BTC],
        ["trades"],
        stale_after_ns=60 * S,
        known_last={BTC: (5, T0 - 3_600 * S)},
        now=T0,
        can_repair=True,
    )
    assert ledger.check_stale(T0 + 61 * S) == []
    assert [gap.cause for gap in ledger.take_changes()] == ["stale"]


def test_quiet_feed_has_no_gap_and_is_asked_about_less_and_less_often() -> None:
    ledger = silent()
    asked, now = [], T0
    while now < T0 + 10_000 * S:
        now += S
        if ledger.check_stale(now):
            asked.append((now - T0) // S)
            ledger.nobody_traded(BTC, now, now)
    pauses = [after - before for before, after in zip([0, *asked], asked, strict=False)]
    assert pauses == [61, 121, 241, 481, 961, 1921, 1921, 1921, 1921]
    assert ledger.take_changes() == []
    ledger.accept(trade(8, now + S))
    assert ledger.check_stale(now + 62 * S) == [BTC], "a trade makes it impatient again"


def test_question_whose_answer_does_not_come_ends_as_stale() -> None:
    ledger = silent()
    asked = T0 + 61 * S
    ledger.check_stale(asked)
    ledger.check_stale(asked + ANSWER_PATIENCE_NS)
    assert ledger.take_changes() == []
    ledger.check_stale(asked + ANSWER_PATIENCE_NS + 1)
    (opened,) = ledger.take_changes()
    assert opened.cause == "stale"
    # Late is better than never.
    ledger.nobody_traded(BTC, asked + 29 * S, asked + 50 * S)
    (closed,) = ledger.take_changes()
    assert (closed.gap_id, closed.how) == (opened.gap_id, "nobody traded")
    assert (closed.to_time, closed.repaired_at) == (asked + 29 * S, asked + 50 * S)


def test_answer_that_a_trade_was_faster_than_changes_nothing() -> None:
    ledger = silent()
    ledger.check_stale(T0 + 61 * S)
    ledger.accept(trade(8, T0 + 62 * S))
    assert ledger.beyond(BTC, T0 + 63 * S) is None
    assert not ledger.is_stale(BTC, T0 + 63 * S, newest=trade(9, T0 + 61 * S))
    ledger.nobody_traded(BTC, T0 + 63 * S, T0 + 63 * S)
    assert ledger.take_changes() == []
    assert ledger.check_stale(T0 + 123 * S) == [BTC]


@pytest.mark.parametrize(("can_repair", "how"), [(True, ""), (False, "resumed")])
def test_stale_feed_of_a_venue_that_does_not_count_and_could_not_tell_is_looked_through(
    can_repair: bool, how: str
) -> None:
    ledger = silent(counted=False, can_repair=can_repair)
    ledger.check_stale(T0 + 61 * S)
    assert not ledger.is_stale(BTC, T0 + 62 * S, newest=None)
    ledger.accept(trade(9, T0 + 70 * S, counted=False))
    _, over = ledger.take_changes()
    assert (over.from_time, over.to_time, over.how) == (T0, T0 + 70 * S, how)
    assert over.repaired_at == (T0 + 70 * S if how else None)


# A feed that died while its connection lives


def deaf(*, counted: bool = True, newest: int = 9) -> tuple[FeedLedger, Gap, Gap]:
    """A feed of which REST knows the trades 8 to `newest`, a second each from `T0` + 41 s on."""
    ledger = silent(counted=counted)
    ledger.check_stale(T0 + 61 * S)
    known = trade(newest, T0 + (33 + newest) * S, counted=counted)
    assert ledger.is_stale(BTC, T0 + 62 * S, newest=known)
    _, part, lasting = ledger.take_changes()
    return ledger, part, lasting


@pytest.mark.parametrize(("counted", "ids"), [(True, (8, 9)), (False, (None, None))])
def test_deaf_feed_has_what_it_misses_cut_off_and_is_watched_on(
    counted: bool, ids: tuple[int | None, int | None]
) -> None:
    ledger, part, lasting = deaf(counted=counted)
    assert (part.cause, part.from_time, part.to_time) == ("stale", T0, T0 + 42 * S)
    assert (part.from_sequence, part.to_sequence) == ids
    assert part.repaired_at is None
    assert (lasting.cause, lasting.from_time, lasting.to_time) == ("stale", T0 + 42 * S, None)
    assert (lasting.from_sequence, lasting.to_sequence) == (None, None)
    assert part.gap_id != lasting.gap_id
    assert ledger.broken() == {(BTC, "trades"): "stale"}
    wanted = ledger.wanted(part)
    assert (wanted.from_sequence, wanted.to_sequence) == ids
    assert (wanted.from_time, wanted.to_time, wanted.to_end) == (T0, T0 + 42 * S, False)


@pytest.mark.parametrize("counted", [True, False])
def test_deaf_feed_takes_each_missing_trade_once(counted: bool) -> None:
    ledger, part, _ = deaf(counted=counted)
    missing = [trade(number, T0 + (33 + number) * S, counted=counted) for number in (8, 9)]
    assert ledger.fill(part, missing) == missing
    assert [ledger.accept(each) for each in missing] == [False, False]
    assert ledger.duplicates == 2


@pytest.mark.parametrize("counted", [True, False])
def test_deaf_feed_takes_a_missing_trade_that_its_stream_brings_late(
    counted: bool,
) -> None:
    ledger, part, _ = deaf(counted=counted)
    first, second = (trade(n, T0 + (33 + n) * S, counted=counted) for n in (8, 9))
    assert ledger.fill(part, [first]) == [first]
    assert [ledger.accept(each) for each in (first, second)] == [False, True]
    changes = ledger.take_changes()
    if counted:
        assert [(gap.gap_id, gap.how) for gap in changes] == [(part.gap_id, "arrived late")]
    else:
        assert changes == [], "what lasts begins behind them"
        assert ledger.fill(part, [first, second]) == []


def test_deaf_counted_feed_that_is_back_misses_only_what_came_since() -> None:
    ledger, part, lasting = deaf()
    assert ledger.accept(trade(13, T0 + 70 * S))
    (over,) = ledger.take_changes()
    assert (over.gap_id, over.from_sequence, over.to_sequence) == (lasting.gap_id, 10, 12)
    assert (over.from_time, over.to_time, over.repaired_at) == (T0 + 42 * S, T0 + 70 * S, None)
    assert ledger.broken() == {}
    assert ledger.wanted(part).to_sequence == 9, "each part is fetched by itself"


def test_deaf_counted_feed_that_is_back_with_the_next_trade_missed_nothing_more() -> None:
    ledger, _, lasting = deaf()
    assert ledger.accept(trade(10, T0 + 70 * S))
    (over,) = ledger.take_changes()
    assert (over.gap_id, over.how) == (lasting.gap_id, "nothing missed")


def test_deaf_uncounted_feed_that_is_back_is_repaired_from_the_cut_on() -> None:
    ledger, _, lasting = deaf(counted=False)
    assert ledger.accept(trade(13, T0 + 70 * S, counted=False))
    (over,) = ledger.take_changes()
    assert (over.gap_id, over.from_time, over.to_time) == (
        lasting.gap_id, T0 + 42 * S, T0 + 70 * S,
    )  # fmt: skip
    assert (over.repaired_at, over.how) == (None, "")


@pytest.mark.parametrize("counted", [True, False])
def test_deaf_feed_is_asked_about_again_and_cut_again(counted: bool) -> None:
    ledger, _, lasting = deaf(counted=counted)
    assert ledger.check_stale(T0 + 122 * S) == []
    assert ledger.check_stale(T0 + 123 * S) == [BTC]
    wanted = ledger.beyond(BTC, T0 + 123 * S)
    assert wanted is not None
    assert (wanted.from_sequence, wanted.from_time) == (10 if counted else None, T0 + 42 * S)
    newest = trade(11, T0 + 120 * S, counted=counted)
    assert ledger.unheld(BTC, [newest]) == [newest]
    assert ledger.is_stale(BTC, T0 + 124 * S, newest=newest)
    part, still = ledger.take_changes()
    assert (part.from_time, part.to_time) == (T0 + 42 * S, T0 + 120 * S)
    assert part.from_sequence == (10 if counted else None)
    assert (still.gap_id, still.from_time) == (lasting.gap_id, T0 + 120 * S)
    ledger.check_stale(T0 + 185 * S)
    ledger.nobody_traded(BTC, T0 + 185 * S, T0 + 186 * S)
    (closed,) = ledger.take_changes()
    assert (closed.gap_id, closed.how, closed.to_time) == (
        lasting.gap_id, "nobody traded", T0 + 185 * S,
    )  # fmt: skip


def test_deaf_feed_that_loses_its_connection_is_repaired_from_the_cut_on() -> None:
    ledger, _, lasting = deaf(counted=False)
    ledger.disconnected(T0 + 65 * S)
    ledger.connected(T0 + 69 * S)
    ledger.accept(trade(13, T0 + 70 * S, counted=False))
    (over,) = ledger.take_changes()
    assert (over.gap_id, over.from_time, over.repaired_at) == (lasting.gap_id, T0 + 42 * S, None)


def tops(*, at: int) -> BookTop:
    return BookTop("kraken", BTC, 9.0, 1.0, 10.0, 1.0, None, at, at)


def watched(*, can_repair: bool) -> FeedLedger:
    """Trades and best prices, of which both came at `T0`."""
    ledger = FeedLedger(
        "kraken", [BTC], ["trades", "book_top"], stale_after_ns=60 * S, now=T0,
        can_repair=can_repair,
    )  # fmt: skip
    assert ledger.accept(trade(7, T0))
    assert ledger.accept(tops(at=T0))
    return ledger


@pytest.mark.parametrize(("can_repair", "is_deaf"), [(False, True), (True, False)])
def test_trades_silent_for_long_are_deaf_where_nobody_can_be_asked(
    can_repair: bool, is_deaf: bool
) -> None:
    ledger = watched(can_repair=can_repair)
    ledger.accept(tops(at=T0 + 600 * S))
    assert not ledger.has_deaf(T0 + 600 * S)
    ledger.accept(tops(at=T0 + 601 * S))
    assert ledger.has_deaf(T0 + 601 * S) == is_deaf


def test_best_prices_silent_for_long_are_deaf_while_trades_flow() -> None:
    ledger = watched(can_repair=True)
    ledger.accept(trade(8, T0 + 580 * S))
    assert not ledger.has_deaf(T0 + 600 * S)
    assert ledger.has_deaf(T0 + 601 * S)
    assert not ledger.has_deaf(T0 + 641 * S), "all of the connection is silent"
    ledger.connected(T0 + 650 * S)
    ledger.accept(trade(9, T0 + 700 * S))
    assert not ledger.has_deaf(T0 + 701 * S), "they were asked for anew"


@pytest.mark.parametrize(("seconds", "is_renewed"), [(600, False), (601, True)])
def test_deaf_best_prices_have_their_subscription_renewed(seconds: int, is_renewed: bool) -> None:
    ledger, adapter = watched(can_repair=True), exchange("kraken")
    adapter.track([BTC])
    clock, config = DataClock(T0 + seconds * S), ExchangeConfig(channels=("trades", "book_top"))
    intake = Intake(adapter, [BTC], config, clock, ledger, None, stamped=False)
    ledger.accept(trade(8, T0 + 580 * S))
    assert intake.check_stale() == []
    assert intake.unsubscribed.is_set() == is_renewed


def test_deaf_feed_has_its_subscription_renewed_and_a_quiet_one_has_not() -> None:
    adapter = exchange("binance")
    adapter.track([BTC])
    config = ExchangeConfig(channels=("trades",))
    for newest, is_renewed in ((None, False), (trade(9, T0 + 42 * S), True)):
        ledger, clock = silent(), DataClock(T0 + 62 * S)
        intake = Intake(adapter, [BTC], config, clock, ledger, None, stamped=False)
        assert intake.check_stale() == [BTC]
        intake.is_stale(BTC, newest)
        assert intake.unsubscribed.is_set() == is_renewed
        intake.is_stale(BTC, newest)
        assert len([each for each in intake.notes if isinstance(each, Gap)]) == (
            3 if is_renewed else 1
        )


def test_channel_that_never_came_is_not_deaf() -> None:
    ledger = FeedLedger("bybit", [BTC], ["trades", "perpetual"], stale_after_ns=60 * S, now=T0)
    ledger.accept(trade(8, T0 + 700 * S))
    assert not ledger.has_deaf(T0 + 701 * S)


@pytest.mark.parametrize("counted", [True, False])
def test_first_trade_of_a_feed_that_was_silent_since_the_start_has_that_looked_through(
    counted: bool,
) -> None:
    ledger = FeedLedger(
        "binance", [BTC], ["trades"], stale_after_ns=60 * S, now=T0, can_repair=True
    )
    ledger.check_stale(T0 + 61 * S)
    assert ledger.accept(trade(8, T0 + 200 * S, counted=counted))
    _, begun, over = ledger.take_changes()
    assert (begun.cause, begun.from_time, begun.to_time) == ("start", T0, T0 + 200 * S)
    assert (begun.to_sequence, begun.repaired_at) == (7 if counted else None, None)
    assert (over.cause, over.repaired_at) == ("stale", T0 + 200 * S)


def test_stale_feed_that_loses_its_connection_too_is_repaired() -> None:
    ledger = silent(counted=False)
    ledger.check_stale(T0 + 61 * S)
    ledger.is_stale(BTC, T0 + 62 * S, newest=None)
    ledger.disconnected(T0 + 65 * S)
    ledger.connected(T0 + 69 * S)
    ledger.accept(trade(9, T0 + 70 * S, counted=False))
    *_, over = ledger.take_changes()
    assert (over.cause, over.repaired_at, over.how) == ("stale", None, "")


def test_answer_of_before_the_connection_was_lost_closes_nothing() -> None:
    ledger = silent(counted=False)
    ledger.check_stale(T0 + 61 * S)
    ledger.is_stale(BTC, T0 + 62 * S, newest=None)
    ledger.disconnected(T0 + 65 * S)
    (opened,) = ledger.take_changes()
    ledger.nobody_traded(BTC, T0 + 64 * S, T0 + 66 * S)
    assert ledger.take_changes() == []
    assert ledger.broken() == {(BTC, "trades"): "stale"}
    ledger.connected(T0 + 69 * S)
    ledger.accept(trade(9, T0 + 70 * S, counted=False))
    (over,) = ledger.take_changes()
    assert (over.gap_id, over.repaired_at) == (opened.gap_id, None)


@pytest.mark.parametrize("counted", [True, False])
def test_quiet_feed_whose_connection_is_back_is_asked_about_and_whole(counted: bool) -> None:
    ledger = silent(counted=counted)
    ledger.disconnected(T0 + 10 * S)
    (opened,) = ledger.take_changes()
    assert ledger.check_stale(T0 + 100 * S) == [], "nothing to ask about while it is down"
    ledger.connected(T0 + 110 * S)
    assert ledger.check_stale(T0 + 115 * S) == [], "what flows shows it sooner"
    assert ledger.check_stale(T0 + 116 * S) == [BTC]
    assert ledger.check_stale(T0 + 500 * S) == []
    assert ledger.take_changes() == []
    wanted = ledger.beyond(BTC, T0 + 172 * S)
    assert wanted is not None
    assert wanted.from_time == T0, "what came while it was down counts too"
    ledger.nobody_traded(BTC, T0 + 172 * S, T0 + 173 * S)
    (closed,) = ledger.take_changes()
    assert (closed.gap_id, closed.cause, closed.how) == (
        opened.gap_id, "disconnect", "nobody traded",
    )  # fmt: skip
    assert ledger.accept(trade(8, T0 + 200 * S, counted=counted))
    assert ledger.take_changes() == []


def test_quiet_feed_whose_connection_broke_in_a_rotation_is_asked_about() -> None:
    ledger, adapter = silent(), exchange("binance")
    adapter.track([BTC])
    clock, config = DataClock(T0 + 10 * S), ExchangeConfig(channels=("trades",))
    intake = Intake(adapter, [BTC], config, clock, ledger, None, stamped=False)
    intake.broke_off()  # the successor is up, and may not have subscribed yet
    clock.advance(T0 + 30 * S)
    intake.subscribed()
    assert ledger.check_stale(T0 + 70 * S) == []
    assert ledger.check_stale(T0 + 71 * S) == [BTC]
    ledger.nobody_traded(BTC, T0 + 92 * S, T0 + 92 * S)
    (opened,) = (note for note in intake.notes if isinstance(note, Gap))
    (closed,) = ledger.take_changes()
    assert (opened.cause, closed.gap_id, closed.how) == (
        "disconnect", opened.gap_id, "nobody traded",
    )  # fmt: skip


def test_quiet_feed_whose_connection_is_lost_every_half_a_minute_is_asked_about_once() -> None:
    ledger = silent()
    ledger.disconnected(T0 + 10 * S)
    asked = []
    for second in range(10, 190):
        now = T0 + second * S
        if second % 30 == 10:
            ledger.disconnected(now)
            ledger.connected(now + 1)
        asked += [second for _ in ledger.check_stale(now)]
    assert asked == [76], "five seconds behind the first connection that is late enough"


def test_feed_whose_connection_is_back_but_missed_trades_has_them_fetched_at_once() -> None:
    ledger = silent(counted=False)
    ledger.disconnected(T0 + 10 * S)
    ledger.connected(T0 + 20 * S)
    ledger.check_stale(T0 + 81 * S)
    ledger.is_stale(BTC, T0 + 82 * S, newest=trade(8, T0 + 15 * S, counted=False))
    _, part, lasting = ledger.take_changes()
    assert (part.cause, part.from_time, part.to_time) == ("disconnect", T0, T0 + 15 * S)
    ledger.nobody_traded(BTC, T0 + 90 * S, T0 + 90 * S)
    assert ledger.broken() == {(BTC, "trades"): "disconnect"}, "that is not what was asked"
    ledger.accept(trade(9, T0 + 100 * S, counted=False))
    (over,) = ledger.take_changes()
    assert (over.gap_id, over.from_time, over.to_time, over.repaired_at) == (
        lasting.gap_id, T0 + 15 * S, T0 + 100 * S, None,
    )  # fmt: skip


def test_stale_feed_that_loses_its_connection_is_asked_about_again() -> None:
    ledger = silent()
    ledger.check_stale(T0 + 61 * S)
    ledger.is_stale(BTC, T0 + 62 * S, newest=None)
    ledger.disconnected(T0 + 65 * S)
    ledger.connected(T0 + 70 * S)
    ledger.disconnected(T0 + 71 * S)
    assert ledger.check_stale(T0 + 140 * S) == []
    ledger.connected(T0 + 150 * S)
    assert ledger.check_stale(T0 + 211 * S) == [BTC]
    ledger.nobody_traded(BTC, T0 + 212 * S, T0 + 212 * S)
    *_, closed = ledger.take_changes()
    assert (closed.cause, closed.how) == ("stale", "nobody traded")


def test_answer_of_before_the_connection_was_back_closes_nothing() -> None:
    ledger = silent()
    ledger.disconnected(T0 + 10 * S)
    ledger.connected(T0 + 20 * S)
    ledger.check_stale(T0 + 81 * S)
    ledger.disconnected(T0 + 82 * S)
    ledger.take_changes()
    ledger.nobody_traded(BTC, T0 + 81 * S, T0 + 83 * S)
    ledger.connected(T0 + 90 * S)
    ledger.nobody_traded(BTC, T0 + 81 * S, T0 + 91 * S)
    assert ledger.check_stale(T0 + 151 * S) == [BTC]
    ledger.nobody_traded(BTC, T0 + 81 * S, T0 + 152 * S)
    assert ledger.take_changes() == [], "that was the question before"
    assert ledger.broken() == {(BTC, "trades"): "disconnect"}
    ledger.nobody_traded(BTC, T0 + 152 * S, T0 + 153 * S)
    assert [gap.how for gap in ledger.take_changes()] == ["nobody traded"]


def test_stale_feed_whose_question_a_rotation_overtook_is_asked_about_again() -> None:
    ledger = silent()
    ledger.check_stale(T0 + 61 * S)
    ledger.check_stale(T0 + 61 * S + ANSWER_PATIENCE_NS + 1)
    (opened,) = ledger.take_changes()
    ledger.connected(T0 + 100 * S)
    ledger.nobody_traded(BTC, T0 + 90 * S, T0 + 101 * S)
    assert ledger.broken() == {(BTC, "trades"): "stale"}, "asked before the new connection"
    assert ledger.check_stale(T0 + 160 * S) == []
    assert ledger.check_stale(T0 + 161 * S) == [BTC]
    assert ledger.check_stale(T0 + 300 * S) == []
    ledger.nobody_traded(BTC, T0 + 300 * S, T0 + 301 * S)
    (closed,) = ledger.take_changes()
    assert (closed.gap_id, closed.how) == (opened.gap_id, "nobody traded")


def test_quiet_feed_is_asked_about_soon_after_a_new_connection() -> None:
    ledger = silent()
    now = T0
    for _ in range(3_000):
        now += S
        if ledger.check_stale(now):
            ledger.nobody_traded(BTC, now, now)
    ledger.connected(now)
    assert ledger.check_stale(now + 61 * S) == [BTC]


def test_trade_that_only_an_audit_brought_is_missing_from_the_stream() -> None:
    ledger = silent(counted=False)
    late = trade(8, T0 + 30 * S, counted=False)
    fresh, _ = ledger.audit(BTC, [trade(7, T0, counted=False), late], T0 + 40 * S)
    assert fresh == [late]
    ledger.check_stale(T0 + 61 * S)
    answer = [trade(7, T0, counted=False), late]
    assert ledger.unheld(BTC, answer) == [late]
    ledger.is_stale(BTC, T0 + 62 * S, newest=late)
    more = trade(9, T0 + 80 * S, counted=False)
    assert ledger.audit(BTC, [*answer, more], T0 + 90 * S)[0] == [more], "it is looked after still"


# The whole stream, at simulated venues


@dataclass
class Watched:
    venues: SimulatedVenues
    stream: StreamLoop
    sink: RememberingSink
    clock: SystemClock
    asked: list[RestRequest]
    is_down: bool = False


@asynccontextmanager
async def watching(
    name: str, trades_per_second: float, stale_after_ms: int
) -> AsyncIterator[Watched]:
    instrument, clock = MARKETS[name], SystemClock()
    # Fewer people trade on some: there it takes more trades a second for one to come soon.
    rate = trades_per_second * (5.0 if name in ("coinbase", "kraken", "okx") else 1.0)
    config = SimulatorConfig(trades_per_second=rate)
    venues = SimulatedVenues(config, clock, {name: [instrument]})
    ws_url, rest_url = (await venues.start()).exchanges[name]
    adapter, sink = exchange(name), RememberingSink()
    adapter.track([instrument])
    rest = RestClient(adapter, rest_url, requests_per_second=1000, clock=clock)

    async def get(request: RestRequest) -> bytes:
        found.asked.append(request)
        if found.is_down:
            raise VenueError("the venue is busy")
        return await rest.get(request)

    venue = ExchangeConfig.model_validate(
        {"channels": ["trades"], "silence_ms": 60_000, "stale_after_ms": stale_after_ms}
    )
    loop = StreamLoop(adapter, ws_url, [instrument], venue, QUICK, clock, sink, get=get)
    found = Watched(venues, loop, sink, clock, [])
    task = asyncio.create_task(loop.run())
    try:
        yield found
    finally:
        await loop.stop()
        await task
        await rest.close()
        await venues.stop()


@pytest.mark.parametrize("name", MARKETS)
async def test_stream_of_a_market_in_which_nobody_trades_is_not_stale(name: str) -> None:
    async with watching(name, 20.0, 500) as it:
        await it.sink.until(lambda: len(it.sink.ids) >= 3 and not it.sink.open_gaps)
        it.venues.delist(name, MARKETS[name])
        await asyncio.sleep(0.4)  # the last trades are on their way
        questions, gaps = len(it.asked), len(it.sink.gaps)
        async with asyncio.timeout(30):
            while len(it.asked) < questions + 2:  # noqa: ASYNC110 - a question sets no event
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.4)
        assert it.sink.gaps[gaps:] == []


@pytest.mark.parametrize("name", MARKETS)
async def test_stream_that_is_back_in_a_quiet_market_is_whole_again(name: str) -> None:
    async with watching(name, 20.0, 500) as it:
        await it.sink.until(lambda: len(it.sink.ids) >= 3 and not it.sink.open_gaps)
        it.venues.delist(name, MARKETS[name])
        await asyncio.sleep(0.4)  # the last trades are on their way
        it.venues.disconnect(name)
        await it.sink.until(lambda: bool(it.sink.open_gaps))
        await it.sink.until(lambda: not it.sink.open_gaps)
        assert (it.sink.gaps[-1].cause, it.sink.gaps[-1].how) == ("disconnect", "nobody traded")


async def test_stream_of_a_silent_market_is_stale_until_its_venue_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repair, "LATER_S", 0.3)
    async with watching("binance", 20.0, 500) as it:
        await it.sink.until(lambda: len(it.sink.ids) >= 3 and not it.sink.open_gaps)
        it.is_down = True
        it.venues.delist("binance", BTC)
        await it.sink.until(lambda: bool(it.sink.open_gaps))
        assert it.sink.gaps[-1].cause == "stale"
        it.is_down = False
        await it.sink.until(lambda: not it.sink.open_gaps)
        assert it.sink.gaps[-1].how == "nobody traded"


@pytest.mark.parametrize("name", MARKETS)
async def test_stream_that_a_venue_forgot_is_repaired_and_subscribed_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "ROUND_PAUSES_S", (0.1,) * 20)
    monkeypatch.setattr(renewal, "FIRST_S", 0.5)
    monkeypatch.setattr(stream, "MIN_OVERLAP_S", 0.2)
    renewals = RENEWALS.labels(name)._value.get()
    async with watching(name, 100.0, 1_500) as it:
        await it.sink.until(lambda: len(it.sink.ids) >= 3 and not it.sink.open_gaps)
        assert it.venues.deafen(name, MARKETS[name]) == 1
        # Without the venue's help: it sends nothing, and closes nothing.
        await it.sink.until(lambda: it.stream.status().rotations >= 1)
        after = len(it.sink.received)
        await it.sink.until(
            lambda: (
                len(it.sink.received) > after + 3
                and not it.sink.open_gaps
                and not it.stream.status().broken  # a quiet moment may be one of silence
            )
        )
        status = it.stream.status()
        trades = [each for each in it.sink.received if isinstance(each, Trade)]
        first, last = trades[0].exchange_time, max(each.exchange_time for each in trades)
        truth = it.venues.ledger(name, MARKETS[name], first, last)
    assert (status.reconnects, status.broken, it.sink.states[0]) == (0, {}, True)
    assert "disconnect" not in {gap.cause for gap in it.sink.gaps}
    parts = [gap for gap in it.sink.gaps if ":until:" in gap.gap_id and gap.repaired_at]
    assert parts
    assert all(gap.how.startswith("fetched ") for gap in parts)
    assert {each.trade_id for each in trades} >= {each.trade_id for each in truth}
    since = Counter(each.trade_id for each in trades if each.exchange_time > parts[0].from_time)
    assert set(since.values()) == {1}
    # More than one where the market is quiet behind it, which looks the same for a moment.
    assert 1 <= RENEWALS.labels(name)._value.get() - renewals <= status.rotations + 1
    assert it.venues.injected()[name, "deaf"] == 1


@pytest.mark.parametrize("name", MARKETS)
async def test_stream_whose_trades_do_not_arrive_is_stale_and_gets_them_all(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "ROUND_PAUSES_S", (0.1,) * 20)
    async with watching(name, 100.0, 2_500) as it:
        await it.sink.until(lambda: len(it.sink.ids) >= 3 and not it.sink.open_gaps)
        # Longer than it takes, where nobody trades in its first seconds either.
        it.venues.stall(name, 50.0)
        await it.sink.until(lambda: bool(it.sink.open_gaps))
        assert it.sink.gaps[-1].cause == "stale"
        it.venues.calm()
        await it.sink.until(lambda: not it.sink.open_gaps)
        trades = [each for each in it.sink.received if isinstance(each, Trade)]
        first, last = trades[0].exchange_time, max(each.exchange_time for each in trades)
        truth = it.venues.ledger(name, MARKETS[name], first, last)
    # What is cut off, and what lasted behind it: in that maybe nobody traded.
    closed = [gap for gap in it.sink.gaps if gap.cause == "stale" and gap.repaired_at]
    assert any(gap.how.startswith("fetched ") for gap in closed)
    assert {each.trade_id for each in trades} >= {each.trade_id for each in truth}
    # Of those about the start some may come twice, over the stream late: the store takes one.
    began = min(gap.from_time for gap in closed)
    since = Counter(each.trade_id for each in trades if each.exchange_time > began)
    assert set(since.values()) == {1}
