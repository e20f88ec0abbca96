from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.market import (
    BookTop,
    BookUpdate,
    Heartbeat,
    LevelText,
    PerpetualTick,
    SymbolMetadata,
    Trade,
    TradeRange,
)
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, InstrumentError, VenueError
from engine.exchanges.base import RestRequest
from engine.exchanges.okx import Okx

MS = 1_000_000
TRADE = (
    '{"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT",'
    '"tradeId":"242720720","px":"29963.2","sz":"0.00001","side":"sell","source":"0",'
    '"ts":"1654161646974"}]}'
)
TOP = (
    '{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT-SWAP"},"data":[{"asks":[["111.06","55154",'
    '"0","2"]],"bids":[["111.05","57745","0","2"]],"ts":"1670324386802","seqId":363996337}]}'
)
BOOK = (
    '{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[["8476.98",'
    '"415","0","13"],["8477","0","0","0"]],"bids":[["8476.97","256","0","12"]],'
    '"ts":"1597026383085","checksum":0,"prevSeqId":123456,"seqId":123457}]}'
)
FUNDING = (
    '{"arg":{"channel":"funding-rate","instId":"BTC-USDT-SWAP"},"data":[{"fundingRate":'
    '"0.0000875","fundingTime":"1700726400000","instId":"BTC-USDT-SWAP","instType":"SWAP",'
    '"nextFundingRate":"","nextFundingTime":"1700755200000","ts":"1700724675402"}]}'
)
MARK = (
    '{"arg":{"channel":"mark-price","instId":"BTC-USDT-SWAP"},"data":[{"instType":"SWAP",'
    '"instId":"BTC-USDT-SWAP","markPx":"42310.6","ts":"1630049139746"}]}'
)
INTEREST = (
    '{"arg":{"channel":"open-interest","instId":"BTC-USDT-SWAP"},"data":[{"instType":"SWAP",'
    '"instId":"BTC-USDT-SWAP","oi":"2216113.01","oiCcy":"22161.1301","oiUsd":"1939251795",'
    '"ts":"1743041250440"}]}'
)
INDEX = (
    '{"arg":{"channel":"index-tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT",'
    '"idxPx":"42300.1","high24h":"42500","low24h":"41000","ts":"1597026383085"}]}'
)
REFUSAL = (
    '{"event":"error","code":"60018","msg":"Wrong URL or channel:trades,instId:FOO-USDT '
    'doesn\'t exist","connId":"a4d3ae55"}'
)
PAST_TRADES = (
    '{"code":"0","msg":"","data":[{"instId":"BTC-USDT","side":"buy","sz":"0.5","source":"1",'
    '"px":"29964.1","tradeId":"242720721","ts":"1654161646974"},{"instId":"BTC-USDT","side":"sell",'
    '"sz":"0.00001","source":"0","px":"29963.2","tradeId":"242720720","ts":"1654161646974"}]}'
)


@pytest.fixture
def venue() -> Okx:
    adapter = Okx()
    adapter.track(["BTC-USDT", "BTC-USDT-PERP", "UNI-USD-PERP", "BTC-USD-220527"])
    adapter.contract_sizes["BTC-USDT-PERP"] = 0.01
    return adapter


def answer(*data: object) -> bytes:
    return json.dumps({"code": "0", "msg": "", "data": data}).encode()


# -- names and connections -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instrument", "symbol"),
    [
        ("BTC-USDT", "BTC-USDT"),
        ("BTC-USDT-PERP", "BTC-USDT-SWAP"),
        ("BTC-USD-220527", "BTC-USD-220527"),
    ],
)
def test_symbol_and_back(instrument: str, symbol: str) -> None:
    assert Okx().symbol(instrument) == symbol
    assert Okx().guess_instrument(symbol) == instrument


def test_symbol_of_a_later_generation_is_the_venues() -> None:
    assert Okx().symbol("LUNA~2-USDT-PERP") == "LUNA-USDT-SWAP"


@pytest.mark.parametrize("symbol", ["BTC-USD_UM-SWAP", "BTC-USD-220514-22000-C", "BTC", ""])
def test_guess_instrument_of_what_has_no_name_is_none(symbol: str) -> None:
    assert Okx().guess_instrument(symbol) is None


def test_symbol_malformed_raises() -> None:
    with pytest.raises(InstrumentError):
        Okx().symbol("BTC/USDT")


