"""What is missing is fetched over REST: trades of gaps, snapshots of books, what is polled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from exchanges_fakes import NOW, RememberingSink, streaming, trade_frame, venue
from websockets.asyncio.server import ServerConnection

from engine.domain.market import BookSnapshot, Trade, TradeRange
from engine.errors import VenueError
from engine.exchanges import repair
from engine.exchanges.base import RestRequest
from engine.exchanges.binance import Binance
from engine.exchanges.repair import fetch_trades

S = 1_000_000_000


def trade(number: int, *, sequence: int | None = None, at: int | None = None) -> Trade:
    counted = number if sequence is None else sequence
    when = NOW + number * S if at is None else at
    return Trade("paged", "BTC-USDT", str(number), counted, 10.0, 1.0, "buy", when, NOW)


class Paged(Binance):
    """Past trades in pages of three, as plain numbers: enough to say what is whole."""

    name = "paged"

    def __init__(self, held: Sequence[Trade]) -> None:
        super().__init__()
        self.held = list(held)
        self.asked: list[str] = []

    def trades_request(
        self, wanted: TradeRange, page: Sequence[Trade] | None
    ) -> RestRequest | None:
        if page is None:
            start = (
                wanted.from_sequence
                if wanted.from_sequence is not None
                else int(min((t.trade_id for t in self.held), default="0", key=int))
            )
        elif wanted.to_sequence is not None and page[-1].sequence >= wanted.to_sequence:
            return None
        else:
            start = int(page[-1].trade_id) + 1
        return RestRequest("/trades", (("from", str(start)),))

    def parse_trades(self, body: bytes, instrument: str, receive_time: int) -> list[Trade]:
        first = int(body)
        later = [found for found in self.held if int(found.trade_id) >= first]
        return later[:3]

    def first_trade_request(self, instrument: str, time_ns: int) -> RestRequest | None:
        return None

    async def get(self, request: RestRequest) -> bytes:
        self.asked.append(request.params[0][1])
        return request.params[0][1].encode()


def counted(low: int, high: int) -> TradeRange:
    return TradeRange("BTC-USDT", low, high, NOW, NOW + 1_000 * S)


async def fetched(held: Sequence[Trade], wanted: TradeRange) -> tuple[list[str], str]:
    venue_ = Paged(held)
    found = await fetch_trades(venue_, venue_.get, wanted, lambda: NOW)
    return [t.trade_id for t in found.trades], found.problem


async def test_fetch_pages_until_every_id_is_there() -> None:
    held = [trade(n) for n in range(1, 20)]
    assert await fetched(held, counted(4, 11)) == ([str(n) for n in range(4, 12)], "")


async def test_fetch_ids_that_the_venue_never_gave_are_not_missing() -> None:
    held = [trade(n) for n in (3, 4, 7, 8, 9)]
    assert await fetched(held, counted(4, 8)) == (["4", "7", "8"], "")


async def test_fetch_what_the_venue_keeps_no_more_is_said_plainly() -> None:
    held = [trade(n) for n in (7, 8, 9)]
    ids, problem = await fetched(held, counted(4, 8))
    assert ids == ["7", "8"]
    assert problem == "paged's REST gave 2 of the 5 trades 4 to 8"


async def test_fetch_before_the_first_trade_reaches_to_the_minutes_start() -> None:
    held = [trade(n) for n in range(1, 12)]
    wanted = TradeRange("BTC-USDT", None, 9, NOW + 4 * S, NOW + 10 * S)
    assert await fetched(held, wanted) == ([str(n) for n in range(4, 10)], "")
    ids, problem = await fetched(held[5:], wanted)
    assert ids == ["6", "7", "8", "9"]
    assert "only from id 6 to" in problem


async def test_fetch_without_counted_ids_is_whole_when_the_pages_reach_around_it() -> None:
    held = [trade(n, sequence=0) for n in range(1, 12)]
    wanted = TradeRange("BTC-USDT", None, None, NOW + 4 * S, NOW + 8 * S)
    assert await fetched(held, wanted) == (["4", "5", "6", "7", "8"], "")
    assert (await fetched(held[:7], wanted))[1], "it does not reach behind the range"
    assert (await fetched(held[5:], wanted))[1], "it does not reach before the range"
    assert "keeps no past trades" in (await fetched([], wanted))[1]


ENDED = TradeRange("BTC-USDT", 8, None, NOW + 7 * S, NOW + 20 * S, to_end=True)
"""Trades 1 to 7 are held, the last at seven seconds; trading ended within twenty."""


@pytest.mark.parametrize("last", [7, 8, 12])
async def test_fetch_to_the_end_of_a_listing_is_whole_when_it_reaches_what_is_held(
    last: int,
) -> None:
    held = [trade(n) for n in range(1, last + 1)]
    assert await fetched(held, ENDED) == ([str(n) for n in range(8, last + 1)], "")
    uncounted = [trade(n, sequence=0) for n in range(1, last + 1)]
    wanted = msgspec.structs.replace(ENDED, from_sequence=None)
    assert await fetched(uncounted, wanted) == ([str(n) for n in range(7, last + 1)], "")


async def test_fetch_to_the_end_of_a_listing_takes_nothing_behind_it() -> None:
    held = [trade(n) for n in range(1, 30)]
    assert await fetched(held, ENDED) == ([str(n) for n in range(8, 20)], "")


@pytest.mark.parametrize(
    "wanted",
    [ENDED, msgspec.structs.replace(ENDED, from_sequence=None)],
    ids=["counted", "not counted"],
)
async def test_fetch_to_the_end_takes_nothing_of_the_instrument_that_the_symbol_names_now(
    wanted: TradeRange,
) -> None:
    is_counted = wanted.from_sequence is not None
    anew = [trade(n, sequence=n * is_counted, at=NOW + (3 + n) * S) for n in range(7, 11)]
    ids, problem = await fetched(anew, wanted)
    assert ids == []
    assert (
        problem == "paged's REST does not reach back to the last trade of BTC-USDT before its end"
    )
    assert "keeps no past trades" in (await fetched([], wanted))[1]


async def test_fetch_to_the_end_is_not_misled_by_ids_that_do_not_follow_time() -> None:
    held = [trade(7), trade(8, at=NOW + 6 * S), trade(9)]
    assert await fetched(held, ENDED) == (["8", "9"], "")


async def test_fetch_takes_no_ids_that_another_instrument_uses_again() -> None:
    day = 86_400 * S
    anew = [trade(n, at=NOW + day + n * S) for n in range(1, 30)]
    wanted = TradeRange("BTC-USDT", 8, 11, NOW, NOW + 20 * S)
    ids, problem = await fetched(anew, wanted)
    assert (ids, problem) == ([], "paged's REST gave 0 of the 4 trades 8 to 11")


async def test_fetch_to_the_end_that_does_not_come_to_it_is_not_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repair, "MOST_PAGES", 2)
    held = [trade(n) for n in range(1, 16)]
    ids, problem = await fetched(held, ENDED)
    assert ids == [str(n) for n in range(8, 13)]
    assert problem == "paged's REST has more than 2 pages"


# -- in the stream -------------------------------------------------------------------------


class Rest:
    """Binance's REST over the ids that a test gives."""

    def __init__(self) -> None:
        self.failures = 0
        self.asked: list[str] = []
        self.missing: set[int] = set()
        self.first = 1
        self.book = b""

    def first_trade_request(self, instrument: str, time_ns: int) -> RestRequest | None:
        return None

    async def get(self, request: RestRequest) -> bytes:
        self.asked.append(request.path)
        if self.failures:
            self.failures -= 1
            raise VenueError("binance: busy")
        if request.path.endswith("depth"):
            return self.book
        query = dict(request.params)
        if request.path.endswith("aggTrades"):
            return (
                f'[{{"a":1,"p":"61837.63","q":"0.02","f":{self.first},"l":{self.first},'
                '"T":1723161240001,"m":true,"M":true}]'
            ).encode()
        first = int(query.get("fromId", 1))
        rows = [
            f'{{"id":{n},"price":"61837.63","qty":"0.02","quoteQty":"1","time":1723161255342,'
            f'"isBuyerMaker":true,"isBestMatch":true}}'
            for n in range(first, first + 5)
            if n not in self.missing
        ]
        return f"[{','.join(rows)}]".encode()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "ROUND_PAUSES_S", (0.01, 0.01))


