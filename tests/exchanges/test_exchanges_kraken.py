from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import parse_iso_utc
from engine.domain.market import (
    BookTop,
    BookUpdate,
    Heartbeat,
    SymbolMetadata,
    Trade,
    TradeRange,
)
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, InstrumentError, VenueError
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
BOOK = (
    '{"channel":"book","type":"update","data":[{"symbol":"MATIC/USD",'
    '"bids":[{"price":0.5657,"qty":1098.39475580},{"price":0.5650,"qty":0}],"asks":[],'
    '"checksum":2114181697,"timestamp":"2023-10-06T17:35:55.440295Z"}]}'
)
PAST_TRADES = (
    '{"error":[],"result":{"MATICUSD":['
    '["0.51180","1.00000000",1695628177.8277369,"b","l","",4665907],'
    '["0.51170","40.00000000",1695628177.708706,"s","m","",4665906]],'
    '"last":"1695628177708706123"}}'
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


@pytest.mark.parametrize("channel", ["ohlc", "instrument", "level3"])
def test_parse_what_is_not_for_us_gives_nothing(venue: Kraken, channel: str) -> None:
    frame = f'{{"channel":"{channel}","type":"update","data":[]}}'
    assert venue.parse(frame.encode(), 9) == ()


def test_parse_book_keeps_the_venues_digits(venue: Kraken) -> None:
    assert venue.parse(BOOK.encode(), 9) == [
        BookUpdate(
            "kraken",
            "MATIC-USD",
            False,
            [(0.5657, 1098.3947558), (0.565, 0.0)],
            [],
            None,
            None,
            None,
            parse_iso_utc("2023-10-06T17:35:55.440295Z"),
            9,
            2114181697,
            [("0.5657", "1098.39475580"), ("0.5650", "0")],
            [],
        )
    ]


def test_parse_book_snapshot_without_time(venue: Kraken) -> None:
    frame = BOOK.replace('"update"', '"snapshot"').replace(
        ',"timestamp":"2023-10-06T17:35:55.440295Z"', ""
    )
    (update,) = venue.parse(frame.encode(), 9)
    assert isinstance(update, BookUpdate)
    assert (update.is_snapshot, update.exchange_time) == (True, None)


@pytest.mark.parametrize("text", ["0.00000001", "0.10000000", "45281", "45281.0", "1E-7"])
def test_parse_book_gives_each_number_as_it_was_written(venue: Kraken, text: str) -> None:
    (update,) = venue.parse(BOOK.replace("1098.39475580", text).encode(), 9)
    assert isinstance(update, BookUpdate)
    assert update.bid_texts[0] == ("0.5657", text)
    assert update.bids[0] == (0.5657, float(text))


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("0.5657", "0", "bad_price"),
        ("0.5657", "1e400", "bad_price"),
        ("1098.39475580", "-1", "bad_amount"),
        ("1098.39475580", "[1]", "bad_field"),
        ("1098.39475580", "null", "bad_field"),
        ("1098.39475580", '"much"', "bad_field"),
        ("2114181697", "4294967296", "bad_field"),
        ("2114181697", "-1", "bad_field"),
        ('"update"', '"change"', "bad_field"),
        ("MATIC/USD", "FOO/USD", "unknown_symbol"),
    ],
)
def test_parse_bad_book_raises_its_kind(venue: Kraken, old: str, new: str, kind: str) -> None:
    assert old in BOOK
    with pytest.raises(FrameError) as caught:
        venue.parse(BOOK.replace(old, new).encode(), 9)
    assert caught.value.kind == kind


def test_checksum_is_what_the_venues_guide_works_out(venue: Kraken) -> None:
    bids = (
        "45283.5 0.10000000 45283.4 1.54582015 45282.1 0.10000000 45281.0 0.10000000 45280.3 "
        "1.54592586 45279.0 0.07990000 45277.6 0.03310103 45277.5 0.30000000 45277.3 1.54602737 "
        "45276.6 0.15445238"
    )
    asks = (
        "45285.2 0.00100000 45286.4 1.54571953 45286.6 1.54571109 45289.6 1.54560911 45290.2 "
        "0.15890660 45291.8 1.54553491 45294.7 0.04454749 45296.1 0.35380000 45297.5 0.09945542 "
        "45299.5 0.18772827"
    )
    levels = [
        list(zip(side.split()[::2], side.split()[1::2], strict=True)) for side in (bids, asks)
    ]
    assert venue.checksum(*levels) == 3310070434
    deeper = [("1", "1")]
    assert venue.checksum(levels[0] + deeper, levels[1] + deeper) == 3310070434
    assert venue.checksum(levels[0][:9], levels[1]) != 3310070434


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
    with pytest.raises(FrameError, match=r"data\[1\]\.qty"):
        venue.parse(f'{{"channel":"trade","type":"update","data":[{TRADE},{bad}]}}'.encode(), 9)


def test_subscribe_asks_for_every_change_of_the_best_prices() -> None:
    trades, tops = map(json.loads, Kraken().subscribe(["BTC-USD"], ("trades", "book_top")))
    assert trades == {
        "method": "subscribe",
        "params": {"channel": "trade", "symbol": ["BTC/USD"], "snapshot": True},
    }
    assert tops["params"]["channel"] == "ticker"
    assert tops["params"]["event_trigger"] == "bbo"


def test_subscribe_book_asks_for_the_depth_it_is_cut_to() -> None:
    (book,) = map(json.loads, Kraken().subscribe(["DOGE-USD"], ("book",)))
    assert book == {
        "method": "subscribe",
        "params": {
            "channel": "book",
            "symbol": ["DOGE/USD"],
            "depth": Kraken.book_levels,
            "snapshot": True,
        },
    }


