"""A symbol that leaves the venue's list, comes back, or names another instrument afterwards."""

from __future__ import annotations

import msgspec
import pytest
from exchanges_fakes import NOW, RememberingSink, streaming, venue
from websockets.asyncio.server import ServerConnection

from engine.clock import SKEW_NS, DataClock
from engine.config import ExchangeConfig
from engine.domain.market import DeadLetter, Gap, Trade, TradeRange
from engine.exchanges import intake as intake_module
from engine.exchanges.feeds import FeedLedger
from engine.exchanges.intake import Intake, Line
from engine.exchanges.registry import exchange

S = 1_000_000_000
OLD, NEW = "LUNA-USDT", "LUNA~2-USDT"


def trade(number: int, seconds: float = 0.0, instrument: str = OLD) -> Trade:
    at = NOW + round(seconds * S)
    return Trade("binance", instrument, str(number), number, 1.0, 1.0, "buy", at, at)


def intake_of(*channels: str) -> tuple[Intake, Line]:
    adapter = exchange("binance")
    adapter.track([OLD])
    config = ExchangeConfig.model_validate({"channels": channels or ("trades",)})
    ledger = FeedLedger(
        "binance", [OLD], config.channels, stale_after_ns=60 * S, now=NOW, can_repair=False
    )
    taking = Intake(adapter, [OLD], config, DataClock(NOW), ledger, None, stamped=False)
    return taking, taking.line(is_primary=True)


def taken(intake: Intake) -> list[tuple[str, int]]:
    events, intake.events = intake.events, []
    return [(event.instrument, event.sequence) for event in events if isinstance(event, Trade)]


def gaps(intake: Intake) -> list[Gap]:
    notes, intake.notes = intake.notes, []
    return [note for note in notes if isinstance(note, Gap)]


# -- the ledger ----------------------------------------------------------------------------


def ledger_with(*trades: Trade) -> FeedLedger:
    ledger = FeedLedger("binance", [OLD], ["trades"], stale_after_ns=60 * S, now=NOW)
    assert all(ledger.accept(each) for each in trades)
    return ledger


@pytest.mark.parametrize(
    ("refused", "is_anew"),
    [
        (trade(3, 1.0), True),
        (trade(3, -1.0), False),
        (trade(9, 0.0), False),
        (msgspec.structs.replace(trade(3, 1.0), sequence=0), False),
        (trade(3, 1.0, "ETH-USDT"), False),
    ],
    ids=["low id, new time", "low id, old time", "repeated", "without ids", "of nobody"],
)
def test_ledger_old_id_with_a_new_time_shows_that_the_venue_counts_anew(
    refused: Trade, is_anew: bool
) -> None:
    ledger = ledger_with(trade(1), trade(9))
    assert ledger.recounts(refused) is is_anew


def test_ledger_of_a_market_without_trades_cannot_tell_whether_ids_are_counted_anew() -> None:
    assert not ledger_with().recounts(trade(3))


def test_ledger_ended_instrument_is_neither_stale_nor_disconnected() -> None:
    ledger = ledger_with(trade(1))
    ledger.check_stale(NOW + 61 * S)
    ledger.end(OLD, NOW + 70 * S)
    opened, closed = ledger.take_changes()
    assert (closed.gap_id, closed.how, closed.to_time) == (
        opened.gap_id,
        "delisted",
        NOW + 70 * S,
    )
    ledger.check_stale(NOW + 500 * S)
    ledger.disconnected(NOW + 501 * S)
    assert ledger.take_changes() == []
    assert ledger.broken() == {}


def test_ledger_revived_instrument_counts_from_its_next_trade_and_can_be_stale() -> None:
    ledger = ledger_with(trade(1), trade(9))
    ledger.take_changes()
    ledger.end(OLD, NOW + S)
    ledger.revive(OLD, NOW + 100 * S)
    ledger.check_stale(NOW + 159 * S)
    assert ledger.take_changes() == []
    assert ledger.accept(trade(2, 160.0))
    assert ledger.accept(trade(3, 161.0))
    assert ledger.take_changes() == []
    ledger.check_stale(NOW + 222 * S)
    assert [gap.cause for gap in ledger.take_changes()] == ["stale"]


def test_ledger_revived_instrument_whose_ids_go_on_has_what_it_missed_meanwhile() -> None:
    ledger = ledger_with(trade(8), trade(9))
    ledger.end(OLD, NOW + S)
    ledger.disconnected(NOW + 2 * S)
    ledger.connected(NOW + 50 * S)
    ledger.revive(OLD, NOW + 100 * S)
    assert not ledger.accept(trade(9)), "repeated"
    assert ledger.accept(trade(12, 60.0))
    (gap,) = ledger.take_changes()
    assert (gap.from_sequence, gap.to_sequence) == (10, 11)
    assert (gap.from_time, gap.to_time) == (NOW, NOW + 60 * S)


