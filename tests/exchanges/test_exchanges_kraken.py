from __future__ import annotations

import json

import pytest

from engine.clock import parse_iso_utc
from engine.domain.market import BookTop, Heartbeat, SymbolMetadata, Trade
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, VenueError
from engine.exchanges.base import RestRequest
from engine.exchanges.kraken import Kraken

TRADE = (
    '{"symbol":"MATIC/USD","side":"sell","price":0.5117,"qty":40.0,"ord_type":"market",'
    '"trade_id":4665906,"timestamp":"2023-09-25T07:49:37.708706Z"}'
)
UPDATE = f'{{"channel":"trade","type":"update","data":[{TRADE}]}}'
TICKER = (
    '{"channel":"ticker","type":"update","data":[{"symbol":"ALGO/USD","bid":0.10025,'
    '"bid_qty":740.0,"ask":0.10036,"ask_qty":1361.44813783,"last":0.10035,"volume":997038.98,'
    '"vwap":0.10148,"low":0.09979,"high":0.10285,"change":-0.00017,"change_pct":-0.17}]}'
)
OHLC = (
    '{"error":[],"result":{"XXBTZUSD":[[60,"2.0","4.0","1.0","3.0","2.5","7.5",12],'
    '[120,"3.0","3.0","3.0","3.0","0.0","0.00000000",0]],"last":60}}'
)


@pytest.fixture
def venue() -> Kraken:
    adapter = Kraken()
    adapter.track(["MATIC-USD", "ALGO-USD"])
    return adapter


def test_parse_snapshot_gives_trades_by_id(venue: Kraken) -> None:
    earlier = TRADE.replace("4665906", "4665905").replace('"sell"', '"buy"')
    frame = f'{{"channel":"trade","type":"snapshot","data":[{TRADE},{earlier}]}}'
    first, second = venue.parse(frame.encode(), 9)
    assert isinstance(first, Trade)
    assert (first.sequence, first.side) == (4665905, "buy")
    assert second == Trade(
        "kraken",
        "MATIC-USD",
        "4665906",
        4665906,
        0.5117,
        40.0,
        "sell",
        parse_iso_utc("2023-09-25T07:49:37.708706Z"),
        9,
    )


def test_parse_ticker_without_time(venue: Kraken) -> None:
    assert venue.parse(TICKER.encode(), 9) == [
        BookTop("kraken", "ALGO-USD", 0.10025, 740.0, 0.10036, 1361.44813783, 0, None, 9)
    ]


def test_parse_ticker_with_time(venue: Kraken) -> None:
    frame = TICKER.replace('"change":', '"timestamp":"2023-09-25T09:04:31.742648Z","change":')
    (top,) = venue.parse(frame.encode(), 9)
    assert top.exchange_time == parse_iso_utc("2023-09-25T09:04:31.742648Z")


@pytest.mark.parametrize(
    "frame",
    [
        b'{"channel":"heartbeat"}',
        b'{"channel":"status","type":"update","data":[{"system":"online","api_version":"v2"}]}',
        b'{"method":"pong","time_in":"2023-09-25T09:04:31.742648Z"}',
        b'{"method":"subscribe","result":{"channel":"trade","symbol":"ALGO/USD"},"success":true}',
    ],
)
def test_parse_signs_of_life_are_heartbeats(venue: Kraken, frame: bytes) -> None:
    assert venue.parse(frame, 9) == (Heartbeat("kraken", None, 9),)


def test_parse_book_gives_nothing(venue: Kraken) -> None:
    assert venue.parse(b'{"channel":"book","type":"update","data":[]}', 9) == ()


def test_parse_refusal_raises_venue_error(venue: Kraken) -> None:
    with pytest.raises(VenueError, match="kraken refused FOO/USD: Currency pair not supported"):
        venue.parse(
            b'{"error":"Currency pair not supported FOO/USD","method":"subscribe",'
            b'"success":false,"symbol":"FOO/USD"}',
            9,
        )


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("0.5117", "0", "bad_price"),
        ("0.5117", "-0.5", "bad_price"),
        ("0.5117", "1e999", "bad_field"),
        ("0.5117", "NaN", "not_json"),
        ("0.5117", '"0.5117"', "bad_field"),
        ("40.0", "0.0", "bad_amount"),
        ("4665906", "9223372036854775808", "bad_field"),
        ('"sell"', '"b"', "bad_field"),
        ("MATIC/USD", "FOO/USD", "unknown_symbol"),
        ('"channel":"trade"', '"channel":"weather"', "unknown_message"),
        (',"data"', "", "not_json"),
    ],
)
def test_parse_bad_trade_raises_its_kind(venue: Kraken, old: str, new: str, kind: str) -> None:
    assert old in UPDATE
    with pytest.raises(FrameError) as caught:
        venue.parse(UPDATE.replace(old, new).encode(), 9)
    assert caught.value.kind == kind


def test_parse_one_bad_trade_of_two_takes_neither(venue: Kraken) -> None:
    bad = TRADE.replace("40.0", "-1")
    with pytest.raises(FrameError, match="amount"):
        venue.parse(f'{{"channel":"trade","type":"update","data":[{TRADE},{bad}]}}'.encode(), 9)


def test_subscribe_asks_for_every_change_of_the_best_prices() -> None:
    trades, tops = map(json.loads, Kraken().subscribe(["BTC-USD"], ("trades", "book_top")))
    assert trades == {
        "method": "subscribe",
        "params": {"channel": "trade", "symbol": ["BTC/USD"], "snapshot": True},
    }
    assert tops["params"]["channel"] == "ticker"
    assert tops["params"]["event_trigger"] == "bbo"


def test_metadata_translates_old_names(venue: Kraken) -> None:
    body = {
        "error": [],
        "result": {
            "XXBTZUSD": {"wsname": "XBT/USD", "pair_decimals": 1, "lot_decimals": 8},
            "XDGUSD": {
                "wsname": "XDG/USD",
                "status": "cancel_only",
                "tick_size": "0.0000001",
                "lot_decimals": 8,
            },
        },
    }
    assert venue.parse_metadata(json.dumps(body).encode()) == [
        SymbolMetadata("kraken", "BTC-USD", "BTC/USD", "trading", 0.1, 1e-8),
        SymbolMetadata("kraken", "DOGE-USD", "DOGE/USD", "halted", 1e-7, 1e-8),
    ]


def test_candle_requests_are_one_since_before_the_start(venue: Kraken) -> None:
    start = 600 * 10**9
    assert venue.candle_requests("BTC-USD", Timeframe.M1, start, 2 * start) == [
        RestRequest("/0/public/OHLC", (("pair", "XBTUSD"), ("interval", "1"), ("since", "599")))
    ]
    assert venue.candle_requests("BTC-USD", Timeframe.S1, start, 2 * start) == []


def test_parse_candles_leaves_out_empty_intervals(venue: Kraken) -> None:
    (candle,) = venue.parse_candles(OHLC.encode(), "BTC-USD", Timeframe.M1, 10**12)
    assert (candle.open, candle.high, candle.low, candle.close) == (2.0, 4.0, 1.0, 3.0)
    assert (candle.vwap, candle.volume, candle.trade_count) == (2.5, 7.5, 12)
    assert candle.quote_volume is None


def test_parse_candles_error_raises_venue_error(venue: Kraken) -> None:
    with pytest.raises(VenueError, match="EQuery:Unknown asset pair"):
        venue.parse_candles(
            b'{"error":["EQuery:Unknown asset pair"]}', "FOO-USD", Timeframe.M1, 10**12
        )
