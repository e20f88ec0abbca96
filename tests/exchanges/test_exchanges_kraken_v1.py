from __future__ import annotations

import pytest

from engine.domain.market import BookTop, BookUpdate, Heartbeat, Trade, TradeRange
from engine.errors import FrameError, VenueError
from engine.exchanges.kraken_v1 import KrakenV1

TRADES = (
    '[993,[["354.11000000","0.89594024","1618678142.557535","s","l",""],'
    '["354.55000000","1.25690315","1618678142.557535","b","m",""]],"trade","XMR/USD"]'
)
TICKER = (
    '[996,{"a":["355.24000000",27,"27.19106411"],"b":["354.32000000",6,"6.87748868"],'
    '"c":["355.23000000","1.20454360"],"v":["17858.85261084","33470.74135600"]},'
    '"ticker","XMR/USD"]'
)
SPREAD = (
    '[0,["5698.40000","5700.00000","1542057299.545897","1.01234567","0.98765432"],'
    '"spread","XBT/USD"]'
)
BOOK = (
    '[1920,{"a":[["0.042990","364630.28272081","1618678145.920470"]]},'
    '{"b":[["0.042990","0.00000000","1618678145.920708","r"]],"c":"4105471083"},'
    '"book-1000","XBT/USD"]'
)
SNAPSHOT = (
    '[464,{"as":[["56218.30000","0.15000000","1618678117.243818"]],'
    '"bs":[["56218.20000","1.00000000","1618678093.187766"]]},"book-1000","XBT/USD"]'
)


@pytest.fixture
def venue() -> KrakenV1:
    adapter = KrakenV1()
    adapter.subscribe(["XMR-USD", "BTC-USD"], ("trades", "book"))
    return adapter


def test_parse_trades_makes_ids_of_what_is_said(venue: KrakenV1) -> None:
    sold, bought = venue.parse(TRADES.encode(), 9)
    assert sold == Trade(
        "kraken",
        "XMR-USD",
        "1618678142.557535/354.11000000/0.89594024/sl/0",
        0,
        354.11,
        0.89594024,
        "sell",
        1618678142557535000,
        9,
    )
    assert isinstance(bought, Trade)
    assert (bought.side, bought.trade_id) == (
        "buy",
        "1618678142.557535/354.55000000/1.25690315/bm/0",
    )


def test_parse_trades_equal_in_all_have_ids_of_their_own(venue: KrakenV1) -> None:
    row = '["354.11000000","0.89594024","1618678142.557535","s","l",""]'
    frame = f'[993,[{row},{row},{row}],"trade","XMR/USD"]'.encode()
    first = [event.trade_id for event in venue.parse(frame, 9) if isinstance(event, Trade)]
    stem = "1618678142.557535/354.11000000/0.89594024/sl"
    assert first == [f"{stem}/0", f"{stem}/1", f"{stem}/2"]
    again = [event.trade_id for event in venue.parse(frame, 10) if isinstance(event, Trade)]
    assert again == first


def test_parse_ticker_takes_amounts_and_not_whole_lots(venue: KrakenV1) -> None:
    assert venue.parse(TICKER.encode(), 9) == (
        BookTop("kraken", "XMR-USD", 354.32, 6.87748868, 355.24, 27.19106411, 0, None, 9),
    )


def test_parse_spread_is_a_book_top_with_a_time(venue: KrakenV1) -> None:
    assert venue.parse(SPREAD.encode(), 9) == (
        BookTop(
            "kraken",
            "BTC-USD",
            5698.4,
            1.01234567,
            5700.0,
            0.98765432,
            0,
            1542057299545897000,
            9,
        ),
    )


def test_parse_book_in_two_parts_is_one_update(venue: KrakenV1) -> None:
    assert venue.parse(BOOK.encode(), 9) == (
        BookUpdate(
            "kraken",
            "BTC-USD",
            False,
            [(0.04299, 0.0)],
            [(0.04299, 364630.28272081)],
            None,
            None,
            None,
            1618678145920708000,
            9,
            4105471083,
            [("0.042990", "0.00000000")],
            [("0.042990", "364630.28272081")],
        ),
    )