@pytest.mark.parametrize("was_lost", [False, True])
def test_ledger_revived_uncounted_instrument_has_the_time_of_a_lost_connection(
    was_lost: bool,
) -> None:
    first, again = (
        msgspec.structs.replace(trade(number, seconds), sequence=0)
        for number, seconds in ((8, 0.0), (9, 60.0))
    )
    ledger = ledger_with(first)
    ledger.end(OLD, NOW + S)
    if was_lost:
        ledger.disconnected(NOW + 2 * S)
        ledger.connected(NOW + 50 * S)
    ledger.revive(OLD, NOW + 100 * S)
    assert ledger.accept(again)
    over = [(gap.cause, gap.from_time, gap.to_time) for gap in ledger.take_changes()[1:]]
    assert over == ([("disconnect", NOW, NOW + 60 * S)] if was_lost else [])


def test_ledger_instrument_that_leaves_has_its_last_trades_looked_for_once() -> None:
    ledger = ledger_with(trade(8), trade(9, 1.0))
    ledger.leaves(OLD, None, NOW + 5 * S)
    ledger.leaves(OLD, None, NOW + 6 * S)
    (gap,) = ledger.take_changes()
    assert (gap.cause, gap.channel, gap.repaired_at) == ("delisting", "trades", None)
    assert (gap.from_sequence, gap.to_sequence, gap.from_time) == (10, None, NOW + S)
    assert gap.to_time == NOW + 5 * S + SKEW_NS
    assert ledger.wanted(gap) == TradeRange(OLD, 10, None, gap.from_time, gap.to_time, True)


def test_ledger_last_trades_are_wanted_up_to_the_known_end() -> None:
    ledger = ledger_with(trade(9))
    ledger.leaves(OLD, NOW + 3 * S, NOW + 5 * S)
    (gap,) = ledger.take_changes()
    assert gap.to_time == NOW + 3 * S


def test_ledger_trade_behind_the_last_ones_has_them_looked_for_again() -> None:
    ledger = ledger_with(trade(9))
    ledger.leaves(OLD, None, NOW + 5 * S)
    (first,) = ledger.take_changes()
    assert ledger.fill(first, [trade(10, 1.0)]) == [trade(10, 1.0)]
    ledger.leaves(OLD, None, NOW + 6 * S)
    assert ledger.take_changes() == [], "they were fetched"
    assert ledger.accept(trade(11, 7.0))
    ledger.leaves(OLD, None, NOW + 8 * S)
    (second,) = ledger.take_changes()
    assert (second.from_sequence, second.from_time) == (12, NOW + 7 * S)
    assert second.gap_id != first.gap_id


def test_ledger_certain_delisting_has_the_last_trades_looked_for_once_more() -> None:
    ledger = ledger_with(trade(9))
    for number, is_final in enumerate([False, False, True, True, False]):
        ledger.leaves(OLD, None, NOW + number * S, is_final=is_final)
    assert [gap.opened_at for gap in ledger.take_changes()] == [NOW, NOW + 2 * S]


def answered(ledger: FeedLedger) -> Gap:
    """Return the gap that is being asked about, answered."""
    (gap,) = ledger.take_changes()
    closed = msgspec.structs.replace(gap, repaired_at=gap.opened_at + S, how="nothing missed")
    ledger.repaired(closed)
    return closed


def test_ledger_symbol_that_is_used_again_long_after_ends_the_answered_gap() -> None:
    ledger = ledger_with(trade(9))
    ledger.leaves(OLD, None, NOW)
    closed = answered(ledger)
    begun = NOW + 30 * S
    for _ in range(2):
        ledger.leaves(OLD, begun, NOW + 31 * S)
    (longer,) = ledger.take_changes()
    assert longer == msgspec.structs.replace(closed, to_time=begun, repaired_at=NOW + 31 * S)


def test_ledger_end_that_the_question_covers_changes_nothing() -> None:
    ledger = ledger_with(trade(9))
    ledger.leaves(OLD, None, NOW)
    ledger.leaves(OLD, NOW + 30 * S, NOW + 31 * S)
    answered(ledger)  # the only change: while it is not answered nothing is known
    ledger.leaves(OLD, NOW + 5 * S, NOW + 32 * S)
    assert ledger.take_changes() == []


