from __future__ import annotations

import json

import pytest

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
from engine.exchanges.coinbase import Coinbase

MATCH = (
    '{"type":"match","trade_id":280232,"maker_order_id":"2a0da34e","taker_order_id":"3c82abaa",'
    '"side":"sell","size":"985","price":"0.00001305","product_id":"SKL-BTC",'
    '"sequence":177100030,"time":"2021-04-17T16:43:37.089723Z"}'
)
TICKER = (
    '{"type":"ticker","sequence":37475248783,"product_id":"ETH-USD","price":"1285.22",'
    '"best_bid":"1285.04","best_bid_size":"0.46688654","best_ask":"1285.27",'
    '"best_ask_size":"1.56637040","side":"buy","time":"2022-10-19T23:28:22.061769Z",'
    '"trade_id":370843401,"last_size":"11.4396987"}'
)
SNAPSHOT = (
    '{"type":"snapshot","product_id":"ETH-USD","bids":[["10101.10","0.45054140"],["10101.00","2"]],'
    '"asks":[["10102.55","0.57753524"]]}'
)
UPDATE = (
    '{"type":"l2update","product_id":"ETH-USD","time":"2019-08-14T20:42:27.265Z",'
    '"changes":[["buy","10101.80000000","0.162567"],["sell","10102.55","0.00000000"],'
    '["buy","10101.00","1.5"]]}'
)
PAST_TRADE = (
    '{"trade_id":280232,"side":"sell","size":"985.00000000","price":"0.00001305",'
    '"time":"2021-04-17T16:43:37.089723Z"}'
)


@pytest.fixture
def venue() -> Coinbase:
    adapter = Coinbase()
    adapter.track(["SKL-BTC", "ETH-USD"])
    return adapter


@pytest.mark.parametrize("kind", ["match", "last_match"])
@pytest.mark.parametrize(("maker", "aggressor"), [("sell", "buy"), ("buy", "sell")])
def test_parse_match_takes_the_other_side(
    venue: Coinbase, kind: str, maker: str, aggressor: str
) -> None:
    frame = MATCH.replace('"match"', f'"{kind}"').replace('"sell"', f'"{maker}"')
    assert venue.parse(frame.encode(), 9) == (
        Trade(
            "coinbase",
            "SKL-BTC",
            "280232",
            280232,
            0.00001305,
            985.0,
            aggressor,  # type: ignore[arg-type]
            parse_iso_utc("2021-04-17T16:43:37.089723Z"),
            9,
        ),
    )


def test_parse_ticker_gives_the_book_top(venue: Coinbase) -> None:
    assert venue.parse(TICKER.encode(), 9) == (
        BookTop(
            "coinbase",
            "ETH-USD",
            1285.04,
            0.46688654,
            1285.27,
            1.5663704,
            37475248783,
            parse_iso_utc("2022-10-19T23:28:22.061769Z"),
            9,
        ),
    )


def test_parse_heartbeat_carries_the_venues_time(venue: Coinbase) -> None:
    frame = (
        b'{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"ETH-USD",'
        b'"time":"2014-11-07T08:19:28.464459Z"}'
    )
    at = parse_iso_utc("2014-11-07T08:19:28.464459Z")
    assert venue.parse(frame, 9) == (Heartbeat("coinbase", at, 9),)


def test_parse_subscriptions_is_a_heartbeat(venue: Coinbase) -> None:
    frame = b'{"type":"subscriptions","channels":[{"name":"matches","product_ids":["ETH-USD"]}]}'
    assert venue.parse(frame, 9) == (Heartbeat("coinbase", None, 9),)


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"received","product_id":"ETH-USD","sequence":10}',
        TICKER.replace('"best_bid_size":"0.46688654",', ""),
    ],
)
def test_parse_what_is_not_for_us_gives_nothing(venue: Coinbase, frame: str) -> None:
    assert venue.parse(frame.encode(), 9) == ()


