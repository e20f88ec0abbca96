from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from exchanges_fakes import NOW, RememberingSink, streaming
from exchanges_fakes import venue as served
from websockets.asyncio.server import ServerConnection

from engine.books.keeper import BookKeeper
from engine.domain.market import (
    BookDelta,
    BookTop,
    BookUpdate,
    Candle,
    Heartbeat,
    SymbolMetadata,
    Trade,
    TradeRange,
)
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, InstrumentError, VenueError
from engine.exchanges.base import RestRequest
from engine.exchanges.bitstamp import Bitstamp
from engine.exchanges.repair import fetch_trades

S = 1_000_000_000
TRADE = (
    '{"data":{"id":629344156,"timestamp":"1788481329","amount":0.07375969,'
    '"amount_str":"0.07375969","price":81263.98,"price_str":"81263.98","type":0,'
    '"microtimestamp":"1788481329090000","buy_order_id":2046551593062406,'
    '"sell_order_id":2046551592386274},"channel":"live_trades_btcusd","event":"trade"}'
)
TOP = (
    '{"data":{"timestamp":"1788481325","microtimestamp":"1788481325406795",'
    '"bids":[["81254.37","0.56250000"],["81254.07","0.07500000"]],'
    '"asks":[["81263.98","0.68285797"],["81264.00","1.20000000"]]},'
    '"channel":"order_book_btcusd","event":"data"}'
)
CHANGE = (
    '{"data":{"timestamp":"1622520011","microtimestamp":"1622520011989838",'
    '"bids":[["36653.62","0.75000000"]],'
    '"asks":[["36665.20","0.00000000"],["36669.76","0.75000000"]]},'
    '"channel":"diff_order_book_btcusd","event":"data"}'
)
REFUSAL = (
    '{"event":"bts:error","channel":"","data":{"code":null,"message":"Invalid channel provided."}}'
)
BOOK = (
    b'{"timestamp":"1622520011","microtimestamp":"1622520011989000",'
    b'"bids":[["36653.62","1.00000000"],["0.00","3.00000000"]],'
    b'"asks":[["36665.20","2.00000000"]]}'
)
PAST_TRADE = (
    '{"date":"1788481329","tid":"629344156","amount":"0.07375969","type":"0","price":"81263.98"}'
)


@pytest.fixture
def venue() -> Bitstamp:
    adapter = Bitstamp()
    adapter.track(["BTC-USD"])
    return adapter


# -- names and connections -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instrument", "symbol"),
    [("BTC-USD", "btcusd"), ("1INCH-EUR", "1incheur"), ("LUNA~2-USDT", "lunausdt")],
)
def test_symbol_is_base_and_quote_in_small_letters(instrument: str, symbol: str) -> None:
    assert Bitstamp().symbol(instrument) == symbol


@pytest.mark.parametrize("instrument", ["BTC-USD-PERP", "BTC-USD-261225"])
def test_symbol_of_what_is_not_spot_is_refused(instrument: str) -> None:
    with pytest.raises(InstrumentError, match="only its spot markets are, for example BTC-USD"):
        Bitstamp().symbol(instrument)


@pytest.mark.parametrize(
    ("symbol", "instrument"),
    [("btcusd", "BTC-USD"), ("ethbtc", "ETH-BTC"), ("BTCUSD", None), ("btcusd-perp", None)],
)
def test_guess_instrument_takes_small_letters(symbol: str, instrument: str | None) -> None:
    assert Bitstamp().guess_instrument(symbol) == instrument


def test_subscribe_sends_a_message_a_channel_and_market_below_the_venues_length() -> None:
    messages = Bitstamp().subscribe(["BTC-USD", "ETH-EUR"], ("trades", "book_top", "book"))
    assert [json.loads(message) for message in messages] == [
        {"event": "bts:subscribe", "data": {"channel": channel}}
        for channel in (
            *("live_trades_btcusd", "order_book_btcusd", "diff_order_book_btcusd"),
            *("live_trades_etheur", "order_book_etheur", "diff_order_book_etheur"),
        )
    ]
    assert max(map(len, messages)) < 512


def test_ping_comes_before_a_quiet_connection_counts_as_silent() -> None:
    assert json.loads(Bitstamp().ping()) == {"event": "bts:heartbeat"}
    assert Bitstamp.ping_interval_s is not None
    assert Bitstamp.ping_interval_s < 15