def test_ledger_connection_lost_since_the_question_has_it_asked_again() -> None:
    ledger = ledger_with(trade(9))
    ledger.leaves(OLD, None, NOW + S)
    answered(ledger)
    ledger.disconnected(NOW + 2 * S)
    ledger.take_changes()
    ledger.leaves(OLD, None, NOW + 3 * S)
    assert ledger.take_changes() == [], "it would have to be asked again once it is back"
    ledger.connected(NOW + 4 * S)
    ledger.leaves(OLD, None, NOW + 5 * S)
    ledger.leaves(OLD, None, NOW + 6 * S)
    assert answered(ledger).opened_at == NOW + 5 * S
    ledger.disconnected(NOW + 7 * S)
    ledger.take_changes()
    ledger.leaves(OLD, NOW + 8 * S, NOW + 9 * S)
    (last,) = ledger.take_changes()
    assert (last.to_time, last.repaired_at) == (NOW + 8 * S, None), "nobody listened to its end"


def test_ledger_certain_delisting_is_asked_about_no_more_whatever_breaks() -> None:
    ledger = ledger_with(trade(9))
    ledger.leaves(OLD, NOW + S, NOW + S, is_final=True)
    answered(ledger)
    ledger.end(OLD, NOW + S)
    ledger.disconnected(NOW + 2 * S)
    ledger.connected(NOW + 3 * S)
    ledger.leaves(OLD, NOW + S, NOW + 5 * S, is_final=True)
    assert ledger.take_changes() == []


def test_ledger_instrument_that_stays_after_all_needs_no_last_trades() -> None:
    ledger = ledger_with(trade(9))
    ledger.leaves(OLD, None, NOW)
    ledger.stays(OLD, NOW + S)
    ledger.stays(OLD, NOW + 2 * S)
    told, closed = ledger.take_changes()
    assert (closed.gap_id, closed.how, closed.repaired_at) == (
        told.gap_id,
        "listed again",
        NOW + S,
    )
    ledger.leaves(OLD, None, NOW + 3 * S)
    answered(ledger)
    ledger.stays(OLD, NOW + 4 * S)
    assert ledger.take_changes() == [], "it was fetched"


def test_ledger_last_trades_that_the_stream_brought_too_are_not_fresh() -> None:
    ledger = ledger_with(trade(9))
    ledger.leaves(OLD, None, NOW)
    (gap,) = ledger.take_changes()
    assert ledger.accept(trade(10, 1.0))
    assert ledger.fill(gap, [trade(10, 1.0), trade(11, 2.0)]) == [trade(11, 2.0)]


def test_ledger_last_trade_that_the_stream_brings_after_rest_is_not_counted_anew() -> None:
    ledger = ledger_with(trade(9))
    ledger.leaves(OLD, None, NOW)
    (gap,) = ledger.take_changes()
    fetched = [trade(10, 1.0), trade(11, 2.0)]
    assert ledger.fill(gap, fetched) == fetched
    assert not any(ledger.accept(each) or ledger.recounts(each) for each in fetched)
    assert ledger.recounts(trade(1, 3.0))


def test_intake_that_is_told_an_instrument_trades_closes_the_question() -> None:
    intake, line = intake_of()
    intake.take(line, [trade(9)])
    intake.leaves(OLD, None, is_final=False)
    intake.relist(OLD, OLD, None)
    assert [gap.how for gap in gaps(intake)] == ["", "listed again"]


def test_ledger_market_without_trades_has_no_last_ones() -> None:
    ledger = ledger_with()
    ledger.leaves(OLD, None, NOW)
    assert ledger.take_changes() == []


def test_ledger_changes_of_instruments_that_it_does_not_know_do_nothing() -> None:
    ledger = ledger_with(trade(1))
    ledger.end("ETH-USDT", NOW)
    ledger.leaves("ETH-USDT", None, NOW)
    ledger.stays("ETH-USDT", NOW)
    ledger.revive("ETH-USDT", NOW)
    assert ledger.take_changes() == []


# -- the intake ----------------------------------------------------------------------------


def test_intake_delisted_instrument_is_held_and_handed_on_under_its_new_name() -> None:
    intake, line = intake_of()
    intake.take(line, [trade(8), trade(9)])
    intake.delist(OLD)
    assert not intake.unlisted.is_set()
    intake.take(line, [trade(1, 5.0), trade(2, 6.0)])
    assert intake.unlisted.is_set()
    assert taken(intake) == [(OLD, 8), (OLD, 9)]
    intake.relist(OLD, NEW, None)
    assert taken(intake) == [(NEW, 1), (NEW, 2)]
    assert gaps(intake) == []


def test_intake_what_was_held_from_before_the_new_listing_is_still_the_old_ones() -> None:
    intake, line = intake_of()
    intake.take(line, [trade(8)])
    intake.delist(OLD)
    intake.take(line, [trade(9, 1.0), trade(1, 5.0)])
    intake.relist(OLD, NEW, NOW + 5 * S)
    assert taken(intake) == [(OLD, 8), (OLD, 9), (NEW, 1)]
    intake.ledger.check_stale(NOW + 900 * S)
    assert {gap.instrument for gap in intake.ledger.take_changes()} == {NEW}, "it has ended"