def test_parse_snapshot_is_a_whole_book(venue: Coinbase) -> None:
    assert venue.parse(SNAPSHOT.encode(), 9) == (
        BookUpdate(
            "coinbase",
            "ETH-USD",
            True,
            [(10101.1, 0.4505414), (10101.0, 2.0)],
            [(10102.55, 0.57753524)],
            None,
            None,
            None,
            None,
            9,
        ),
    )


def test_parse_snapshot_with_a_time_keeps_it(venue: Coinbase) -> None:
    frame = SNAPSHOT.replace('"asks"', '"time":"2019-08-14T20:42:26.916Z","asks"')
    (update,) = venue.parse(frame.encode(), 9)
    assert isinstance(update, BookUpdate)
    assert update.exchange_time == parse_iso_utc("2019-08-14T20:42:26.916Z")


def test_parse_l2update_splits_the_sides_in_order(venue: Coinbase) -> None:
    assert venue.parse(UPDATE.encode(), 9) == (
        BookUpdate(
            "coinbase",
            "ETH-USD",
            False,
            [(10101.8, 0.162567), (10101.0, 1.5)],
            [(10102.55, 0.0)],
            None,
            None,
            None,
            parse_iso_utc("2019-08-14T20:42:27.265Z"),
            9,
        ),
    )


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ('"10101.80000000"', '"0"', "bad_price"),
        ('"10101.80000000"', '"NaN"', "bad_price"),
        ('"0.162567"', '"-1"', "bad_amount"),
        ('"0.162567"', '"1e18"', "bad_amount"),
        ('"0.162567"', '"some"', "bad_field"),
        ('"buy"', '"bid"', "bad_field"),
        ("ETH-USD", "FOO-USD", "unknown_symbol"),
        ("27.265Z", "27.265", "bad_field"),
    ],
)
def test_parse_bad_l2update_raises_its_kind(venue: Coinbase, old: str, new: str, kind: str) -> None:
    assert old in UPDATE
    with pytest.raises(FrameError) as caught:
        venue.parse(UPDATE.replace(old, new).encode(), 9)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ('["10101.00","2"]', '["-1","2"]', "bad_price"),
        ('["10102.55","0.57753524"]', '["10102.55","Infinity"]', "bad_amount"),
    ],
)
def test_parse_bad_snapshot_raises_its_kind(venue: Coinbase, old: str, new: str, kind: str) -> None:
    assert old in SNAPSHOT
    with pytest.raises(FrameError) as caught:
        venue.parse(SNAPSHOT.replace(old, new).encode(), 9)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ('"1285.04"', '"0"', "bad_price"),
        ('"1285.27"', '"1e19"', "bad_price"),
        ('"0.46688654"', '"0"', "bad_amount"),
        ("37475248783", "-1", "bad_field"),
    ],
)
def test_parse_bad_ticker_raises_its_kind(venue: Coinbase, old: str, new: str, kind: str) -> None:
    assert old in TICKER
    with pytest.raises(FrameError) as caught:
        venue.parse(TICKER.replace(old, new).encode(), 9)
    assert caught.value.kind == kind


def test_parse_error_raises_venue_error(venue: Coinbase) -> None:
    with pytest.raises(VenueError, match="Failed to subscribe: FOO-USD is not a valid product"):
        venue.parse(
            b'{"type":"error","message":"Failed to subscribe",'
            b'"reason":"FOO-USD is not a valid product"}',
            9,
        )


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ('"0.00001305"', '"0"', "bad_price"),
        ('"0.00001305"', '"-Infinity"', "bad_price"),
        ('"985"', '"NaN"', "bad_amount"),
        ('"985"', "[985]", "bad_field"),
        ('"sell"', '"both"', "bad_field"),
        ("2021-04-17T16:43:37.089723Z", "2021-04-17T16:43:37.089723", "bad_field"),
        ("2021-04-17T16:43:37.089723Z", "2921-04-17T16:43:37.089723Z", "bad_field"),
        ("2021-04-17T16:43:37.089723Z", "yesterday", "bad_field"),
        ('"SKL-BTC"', '"FOO-BTC"', "unknown_symbol"),
        ('"match"', '"news"', "unknown_message"),
        ('"type":"match",', "", "bad_field"),
        ('Z"}', "", "not_json"),
    ],
)
def test_parse_bad_match_raises_its_kind(venue: Coinbase, old: str, new: str, kind: str) -> None:
    assert old in MATCH
    with pytest.raises(FrameError) as caught:
        venue.parse(MATCH.replace(old, new).encode(), 9)
    assert caught.value.kind == kind


