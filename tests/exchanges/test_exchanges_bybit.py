from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.market import (
    BookTop,
    BookUpdate,
    Channel,
    Heartbeat,
    PerpetualTick,
    SymbolMetadata,
    Trade,
    TradeRange,
)
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, InstrumentError, VenueError
from engine.exchanges.base import RestRequest
from engine.exchanges.bybit import Bybit
from engine.exchanges.bybit_v2 import BybitV2

MS = 1_000_000
TRADE = (
    '{"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick",'
    '"i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"seq":1783284617}'
)
TRADES = (
    '{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[' + TRADE + "]}"
)
BOOK = (
    '{"topic":"orderbook.200.BTCUSDT","type":"delta","ts":1687940967466,"data":{"s":"BTCUSDT",'
    '"b":[["30247.20","30.028"],["30245.40","0"]],"a":[],"u":177400507,"seq":66544703342},'
    '"cts":1687940967464}'
)
TOP = (
    '{"topic":"orderbook.1.BTCUSDT","type":"snapshot","ts":1687940967466,"data":{"s":"BTCUSDT",'
    '"b":[["30247.20","30.028"]],"a":[["30248.70","1.5"]],"u":5,"seq":66544703342},'
    '"cts":1687940967464}'
)
TICKER = (
    '{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT",'
    '"tickDirection":"PlusTick","lastPrice":"17216.00","markPrice":"17217.33",'
    '"indexPrice":"17227.36","openInterest":"68744.761","nextFundingTime":"1673280000000",'
    '"fundingRate":"-0.000212","bid1Price":"17215.50","bid1Size":"84.489"},"cs":24987956059,'
    '"ts":1673272861686}'
)
REFUSAL = (
    '{"success":false,"ret_msg":"error:handler not found,topic:publicTrade.FOO",'
    '"conn_id":"2324d924","req_id":"","op":"subscribe"}'
)
PAST_TRADES = (
    '{"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[{"execId":"b","symbol":'
    '"BTCUSDT","price":"16618.49","size":"0.12","side":"Sell","time":"1672052955758",'
    '"isBlockTrade":false,"isRPITrade":false,"seq":"8"},{"execId":'
    '"20f43950-d8dd-5b31-9112-a178eb6023af","symbol":"BTCUSDT","price":"16578.50",'
    '"size":"0.001","side":"Buy","time":"1672304486865","isBlockTrade":false,'
    '"isRPITrade":false,"seq":"7"}]},"retExtInfo":{},"time":1672053054358}'
)
OLD_TRADE = (
    '{"topic":"trade.BCHUSDT","data":[{"symbol":"BCHUSDT","tick_direction":"MinusTick",'
    '"price":"1053.90","size":0.14,"timestamp":"2021-04-17T16:43:05.000Z","trade_time_ms":'
    '"1618677785116","side":"Buy","trade_id":"01cacfe9-8d1c-5ee4-995d-d79a43f955a6"}]}'
)
OLD_BOOK = (
    '{"topic":"orderBookL2_25.EOSUSD","type":"delta","data":{"delete":[{"price":"8.0","symbol":'
    '"EOSUSD","id":80000,"side":"Sell"}],"update":[{"price":"8","symbol":"EOSUSD","id":80000,'
    '"side":"Buy","size":16}],"insert":[{"price":"10","symbol":"EOSUSD","id":100000,"side":'
    '"Sell","size":5}],"transactTimeE6":0},"cross_seq":1225777225,'
    '"timestamp_e6":1618677786598877}'
)


@pytest.fixture
def linear() -> Bybit:
    adapter = Bybit()
    adapter.track(["BTC-USDT-PERP"])
    return adapter


def answer(**result: object) -> bytes:
    return json.dumps({"retCode": 0, "retMsg": "OK", "result": result}).encode()