def test_intake_symbol_that_was_relisted_names_its_successor_from_then_on() -> None:
    intake, _ = intake_of()
    intake.delist(OLD)
    intake.relist(OLD, NEW, None)
    assert intake._exchange.instrument_of("LUNAUSDT") == NEW


def test_intake_delisting_that_was_taken_back_hands_on_what_was_held_once() -> None:
    intake, line = intake_of()
    intake.take(line, [trade(8)])
    intake.delist(OLD)
    intake.delist(OLD)
    intake.take(line, [trade(9, 1.0), trade(10, 2.0)])
    intake.relist(OLD, OLD, None)
    intake.relist(OLD, OLD, None)
    intake.take(line, [trade(11, 3.0)])
    assert taken(intake) == [(OLD, number) for number in (8, 9, 10, 11)]
    assert gaps(intake) == []


def test_intake_venue_that_counts_anew_is_held_until_its_list_was_looked_at() -> None:
    intake, line = intake_of()
    intake.take(line, [trade(100), trade(101, 1.0)])
    intake.take(line, [trade(100, 2.0), trade(101, 3.0)])
    assert taken(intake) == [(OLD, 100), (OLD, 101)]
    assert intake.unlisted.is_set()
    intake.relist(OLD, NEW, None)
    assert taken(intake) == [(NEW, 100), (NEW, 101)]


def test_intake_held_trades_are_bounded_and_the_rest_set_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake_module, "MOST_HELD", 2)
    intake, line = intake_of()
    intake.delist(OLD)
    intake.take(line, [trade(1), trade(2), trade(3)])
    (letter,) = [note for note in intake.notes if isinstance(note, DeadLetter)]
    assert letter.kind == "delisted"
    assert msgspec.json.decode(letter.frame, type=Trade) == trade(3)
    intake.relist(OLD, OLD, None)
    assert taken(intake) == [(OLD, 1), (OLD, 2)]


def depth_frame(number: int) -> str:
    return (
        '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255343,'
        f'"s":"BTCUSDT","U":{number},"u":{number},"b":[["9.0","1.0"]],"a":[["10.0","1.0"]]}}}}'
    )


def test_intake_relisted_without_a_look_between_expects_nothing_more_of_the_old_one() -> None:
    intake, line = intake_of("trades")
    intake.became(connected=True, reason="connected")
    intake.take(line, [trade(1)])
    intake.relist(OLD, NEW, None)
    gaps(intake)
    intake.became(connected=False, reason="closed")
    assert [gap for gap in gaps(intake) if gap.instrument == OLD] == []


async def test_stream_book_of_a_relisted_symbol_does_not_end_the_stream() -> None:
    socket_of_venue: list[ServerConnection] = []

    async def behave(socket: ServerConnection, _: int) -> None:
        socket_of_venue.append(socket)
        await socket.send(depth_frame(1))

    sink = RememberingSink()
    async with (
        venue(behave) as url,
        streaming(url, sink, config={"channels": ["book"]}) as loop,
    ):
        await sink.until(lambda: loop.status().frames == 1 or bool(sink.states))
        loop.delist("BTC-USDT")
        loop.relist("BTC-USDT", "BTC~2-USDT", None)
        await socket_of_venue[0].send(depth_frame(2))
        await socket_of_venue[0].send("garbage")
        await sink.until(lambda: bool(sink.letters))
        assert loop.status().connected
        assert loop.books is not None
        assert loop.books.buffered == 1 + 1, "the old one's change, and the new one's"


async def test_stream_takes_what_is_offered_only_while_it_streams() -> None:
    async def behave(socket: ServerConnection, _: int) -> None:
        await socket.wait_closed()

    sink = RememberingSink()
    offered = [trade(1, instrument="BTC-USDT")]
    async with venue(behave) as url:
        async with streaming(url, sink) as loop:
            assert not loop.offer(offered), "not connected yet"
            await sink.until(lambda: sink.states == [True])
            assert loop.offer(offered)
            await sink.until(lambda: sink.ids == [1])
        assert not loop.offer(offered), "stopped"


async def test_stream_that_is_behind_takes_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.exchanges.stream.BATCH_EVENTS", 2)

    async def behave(socket: ServerConnection, _: int) -> None:
        await socket.wait_closed()

    sink = RememberingSink()
    async with venue(behave) as url, streaming(url, sink) as loop:
        await sink.until(lambda: sink.states == [True])
        trades = [trade(number, instrument="BTC-USDT") for number in (1, 2, 3)]
        assert loop.offer(trades[:2])
        assert not loop.offer(trades[2:]), "the sink has not had its turn yet"
        await sink.until(lambda: sink.ids == [1, 2])
        assert loop.offer(trades[2:])
        await sink.until(lambda: sink.ids == [1, 2, 3])