def test_parse_book_snapshot_has_no_checksum(venue: KrakenV1) -> None:
    (book,) = venue.parse(SNAPSHOT.encode(), 9)
    assert isinstance(book, BookUpdate)
    assert (book.is_snapshot, book.checksum) == (True, None)
    assert (book.bids, book.asks) == ([(56218.2, 1.0)], [(56218.3, 0.15)])


@pytest.mark.parametrize(
    "frame",
    [
        b'{"event":"heartbeat"}',
        b'{"connectionID":18239578009413566319,"event":"systemStatus","status":"online"}',
        b'{"channelID":1665,"channelName":"trade","event":"subscriptionStatus",'
        b'"pair":"WAVES/EUR","status":"subscribed","subscription":{"name":"trade"}}',
        b'{"event":"pong","reqid":42}',
    ],
)
def test_parse_signs_of_life_are_heartbeats(venue: KrakenV1, frame: bytes) -> None:
    assert venue.parse(frame, 9) == (Heartbeat("kraken", None, 9),)


def test_parse_refusal_raises_venue_error(venue: KrakenV1) -> None:
    with pytest.raises(VenueError, match="kraken refused XBT/FOO: Currency pair not supported"):
        venue.parse(
            b'{"errorMessage":"Currency pair not supported","event":"subscriptionStatus",'
            b'"pair":"XBT/FOO","status":"error","subscription":{"name":"trade"}}',
            9,
        )


def test_parse_candles_of_the_stream_give_nothing(venue: KrakenV1) -> None:
    frame = b'[42,["1542057314.748456","1542057360.435743","3586.7"],"ohlc-5","XBT/USD"]'
    assert venue.parse(frame, 9) == ()


@pytest.mark.parametrize(
    ("frame", "old", "new", "kind"),
    [
        (TRADES, '"354.11000000"', '"0"', "bad_price"),
        (TRADES, '"354.11000000"', '"much"', "bad_field"),
        (TRADES, '"0.89594024"', '"-1"', "bad_amount"),
        (TRADES, '"s"', '"x"', "bad_field"),
        (TRADES, "1618678142.557535", "yesterday", "bad_field"),
        (TRADES, "1618678142.557535", "99999999999.5", "bad_field"),
        (TRADES, "XMR/USD", "FOO/USD", "unknown_symbol"),
        (TRADES, '"trade"', '"weather"', "unknown_message"),
        (TICKER, '"354.32000000"', '"-1"', "bad_price"),
        (SPREAD, '"1.01234567"', '"NaN"', "bad_amount"),
        (BOOK, '"364630.28272081"', '"-1"', "bad_amount"),
        (BOOK, '"4105471083"', '"4294967296"', "bad_field"),
        (BOOK, '"4105471083"', '"-1"', "bad_field"),
        # A book of another depth would have to be cut elsewhere.
        (BOOK, "book-1000", "book-10", "unknown_message"),
        (BOOK, '"XBT/USD"]', "", "not_json"),
    ],
)
def test_parse_bad_frame_raises_its_kind(
    venue: KrakenV1, frame: str, old: str, new: str, kind: str
) -> None:
    assert old in frame
    with pytest.raises(FrameError) as caught:
        venue.parse(frame.replace(old, new).encode(), 9)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    "frame",
    [
        b'["trade","XMR/USD"]',
        b'["book-1000","XBT/USD"]',
        b'[1,2,"book-1000","XBT/USD"]',
        b'{"event":"party"}',
        b"[1,2,3,4]",
    ],
)
def test_parse_what_nobody_knows_is_refused(venue: KrakenV1, frame: bytes) -> None:
    with pytest.raises(FrameError):
        venue.parse(frame, 9)


def test_names_are_the_old_ones_outside_only() -> None:
    adapter = KrakenV1(guess_symbols=True)
    assert adapter.symbol("DOGE-BTC") == "XDG/XBT"
    assert adapter.instrument_of("XDG/XBT") == "DOGE-BTC"


def test_a_recording_is_not_asked_for_anything() -> None:
    adapter = KrakenV1()
    assert adapter.subscribe(["BTC-USD"], ("book",)) == []
    assert adapter.resubscribe_book("BTC-USD") == []
    assert adapter.ping() is None
    assert adapter.trades_request(TradeRange("BTC-USD", 1, 9, 0, 5), None) is None
