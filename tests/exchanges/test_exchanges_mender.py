"""What the mender asks a venue for beside gaps: books, anew and anew, and what is polled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest
from exchanges_fakes import MARKETS, NOW, QUICK, RememberingSink

from engine.clock import DataClock, SystemClock
from engine.config import ExchangeConfig, SimulatorConfig
from engine.domain.market import BookUpdate, Channel, Gap, MarketEvent, PerpetualTick, Trade
from engine.errors import VenueError
from engine.exchanges import repair
from engine.exchanges.base import Exchange, RestRequest
from engine.exchanges.feeds import FeedLedger
from engine.exchanges.intake import Intake, Line
from engine.exchanges.registry import exchange
from engine.exchanges.repair import Mender
from engine.exchanges.stream import StreamLoop
from engine.simulator.server import SimulatedVenues

BTC = "BTC-USDT"
PERPETUAL = "BTC-USDT-PERP"


class Venue:
    """Answers, or does not."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.body = b""
        self.failures = 0
        self.held = asyncio.Event()
        self.held.set()

    async def get(self, request: RestRequest) -> bytes:
        self.asked.append(request.path)
        await self.held.wait()
        if self.failures:
            self.failures -= 1
            raise VenueError("the venue is busy")
        return self.body


class Socket:
    """A connection that only sends."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, messages: Iterator[str]) -> None:
        self.sent += messages


def parts(name: str, instrument: str, channels: Sequence[Channel]) -> tuple[Exchange, Intake]:
    adapter = exchange(name)
    adapter.track([instrument])
    config = ExchangeConfig.model_validate({"channels": channels})
    ledger = FeedLedger(name, [instrument], channels, stale_after_ns=10**12, now=NOW)
    clock = DataClock(NOW)
    return adapter, Intake(adapter, [instrument], config, clock, ledger, None, stamped=False)


def change(venue: str, number: int, *, whole: bool = False) -> BookUpdate:
    bids, asks = [(9.0, float(number))], [(10.0, 1.0)]
    first = None if whole else number
    return BookUpdate(venue, BTC, whole, bids, asks, first, number, None, None, NOW)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


# -- books ---------------------------------------------------------------------------------


async def test_book_that_a_subscription_did_not_renew_is_subscribed_to_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repair, "SNAPSHOT_PATIENCE_S", 0.02)
    adapter, intake = parts("okx", BTC, ["book"])
    mender, line, socket = (
        Mender(adapter, Venue().get, intake),
        intake.line(is_primary=True),
        Socket(),
    )
    intake.take(line, [change("okx", 1, whole=True), change("okx", 5)])
    once = list(adapter.resubscribe_book(BTC))
    mender.renew_books(line, socket)  # type: ignore[arg-type]
    mender.renew_books(line, socket)  # type: ignore[arg-type]
    assert socket.sent == once, "asked for once, until it is overdue"
    await until(lambda: line.keeper._wanted)
    mender.renew_books(line, socket)  # type: ignore[arg-type]
    assert socket.sent == once * 2
    intake.take(line, [change("okx", 7, whole=True)])
    await asyncio.sleep(0.05)
    mender.renew_books(line, socket)  # type: ignore[arg-type]
    assert socket.sent == once * 2, "it is whole again"
    assert [note.how for note in intake.notes if isinstance(note, Gap)] == ["", "new snapshot"]


async def test_book_whose_first_snapshot_did_not_come_is_subscribed_to_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repair, "SNAPSHOT_PATIENCE_S", 0.02)
    adapter, intake = parts("okx", BTC, ["book"])
    mender, line = Mender(adapter, Venue().get, intake), intake.line(is_primary=True)
    socket = Socket()
    mender.expect_books(line)
    intake.take(line, [change("okx", 1), change("okx", 2)])
    mender.renew_books(line, socket)  # type: ignore[arg-type]
    assert socket.sent == [], "it may be on its way"
    await until(lambda: line.keeper._wanted)
    mender.renew_books(line, socket)  # type: ignore[arg-type]
    assert socket.sent == list(adapter.resubscribe_book(BTC))


@pytest.mark.parametrize("name", ["coinbase", "kraken", "bybit", "okx"])
async def test_stream_whose_venue_lost_the_first_snapshot_has_its_book_all_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "SNAPSHOT_PATIENCE_S", 0.5)
    market, clock, sink = MARKETS[name], SystemClock(), RememberingSink()
    config = SimulatorConfig.model_validate({"faults": {"lost_share": 1.0}})
    venues = SimulatedVenues(config, clock, {name: [market]})
    ws_url, _ = (await venues.start()).exchanges[name]
    venue = ExchangeConfig.model_validate({"channels": ["book"], "silence_ms": 60_000})
    adapter = exchange(name)
    adapter.track([market])
    loop = StreamLoop(adapter, ws_url, [market], venue, QUICK, clock, sink, get=Venue().get)
    task = asyncio.create_task(loop.run())
    try:
        # The snapshot comes first, and changes are sent once somebody has subscribed.
        await until(lambda: venues.injected()[name, "lost"] >= 2)
        assert loop.status().live_books == 0
        venues.calm()
        await until(lambda: loop.status().live_books == 1)
        assert loop.status().reconnects == 0
    finally:
        await loop.stop()
        await task
        await venues.stop()


async def test_book_that_is_delisted_is_not_subscribed_to_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repair, "SNAPSHOT_PATIENCE_S", 0.01)
    adapter, intake = parts("okx", BTC, ["book"])
    mender, line = Mender(adapter, Venue().get, intake), intake.line(is_primary=True)
    intake.delist(BTC)
    mender.expect_books(line)
    await asyncio.sleep(0.05)
    assert line.keeper.wanted() == []


async def test_book_that_never_comes_is_subscribed_to_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    delays: list[float] = []

    def at_once(delay: float, call: Callable[..., None], *arguments: object) -> None:
        delays.append(delay)
        call(*arguments)

    adapter, intake = parts("okx", BTC, ["book"])
    mender, line = Mender(adapter, Venue().get, intake), intake.line(is_primary=True)
    socket = Socket()
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", at_once)
    mender.expect_books(line)
    for _ in range(7):
        mender.renew_books(line, socket)  # type: ignore[arg-type]
    assert delays == [10, 10, 20, 40, 80, 160, 320, 320]
    intake.take(line, [change("okx", 1, whole=True)])
    mender._look_at_book(line, BTC)
    assert line.book_asks == {}


async def test_book_whose_snapshot_was_refused_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repair, "ROUND_PAUSES_S", (0.01,))
    adapter, intake = parts("binance", BTC, ["book"])
    venue, socket, line = Venue(), Socket(), intake.line(is_primary=True)
    mender = Mender(adapter, venue.get, intake)
    venue.failures = 1
    venue.body = b'{"lastUpdateId":10,"bids":[["9.0","5.0"]],"asks":[["10.0","1.0"]]}'
    intake.take(line, [change("binance", 11)])
    mender.renew_books(line, socket)  # type: ignore[arg-type]
    await until(lambda: line.keeper._wanted)
    assert line.keeper.live == set()
    mender.renew_books(line, socket)  # type: ignore[arg-type]
    await until(lambda: line.keeper.live)
    book = line.keeper.book(BTC)
    assert book is not None
    assert book.bids() == [(9.0, 11.0)]
    assert socket.sent == []
    assert len(venue.asked) == 2


async def test_book_that_is_asked_for_when_the_mender_ends_is_asked_for_no_more() -> None:
    adapter, intake = parts("binance", BTC, ["book"])
    venue, line = Venue(), intake.line(is_primary=True)
    venue.held.clear()
    mender = Mender(adapter, venue.get, intake)
    running = asyncio.create_task(mender.run())
    await asyncio.sleep(0)
    intake.take(line, [change("binance", 11)])
    mender.renew_books(line, Socket())  # type: ignore[arg-type]
    await until(lambda: venue.asked)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await until(lambda: not mender._asked)


# -- polls ---------------------------------------------------------------------------------

OPEN_INTEREST = b'{"symbol":"BTCUSDT","openInterest":"81234.5","time":1723161255342}'


def ticks(events: Sequence[MarketEvent]) -> list[float | None]:
    return [event.open_interest for event in events if isinstance(event, PerpetualTick)]


async def polled(venue: Venue, intake: Intake, adapter: Exchange, line: Line | None) -> None:
    requests = adapter.poll_requests([PERPETUAL], ["perpetual"])
    assert requests
    mender = Mender(adapter, venue.get, intake)
    polling = asyncio.create_task(mender.poll(requests, lambda: line))
    wanted = venue.failures + 2 * len(requests)
    await until(lambda: len(venue.asked) >= wanted)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)


async def test_poll_goes_on_after_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, intake = parts("binance_perp", PERPETUAL, ["perpetual"])
    monkeypatch.setattr(type(adapter), "poll_every_s", 0.01)
    venue = Venue()
    venue.body, venue.failures = OPEN_INTEREST, 1
    await polled(venue, intake, adapter, intake.line(is_primary=True))
    assert set(ticks(intake.events)) == {81234.5}
    assert intake.once.counts == {"poll": 1}


async def test_poll_before_the_first_connection_hands_on_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adapter, intake = parts("binance_perp", PERPETUAL, ["perpetual"])
    monkeypatch.setattr(type(adapter), "poll_every_s", 0.01)
    venue = Venue()
    venue.body = OPEN_INTEREST
    await polled(venue, intake, adapter, None)
    assert intake.events == []


# -- the start of a market whose venue does not count its trades -----------------------------


def test_start_of_an_uncounted_market_lacks_its_minute_and_is_told_once() -> None:
    minute = 60 * 10**9
    start = NOW // minute * minute

    def uncounted(name: str, seconds: int) -> Trade:
        at = start + seconds * 10**9
        return Trade("bybit", BTC, name, 0, 1.0, 1.0, "buy", at, at)

    ledger = FeedLedger(
        "bybit", [BTC], ["trades"], stale_after_ns=10**12, now=start, can_repair=True
    )
    assert ledger.accept(uncounted("b", 20))
    assert ledger.accept(uncounted("c", 21))
    (gap,) = ledger.take_changes()
    assert (gap.cause, gap.from_sequence, gap.to_sequence) == ("start", None, None)
    assert (gap.from_time, gap.to_time) == (start, start + 20 * 10**9)
    fetched = [uncounted("a", 5), uncounted("b", 20)]
    assert ledger.fill(gap, fetched) == fetched[:1], "the first trade itself is held"
    assert ledger.fill(gap, fetched) == []


def test_start_of_an_uncounted_market_on_the_minute_lacks_nothing() -> None:
    minute = 60 * 10**9
    start = NOW // minute * minute
    ledger = FeedLedger(
        "bybit", [BTC], ["trades"], stale_after_ns=10**12, now=start, can_repair=True
    )
    assert ledger.accept(Trade("bybit", BTC, "a", 0, 1.0, 1.0, "buy", start, start))
    assert ledger.take_changes() == []


# -- gaps ----------------------------------------------------------------------------------


async def test_gap_that_is_closed_while_the_venue_is_asked_in_vain_stays_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repair, "ROUND_PAUSES_S", ())
    adapter, intake = parts("binance", BTC, ["trades"])
    venue = Venue()
    venue.failures = 1
    venue.held.clear()
    mender = Mender(adapter, venue.get, intake)
    gap = Gap("g", "binance", BTC, "trades", "sequence", 5, 6, NOW, NOW + 1, NOW)
    mender.repair(gap)
    task = asyncio.create_task(mender.run())
    await until(lambda: venue.asked)
    mender.gap_changed(msgspec.structs.replace(gap, repaired_at=NOW + 2, how="arrived late"))
    venue.held.set()
    await until(lambda: not venue.failures)
    await asyncio.sleep(0.01)
    task.cancel()
    assert (mender.waiting, intake.notes) == (0, [])