# -- names and connections -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instrument", "symbol", "group"),
    [
        ("BTC-USDT", "BTCUSDT", "spot"),
        ("BTC-USDC", "BTCUSDC", "spot"),
        ("LUNA~2-USDT", "LUNAUSDT", "spot"),
        ("BTC-USDT-PERP", "BTCUSDT", "linear"),
        ("BTC-USDC-PERP", "BTCPERP", "linear"),
        ("1000PEPE-USDT-PERP", "1000PEPEUSDT", "linear"),
    ],
)
def test_symbol_and_group_follow_the_category(instrument: str, symbol: str, group: str) -> None:
    venue = Bybit()
    assert (venue.symbol(instrument), venue.group(instrument)) == (symbol, group)


@pytest.mark.parametrize("instrument", ["BTC-USD-PERP", "BTC-USDT-261225"])
def test_symbol_inverse_or_expiring_raises(instrument: str) -> None:
    with pytest.raises(InstrumentError, match="linear perpetuals only"):
        Bybit().symbol(instrument)


@pytest.mark.parametrize(
    ("symbol", "instrument"),
    [
        ("BTCUSDT", "BTC-USDT"),
        ("BTCPERP", "BTC-USDC-PERP"),
        ("PERP", None),
        ("PERPUSDT", "PERP-USDT"),
        ("BTC-26DEC25", None),
    ],
)
def test_guess_instrument_takes_spot_unless_the_name_says_perp(
    symbol: str, instrument: str | None
) -> None:
    assert Bybit().guess_instrument(symbol) == instrument


def test_url_has_the_category() -> None:
    venue = Bybit()
    assert venue.url("ws://h:1/", ["BTC-USDT"], ("trades",)) == "ws://h:1/v5/public/spot"
    perpetuals = ["BTC-USDT-PERP", "ETH-USDC-PERP"]
    assert venue.url(venue.ws_url, perpetuals, ("trades",)) == (
        "wss://stream.bybit.com/v5/public/linear"
    )


def test_url_of_both_categories_raises() -> None:
    with pytest.raises(VenueError, match="one for each group"):
        Bybit().url("ws://h", ["BTC-USDT", "BTC-USDT-PERP"], ("trades",))


def test_subscribe_sends_each_instrument_alone_so_that_a_refusal_hits_no_other() -> None:
    channels: tuple[Channel, ...] = ("trades", "book", "perpetual")
    messages = Bybit().subscribe(["BTC-USDT", "GONE-USDT"], channels)
    assert [json.loads(message) for message in messages] == [
        {"op": "subscribe", "args": ["publicTrade.BTCUSDT", "orderbook.200.BTCUSDT"]},
        {"op": "subscribe", "args": ["publicTrade.GONEUSDT", "orderbook.200.GONEUSDT"]},
    ]


def test_subscribe_spot_has_nothing_of_perpetuals() -> None:
    assert Bybit().subscribe(["BTC-USDT"], ("perpetual",)) == []


def test_subscribe_linear_asks_for_every_channel() -> None:
    (message,) = Bybit().subscribe(["BTC-USDC-PERP"], ("trades", "book_top", "book", "perpetual"))
    assert json.loads(message) == {
        "op": "subscribe",
        "args": [
            "publicTrade.BTCPERP",
            "orderbook.1.BTCPERP",
            "orderbook.200.BTCPERP",
            "tickers.BTCPERP",
        ],
    }


def test_subscriptions_of_a_full_connection_stay_below_the_venues_length() -> None:
    most = Bybit.limits.streams_per_connection
    instruments = [f"LONGNAME{number:04}-USDT-PERP" for number in range(most)]
    sent = [json.loads(message)["args"] for message in Bybit().subscribe(instruments, ("book",))]
    assert sum(map(len, sent)) == most
    assert len(json.dumps([topic for topics in sent for topic in topics])) < 21_000


def test_resubscribe_book_leaves_and_comes_back() -> None:
    leave, come = map(json.loads, Bybit().resubscribe_book("BTC-USDT"))
    assert leave == {"op": "unsubscribe", "args": ["orderbook.200.BTCUSDT"]}
    assert come == {"op": "subscribe", "args": ["orderbook.200.BTCUSDT"]}


# -- frames --------------------------------------------------------------------------------------