async def test_stream_missing_ids_are_fetched_and_the_gap_is_closed() -> None:
    async def behave(socket: ServerConnection, _: int) -> None:
        for number in (1, 2, 6, 7):
            await socket.send(trade_frame(number))

    sink, rest = RememberingSink(), Rest()
    rest.failures = 1
    known = {"BTC-USDT": (0, 0)}
    async with (
        venue(behave) as url,
        streaming(url, sink, get=rest.get, known_last=known) as loop,
    ):
        await sink.until(lambda: any(gap.repaired_at for gap in sink.gaps))
        status = loop.status()
    assert [found.sequence for found in sink.fetched] == [3, 4, 5]
    assert (status.repaired, status.repairs_waiting) == (3, 0)
    closed = sink.gaps[-1]
    assert (closed.from_sequence, closed.to_sequence, closed.how) == (3, 5, "fetched 3 over REST")


async def test_stream_gap_that_arrives_late_is_not_fetched_any_more() -> None:
    released = asyncio.Event()

    async def behave(socket: ServerConnection, _: int) -> None:
        for number in (1, 3):
            await socket.send(trade_frame(number))
        await released.wait()
        await socket.send(trade_frame(2))

    sink, rest = RememberingSink(), Rest()
    rest.failures = 10**6
    known = {"BTC-USDT": (0, 0)}
    async with (
        venue(behave) as url,
        streaming(url, sink, get=rest.get, known_last=known) as loop,
    ):
        await sink.until(lambda: any(gap.problem for gap in sink.gaps))
        assert sink.gaps[-1].problem == "binance: busy"
        released.set()
        await sink.until(lambda: sink.gaps[-1].how == "arrived late")
        assert loop.status().repairs_waiting == 0
    assert sink.ids == [1, 3, 2]