def test_resubscribe_book_leaves_and_joins_one_symbol() -> None:
    leave, join = map(json.loads, Kraken().resubscribe_book("LUNA~2-USD"))
    params = {"channel": "book", "symbol": ["LUNA/USD"], "depth": Kraken.book_levels}
    assert leave == {"method": "unsubscribe", "params": params}
    assert join == {"method": "subscribe", "params": params | {"snapshot": True}}


def test_symbol_of_a_later_generation_is_the_ticker() -> None:
    adapter = Kraken()
    adapter.track(["LUNA~2-USD"])
    assert adapter.instrument_of("LUNA/USD") == "LUNA~2-USD"


@pytest.mark.parametrize("instrument", ["BTC-USD-PERP", "BTC-USD-261225", "btc-usd"])
def test_symbol_of_what_is_not_spot_is_refused(instrument: str) -> None:
    with pytest.raises(InstrumentError, match=instrument):
        Kraken().symbol(instrument)


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


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        ("online", "trading"),
        ("limit_only", "trading"),
        ("reduce_only", "trading"),
        ("post_only", "halted"),
        ("cancel_only", "halted"),
    ],
)
def test_metadata_status_says_whether_orders_are_matched(
    venue: Kraken, status: str, ours: str
) -> None:
    body = {"error": [], "result": {"ADAUSD": {"wsname": "ADA/USD", "status": status}}}
    (listed,) = venue.parse_metadata(json.dumps(body).encode())
    assert listed.status == ours


def test_parse_trades_says_what_the_stream_says(venue: Kraken) -> None:
    first, second = venue.parse_trades(PAST_TRADES.encode(), "MATIC-USD", 9)
    assert [first] == venue.parse(UPDATE.encode(), 9)
    assert (second.sequence, second.side) == (4665907, "buy")
    assert second.exchange_time == 1695628177827736000


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"0.51170"', '"0"', "not a price above zero"),
        ('"40.00000000"', '"-1"', "not an amount above zero"),
        ("1695628177.708706,", "1e999,", "no number of seconds"),
        ("1695628177.708706,", "16956281770,", "outside 1970 to 2100"),
        ('"s"', '"x"', "not as documented"),
        (",4665906]", "]", "not as documented"),
        ('"error":[]', '"error":["EGeneral:Too many requests"]', "Too many requests"),
        ('"MATICUSD":', '"last":[],"last":', "hold no rows"),
    ],
)
def test_parse_trades_impossible_raises_venue_error(
    venue: Kraken, old: str, new: str, words: str
) -> None:
    assert old in PAST_TRADES
    with pytest.raises(VenueError, match=words):
        venue.parse_trades(PAST_TRADES.replace(old, new).encode(), "MATIC-USD", 9)


def past(trade_id: int, time_ns: int) -> Trade:
    return Trade("kraken", "BTC-USD", str(trade_id), trade_id, 1.0, 1.0, "buy", time_ns, 9)


T = 1_700_000_000_000_000_000


@pytest.mark.parametrize(
    ("ids", "page", "since"),
    [
        # By time: what came after a nanosecond before. By id: a little earlier, for clocks differ.
        ((None, None), None, T - 1),
        ((7, 9), None, T - 5_000_000_001),
        # On from the last microsecond of the page before.
        ((7, 9), [past(6, T), past(8, T + 2000)], T + 1999),
        ((7, 9), [past(6, T), past(9, T + 2000)], None),
        ((7, None), [past(6, T), past(9, T + 999_000)], T + 998_999),
        ((7, None), [past(6, T), past(9, T + 1_001_000)], None),
        ((7, 9), [], None),
        # Nothing newer came: that was all, unless a page is full of one microsecond.
        ((7, 9), [past(8, T)], None),
        ((7, 2000), [past(number, T) for number in range(1000)], T + 999),
    ],
)
def test_trades_request_goes_on_to_the_last_one_wanted(
    venue: Kraken,
    ids: tuple[int | None, int | None],
    page: list[Trade] | None,
    since: int | None,
) -> None:
    request = venue.trades_request(TradeRange("BTC-USD", *ids, T, T + 1_000_000), page)
    if since is None:
        assert request is None
        return
    assert request == RestRequest(
        "/0/public/Trades", (("pair", "XBTUSD"), ("since", str(since)), ("count", "1000"))
    )


@given(
    steps=st.lists(st.integers(0, 3), max_size=60),
    page_size=st.integers(2, 7),
    bounds=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_trades_request_pages_cover_what_is_wanted(
    steps: list[int], page_size: int, bounds: tuple[int, int]
) -> None:
    """However times coincide, following the requests to their end misses no trade."""
    times = [T + 1000 * sum(steps[: number + 1]) for number in range(len(steps))]
    market = [past(number + 1, time) for number, time in enumerate(times)]
    busiest = max((times.count(time) for time in times), default=0)
    size = max(page_size, busiest + 1)  # a page that one microsecond fills has a test of its own
    first, last = min(bounds), max(bounds)
    wanted = TradeRange("BTC-USD", first, last, T, T + 10**9)
    page: list[Trade] | None = None
    seen: set[int] = set()
    while (request := Kraken().trades_request(wanted, page)) is not None:
        since = int(dict(request.params)["since"])
        page = [trade for trade in market if trade.exchange_time > since][:size]
        seen |= {trade.sequence for trade in page}
    assert seen >= {trade.sequence for trade in market if first <= trade.sequence <= last}