def test_subscribe_asks_for_a_hundred_products_at_once() -> None:
    instruments = [f"A{number}-USD" for number in range(150)]
    messages = [
        json.loads(text) for text in Coinbase().subscribe(instruments, ("trades", "book_top"))
    ]
    assert [message["channels"] for message in messages] == [["matches", "ticker", "heartbeat"]] * 2
    assert [name for message in messages for name in message["product_ids"]] == instruments


def test_subscribe_book_asks_for_the_batched_channel() -> None:
    (message,) = Coinbase().subscribe(["BTC-USD"], ("book",))
    assert json.loads(message) == {
        "type": "subscribe",
        "product_ids": ["BTC-USD"],
        "channels": ["level2_batch", "heartbeat"],
    }


def test_resubscribe_book_leaves_and_joins_one_product() -> None:
    assert [json.loads(text) for text in Coinbase().resubscribe_book("LUNA~2-USD")] == [
        {"type": kind, "product_ids": ["LUNA-USD"], "channels": ["level2_batch"]}
        for kind in ("unsubscribe", "subscribe")
    ]


def test_symbol_of_a_later_generation_is_the_ticker() -> None:
    adapter = Coinbase()
    adapter.track(["LUNA~2-USD"])
    assert adapter.symbol("LUNA~2-USD") == "LUNA-USD"
    assert adapter.instrument_of("LUNA-USD") == "LUNA~2-USD"


@pytest.mark.parametrize("instrument", ["BTC-USD-PERP", "BTC-USD-261225", "btc-usd"])
def test_symbol_of_what_is_not_spot_is_refused(instrument: str) -> None:
    with pytest.raises(InstrumentError, match=instrument):
        Coinbase().symbol(instrument)


def test_metadata_gives_steps_and_status(venue: Coinbase) -> None:
    product = {
        "id": "BTC-GBP",
        "base_currency": "BTC",
        "quote_currency": "GBP",
        "quote_increment": "0.01",
        "base_increment": "0.00000001",
        "trading_disabled": False,
        "status": "online",
    }
    halted = product | {"id": "BTC-EUR", "quote_currency": "EUR", "trading_disabled": True}
    gone = halted | {"id": "BTC-USDC", "quote_currency": "USDC", "status": "delisted"}
    offline = product | {"id": "BTC-USD", "quote_currency": "USD", "status": "offline"}
    body = json.dumps([product, halted, gone, offline])
    assert venue.parse_metadata(body.encode()) == [
        SymbolMetadata("coinbase", "BTC-GBP", "BTC-GBP", "trading", 0.01, 1e-8),
        SymbolMetadata("coinbase", "BTC-EUR", "BTC-EUR", "halted", 0.01, 1e-8),
        SymbolMetadata("coinbase", "BTC-USDC", "BTC-USDC", "delisted", 0.01, 1e-8),
        SymbolMetadata("coinbase", "BTC-USD", "BTC-USD", "halted", 0.01, 1e-8),
    ]


def test_candle_requests_are_cut_at_three_hundred(venue: Coinbase) -> None:
    first, second = venue.candle_requests("ETH-USD", Timeframe.H1, 0, 301 * Timeframe.H1.ns)
    assert first == RestRequest(
        "/products/ETH-USD/candles",
        (
            ("granularity", "3600"),
            ("start", "1970-01-01T00:00:00.000000Z"),
            ("end", "1970-01-13T11:00:00.000000Z"),
        ),
    )
    assert (
        dict(second.params)["start"] == dict(second.params)["end"] == "1970-01-13T12:00:00.000000Z"
    )


