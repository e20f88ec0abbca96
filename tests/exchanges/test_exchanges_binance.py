from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from exchanges_fakes import top_frame, trade_frame

from engine.domain.market import (
    BookTop,
    BookUpdate,
    Candle,
    Heartbeat,
    MarketEvent,
    SymbolMetadata,
    Trade,
    TradeRange,
)
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, InstrumentError, VenueError
from engine.exchanges.base import RestRequest
from engine.exchanges.binance import Binance

DEPTH = (
    '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT",'
    '"U":50093239189,"u":50093239202,"b":[["61737.63000000","0.00000000"],'
    '["61730.17000000","1.50000000"]],"a":[["61837.64000000","1.54698000"]]}}'
)
BOOK = (
    b'{"lastUpdateId":50093239218,"bids":[["61837.63000000","3.78826000"]],'
    b'"asks":[["61837.64000000","1.54698000"]]}'
)
SNAPSHOT = BookUpdate(
    "binance",
    "BTC-USDT",
    is_snapshot=True,
    bids=[(61837.63, 3.78826)],
    asks=[(61837.64, 1.54698)],
    first_sequence=None,
    last_sequence=50093239218,
    previous_sequence=None,
    exchange_time=None,
    receive_time=7,
)


def _instrument(events: Sequence[MarketEvent]) -> str:
    (trade,) = events
    assert isinstance(trade, Trade)
    return trade.instrument


@pytest.fixture
def venue() -> Binance:
    adapter = Binance()
    adapter.track(["BTC-USDT"])
    return adapter


def test_parse_trade_with_maker_buyer_is_a_sell(venue: Binance) -> None:
    assert venue.parse(trade_frame(3735683259).encode(), 7) == (
        Trade(
            "binance",
            "BTC-USDT",
            "3735683259",
            3735683259,
            61837.63,
            0.02,
            "sell",
            1_723_161_255_342_000_000,
            7,
        ),
    )


def test_parse_trade_with_maker_seller_is_a_buy(venue: Binance) -> None:
    frame = trade_frame(1).replace('"m":true', '"m":false').encode()
    (trade,) = venue.parse(frame, 7)
    assert isinstance(trade, Trade)
    assert trade.side == "buy"


def test_parse_book_ticker_has_no_exchange_time(venue: Binance) -> None:
    assert venue.parse(top_frame().encode(), 7) == (
        BookTop(
            "binance",
            "BTC-USDT",
            61837.63,
            3.78826,
            61837.64,
            1.54698,
            50093239212,
            None,
            7,
        ),
    )


def test_parse_acknowledgement_is_a_heartbeat(venue: Binance) -> None:
    assert venue.parse(b'{"result":null,"id":1}', 7) == (Heartbeat("binance", None, 7),)


@pytest.mark.parametrize(
    "frame",
    [
        b'{"event":{"e":"serverShutdown","E":1770123456789}}',
        b'{"e":"serverShutdown","E":1770123456789}',
        b'{"stream":"","data":{"e":"serverShutdown","E":1770123456789}}',
    ],
)
def test_parse_notice_of_a_shutdown_is_a_heartbeat(venue: Binance, frame: bytes) -> None:
    assert venue.parse(frame, 7) == (Heartbeat("binance", None, 7),)


def test_parse_depth_chains_by_first_and_last_number(venue: Binance) -> None:
    assert venue.parse(DEPTH.encode(), 7) == (
        BookUpdate(
            "binance",
            "BTC-USDT",
            is_snapshot=False,
            bids=[(61737.63, 0.0), (61730.17, 1.5)],
            asks=[(61837.64, 1.54698)],
            first_sequence=50093239189,
            last_sequence=50093239202,
            previous_sequence=None,
            exchange_time=1_723_161_255_208_000_000,
            receive_time=7,
        ),
    )


def test_parse_lone_snapshot_is_of_the_only_instrument(venue: Binance) -> None:
    assert venue.parse(BOOK, 7) == (SNAPSHOT,)


def test_parse_lone_snapshot_among_several_instruments_gives_nothing(venue: Binance) -> None:
    venue.track(["ETH-USDT"])
    assert venue.parse(BOOK, 7) == ()


def test_parse_book_is_a_snapshot_without_a_time(venue: Binance) -> None:
    assert venue.parse_book(BOOK, "BTC-USDT", 7) == SNAPSHOT


def test_parse_book_of_an_error_raises_venue_error(venue: Binance) -> None:
    with pytest.raises(VenueError, match="binance's book of BTC-USDT is not as documented"):
        venue.parse_book(b'{"code":-1121,"msg":"Invalid symbol."}', "BTC-USDT", 7)


def test_book_request_asks_for_a_thousand_levels(venue: Binance) -> None:
    assert venue.book_request("LUNA~2-USDT") == RestRequest(
        "/api/v3/depth", (("symbol", "LUNAUSDT"), ("limit", "1000")), weight=50.0
    )