def test_parse_trade_is_exact(linear: Bybit) -> None:
    assert list(linear.parse(TRADES.encode(), 9)) == [
        Trade(
            "bybit",
            "BTC-USDT-PERP",
            "20f43950-d8dd-5b31-9112-a178eb6023af",
            0,
            16578.5,
            0.001,
            "buy",
            1672304486865 * MS,
            9,
        )
    ]
    assert not linear.counts_trades


def test_parse_several_trades_of_a_frame_come_in_its_order(linear: Bybit) -> None:
    frame = TRADES.replace(TRADE, f"{TRADE},{TRADE.replace('20f43950', '30f43950')}")
    first, second = linear.parse(frame.encode(), 9)
    assert (first.trade_id[:2], second.trade_id[:2]) == ("20", "30")


@pytest.mark.parametrize("flag", ['"BT":true', '"BT":false,"RPI":true'])
def test_parse_block_and_rpi_trades_are_trades(linear: Bybit, flag: str) -> None:
    (trade,) = linear.parse(TRADES.replace('"BT":false', flag).encode(), 9)
    assert trade.amount == 0.001


def test_parse_keys_in_another_order_reads_the_same(linear: Bybit) -> None:
    for frame in (TRADES, BOOK, TICKER):
        turned = json.dumps(dict(reversed(json.loads(frame).items())), separators=(",", ":"))
        assert not turned.startswith('{"topic"')
        assert list(linear.parse(turned.encode(), 9)) == list(linear.parse(frame.encode(), 9))


def test_parse_book_delta_chains_by_its_number(linear: Bybit) -> None:
    assert linear.parse(BOOK.encode(), 9) == (
        BookUpdate(
            "bybit",
            "BTC-USDT-PERP",
            False,
            [(30247.2, 30.028), (30245.4, 0.0)],
            [],
            177400507,
            177400507,
            None,
            1687940967464 * MS,
            9,
        ),
    )


def test_parse_book_without_matching_time_takes_the_message_s(linear: Bybit) -> None:
    (update,) = linear.parse(BOOK.replace(',"cts":1687940967464', "").encode(), 9)
    assert update.exchange_time == 1687940967466 * MS


@pytest.mark.parametrize(("old", "new"), [('"delta"', '"snapshot"'), ('"u":177400507', '"u":1')])
def test_parse_book_snapshot_or_number_one_starts_anew(linear: Bybit, old: str, new: str) -> None:
    (update,) = linear.parse(BOOK.replace(old, new).encode(), 9)
    assert update.is_snapshot


def test_parse_top_snapshot_gives_both_sides(linear: Bybit) -> None:
    assert linear.parse(TOP.encode(), 9) == (
        BookTop(
            "bybit",
            "BTC-USDT-PERP",
            30247.2,
            30.028,
            30248.7,
            1.5,
            5,
            1687940967464 * MS,
            9,
        ),
    )


def top_change(number: int, bids: list[list[str]], asks: list[list[str]]) -> bytes:
    frame = json.loads(TOP)
    frame["type"] = "delta"
    frame["data"] |= {"b": bids, "a": asks, "u": number}
    return json.dumps(frame, separators=(",", ":")).encode()


def test_parse_top_delta_changes_one_side(linear: Bybit) -> None:
    linear.parse(TOP.encode(), 9)
    (amount,) = linear.parse(top_change(6, [["30247.20", "2"]], []), 9)
    assert (amount.bid_price, amount.bid_amount, amount.ask_price) == (30247.2, 2.0, 30248.7)
    (moved,) = linear.parse(top_change(7, [], [["30248.70", "0"], ["30249.00", "3"]]), 9)
    assert (moved.bid_amount, moved.ask_price, moved.ask_amount) == (2.0, 30249.0, 3.0)
    assert moved.sequence == 7
    assert linear.parse(top_change(8, [["30247.20", "0"]], []), 9) == ()
    (back,) = linear.parse(top_change(9, [["30240.00", "1"]], []), 9)
    assert (back.bid_price, back.ask_price) == (30240.0, 30249.0)


def test_parse_top_delta_before_any_snapshot_gives_nothing(linear: Bybit) -> None:
    assert linear.parse(top_change(6, [["30247.20", "2"]], []), 9) == ()