def test_url_of_trades_is_another_than_of_the_rest() -> None:
    venue = Okx()
    assert venue.url("ws://h:1/", [], ("trades",)) == "ws://h:1/ws/v5/business"
    others = ("book_top", "book", "perpetual")
    assert venue.url(venue.ws_url, [], others) == "wss://ws.okx.com:8443/ws/v5/public"
    assert {venue.channel_group(channel) for channel in others} == {"public"}
    assert venue.channel_group("trades") == "business"


@pytest.mark.parametrize("channels", [("trades", "book_top"), ()])
def test_url_of_mixed_channels_raises(channels: tuple[str, ...]) -> None:
    with pytest.raises(VenueError, match="open one for each channel_group"):
        Okx().url("ws://h", ["BTC-USDT"], channels)  # type: ignore[arg-type]


def test_subscribe_asks_for_each_channel_of_a_swap() -> None:
    (message,) = Okx().subscribe(["BTC-USDT-PERP"], ("book_top", "book", "perpetual"))
    assert json.loads(message) == {
        "op": "subscribe",
        "args": [
            {"channel": "bbo-tbt", "instId": "BTC-USDT-SWAP"},
            {"channel": "books", "instId": "BTC-USDT-SWAP"},
            {"channel": "funding-rate", "instId": "BTC-USDT-SWAP"},
            {"channel": "mark-price", "instId": "BTC-USDT-SWAP"},
            {"channel": "open-interest", "instId": "BTC-USDT-SWAP"},
            {"channel": "index-tickers", "instId": "BTC-USDT"},
        ],
    }


def test_subscribe_spot_has_nothing_of_perpetuals() -> None:
    assert Okx().subscribe(["BTC-USDT"], ("perpetual",)) == []


def test_subscribe_cuts_into_hundreds_below_64_kilobytes() -> None:
    instruments = [f"LONGNAME{number}-USDT-PERP" for number in range(250)]
    messages = Okx().subscribe(instruments, ("trades",))
    assert [len(json.loads(message)["args"]) for message in messages] == [100, 100, 50]
    assert sum(map(len, messages)) < 65_536
    assert json.loads(messages[0])["args"][0] == {
        "channel": "trades-all",
        "instId": "LONGNAME0-USDT-SWAP",
    }


def test_resubscribe_book_leaves_and_comes_back() -> None:
    leave, come = map(json.loads, Okx().resubscribe_book("BTC-USDT"))
    book = [{"channel": "books", "instId": "BTC-USDT"}]
    assert (leave, come) == ({"op": "unsubscribe", "args": book}, {"op": "subscribe", "args": book})


# -- frames --------------------------------------------------------------------------------------


def test_parse_trade_is_exact(venue: Okx) -> None:
    assert list(venue.parse(TRADE.encode(), 9)) == [
        Trade(
            "okx",
            "BTC-USDT",
            "242720720",
            242720720,
            29963.2,
            0.00001,
            "sell",
            1654161646974 * MS,
            9,
        )
    ]
    assert venue.counts_trades


def test_parse_several_trades_of_a_frame_come_in_its_order(venue: Okx) -> None:
    one = TRADE[TRADE.index("[") + 1 : -2]
    frame = TRADE.replace(one, f"{one},{one.replace('242720720', '242720721')}")
    assert [event.sequence for event in venue.parse(frame.encode(), 9)] == [242720720, 242720721]


@pytest.mark.parametrize(
    ("symbol", "instrument", "amount"),
    [
        ("BTC-USDT", "BTC-USDT", 250.0),
        ("BTC-USDT-SWAP", "BTC-USDT-PERP", 2.5),
        ("UNI-USD-SWAP", "UNI-USD-PERP", 50.0),
        ("BTC-USD-220527", "BTC-USD-220527", 500.0),
    ],
)
def test_parse_trade_amount_is_in_base_currency(
    venue: Okx, symbol: str, instrument: str, amount: float
) -> None:
    frame = TRADE.replace("BTC-USDT", symbol).replace("29963.2", "50").replace("0.00001", "250")
    (trade,) = venue.parse(frame.encode(), 9)
    assert (trade.instrument, trade.amount) == (instrument, amount)


def test_parse_merged_trades_of_a_recording_are_read_by_their_last_id(venue: Okx) -> None:
    frame = TRADE.replace("trades-all", "trades").replace('"source"', '"count":"3","source"')
    assert venue.parse(frame.encode(), 9) == venue.parse(TRADE.encode(), 9)