@pytest.mark.parametrize("kind", ["aggTrade", "kline_1m", "miniTicker", "ticker", "avgPrice"])
def test_parse_unused_kind_gives_nothing(venue: Binance, kind: str) -> None:
    assert venue.parse(f'{{"stream":"btcusdt@{kind}","data":{{}}}}'.encode(), 7) == ()


def test_parse_keys_in_another_order_reads_the_same(venue: Binance) -> None:
    stream, data = json.loads(trade_frame(1)).values()
    turned = json.dumps({"data": data, "stream": stream}).encode()
    assert venue.parse(turned, 7) == venue.parse(trade_frame(1).encode(), 7)


def test_parse_after_tracking_another_generation_names_that_one(venue: Binance) -> None:
    assert _instrument(venue.parse(trade_frame(1).encode(), 7)) == "BTC-USDT"
    venue.track(["BTC~2-USDT"])
    assert _instrument(venue.parse(trade_frame(2).encode(), 7)) == "BTC~2-USDT"


def test_parse_refused_subscription_raises_venue_error(venue: Binance) -> None:
    with pytest.raises(VenueError, match=r"refused message 3: Invalid request .code 2"):
        venue.parse(b'{"error":{"code":2,"msg":"Invalid request"},"id":3}', 7)


def _with(old: str, new: str, frame: str = "") -> bytes:
    frame = frame or trade_frame(1)
    assert old in frame
    return frame.replace(old, new).encode()


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (b"", "not_json"),
        (b"\xff\xfe\x00", "not_json"),
        (b"not json", "not_json"),
        (b"[" * 100_000, "bad_field"),
        (b'{"a":' * 100_000, "not_json"),
        (trade_frame(1)[:80].encode(), "not_json"),
        (b"[1,2]", "bad_field"),
        (b"{}", "unknown_message"),
        (b'{"event":{"e":"balanceUpdate"}}', "unknown_message"),
        (b'{"stream":"btcusdt@depth20","data":{}}', "unknown_message"),
        (b'{"stream":"btcusdt@kline_1m","data":{}', "not_json"),
        (b'{"stream":"btcusdt@trade"}', "bad_field"),
        (b'{"lastUpdateId":1,"bids":[["1","1"]]}', "bad_field"),
        (_with('"p":"61837.63000000",', ""), "bad_field"),
        (_with('"t":1', '"t":"one"'), "bad_field"),
        (_with('"t":1', '"t":-1'), "bad_field"),
        (_with('"T":1723161255342', '"T":99999999999999999'), "bad_field"),
        (_with('"61837.63000000"', '"1e999"'), "bad_field"),
        (_with('"61837.63000000"', '"NaN"'), "bad_price"),
        (_with('"61837.63000000"', '"inf"'), "bad_price"),
        (_with('"61837.63000000"', '"1e300"'), "bad_price"),
        (_with('"61837.63000000"', '"-1"'), "bad_price"),
        (_with('"61837.63000000"', '"0.00000000"'), "bad_price"),
        (_with('"0.02000000"', '"nan"'), "bad_amount"),
        (_with('"0.02000000"', '"0"'), "bad_amount"),
        (_with('"0.02000000"', '"-0.02"'), "bad_amount"),
        (_with('"3.78826000"', '"0.00000000"', top_frame()), "bad_amount"),
        (_with('"61837.64000000"', '"NaN"', top_frame()), "bad_price"),
        (trade_frame(1, symbol="DOGEUSDT").encode(), "unknown_symbol"),
        (_with('"M":true', '"X":"MARKET"'), "unknown_message"),
        (_with('"u":', '"e":"bookTicker","u":', top_frame()), "unknown_message"),
        (_with('"b":', '"pu":1,"b":', DEPTH), "unknown_message"),
        (_with('"U":50093239189,', "", DEPTH), "bad_field"),
        (_with('"61730.17000000"', '"0"', DEPTH), "bad_price"),
        (_with('"61837.64000000"', '"nan"', DEPTH), "bad_price"),
        (_with('"1.50000000"', '"-1.5"', DEPTH), "bad_amount"),
        (_with('"1.54698000"', '"inf"', DEPTH), "bad_amount"),
        (_with('["61837.64000000","1.54698000"]', '["61837.64"]', DEPTH), "bad_field"),
    ],
)
def test_parse_bad_frame_raises_its_kind(venue: Binance, frame: bytes, kind: str) -> None:
    with pytest.raises(FrameError) as caught:
        venue.parse(frame, 7)
    assert caught.value.kind == kind
    assert len(str(caught.value)) < 500


def test_parse_unknown_symbol_when_guessing_takes_the_known_quote() -> None:
    (trade,) = Binance(guess_symbols=True).parse(trade_frame(1, symbol="DOGEUSDT").encode(), 7)
    assert isinstance(trade, Trade)
    assert trade.instrument == "DOGE-USDT"