def test_parse_top_snapshot_forgets_what_was(linear: Bybit) -> None:
    linear.parse(TOP.encode(), 9)
    emptied = TOP.replace('"a":[["30248.70","1.5"]]', '"a":[]')
    assert linear.parse(emptied.encode(), 9) == ()


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(1, 5), st.integers(1, 9)), min_size=1, max_size=20
    )
)
def test_parse_top_deltas_equal_snapshots(moves: list[tuple[bool, int, int]]) -> None:
    """Whether the venue says what changed or says all, the same best prices come out."""
    by_change, by_whole = Bybit(guess_symbols=True), Bybit(guess_symbols=True)
    by_change.parse(TOP.encode(), 9)
    best = {True: ("30247.20", "30.028"), False: ("30248.70", "1.5")}
    for number, (is_bid, price, amount) in enumerate(moves, 6):
        level = (f"{30000 + price if is_bid else 31000 + price}.0", str(amount))
        change = [list(level)]
        if float(best[is_bid][0]) != float(level[0]):
            change.insert(0, [best[is_bid][0], "0"])
        best[is_bid] = level
        changed = by_change.parse(
            top_change(number, change if is_bid else [], [] if is_bid else change), 9
        )
        whole = json.loads(top_change(number, [list(best[True])], [list(best[False])]))
        whole["type"] = "snapshot"
        assert changed == by_whole.parse(json.dumps(whole).encode(), 9)


def test_parse_ticker_snapshot_tells_all(linear: Bybit) -> None:
    assert linear.parse(TICKER.encode(), 9) == (
        PerpetualTick(
            "bybit",
            "BTC-USDT-PERP",
            17217.33,
            17227.36,
            -0.000212,
            1673280000000 * MS,
            68744.761,
            1673272861686 * MS,
            9,
        ),
    )


def ticker(**fields: str) -> bytes:
    frame = json.loads(TICKER)
    frame |= {"type": "delta", "data": {"symbol": "BTCUSDT", **fields}}
    return json.dumps(frame, separators=(",", ":")).encode()


def test_parse_ticker_delta_tells_what_changed(linear: Bybit) -> None:
    (tick,) = linear.parse(ticker(fundingRate="0", nextFundingTime=""), 9)
    assert (tick.funding_rate, tick.next_funding_time, tick.mark_price) == (0.0, None, None)


@pytest.mark.parametrize("fields", [{}, {"lastPrice": "5"}, {"markPrice": "", "fundingRate": ""}])
def test_parse_ticker_without_news_gives_nothing(linear: Bybit, fields: dict[str, str]) -> None:
    assert linear.parse(ticker(**fields), 9) == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"markPrice": "0"},
        {"indexPrice": "nan"},
        {"fundingRate": "1"},
        {"openInterest": "-1"},
        {"nextFundingTime": "9999999999999"},
        {"markPrice": "x"},
    ],
)
def test_parse_ticker_with_an_impossible_number_is_refused(
    linear: Bybit, fields: dict[str, str]
) -> None:
    with pytest.raises(FrameError) as caught:
        linear.parse(ticker(**fields), 9)
    assert caught.value.kind == "bad_field"


@pytest.mark.parametrize(
    "frame",
    [
        b'{"success":true,"ret_msg":"pong","conn_id":"465772b1","req_id":"","op":"ping"}',
        b'{"success":true,"ret_msg":"","conn_id":"2324d924","req_id":"","op":"subscribe"}',
        b'{"args":["1675418560633"],"conn_id":"cfcb4ocsvfriu23r3er0-1b","op":"pong"}',
    ],
)
def test_parse_answers_are_heartbeats(linear: Bybit, frame: bytes) -> None:
    assert linear.parse(frame, 9) == (Heartbeat("bybit", None, 9),)


def test_parse_refusal_raises_venue_error(linear: Bybit) -> None:
    with pytest.raises(VenueError, match=r"handler not found,topic:publicTrade\.FOO"):
        linear.parse(REFUSAL.encode(), 9)


def test_parse_topic_that_we_know_and_do_not_want_gives_nothing(linear: Bybit) -> None:
    assert linear.parse(b'{"topic":"kline.5.BTCUSDT","data":[]}', 9) == ()