# -- frames --------------------------------------------------------------------------------------


def test_parse_trade_is_exact_and_in_whole_seconds(venue: Bitstamp) -> None:
    assert venue.parse(TRADE.encode(), 9) == (
        Trade(
            "bitstamp",
            "BTC-USD",
            "629344156",
            0,
            81263.98,
            0.07375969,
            "buy",
            1_788_481_329 * S,
            9,
        ),
    )
    assert not venue.counts_trades


def test_parse_trade_of_type_one_sells_and_reads_tiny_amounts(venue: Bitstamp) -> None:
    frame = TRADE.replace('"type":0', '"type":1').replace('"0.07375969"', '"1E-8"')
    (trade,) = venue.parse(frame.encode(), 9)
    assert isinstance(trade, Trade)
    assert (trade.side, trade.amount) == ("sell", 1e-8)


def test_parse_order_book_gives_the_best_bid_and_ask(venue: Bitstamp) -> None:
    assert venue.parse(TOP.encode(), 9) == (
        BookTop(
            "bitstamp",
            "BTC-USD",
            81254.37,
            0.5625,
            81263.98,
            0.68285797,
            0,
            1_788_481_325_406_795_000,
            9,
        ),
    )


def test_parse_order_book_without_bids_gives_nothing(venue: Bitstamp) -> None:
    frame = TOP.replace('[["81254.37","0.56250000"],["81254.07","0.07500000"]]', "[]")
    assert venue.parse(frame.encode(), 9) == ()


def test_parse_diff_order_book_is_a_change_with_the_clock_as_its_number(venue: Bitstamp) -> None:
    assert venue.parse(CHANGE.encode(), 9) == (
        BookUpdate(
            "bitstamp",
            "BTC-USD",
            is_snapshot=False,
            bids=[(36653.62, 0.75)],
            asks=[(36665.2, 0.0), (36669.76, 0.75)],
            first_sequence=None,
            last_sequence=1_622_520_011_989_838,
            previous_sequence=None,
            exchange_time=1_622_520_011_989_838_000,
            receive_time=9,
        ),
    )


@pytest.mark.parametrize(
    "frame",
    [
        '{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}',
        '{"event":"bts:subscription_succeeded","channel":"live_trades_btcusd","data":{}}',
        '{"event":"bts:unsubscription_succeeded","channel":"live_trades_btcusd","data":{}}',
        '{"event":"bts:request_reconnect","channel":"","data":null}',
        '{"event":"bts:request_reconnect","channel":"","data":""}',
    ],
)
def test_parse_sign_of_life_is_a_heartbeat(venue: Bitstamp, frame: str) -> None:
    assert venue.parse(frame.encode(), 9) == (Heartbeat("bitstamp", None, 9),)


def test_parse_order_event_is_not_for_us(venue: Bitstamp) -> None:
    frame = b'{"event":"order_created","channel":"live_orders_btcusd","data":{"id":1}}'
    assert venue.parse(frame, 9) == ()


@pytest.mark.parametrize("code", ["null", "4009", '"4009"'])
def test_parse_error_raises_venue_error(venue: Bitstamp, code: str) -> None:
    with pytest.raises(VenueError, match="bitstamp refused: Invalid channel provided"):
        venue.parse(REFUSAL.replace("null", code).encode(), 9)