@pytest.mark.parametrize("timeframe", [Timeframe.S1, Timeframe.H4])
def test_candle_requests_of_a_length_not_offered_are_none(
    venue: Coinbase, timeframe: Timeframe
) -> None:
    assert venue.candle_requests("ETH-USD", timeframe, 0, Timeframe.D1.ns) == []


def test_parse_candles_turns_them_round_and_leaves_unknown_parts_none(venue: Coinbase) -> None:
    body = b"[[120,1.0,4.0,2.0,3.0,7.5],[60,1.5,2.5,2.0,1.75,3]]"
    old, new = venue.parse_candles(body, "ETH-USD", Timeframe.M1, 180 * 10**9)
    assert (old.open_time, new.open_time) == (60 * 10**9, 120 * 10**9)
    assert (new.open, new.high, new.low, new.close, new.volume) == (2.0, 4.0, 1.0, 3.0, 7.5)
    assert (new.quote_volume, new.trade_count, new.vwap, new.taker_buy_volume) == (None,) * 4
    assert new.is_closed


def test_parse_trades_says_what_the_stream_says(venue: Coinbase) -> None:
    newer = PAST_TRADE.replace("280232", "280233").replace('"sell"', '"buy"')
    first, second = venue.parse_trades(f"[{newer},{PAST_TRADE}]".encode(), "SKL-BTC", 9)
    assert (first,) == venue.parse(MATCH.encode(), 9)
    assert (second.sequence, second.side) == (280233, "sell")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"0.00001305"', '"0"', "not as documented"),
        ("37.089723Z", "37.089723", "has no zone"),
        ('"trade_id":280232,', "", "not as documented"),
    ],
)
def test_parse_trades_impossible_raises_venue_error(
    venue: Coinbase, old: str, new: str, words: str
) -> None:
    assert old in PAST_TRADE
    with pytest.raises(VenueError, match=words):
        venue.parse_trades(f"[{PAST_TRADE.replace(old, new)}]".encode(), "SKL-BTC", 9)


def test_parse_trades_refusal_raises_venue_error(venue: Coinbase) -> None:
    with pytest.raises(VenueError, match="NotFound"):
        venue.parse_trades(b'{"message":"NotFound"}', "SKL-BTC", 9)


def past(trade_id: int, time_ns: int = 0) -> Trade:
    return Trade("coinbase", "BTC-USD", str(trade_id), trade_id, 1.0, 1.0, "buy", time_ns, 9)


@pytest.mark.parametrize(
    ("wanted", "page", "params"),
    [
        ((100, 250), None, {"limit": "151", "after": "251"}),
        ((100, 5000), None, {"limit": "1000", "after": "5001"}),
        ((100, 5000), [past(4001), past(5000)], {"limit": "1000", "after": "4001"}),
        ((100, 5000), [past(400), past(1399)], {"limit": "300", "after": "400"}),
        ((100, 5000), [past(100), past(400)], None),
        ((100, 5000), [], None),
        ((None, 5000), None, {"limit": "1000", "after": "5001"}),
        ((None, 5000), [past(4001, 1_000)], {"limit": "1000", "after": "4001"}),
        ((None, 5000), [past(4001, 999)], None),
        ((None, 5000), [past(1, 1_000)], None),
        ((None, None), None, {"limit": "1000"}),
        ((100, None), None, {"limit": "1000"}),
    ],
)
def test_trades_request_goes_back_to_the_first_one_wanted(
    venue: Coinbase,
    wanted: tuple[int | None, int | None],
    page: list[Trade] | None,
    params: dict[str, str] | None,
) -> None:
    request = venue.trades_request(TradeRange("BTC-USD", *wanted, 1_000, 2_000), page)
    if params is None:
        assert request is None
        return
    assert request is not None
    assert (request.path, dict(request.params)) == ("/products/BTC-USD/trades", params)