def test_parse_keys_in_another_order_reads_the_same(venue: Okx) -> None:
    for frame in (TRADE, TOP, BOOK, FUNDING):
        turned = json.dumps(dict(reversed(json.loads(frame).items())), separators=(",", ":"))
        assert not turned.startswith('{"arg"')
        assert list(venue.parse(turned.encode(), 9)) == list(venue.parse(frame.encode(), 9))


def test_parse_top_is_in_base_currency(venue: Okx) -> None:
    assert venue.parse(TOP.encode(), 9) == [
        BookTop(
            "okx",
            "BTC-USDT-PERP",
            111.05,
            57745 * 0.01,
            111.06,
            55154 * 0.01,
            363996337,
            1670324386802 * MS,
            9,
        )
    ]


def test_parse_top_with_an_empty_side_gives_nothing(venue: Okx) -> None:
    frame = TOP.replace('[["111.06","55154","0","2"]]', "[]")
    assert list(venue.parse(frame.encode(), 9)) == []


def test_parse_book_update_names_the_one_before(venue: Okx) -> None:
    assert list(venue.parse(BOOK.encode(), 9)) == [
        BookUpdate(
            "okx",
            "BTC-USDT",
            False,
            [(8476.97, 256.0)],
            [(8476.98, 415.0), (8477.0, 0.0)],
            None,
            123457,
            123456,
            1597026383085 * MS,
            9,
        )
    ]


@pytest.mark.parametrize(
    ("symbol", "bids"),
    [
        ("BTC-USDT-SWAP", [(8476.97, 256 * 0.01)]),
        ("UNI-USD-SWAP", [(8476.97, 256 * 10 / 8476.97)]),
        ("BTC-USD-220527", [(8476.97, 256 * 100 / 8476.97)]),
    ],
)
def test_parse_book_amounts_are_in_base_currency(
    venue: Okx, symbol: str, bids: list[tuple[float, float]]
) -> None:
    (update,) = venue.parse(BOOK.replace("BTC-USDT", symbol).encode(), 9)
    assert update.bids == bids
    assert update.asks[1] == (8477.0, 0.0)


def test_parse_book_snapshot_follows_nothing(venue: Okx) -> None:
    frame = BOOK.replace('"update"', '"snapshot"').replace("123456", "-1")
    (update,) = venue.parse(frame.encode(), 9)
    assert (update.is_snapshot, update.previous_sequence, update.last_sequence) == (
        True,
        None,
        123457,
    )


def test_parse_book_sign_of_life_is_an_empty_update(venue: Okx) -> None:
    frame = (
        '{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],'
        '"bids":[],"ts":"1597026383085","checksum":0,"prevSeqId":15,"seqId":15}]}'
    )
    (update,) = venue.parse(frame.encode(), 9)
    assert (update.bids, update.asks, update.previous_sequence, update.last_sequence) == (
        [],
        [],
        15,
        15,
    )


@pytest.mark.parametrize("given", ['"checksum":0,', ""])
def test_parse_book_checksum_of_zero_or_none_is_none(venue: Okx, given: str) -> None:
    (update,) = venue.parse(BOOK.replace('"checksum":0,', given).encode(), 9)
    assert (update.checksum, update.bid_texts, update.ask_texts) == (None, [], [])


def test_parse_book_checksum_is_unsigned_and_brings_the_digits(venue: Okx) -> None:
    frame = BOOK.replace('"checksum":0', '"checksum":-855196043').replace("8477", "8477.00")
    (update,) = venue.parse(frame.encode(), 9)
    assert update.checksum == 2**32 - 855196043
    assert update.bid_texts == [("8476.97", "256")]
    assert update.ask_texts == [("8476.98", "415"), ("8477.00", "0")]


def test_parse_book_of_2022_has_no_numbers(venue: Okx) -> None:
    frame = BOOK.replace(',"prevSeqId":123456,"seqId":123457', "")
    (update,) = venue.parse(frame.encode(), 9)
    assert (update.first_sequence, update.last_sequence, update.previous_sequence) == (None,) * 3


TEXTS = st.lists(st.tuples(st.just("3366.10"), st.sampled_from(["7", "0.5"])), max_size=4)


@given(TEXTS, TEXTS)
def test_checksum_alternates_and_goes_on_with_the_longer_side(
    bids: list[LevelText], asks: list[LevelText]
) -> None:
    parts: list[str] = []
    for rank in range(4):
        for side in (bids, asks):
            parts += side[rank] if rank < len(side) else ()
    assert Okx().checksum(bids, asks) == zlib.crc32(":".join(parts).encode())