@pytest.mark.parametrize(
    ("frame", "old", "new", "kind"),
    [
        (TRADE, '"price_str":"81263.98"', '"price_str":"0"', "bad_price"),
        (TRADE, '"amount_str":"0.07375969"', '"amount_str":"NaN"', "bad_amount"),
        (TRADE, '"type":0', '"type":2', "bad_field"),
        (TRADE, "629344156", "-1", "bad_field"),
        (TRADE, "1788481329090000", "17884813290900000", "bad_field"),
        (TRADE, "live_trades_btcusd", "live_trades_foousd", "unknown_symbol"),
        (TRADE, '"event":"trade"', '"event":"news"', "unknown_message"),
        (TRADE, '"event":"trade"', '"type":"trade"', "bad_field"),
        (TRADE, 'trade"}', "", "not_json"),
        (TOP, '["81254.37","0.56250000"]', '["0","0.56250000"]', "bad_price"),
        (TOP, '["81263.98","0.68285797"]', '["81263.98","0"]', "bad_amount"),
        (CHANGE, '["36653.62","0.75000000"]', '["-1","0.75000000"]', "bad_price"),
        (CHANGE, '["36653.62","0.75000000"]', '["36653.62","-1"]', "bad_amount"),
        (CHANGE, '"microtimestamp":"1622520011989838"', '"microtimestamp":"0"', "bad_field"),
        (CHANGE, "diff_order_book_btcusd", "order_books", "unknown_symbol"),
    ],
)
def test_parse_bad_frame_raises_its_kind(
    venue: Bitstamp, frame: str, old: str, new: str, kind: str
) -> None:
    assert old in frame
    with pytest.raises(FrameError) as caught:
        venue.parse(frame.replace(old, new).encode(), 9)
    assert caught.value.kind == kind


# -- books ---------------------------------------------------------------------------------------


def test_book_request_asks_for_orders_added_up_by_price(venue: Bitstamp) -> None:
    assert venue.book_request("BTC-USD") == RestRequest(
        "/api/v2/order_book/btcusd/", (("group", "1"),)
    )


def test_parse_book_leaves_out_levels_that_nobody_can_trade_at(venue: Bitstamp) -> None:
    assert venue.parse_book(BOOK, "BTC-USD", 9) == BookUpdate(
        "bitstamp",
        "BTC-USD",
        is_snapshot=True,
        bids=[(36653.62, 1.0)],
        asks=[(36665.2, 2.0)],
        first_sequence=None,
        last_sequence=1_622_520_011_989_000,
        previous_sequence=None,
        exchange_time=1_622_520_011_989_000_000,
        receive_time=9,
    )


def test_parse_book_that_is_none_raises_venue_error(venue: Bitstamp) -> None:
    with pytest.raises(VenueError, match="bitstamp's book of BTC-USD is not as documented"):
        venue.parse_book(b"<html>404</html>", "BTC-USD", 9)


def change(venue: Bitstamp, microseconds: int, amount: str) -> BookUpdate:
    """The change that sets the best bid's amount at a time."""
    frame = CHANGE.replace("1622520011989838", str(microseconds)).replace("0.75000000", amount)
    (update,) = venue.parse(frame.encode(), 9)
    assert isinstance(update, BookUpdate)
    return update


def test_book_starts_with_an_answer_that_reaches_the_first_change(venue: Bitstamp) -> None:
    asks = venue.book_request("BTC-USD") is not None
    kept = BookKeeper(
        venue.name,
        ["BTC-USD"],
        levels=venue.book_levels,
        checksum=None,
        checksum_levels=venue.checksum_levels,
        snapshots="rest" if asks else "stream",
    )
    held, newer, newest = (
        change(venue, 1_622_520_011_989_000 + late, str(late)) for late in (1, 3, 5)
    )
    assert kept.take(held) == kept.take(newer) == []
    assert kept.wanted() == ["BTC-USD"]
    # Something may have changed between this book and the first change.
    assert kept.take(venue.parse_book(BOOK, "BTC-USD", 9)) == []
    assert kept.wanted() == ["BTC-USD"]
    answer = venue.parse_book(BOOK.replace(b"1989000", b"1989002"), "BTC-USD", 9)
    assert kept.take(answer) == [answer, newer]
    assert kept.take(newest) == [newest]
    book = kept.book("BTC-USD")
    assert book is not None
    assert book.bids() == [(36653.62, 5.0)]
    # An older one, and the book is no longer given out.
    assert kept.take(newer) == []
    assert [fault.cause for fault in kept.faults()] == ["sequence"]


# -- REST ----------------------------------------------------------------------------------------