async def test_stream_gaps_that_cannot_be_repaired_keep_none_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repair, "ROUND_PAUSES_S", (3600.0,))
    rest = Rest()

    async def behave(socket: ServerConnection, _: int) -> None:
        await socket.send(trade_frame(1))
        for number in range(3, 3 + 2 * repair.WORKERS, 2):  # as many gaps as workers
            await socket.send(trade_frame(number))
        await asyncio.sleep(0.2)
        rest.failures = 0
        await socket.send(trade_frame(101))

    sink, rest.failures = RememberingSink(), 10**6
    known = {"BTC-USDT": (0, 0)}
    async with (
        venue(behave) as url,
        streaming(url, sink, get=rest.get, known_last=known) as loop,
    ):
        await sink.until(lambda: any(gap.repaired_at for gap in sink.gaps))
        assert loop.status().repairs_waiting == repair.WORKERS
    (closed,) = [gap for gap in sink.gaps if gap.repaired_at]
    assert closed.to_sequence == 100


async def test_stream_minute_of_the_first_trade_is_filled_from_its_start() -> None:
    async def behave(socket: ServerConnection, _: int) -> None:
        await socket.send(trade_frame(9))

    sink, rest = RememberingSink(), Rest()
    rest.first = 4
    async with venue(behave) as url, streaming(url, sink, get=rest.get):
        await sink.until(lambda: any(gap.repaired_at for gap in sink.gaps))
    gap = sink.gaps[-1]
    assert (gap.cause, gap.from_sequence, gap.to_sequence) == ("start", None, 8)
    assert gap.from_time == 1_723_161_240 * S, "the minute's start"
    assert [found.sequence for found in sink.fetched] == [4, 5, 6, 7, 8]


def depth_frame(first: int, last: int, price: str, amount: str) -> str:
    return (
        '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255343,'
        f'"s":"BTCUSDT","U":{first},"u":{last},"b":[["{price}","{amount}"]],"a":[]}}}}'
    )


async def test_stream_book_is_made_of_an_asked_snapshot_and_renewed_after_a_hole() -> None:
    broken = asyncio.Event()

    async def behave(socket: ServerConnection, _: int) -> None:
        await socket.send(depth_frame(99, 100, "9.0", "1.0"))
        await socket.send(depth_frame(101, 101, "9.5", "2.0"))
        await broken.wait()
        await socket.send(depth_frame(105, 105, "9.6", "3.0"))

    sink, rest = RememberingSink(), Rest()
    rest.book = b'{"lastUpdateId":100,"bids":[["9.0","5.0"]],"asks":[["10.0","1.0"]]}'
    config = {"channels": ["book"], "book_deltas": True}
    async with venue(behave) as url, streaming(url, sink, config=config, get=rest.get) as loop:
        await sink.until(lambda: loop.status().live_books == 1)
        assert loop.books is not None
        book = loop.books.book("BTC-USDT")
        assert book is not None
        assert book.bids() == [(9.5, 2.0), (9.0, 5.0)]
        rest.book = b'{"lastUpdateId":104,"bids":[["9.0","7.0"]],"asks":[["10.0","1.0"]]}'
        broken.set()
        await sink.until(lambda: any(gap.how == "new snapshot" for gap in sink.gaps))
        renewed = loop.books.book("BTC-USDT")
        assert renewed is not None
        assert renewed.bids() == [(9.6, 3.0), (9.0, 7.0)]
    assert [(gap.channel, gap.cause, gap.how) for gap in sink.gaps[:2]] == [
        ("book", "sequence", ""),
        ("book", "sequence", "new snapshot"),
    ]
    assert not any(isinstance(event, BookSnapshot) for event in sink.received), "time stands still"