def test_checksum_of_the_documentation_s_example() -> None:
    bids = [("3366.1", "7"), ("3366", "6")]
    asks = [("3366.8", "9"), ("3368", "8")]
    assert Okx().checksum(bids, asks) == zlib.crc32(b"3366.1:7:3366.8:9:3366:6:3368:8")


@pytest.mark.parametrize(
    ("frame", "values", "time_ms"),
    [
        (FUNDING, (None, None, 0.0000875, 1700726400000 * MS, None), 1700724675402),
        (MARK, (42310.6, None, None, None, None), 1630049139746),
        (INTEREST, (None, None, None, None, 22161.1301), 1743041250440),
        (INDEX, (None, 42300.1, None, None, None), 1597026383085),
    ],
)
def test_parse_tick_of_a_perpetual_tells_its_part(
    venue: Okx, frame: str, values: tuple[float | None, ...], time_ms: int
) -> None:
    assert venue.parse(frame.encode(), 9) == [
        PerpetualTick("okx", "BTC-USDT-PERP", *values, time_ms * MS, 9)  # type: ignore[arg-type]
    ]


def test_parse_index_of_an_instrument_nobody_asked_for_is_refused() -> None:
    venue = Okx()
    venue.track(["BTC-USDT"])
    with pytest.raises(FrameError) as caught:
        venue.parse(INDEX.encode(), 9)
    assert caught.value.kind == "unknown_symbol"


@pytest.mark.parametrize(
    "frame",
    [
        b"pong",
        b'{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a4d3ae55"}',
        b'{"arg":{"channel":"books","instId":"BTC-USDT"},"event":"unsubscribe"}',
        b'{"arg":{"channel":"trades-all","instId":"BTC-USDT"},"event":"subscribe"}',
        b'{"event":"notice","code":"64008","msg":"The connection will soon be closed for a '
        b'service upgrade. Please reconnect.","connId":"a4d3ae55"}',
        b'{"event":"channel-conn-count","channel":"orders","connCount":"2","connId":"abcd1234"}',
    ],
)
def test_parse_signs_of_life_are_heartbeats(venue: Okx, frame: bytes) -> None:
    assert venue.parse(frame, 9) == (Heartbeat("okx", None, 9),)


def test_parse_refusal_raises_venue_error(venue: Okx) -> None:
    with pytest.raises(VenueError, match=r"FOO-USDT doesn't exist \(code 60018\)"):
        venue.parse(REFUSAL.encode(), 9)


@pytest.mark.parametrize("channel", ["tickers", "books5"])
def test_parse_channel_that_we_know_and_do_not_want_gives_nothing(venue: Okx, channel: str) -> None:
    frame = f'{{"arg":{{"channel":"{channel}","instId":"BTC-USDT"}},"data":[{{}}]}}'
    assert venue.parse(frame.encode(), 9) == ()


@pytest.mark.parametrize(
    ("frame", "old", "new", "kind"),
    [
        (TRADE, "29963.2", "0", "bad_price"),
        (TRADE, "29963.2", "inf", "bad_price"),
        (TRADE, "0.00001", "-1", "bad_amount"),
        (TRADE, "242720720", "-1", "bad_field"),
        (TRADE, "242720720", "a", "bad_field"),
        (TRADE, '"sell"', '"short"', "bad_field"),
        (TRADE, "1654161646974", "0", "bad_field"),
        (TRADE, '"instId":"BTC-USDT"}', '"instId":"FOO-USDT"}', "unknown_symbol"),
        (TRADE, "trades-all", "weather", "unknown_message"),
        (TRADE, "}]}", "}", "not_json"),
        (TOP, '"57745"', '"0"', "bad_amount"),
        (TOP, "363996337", "-1", "bad_field"),
        (BOOK, '"action":"update",', "", "bad_field"),
        (BOOK, '"update"', '"upset"', "bad_field"),
        (BOOK, '"8476.98"', '"0"', "bad_price"),
        (BOOK, '"415"', '"nan"', "bad_amount"),
        (BOOK, '"seqId":123457', '"seqId":-1', "bad_field"),
        (FUNDING, '"0.0000875"', '"1"', "bad_field"),
        (MARK, "42310.6", "0", "bad_field"),
        (INTEREST, "22161.1301", "-1", "bad_field"),
    ],
)
def test_parse_damage_raises_its_kind(
    venue: Okx, frame: str, old: str, new: str, kind: str
) -> None:
    assert old in frame
    with pytest.raises(FrameError) as caught:
        venue.parse(frame.replace(old, new).encode(), 9)
    assert caught.value.kind == kind