@pytest.mark.parametrize(
    ("frame", "old", "new", "kind"),
    [
        (TRADES, "16578.50", "0", "bad_price"),
        (TRADES, "16578.50", "NaN", "bad_price"),
        (TRADES, '"0.001"', '"-1"', "bad_amount"),
        (TRADES, '"Buy"', '"buy"', "bad_field"),
        (TRADES, "20f43950-d8dd-5b31-9112-a178eb6023af", "", "bad_field"),
        (TRADES, "1672304486865", "-5", "bad_field"),
        (TRADES, "publicTrade.BTC", "publicTrade.FOO", "unknown_symbol"),
        (TRADES, "publicTrade.BTC", "weather.BTC", "unknown_message"),
        (TRADES, "}]}", "}", "not_json"),
        (BOOK, '"30247.20"', '"0"', "bad_price"),
        (BOOK, '"30.028"', '"-1"', "bad_amount"),
        (BOOK, "177400507", "9223372036854775808", "bad_field"),
        (BOOK, "orderbook.200.BTC", "orderbook.200.FOO", "unknown_symbol"),
        (TOP, '"snapshot"', '"other"', "bad_field"),
    ],
)
def test_parse_damage_raises_its_kind(
    linear: Bybit, frame: str, old: str, new: str, kind: str
) -> None:
    assert old in frame
    with pytest.raises(FrameError) as caught:
        linear.parse(frame.replace(old, new).encode(), 9)
    assert caught.value.kind == kind


def test_parse_one_bad_trade_of_two_takes_neither(linear: Bybit) -> None:
    bad = TRADE.replace('"0.001"', '"0"')
    with pytest.raises(FrameError) as caught:
        linear.parse(TRADES.replace(TRADE, f"{TRADE},{bad}").encode(), 9)
    assert caught.value.kind == "bad_amount"


def test_parse_after_a_relisting_names_the_new_instrument(linear: Bybit) -> None:
    (before,) = linear.parse(TRADES.encode(), 9)
    linear.track(["BTC~2-USDT-PERP"])
    (after,) = linear.parse(TRADES.encode(), 9)
    assert (before.instrument, after.instrument) == ("BTC-USDT-PERP", "BTC~2-USDT-PERP")


# -- REST ----------------------------------------------------------------------------------------


def test_metadata_requests_are_paged_by_cursor() -> None:
    venue = Bybit()
    spot, linear = venue.metadata_requests()
    assert spot.params == (("category", "spot"),)
    page = answer(category="linear", list=[], nextPageCursor="first%3DA")
    second = venue.next_metadata_request(linear, page)
    assert second is not None
    assert second.params == (("category", "linear"), ("limit", "1000"), ("cursor", "first%3DA"))
    third = venue.next_metadata_request(second, page.replace(b"3DA", b"3DB"))
    assert third is not None
    assert third.params[-1] == ("cursor", "first%3DB")
    assert len(third.params) == 3
    assert venue.next_metadata_request(third, answer(category="linear", nextPageCursor="")) is None
    assert venue.next_metadata_request(spot, answer(category="spot", list=[])) is None


LISTED = {
    "symbol": "BTCUSDT",
    "contractType": "LinearPerpetual",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "launchTime": "1585526400000",
    "deliveryTime": "0",
    "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
    "lotSizeFilter": {"maxOrderQty": "1190.000", "minOrderQty": "0.001", "qtyStep": "0.001"},
}


def test_metadata_of_linear_contracts_takes_perpetuals() -> None:
    ending = LISTED | {"symbol": "BTCPERP", "quoteCoin": "USDC", "deliveryTime": "1700000000000"}
    waiting = LISTED | {"symbol": "ETHUSDT", "baseCoin": "ETH", "status": "PreLaunch"}
    future = LISTED | {"symbol": "BTC-26DEC25", "contractType": "LinearFutures"}
    strange = LISTED | {"symbol": "FOOBAR"}
    body = answer(category="linear", list=[LISTED, ending, waiting, future, strange])
    start = 1585526400000 * MS
    assert Bybit().parse_metadata(body) == [
        SymbolMetadata("bybit", "BTC-USDT-PERP", "BTCUSDT", "trading", 0.1, 0.001, start),
        SymbolMetadata(
            "bybit",
            "BTC-USDC-PERP",
            "BTCPERP",
            "trading",
            0.1,
            0.001,
            start,
            1700000000000 * MS,
        ),
        SymbolMetadata("bybit", "ETH-USDT-PERP", "ETHUSDT", "halted", 0.1, 0.001, start),
    ]