def test_url_and_subscribe_share_the_streams() -> None:
    instruments = [f"A{number}-USDT" for number in range(200)]
    venue = Binance()
    url = venue.url("ws://host/", instruments, ("trades", "book_top"))
    in_url = url.removeprefix("ws://host/stream?streams=").split("/")
    messages = [
        json.loads(message) for message in venue.subscribe(instruments, ("trades", "book_top"))
    ]
    by_message = [stream for message in messages for stream in message["params"]]
    assert in_url[:2] == ["a0usdt@trade", "a0usdt@bookTicker"]
    assert [message["method"] for message in messages] == ["SUBSCRIBE", "SUBSCRIBE"]
    assert [message["id"] for message in messages] == [1, 2]
    assert len(in_url) == 100
    assert set(in_url + by_message) == {
        f"a{number}usdt{suffix}" for number in range(200) for suffix in ("@trade", "@bookTicker")
    }
    assert len(in_url + by_message) == 400


def test_symbol_of_malformed_instrument_is_refused(venue: Binance) -> None:
    with pytest.raises(InstrumentError, match="btc"):
        venue.symbol("btc")


@pytest.mark.parametrize("instrument", ["BTC-USDT-PERP", "BTC-USDT-261225"])
def test_symbol_of_a_future_is_refused(venue: Binance, instrument: str) -> None:
    with pytest.raises(InstrumentError, match="take it from binance_perp"):
        venue.symbol(instrument)


def test_metadata_gives_steps_and_status(venue: Binance) -> None:
    body = b"""{"timezone":"UTC","symbols":[
      {"symbol":"ETHUSDT","status":"TRADING","baseAsset":"ETH","quoteAsset":"USDT","filters":[
        {"filterType":"PRICE_FILTER","minPrice":"0.01","maxPrice":"1000000","tickSize":"0.01000000"},
        {"filterType":"LOT_SIZE","minQty":"0.0001","maxQty":"9000","stepSize":"0.00010000"},
        {"filterType":"MAX_NUM_ORDERS","maxNumOrders":200}]},
      {"symbol":"OLDBTC","status":"BREAK","baseAsset":"OLD","quoteAsset":"BTC","filters":[]},
      {"symbol":"\xe5\xb8\x81USDT","status":"TRADING","baseAsset":"\xe5\xb8\x81","quoteAsset":"USDT"}]}"""
    assert venue.parse_metadata(body) == [
        SymbolMetadata("binance", "ETH-USDT", "ETHUSDT", "trading", 0.01, 0.0001),
        SymbolMetadata("binance", "OLD-BTC", "OLDBTC", "halted", None, None),
    ]


def test_metadata_of_another_shape_raises_venue_error(venue: Binance) -> None:
    with pytest.raises(VenueError, match="exchangeInfo is not as documented"):
        venue.parse_metadata(b'{"symbols":{}}')


def test_candle_requests_are_cut_at_a_thousand(venue: Binance) -> None:
    minute = Timeframe.M1.ns
    first, second = venue.candle_requests("BTC-USDT", Timeframe.M1, 0, 1500 * minute)
    assert first == RestRequest(
        "/api/v3/klines",
        (
            ("symbol", "BTCUSDT"),
            ("interval", "1m"),
            ("startTime", "0"),
            ("endTime", str(1000 * 60_000 - 1)),
            ("limit", "1000"),
        ),
        weight=2.0,
    )
    assert dict(second.params)["startTime"] == str(1000 * 60_000)
    assert dict(second.params)["endTime"] == str(1500 * 60_000 - 1)


def test_candle_requests_of_nothing_are_none(venue: Binance) -> None:
    assert venue.candle_requests("BTC-USDT", Timeframe.M1, 10, 10) == []


_ROW = (
    '[1723161240000,"61837.5","61840.0","61830.0","61839.0","2.0",1723161299999,"123677.0",'
    '345,"0.5","30918.0","0"]'
)


def test_parse_candles_leaves_out_empty_intervals_and_marks_open_ones(venue: Binance) -> None:
    empty = (
        _ROW.replace("1723161240000", "1723161180000").replace("345", "0").replace('"2.0"', '"0"')
    )
    forming = _ROW.replace("1723161240000", "1723161300000")
    opened = 1_723_161_240_000_000_000
    as_of = opened + 90 * 10**9
    candles = venue.parse_candles(
        f"[{empty},{_ROW},{forming}]".encode(), "BTC-USDT", Timeframe.M1, as_of
    )
    assert candles[0] == Candle(
        exchange="binance",
        instrument="BTC-USDT",
        timeframe="1m",
        open_time=opened,
        close_time=opened + Timeframe.M1.ns,
        open=61837.5,
        high=61840.0,
        low=61830.0,
        close=61839.0,
        volume=2.0,
        quote_volume=123677.0,
        trade_count=345,
        vwap=61838.5,
        twap=None,
        taker_buy_volume=0.5,
        source="rest",
        is_closed=True,
        version=as_of,
    )
    assert [candle.is_closed for candle in candles] == [True, False]