def test_parse_after_a_relisting_names_the_new_instrument(venue: Okx) -> None:
    (before,) = venue.parse(TRADE.encode(), 9)
    venue.track(["BTC~2-USDT"])
    (after,) = venue.parse(TRADE.encode(), 9)
    assert (before.instrument, after.instrument) == ("BTC-USDT", "BTC~2-USDT")


def test_parse_book_that_overflows_in_base_currency_is_refused(venue: Okx) -> None:
    frame = BOOK.replace("BTC-USDT", "UNI-USD-SWAP").replace("8476.97", "1e-300")
    with pytest.raises(FrameError) as caught:
        venue.parse(frame.encode(), 9)
    assert caught.value.kind == "bad_amount"


# -- REST ----------------------------------------------------------------------------------------

SWAP = {
    "instId": "BTC-USDT-SWAP",
    "instType": "SWAP",
    "ctType": "linear",
    "ctVal": "0.01",
    "ctMult": "1",
    "ctValCcy": "BTC",
    "listTime": "1573557408000",
    "expTime": "",
    "lotSz": "0.1",
    "tickSz": "0.1",
    "state": "live",
}
SPOT = SWAP | {
    "instId": "BTC-USDT",
    "instType": "SPOT",
    "ctType": "",
    "ctVal": "",
    "ctMult": "",
    "listTime": "",
    "lotSz": "0.00000001",
}


def test_metadata_requests_are_of_spot_and_swaps() -> None:
    assert [request.params for request in Okx().metadata_requests()] == [
        (("instType", "SPOT"),),
        (("instType", "SWAP"),),
    ]


def test_metadata_of_a_swap_has_its_contract_in_base_currency() -> None:
    assert Okx().parse_metadata(answer(SPOT, SWAP)) == [
        SymbolMetadata("okx", "BTC-USDT", "BTC-USDT", "trading", 0.1, 1e-8),
        SymbolMetadata(
            "okx",
            "BTC-USDT-PERP",
            "BTC-USDT-SWAP",
            "trading",
            0.1,
            0.1 * 0.01,
            1573557408000 * MS,
            None,
            0.01,
        ),
    ]


def test_metadata_leaves_out_what_it_cannot_describe() -> None:
    inverse = SWAP | {"instId": "BTC-USD-SWAP", "ctType": "inverse", "ctVal": "100"}
    strange = SWAP | {"instId": "BTC-USD_UM-SWAP"}
    trial = SPOT | {"state": "test"}
    assert Okx().parse_metadata(answer(inverse, strange, trial)) == []


def test_metadata_of_a_symbol_about_to_go_says_when() -> None:
    going = SPOT | {"state": "suspend", "expTime": "1700000000000"}
    (symbol,) = Okx().parse_metadata(answer(going))
    assert (symbol.status, symbol.delisted_at) == ("halted", 1700000000000 * MS)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"code":"50011","msg":"Too Many Requests","data":[]}',
        answer(SPOT | {"tickSz": "x"}),
        answer(SPOT | {"listTime": "nan"}),
        answer(SWAP | {"ctVal": ""}),
        answer(SWAP | {"ctVal": "-1"}),
    ],
)
def test_metadata_error_raises_venue_error(body: bytes) -> None:
    with pytest.raises(VenueError, match="okx"):
        Okx().parse_metadata(body)


def history(kind: str, after: int) -> RestRequest:
    return RestRequest(
        "/api/v5/market/history-trades",
        (("instId", "BTC-USDT"), ("type", kind), ("after", str(after)), ("limit", "100")),
    )


def test_trades_requests_go_back_to_the_first_id(venue: Okx) -> None:
    wanted = TradeRange("BTC-USDT", 242720600, 242720721, 0, 10**19)
    assert venue.trades_request(wanted, None) == history("1", 242720722)
    page = venue.parse_trades(PAST_TRADES.encode(), "BTC-USDT", 9)
    assert venue.trades_request(wanted, page) == history("1", 242720720)
    exactly = TradeRange("BTC-USDT", 242720720, 242720721, 0, 10**19)
    assert venue.trades_request(exactly, page) is None
    assert venue.trades_request(wanted, []) is None