def test_metadata_of_spot_has_no_times() -> None:
    spot = {
        "symbol": "BTCUSDT",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "status": "Trading",
        "lotSizeFilter": {"basePrecision": "0.000001", "quotePrecision": "0.0000001"},
        "priceFilter": {"tickSize": "0.01"},
    }
    assert Bybit().parse_metadata(answer(category="spot", list=[spot])) == [
        SymbolMetadata("bybit", "BTC-USDT", "BTCUSDT", "trading", 0.01, 1e-6)
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b'{"retCode":10006,"retMsg":"Too many visits!","result":{}}',
        answer(category="linear", list=[LISTED | {"launchTime": "soon"}]),
    ],
)
def test_metadata_error_raises_venue_error(body: bytes) -> None:
    with pytest.raises(VenueError, match="bybit"):
        Bybit().parse_metadata(body)


@pytest.mark.parametrize(
    ("instrument", "category", "limit"),
    [("BTC-USDT", "spot", "60"), ("BTC-USDT-PERP", "linear", "1000")],
)
def test_trades_request_is_one(instrument: str, category: str, limit: str) -> None:
    wanted = TradeRange(instrument, None, None, 0, 10)
    request = Bybit().trades_request(wanted, None)
    assert request == RestRequest(
        "/v5/market/recent-trade",
        (("category", category), ("symbol", "BTCUSDT"), ("limit", limit)),
    )
    assert Bybit().trades_request(wanted, []) is None


def test_parse_trades_equals_the_stream(linear: Bybit) -> None:
    earlier, later = linear.parse_trades(PAST_TRADES.encode(), "BTC-USDT-PERP", 9)
    assert [earlier] == list(linear.parse(TRADES.encode(), 9))
    assert (later.trade_id, later.side, later.amount) == ("b", "sell", 0.12)


@pytest.mark.parametrize(("old", "new"), [("16618.49", "0"), ('"b"', '""'), ("16618.49", "x")])
def test_parse_trades_damage_raises_venue_error(linear: Bybit, old: str, new: str) -> None:
    with pytest.raises(VenueError, match="bybit"):
        linear.parse_trades(PAST_TRADES.replace(old, new).encode(), "BTC-USDT-PERP", 9)


def test_candle_requests_are_spans_of_a_thousand() -> None:
    minute = Timeframe.M1.ns
    first, second = Bybit().candle_requests("BTC-USDT-PERP", Timeframe.M1, 0, 1001 * minute)
    assert first == RestRequest(
        "/v5/market/kline",
        (
            ("category", "linear"),
            ("symbol", "BTCUSDT"),
            ("interval", "1"),
            ("start", "0"),
            ("end", str(60_000_000 - 1)),
            ("limit", "1000"),
        ),
    )
    assert second.params[3:5] == (("start", "60000000"), ("end", "60059999"))
    assert Bybit().candle_requests("BTC-USDT", Timeframe.S1, 0, minute) == []


def test_parse_candles_turns_them_round_and_leaves_out_empty_ones() -> None:
    rows = [
        ["120000", "3", "3", "3", "3", "0", "0"],
        ["60000", "2.0", "4.0", "1.0", "3.0", "2.5", "7.5"],
        ["0", "2", "2", "2", "2", "1", "2"],
    ]
    body = answer(symbol="BTCUSDT", category="spot", list=rows)
    first, second = Bybit().parse_candles(body, "BTC-USDT", Timeframe.M1, 100 * 10**9)
    assert (first.open_time, first.is_closed, second.is_closed) == (0, True, False)
    assert (second.open, second.high, second.low, second.close) == (2.0, 4.0, 1.0, 3.0)
    assert (second.volume, second.quote_volume, second.vwap) == (2.5, 7.5, 3.0)
    assert second.trade_count is None