def test_metadata_gives_steps_and_status_of_spot_markets(venue: Bitstamp) -> None:
    market = {
        "name": "BTC/USD",
        "market_symbol": "btcusd",
        "base_currency": "BTC",
        "base_decimals": 8,
        "counter_currency": "USD",
        "counter_decimals": 2,
        "minimum_order_value": "10",
        "trading": "Enabled",
        "market_type": "SPOT",
    }
    halted = market | {
        "market_symbol": "ethbtc",
        "base_currency": "ETH",
        "counter_currency": "BTC",
        "counter_decimals": 8,
        "trading": "Disabled",
    }
    perpetual = market | {"market_symbol": "btcusd-perp", "market_type": "PERPETUAL"}
    odd = market | {"market_symbol": "usdc.eusd", "base_currency": "USDC.E"}
    assert venue.metadata_requests() == [RestRequest("/api/v2/markets/")]
    body = json.dumps([market, halted, perpetual, odd]).encode()
    assert venue.parse_metadata(body) == [
        SymbolMetadata("bitstamp", "BTC-USD", "btcusd", "trading", 0.01, 1e-8),
        SymbolMetadata("bitstamp", "ETH-BTC", "ethbtc", "halted", 1e-8, 1e-8),
    ]


@pytest.mark.parametrize(
    ("age_s", "window"), [(0, "minute"), (50, "minute"), (51, "hour"), (3_591, "day"), (1e6, "day")]
)
def test_trades_request_asks_for_the_shortest_time_that_reaches_back(
    venue: Bitstamp, age_s: float, window: str
) -> None:
    now = 1_788_481_400 * S
    venue.parse(TRADE.encode(), now)
    since = now - round(age_s * S)
    wanted = TradeRange("BTC-USD", None, None, since, since + S)
    assert venue.trades_request(wanted, None) == RestRequest(
        "/api/v2/transactions/btcusd/", (("time", window),)
    )
    assert venue.trades_request(wanted, []) is None


def test_trades_request_before_any_frame_asks_for_the_day() -> None:
    request = Bitstamp().trades_request(TradeRange("BTC-USD", None, None, 0, S), None)
    assert request is not None
    assert request.params == (("time", "day"),)


def test_parse_trades_says_what_the_stream_says(venue: Bitstamp) -> None:
    newer = PAST_TRADE.replace("629344156", "629344157").replace('"type":"0"', '"type":"1"')
    first, second = venue.parse_trades(f"[{newer},{PAST_TRADE}]".encode(), "BTC-USD", 9)
    assert (first,) == venue.parse(TRADE.encode(), 9)
    assert (second.trade_id, second.sequence, second.side) == ("629344157", 0, "sell")


@pytest.mark.parametrize(
    ("old", "new"), [('"81263.98"', '"0"'), ('"type":"0"', '"type":"2"'), ("1788481329", "soon")]
)
def test_parse_trades_impossible_raises_venue_error(venue: Bitstamp, old: str, new: str) -> None:
    assert old in PAST_TRADE
    with pytest.raises(VenueError, match="bitstamp's past trades of BTC-USD is not as documented"):
        venue.parse_trades(f"[{PAST_TRADE.replace(old, new)}]".encode(), "BTC-USD", 9)


@pytest.mark.parametrize(("first_s", "problem"), [(100, False), (101, True)])
async def test_fetched_trades_hold_all_of_a_gaps_first_and_last_second(
    venue: Bitstamp, first_s: int, problem: bool
) -> None:
    times = [first_s, 101, 101, 103]
    rows = [
        PAST_TRADE.replace("1788481329", str(time_s)).replace("629344156", str(700 + number))
        for number, time_s in enumerate(times)
    ]
    body = f"[{','.join(reversed(rows))}]".encode()

    async def get(request: RestRequest) -> bytes:
        return body

    wanted = TradeRange("BTC-USD", None, None, 100 * S, 103 * S)
    fetched = await fetch_trades(venue, get, wanted, lambda: 9)
    assert [trade.trade_id for trade in fetched.trades] == ["700", "701", "702", "703"]
    assert bool(fetched.problem) is problem


def test_candle_requests_are_cut_at_a_thousand(venue: Bitstamp) -> None:
    requests = venue.candle_requests("BTC-USD", Timeframe.H1, 0, 1_001 * Timeframe.H1.ns)
    assert requests == [
        RestRequest("/api/v2/ohlc/btcusd/", (("step", "3600"), ("limit", limit), ("start", start)))
        for limit, start in (("1000", "0"), ("1", "3600000"))
    ]


def test_candle_requests_of_a_broken_range_count_the_candles_that_open_in_it(
    venue: Bitstamp,
) -> None:
    (request,) = venue.candle_requests("BTC-USD", Timeframe.M1, 1, 120 * S + 1)
    assert request.params == (("step", "60"), ("limit", "2"), ("start", "60"))


