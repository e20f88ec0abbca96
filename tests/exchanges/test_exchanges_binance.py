from __future__ import annotations

import json

import pytest
from exchanges_fakes import top_frame, trade_frame

from engine.domain.market import BookTop, Candle, Heartbeat, SymbolMetadata, Trade
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, InstrumentError, VenueError
from engine.exchanges.base import RestRequest
from engine.exchanges.binance import Binance


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
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT"}}',
        b'{"lastUpdateId":35346513512,"bids":[["2683.80","3.02"]],"asks":[]}',
    ],
)
def test_parse_depth_gives_nothing(venue: Binance, frame: bytes) -> None:
    assert venue.parse(frame, 7) == ()


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
        (b'{"stream":"btcusdt@kline_1m","data":{}}', "unknown_message"),
        (b'{"stream":"btcusdt@trade"}', "not_json"),
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
    assert venue.instrument_of("ETHUSDT") == "ETH-USDT"


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