# -- the old dialect -----------------------------------------------------------------------------


@pytest.fixture
def old() -> BybitV2:
    adapter = BybitV2()
    assert adapter.subscribe(["BCH-USDT-PERP", "EOS-USD-PERP"], ("trades", "book")) == []
    return adapter


def test_v2_trade_is_exact(old: BybitV2) -> None:
    assert old.parse(OLD_TRADE.encode(), 9) == [
        Trade(
            "bybit",
            "BCH-USDT-PERP",
            "01cacfe9-8d1c-5ee4-995d-d79a43f955a6",
            0,
            1053.9,
            0.14,
            "buy",
            1618677785116 * MS,
            9,
        )
    ]


def test_v2_book_deletes_updates_inserts_in_base_currency(old: BybitV2) -> None:
    assert old.parse(OLD_BOOK.encode(), 9) == (
        BookUpdate(
            "bybit",
            "EOS-USD-PERP",
            False,
            [(8.0, 2.0)],
            [(8.0, 0.0), (10.0, 0.5)],
            None,
            1225777225,
            None,
            1618677786598877000,
            9,
        ),
    )


@pytest.mark.parametrize(
    "data", ['{"order_book":[ROW]}', "[ROW]"], ids=["linear's form", "inverse's form"]
)
def test_v2_snapshot_of_either_form_is_whole(old: BybitV2, data: str) -> None:
    row = '{"price":"1053.05","symbol":"BCHUSDT","id":"10530500","side":"Buy","size":2.63}'
    frame = (
        '{"topic":"orderBookL2_25.BCHUSDT","type":"snapshot","data":'
        + data.replace("ROW", row)
        + ',"cross_seq":"864131773","timestamp_e6":"1618677786389362"}'
    )
    (update,) = old.parse(frame.encode(), 9)
    assert (update.is_snapshot, update.bids, update.asks) == (True, [(1053.05, 2.63)], [])


@pytest.mark.parametrize(
    ("symbol", "instrument"),
    [("BTCUSD", "BTC-USD-PERP"), ("BNBUSD", "BNB-USD-PERP"), ("XRPUSDT", "XRP-USDT-PERP")],
)
def test_v2_symbols_are_perpetuals(symbol: str, instrument: str) -> None:
    venue = BybitV2()
    assert venue.guess_instrument(symbol) == instrument
    assert venue.symbol(instrument) == symbol


@pytest.mark.parametrize("instrument", ["BTC-USDT", "BTC-USDC-PERP", "BTC-USDT-210625"])
def test_v2_symbol_of_what_it_had_not_raises(instrument: str) -> None:
    with pytest.raises(InstrumentError, match="version 2 of bybit"):
        BybitV2().symbol(instrument)


@pytest.mark.parametrize(
    ("frame", "old_text", "new", "kind"),
    [
        (OLD_BOOK, '"size":16', '"size":0', "bad_field"),
        (OLD_BOOK, ',"size":16', "", "bad_field"),
        (OLD_BOOK, '"price":"8"', '"price":"1e-17"', "bad_amount"),
        (OLD_TRADE, "1053.90", "-1", "bad_field"),
        (OLD_TRADE, "0.14", "0", "bad_field"),
        (OLD_TRADE, '"topic":"trade', '"topic":"weather', "unknown_message"),
    ],
)
def test_v2_damage_raises_its_kind(
    old: BybitV2, frame: str, old_text: str, new: str, kind: str
) -> None:
    assert old_text in frame
    with pytest.raises(FrameError) as caught:
        old.parse(frame.replace(old_text, new).encode(), 9)
    assert caught.value.kind == kind


def test_v2_answers(old: BybitV2) -> None:
    assert old.parse(b'{"success":true,"ret_msg":"","request":{"op":"subscribe"}}', 9) == (
        Heartbeat("bybit", None, 9),
    )
    assert old.parse(b'{"topic":"instrument_info.100ms.BTCUSD","data":{}}', 9) == ()
    with pytest.raises(VenueError, match="bybit refused a message: nope"):
        old.parse(b'{"success":false,"ret_msg":"nope"}', 9)