def test_trades_requests_without_ids_begin_at_the_time(venue: Okx) -> None:
    time = 1654161646974 * MS
    wanted = TradeRange("BTC-USDT", None, None, time, time + 5)
    assert venue.trades_request(wanted, None) == history("2", 1654161646975)
    page = venue.parse_trades(PAST_TRADES.encode(), "BTC-USDT", 9)
    assert venue.trades_request(wanted, page) == history("1", 242720720)
    later = TradeRange("BTC-USDT", None, None, time + 1, time + 5)
    assert venue.trades_request(later, page) is None


def test_parse_trades_equals_the_stream(venue: Okx) -> None:
    earlier, later = venue.parse_trades(PAST_TRADES.encode(), "BTC-USDT", 9)
    assert [earlier] == list(venue.parse(TRADE.encode(), 9))
    assert (later.sequence, later.side, later.amount) == (242720721, "buy", 0.5)


def test_parse_trades_of_a_swap_are_in_base_currency(venue: Okx) -> None:
    body = PAST_TRADES.replace("BTC-USDT", "BTC-USDT-SWAP")
    _, later = venue.parse_trades(body.encode(), "BTC-USDT-PERP", 9)
    assert later.amount == 0.5 * 0.01


@pytest.mark.parametrize(
    ("old", "new"), [("29964.1", "0"), ("242720721", "-1"), ('"code":"0"', '"code":"51001"')]
)
def test_parse_trades_damage_raises_venue_error(venue: Okx, old: str, new: str) -> None:
    with pytest.raises(VenueError, match="okx"):
        venue.parse_trades(PAST_TRADES.replace(old, new).encode(), "BTC-USDT", 9)


def test_candle_requests_are_spans_of_300_and_the_newest() -> None:
    minute = Timeframe.M1.ns
    first, second, newest = Okx().candle_requests("BTC-USDT-PERP", Timeframe.M1, 0, 301 * minute)
    assert first == RestRequest(
        "/api/v5/market/history-candles",
        (
            ("instId", "BTC-USDT-SWAP"),
            ("bar", "1m"),
            ("before", "-1"),
            ("after", "18000000"),
            ("limit", "300"),
        ),
    )
    assert second.params[2:4] == (("before", "17999999"), ("after", "18060000"))
    assert newest == RestRequest("/api/v5/market/candles", second.params)


@pytest.mark.parametrize(
    ("timeframe", "bar", "count"),
    [(Timeframe.S1, "1s", 1), (Timeframe.H4, "4H", 2), (Timeframe.D1, "1Dutc", 2)],
)
def test_candle_requests_name_the_bar(timeframe: Timeframe, bar: str, count: int) -> None:
    requests = Okx().candle_requests("BTC-USDT", timeframe, 0, timeframe.ns)
    assert [request.params[1] for request in requests] == [("bar", bar)] * count


def test_candle_requests_of_nothing_are_none() -> None:
    assert Okx().candle_requests("BTC-USDT", Timeframe.M1, 60, 60) == []


ROWS = (
    ["120000", "3", "3", "3", "3", "0", "0", "0", "0"],
    ["60000", "2.0", "4.0", "1.0", "3.0", "250", "2.5", "7.5", "1"],
    ["0", "2", "2", "2", "2", "100", "1", "2", "0"],
)


@pytest.mark.parametrize(("instrument", "volume"), [("BTC-USDT", 250.0), ("BTC-USDT-PERP", 2.5)])
def test_parse_candles_takes_volume_in_base_currency(instrument: str, volume: float) -> None:
    first, second = Okx().parse_candles(answer(*ROWS), instrument, Timeframe.M1, 10**12)
    assert (first.open_time, second.open_time) == (0, Timeframe.M1.ns)
    assert (second.open, second.high, second.low, second.close) == (2.0, 4.0, 1.0, 3.0)
    assert (second.volume, second.quote_volume, second.vwap) == (volume, 7.5, 7.5 / volume)


def test_parse_candles_is_closed_only_where_the_venue_says_so() -> None:
    first, second = Okx().parse_candles(answer(*ROWS), "BTC-USDT", Timeframe.M1, 10**12)
    assert (first.is_closed, second.is_closed) == (False, True)
    _, early = Okx().parse_candles(answer(*ROWS), "BTC-USDT", Timeframe.M1, 90 * 10**9)
    assert not early.is_closed


def test_parse_candles_error_raises_venue_error() -> None:
    with pytest.raises(VenueError, match="okx refused candles of FOO-USDT: nope"):
        Okx().parse_candles(b'{"code":"51001","msg":"nope"}', "FOO-USDT", Timeframe.M1, 1)