@pytest.mark.parametrize(
    "row",
    [
        _ROW.replace("61840.0", "61838.0"),
        _ROW.replace("61830.0", "NaN"),
        _ROW.replace('"2.0"', '"-2.0"'),
        _ROW.replace("1723161240000", "1723161240001"),
    ],
)
def test_parse_candles_impossible_row_raises_venue_error(venue: Binance, row: str) -> None:
    with pytest.raises(VenueError, match="impossible 1m candle of BTC-USDT"):
        venue.parse_candles(f"[{row}]".encode(), "BTC-USDT", Timeframe.M1, 0)


def _wanted(first: int | None, last: int | None, to_time: int = 0) -> TradeRange:
    return TradeRange("BTC-USDT", first, last, 0, to_time)


def _trade(number: int, exchange_time: int = 0) -> Trade:
    return Trade(
        "binance", "BTC-USDT", str(number), number, 1.0, 1.0, "buy", exchange_time, receive_time=0
    )


def _ids(request: RestRequest | None) -> tuple[str, str]:
    assert request is not None
    params = dict(request.params)
    return params["fromId"], params["limit"]


def test_trades_request_pages_upwards_and_ends_at_the_last_id(venue: Binance) -> None:
    wanted = _wanted(10, 1500)
    assert venue.trades_request(wanted, None) == RestRequest(
        "/api/v3/historicalTrades",
        (("symbol", "BTCUSDT"), ("fromId", "10"), ("limit", "1000")),
        weight=25.0,
    )
    assert _ids(venue.trades_request(wanted, [_trade(10), _trade(1009)])) == ("1010", "491")
    assert venue.trades_request(wanted, [_trade(1500)]) is None


def test_trades_request_after_an_empty_page_is_none(venue: Binance) -> None:
    assert venue.trades_request(_wanted(10, 20), []) is None


def test_trades_request_without_a_last_id_ends_with_the_time(venue: Binance) -> None:
    wanted = _wanted(10, None, to_time=50)
    assert _ids(venue.trades_request(wanted, [_trade(11, 50)])) == ("12", "1000")
    assert venue.trades_request(wanted, [_trade(11, 51)]) is None


def test_trades_request_with_a_last_id_does_not_look_at_the_time(venue: Binance) -> None:
    assert _ids(venue.trades_request(_wanted(10, 12, 50), [_trade(11, 51)])) == ("12", "1")


def test_trades_request_without_a_first_id_says_how_to_find_it(venue: Binance) -> None:
    with pytest.raises(VenueError, match=r"trades of BTC-USDT are fetched by id.*first_trade"):
        venue.trades_request(_wanted(None, None), None)


def test_first_trade_is_the_first_of_the_first_aggregate_of_an_hour(venue: Binance) -> None:
    assert venue.first_trade_request("BTC-USDT", 1_000_000_001) == RestRequest(
        "/api/v3/aggTrades",
        (("symbol", "BTCUSDT"), ("startTime", "1001"), ("endTime", "3601000"), ("limit", "1")),
        weight=4.0,
    )
    row = b'[{"a":26129,"p":"0.1","q":"4.7","f":27781,"l":27790,"T":1498793709153,"m":true}]'
    assert venue.parse_first_trade(row) == 27781
    assert venue.parse_first_trade(b"[]") is None


def test_parse_trades_equals_the_streamed_trade(venue: Binance) -> None:
    body = b"""[{"id":3735683259,"price":"61837.63000000","qty":"0.02000000",
      "quoteQty":"1236.75260000","time":1723161255342,"isBuyerMaker":true,"isBestMatch":true}]"""
    assert tuple(venue.parse_trades(body, "BTC-USDT", 7)) == venue.parse(
        trade_frame(3735683259).encode(), 7
    )


@pytest.mark.parametrize(
    "body", [b'{"code":-1121}', b'[{"id":1,"price":"0","qty":"1","time":1,"isBuyerMaker":true}]']
)
def test_parse_trades_of_another_shape_raises_venue_error(venue: Binance, body: bytes) -> None:
    with pytest.raises(VenueError, match="binance's trades of BTC-USDT is not as documented"):
        venue.parse_trades(body, "BTC-USDT", 7)


def test_limits_leave_half_of_what_the_venue_allows() -> None:
    assert Binance.limits.connects == (150, 300.0)
    assert Binance.limits.requests_per_second * 60 == 6000 / 2
    assert Binance.rotate_after_s == 23 * 3600