def test_candle_requests_of_a_length_not_offered_are_none(venue: Bitstamp) -> None:
    assert venue.candle_requests("BTC-USD", Timeframe.S1, 0, Timeframe.D1.ns) == []


def candles(rows: Sequence[tuple[int, str]]) -> bytes:
    ohlc = [
        {
            "timestamp": str(time_s),
            "open": "2",
            "high": "4",
            "low": "1.5",
            "close": "3",
            "volume": volume,
        }
        for time_s, volume in rows
    ]
    return json.dumps({"data": {"pair": "BTC/USD", "ohlc": ohlc}}).encode()


def test_parse_candles_leaves_empty_ones_out_and_unknown_parts_none(venue: Bitstamp) -> None:
    body = candles([(60, "7.5"), (120, "0.00000000"), (180, "1")])
    first, second = venue.parse_candles(body, "BTC-USD", Timeframe.M1, 200 * S)
    assert first == Candle(
        exchange="bitstamp",
        instrument="BTC-USD",
        timeframe="1m",
        open_time=60 * S,
        close_time=120 * S,
        open=2.0,
        high=4.0,
        low=1.5,
        close=3.0,
        volume=7.5,
        quote_volume=None,
        trade_count=None,
        vwap=None,
        twap=None,
        taker_buy_volume=None,
        source="rest",
        is_closed=True,
        version=200 * S,
    )
    assert (second.open_time, second.is_closed) == (180 * S, False)


def test_parse_candles_refusal_raises_venue_error(venue: Bitstamp) -> None:
    body = (
        b'{"code":"Validation error","errors":[{"field":"step","message":"Not a valid choice."}]}'
    )
    with pytest.raises(VenueError, match="Not a valid"):
        venue.parse_candles(body, "BTC-USD", Timeframe.M1, 9)


# -- as a whole ----------------------------------------------------------------------------------


def moved(frame: str, trade_id: int, late_s: int) -> str:
    """A frame or a row of BTC-USDT, so many seconds after `NOW`."""
    time_s = NOW // S + late_s
    return (
        frame.replace("btcusd", "btcusdt")
        .replace("629344156", str(trade_id))
        .replace("1788481329090000", f"{time_s}090000")
        .replace("1788481329", str(time_s))
        .replace("1622520011989838", f"{time_s}500000")
    )


async def test_stream_repairs_what_came_between_two_connections_and_starts_its_book() -> None:
    asked: list[RestRequest] = []

    async def behaviour(socket: ServerConnection, number: int) -> None:
        channels = [json.loads(await socket.recv())["data"]["channel"] for _ in range(2)]
        assert channels == ["live_trades_btcusdt", "diff_order_book_btcusdt"]
        if number == 1:
            await socket.send(moved(TRADE, 700, 1))
            await socket.close()
            return
        await socket.send(moved(TRADE, 703, 3))
        await socket.send(moved(CHANGE, 0, 3))

    async def get(request: RestRequest) -> bytes:
        asked.append(request)
        if "order_book" in request.path:
            return BOOK.replace(b"1622520011989000", f"{NOW // S + 3}500000".encode())
        times = (1, 1, 3, 3)
        rows = [moved(PAST_TRADE, 700 + number, late) for number, late in enumerate(times)]
        return f"[{','.join(reversed(rows))}]".encode()

    sink = RememberingSink()
    async with (
        served(behaviour) as url,
        streaming(
            url,
            sink,
            "bitstamp",
            config={"channels": ["trades", "book"], "book_deltas": True},
            get=get,
        ) as loop,
    ):
        await sink.until(lambda: len(sink.fetched) == 2 and bool(sink.gaps[-1].repaired_at))
        await sink.until(lambda: any(isinstance(event, BookDelta) for event in sink.received))
        assert loop.status().live_books == 1
    trades = [event for event in sink.received if isinstance(event, Trade)]
    assert sorted(trade.trade_id for trade in trades) == ["700", "701", "702", "703"]
    assert not sink.letters
    assert {request.path for request in asked} == {
        "/api/v2/order_book/btcusdt/",
        "/api/v2/transactions/btcusdt/",
    }
