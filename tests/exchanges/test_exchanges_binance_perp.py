from __future__ import annotations

import json
from typing import get_args

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
from engine.exchanges.binance_perp import BinancePerp

AGGREGATE = (
    '{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1723161256325,"a":2316599292,'
    '"s":"BTCUSDT","p":"61800.30","q":"0.010","f":5266583935,"l":5266583937,"T":1723161256322,'
    '"m":false}}'
)
TRADE = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256322,'
    '"s":"BTCUSDT","t":5266583935,"p":"61800.30","q":"0.006","X":"MARKET","m":true}}'
)
TICKER = (
    '{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT",'
    '"b":"61800.20","B":"2.507","a":"61800.30","A":"2.510","T":1723161256313,"E":1723161256314}}'
)
DEPTH = (
    '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161256299,'
    '"T":1723161256298,"s":"BTCUSDT","U":5123107832006,"u":5123107837557,"pu":5123107831937,'
    '"b":[["58710.20","0.014"],["61510.90","0.000"]],"a":[["61800.30","1.211"]]}}'
)
MARK = (
    '{"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":1562305380000,'
    '"s":"BTCUSDT","p":"11794.15000000","i":"11784.62659091","P":"11784.25641265",'
    '"r":"0.00038167","T":1562306400000}}'
)
BOOK = (
    b'{"lastUpdateId":5123107852948,"E":1723161256501,"T":1723161256493,'
    b'"bids":[["61800.20","2.909"]],"asks":[["61800.30","0.125"]]}'
)


@pytest.fixture
def venue() -> BinancePerp:
    adapter = BinancePerp()
    adapter.track(["BTC-USDT-PERP"])
    return adapter


# -- names -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instrument", "symbol"),
    [
        ("BTC-USDT-PERP", "BTCUSDT"),
        ("LUNA~2-USDT-PERP", "LUNAUSDT"),
        ("BTC-USDT-261225", "BTCUSDT_261225"),
    ],
)
def test_symbol_of_a_contract(venue: BinancePerp, instrument: str, symbol: str) -> None:
    assert venue.symbol(instrument) == symbol


def test_symbol_of_spot_is_refused(venue: BinancePerp) -> None:
    with pytest.raises(InstrumentError, match="BTC-USDT is not traded on binance_perp"):
        venue.symbol("BTC-USDT")


@given(
    st.sampled_from(["BTC", "1000SHIB", "ETH"]),
    st.sampled_from(["USDT", "USDC"]),
    st.sampled_from(["PERP", "261225"]),
)
def test_guess_instrument_undoes_symbol(base: str, quote: str, kind: str) -> None:
    adapter = BinancePerp()
    instrument = f"{base}-{quote}-{kind}"
    assert adapter.guess_instrument(adapter.symbol(instrument)) == instrument


@pytest.mark.parametrize("symbol", ["NOTHING", "BTCUSDT_25", ""])
def test_guess_instrument_of_a_strange_symbol_is_none(venue: BinancePerp, symbol: str) -> None:
    assert venue.guess_instrument(symbol) is None


# -- subscribing -------------------------------------------------------------------------


def test_channels_are_sent_from_two_addresses(venue: BinancePerp) -> None:
    groups = {channel: venue.channel_group(channel) for channel in get_args(Channel)}
    assert groups == {
        "trades": "market",
        "perpetual": "market",
        "book_top": "public",
        "book": "public",
    }


@pytest.mark.parametrize(
    ("channels", "address"),
    [
        (
            ("book_top", "book"),
            "ws://host/public/stream?streams=btcusdt@bookTicker/btcusdt@depth@100ms",
        ),
        (
            ("trades", "perpetual"),
            "ws://host/market/stream?streams=btcusdt@aggTrade/btcusdt@markPrice@1s",
        ),
    ],
)
def test_url_of_one_group_names_its_address(
    venue: BinancePerp, channels: tuple[Channel, ...], address: str
) -> None:
    assert venue.url("ws://host/", ["BTC-USDT-PERP"], channels) == address


def test_url_of_both_groups_is_refused(venue: BinancePerp) -> None:
    with pytest.raises(VenueError, match="sends trades, book from two addresses"):
        venue.url("ws://host", ["BTC-USDT-PERP"], ("trades", "book"))


def test_subscribe_asks_for_what_the_address_has_no_room_for() -> None:
    instruments = [f"A{number}-USDT-PERP" for number in range(150)]
    (message,) = BinancePerp().subscribe(instruments, ("trades",))
    assert json.loads(message) == {
        "method": "SUBSCRIBE",
        "params": [f"a{number}usdt@aggTrade" for number in range(100, 150)],
        "id": 1,
    }


# -- frames ------------------------------------------------------------------------------


def test_parse_aggregate_trade_has_the_aggregates_id(venue: BinancePerp) -> None:
    assert venue.parse(AGGREGATE.encode(), 7) == (
        Trade(
            "binance_perp",
            "BTC-USDT-PERP",
            "2316599292",
            2316599292,
            61800.3,
            0.01,
            "buy",
            1_723_161_256_322_000_000,
            7,
        ),
    )


def test_parse_single_trade_of_the_market(venue: BinancePerp) -> None:
    assert venue.parse(TRADE.encode(), 7) == (
        Trade(
            "binance_perp",
            "BTC-USDT-PERP",
            "5266583935",
            5266583935,
            61800.3,
            0.006,
            "sell",
            1_723_161_256_322_000_000,
            7,
        ),
    )


@pytest.mark.parametrize("kind", ["INSURANCE_FUND", "ADL", "NA"])
def test_parse_single_trade_off_the_market_gives_nothing(venue: BinancePerp, kind: str) -> None:
    frame = TRADE.replace("MARKET", kind).replace('"61800.30"', '"0"')
    assert venue.parse(frame.encode(), 7) == ()


def test_parse_book_ticker_has_the_time_of_the_change(venue: BinancePerp) -> None:
    assert venue.parse(TICKER.encode(), 7) == (
        BookTop(
            "binance_perp",
            "BTC-USDT-PERP",
            61800.2,
            2.507,
            61800.3,
            2.51,
            5123107839020,
            1_723_161_256_313_000_000,
            7,
        ),
    )


@pytest.mark.parametrize("speed", ["", "@0ms", "@100ms", "@250ms", "@500ms"])
def test_parse_depth_chains_by_the_previous_number(venue: BinancePerp, speed: str) -> None:
    assert venue.parse(DEPTH.replace("@100ms", speed).encode(), 7) == (
        BookUpdate(
            "binance_perp",
            "BTC-USDT-PERP",
            is_snapshot=False,
            bids=[(58710.2, 0.014), (61510.9, 0.0)],
            asks=[(61800.3, 1.211)],
            first_sequence=5123107832006,
            last_sequence=5123107837557,
            previous_sequence=5123107831937,
            exchange_time=1_723_161_256_298_000_000,
            receive_time=7,
        ),
    )


def test_parse_book_has_the_time_of_the_book(venue: BinancePerp) -> None:
    snapshot = BookUpdate(
        "binance_perp",
        "BTC-USDT-PERP",
        is_snapshot=True,
        bids=[(61800.2, 2.909)],
        asks=[(61800.3, 0.125)],
        first_sequence=None,
        last_sequence=5123107852948,
        previous_sequence=None,
        exchange_time=1_723_161_256_493_000_000,
        receive_time=7,
    )
    assert venue.parse_book(BOOK, "BTC-USDT-PERP", 7) == snapshot
    assert venue.parse(BOOK, 7) == (snapshot,)


def test_book_request_is_of_the_futures_api(venue: BinancePerp) -> None:
    assert venue.book_request("BTC-USDT-PERP") == RestRequest(
        "/fapi/v1/depth", (("symbol", "BTCUSDT"), ("limit", "1000")), weight=20.0
    )


def _tick(
    mark_price: float | None = None,
    index_price: float | None = None,
    funding_rate: float | None = None,
    next_funding_time: int | None = None,
    open_interest: float | None = None,
) -> PerpetualTick:
    return PerpetualTick(
        "binance_perp",
        "BTC-USDT-PERP",
        mark_price,
        index_price,
        funding_rate,
        next_funding_time,
        open_interest,
        exchange_time=1_562_305_380_000_000_000,
        receive_time=7,
    )


def test_parse_mark_price_tells_funding_too(venue: BinancePerp) -> None:
    assert venue.parse(MARK.encode(), 7) == (
        _tick(
            mark_price=11794.15,
            index_price=11784.62659091,
            funding_rate=0.00038167,
            next_funding_time=1_562_306_400_000_000_000,
        ),
    )


def test_parse_mark_price_of_a_dated_future_has_no_funding(venue: BinancePerp) -> None:
    frame = MARK.replace('"0.00038167"', '""').replace("1562306400000", "0")
    assert venue.parse(frame.encode(), 7) == (
        _tick(mark_price=11794.15, index_price=11784.62659091),
    )


@pytest.mark.parametrize("index", ['""', '"0.00000000"'])
def test_parse_mark_price_without_an_index_price_is_none(venue: BinancePerp, index: str) -> None:
    (tick,) = venue.parse(MARK.replace('"11784.62659091"', index).encode(), 7)
    assert isinstance(tick, PerpetualTick)
    assert (tick.mark_price, tick.index_price) == (11794.15, None)


@pytest.mark.parametrize("kind", ["kline_1m", "continuousKline_1m", "miniTicker", "forceOrder"])
def test_parse_unused_kind_gives_nothing(venue: BinancePerp, kind: str) -> None:
    assert venue.parse(f'{{"stream":"btcusdt@{kind}","data":{{}}}}'.encode(), 7) == ()


def test_parse_acknowledgement_is_a_heartbeat(venue: BinancePerp) -> None:
    assert venue.parse(b'{"result":null,"id":1}', 7) == (Heartbeat("binance_perp", None, 7),)


@pytest.mark.parametrize(
    "frame",
    [
        b'{"code":2,"msg":"Invalid request","id":3}',
        b'{"error":{"code":2,"msg":"Invalid request"},"id":3}',
    ],
)
def test_parse_refused_subscription_raises_venue_error(venue: BinancePerp, frame: bytes) -> None:
    with pytest.raises(VenueError, match=r"refused message 3: Invalid request .code 2"):
        venue.parse(frame, 7)


@pytest.mark.parametrize(
    ("frame", "old", "new", "kind"),
    [
        (AGGREGATE, '"a":2316599292,', "", "bad_field"),
        (AGGREGATE, '"a":2316599292', '"a":-1', "bad_field"),
        (AGGREGATE, '"T":1723161256322', '"T":0', "bad_field"),
        (AGGREGATE, '"61800.30"', '"NaN"', "bad_price"),
        (AGGREGATE, '"0.010"', '"0.000"', "bad_amount"),
        (AGGREGATE, '"s":"BTCUSDT",', '"s":"BTCUSDT"', "not_json"),
        (AGGREGATE, "btcusdt@", "dogeusdt@", "unknown_symbol"),
        (AGGREGATE, "@aggTrade", "@gossip", "unknown_message"),
        (TRADE, '"61800.30"', '"0"', "bad_price"),
        (TRADE, '"0.006"', '"inf"', "bad_amount"),
        (TRADE, ',"X":"MARKET"', "", "bad_field"),
        (TICKER, '"2.507"', '"-2.507"', "bad_amount"),
        (TICKER, '"61800.20"', '"0.00"', "bad_price"),
        (TICKER, '"T":1723161256313,', "", "bad_field"),
        (DEPTH, ',"pu":5123107831937', "", "bad_field"),
        (DEPTH, '"61510.90"', '"1e300"', "bad_price"),
        (DEPTH, '"1.211"', '"nan"', "bad_amount"),
        (MARK, '"11794.15000000"', '"0"', "bad_price"),
        (MARK, '"11784.62659091"', '"-1"', "bad_price"),
        (MARK, '"11784.62659091"', '"one"', "bad_field"),
        (MARK, '"0.00038167"', '"nan"', "bad_field"),
        (MARK, '"0.00038167"', '"7"', "bad_field"),
        (MARK, '"T":1562306400000', '"T":99999999999999999', "bad_field"),
    ],
)
def test_parse_bad_frame_raises_its_kind(
    venue: BinancePerp, frame: str, old: str, new: str, kind: str
) -> None:
    assert old in frame
    with pytest.raises(FrameError) as caught:
        venue.parse(frame.replace(old, new).encode(), 7)
    assert caught.value.kind == kind


# -- REST --------------------------------------------------------------------------------


def test_poll_requests_ask_for_the_open_interest_of_each(venue: BinancePerp) -> None:
    requests = venue.poll_requests(["BTC-USDT-PERP", "ETH-USDT-PERP"], ("trades", "perpetual"))
    assert requests == [
        RestRequest("/fapi/v1/openInterest", (("symbol", "BTCUSDT"),)),
        RestRequest("/fapi/v1/openInterest", (("symbol", "ETHUSDT"),)),
    ]


def test_poll_requests_without_the_perpetual_channel_are_none(venue: BinancePerp) -> None:
    assert venue.poll_requests(["BTC-USDT-PERP"], ("trades", "book")) == []


def test_parse_poll_tells_the_open_interest_alone() -> None:
    venue = BinancePerp()
    (request,) = venue.poll_requests(["BTC-USDT-PERP"], ("perpetual",))
    body = b'{"openInterest":"10659.509","symbol":"BTCUSDT","time":1562305380000}'
    assert venue.parse_poll(request, body, 7) == (_tick(open_interest=10659.509),)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            b'{"code":-1121,"msg":"Invalid symbol."}',
            "open interest of BTCUSDT is not as documented",
        ),
        (
            b'{"openInterest":"1","symbol":"DOGEUSDT","time":1}',
            "sent symbol 'DOGEUSDT'.*asked for the open interest of BTCUSDT",
        ),
    ],
)
def test_parse_poll_of_something_else_raises_venue_error(
    venue: BinancePerp, body: bytes, problem: str
) -> None:
    (request,) = venue.poll_requests(["BTC-USDT-PERP"], ("perpetual",))
    with pytest.raises(VenueError, match=problem):
        venue.parse_poll(request, body, 7)


def _symbol(symbol: str, **fields: str | int) -> dict[str, object]:
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "contractType": "PERPETUAL",
        "onboardDate": 1569398400000,
        "deliveryDate": 4133404800000,
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "stepSize": "0.001"},
        ],
    } | fields


def _metadata(*symbols: dict[str, object]) -> list[SymbolMetadata]:
    return BinancePerp().parse_metadata(json.dumps({"symbols": symbols}).encode())


def test_metadata_of_a_perpetual_has_its_listing_date_and_no_end() -> None:
    assert _metadata(_symbol("BTCUSDT")) == [
        SymbolMetadata(
            "binance_perp",
            "BTC-USDT-PERP",
            "BTCUSDT",
            "trading",
            0.1,
            0.001,
            listed_at=1_569_398_400_000_000_000,
        )
    ]


def test_metadata_of_a_dated_future_has_its_last_day() -> None:
    (future,) = _metadata(
        _symbol(
            "BTCUSDT_210924", contractType="CURRENT_QUARTER", deliveryDate=1632470400000, filters=[]
        )
    )
    assert (future.instrument, future.delisted_at) == (
        "BTC-USDT-210924",
        1_632_470_400_000_000_000,
    )
    assert (future.tick_size, future.lot_size) == (None, None)


@pytest.mark.parametrize(
    "symbol",
    [
        _symbol("BTCSTUSDT", contractType="", status="PENDING_TRADING"),
        _symbol("TSLAUSDT", contractType="TRADIFI_PERPETUAL"),
        _symbol("币USDT", baseAsset="币"),
        _symbol("BTCUSDT_21", contractType="CURRENT_QUARTER"),
    ],
)
def test_metadata_leaves_out_what_is_no_perpetual_of_a_coin(symbol: dict[str, object]) -> None:
    assert _metadata(symbol) == []


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        ("TRADING", "trading"),
        ("PENDING_TRADING", "halted"),
        ("SETTLING", "delisted"),
        ("CLOSE", "delisted"),
    ],
)
def test_metadata_gives_the_status(status: str, ours: str) -> None:
    (metadata,) = _metadata(_symbol("BTCUSDT", status=status))
    assert metadata.status == ours


def test_trades_request_pages_through_aggregates(venue: BinancePerp) -> None:
    wanted = TradeRange("BTC-USDT-PERP", 10, 1500, 0, 0)
    assert venue.trades_request(wanted, None) == RestRequest(
        "/fapi/v1/aggTrades",
        (("symbol", "BTCUSDT"), ("fromId", "10"), ("limit", "1000")),
        weight=20.0,
    )


def test_parse_trades_equals_the_streamed_aggregate(venue: BinancePerp) -> None:
    row = json.loads(AGGREGATE)["data"]
    body = json.dumps([{key: row[key] for key in "apqflTm"}]).encode()
    assert tuple(venue.parse_trades(body, "BTC-USDT-PERP", 7)) == venue.parse(AGGREGATE.encode(), 7)
    assert venue.parse_first_trade(body) == 2316599292
    assert venue.parse_first_trade(b"[]") is None


def test_first_trade_request_looks_an_hour_ahead(venue: BinancePerp) -> None:
    assert venue.first_trade_request("BTC-USDT-PERP", 1_000_000_000) == RestRequest(
        "/fapi/v1/aggTrades",
        (("symbol", "BTCUSDT"), ("startTime", "1000"), ("endTime", "3600999"), ("limit", "1")),
        weight=20.0,
    )


def test_candle_requests_of_a_second_are_none(venue: BinancePerp) -> None:
    assert venue.candle_requests("BTC-USDT-PERP", Timeframe.S1, 0, Timeframe.H1.ns) == []


def test_candle_requests_are_of_the_futures_api(venue: BinancePerp) -> None:
    (request,) = venue.candle_requests("BTC-USDT-PERP", Timeframe.H1, 0, Timeframe.H1.ns)
    assert (request.path, request.weight) == ("/fapi/v1/klines", 5.0)
    assert dict(request.params)["endTime"] == "3599999"


def test_parse_candles_names_the_venue_and_contract(venue: BinancePerp) -> None:
    row = (
        '[[1723161240000,"61837.5","61840.0","61830.0","61839.0","2.0",1723161299999,"123677.0",'
        '345,"0.5","30918.0","0"]]'
    )
    (candle,) = venue.parse_candles(row.encode(), "BTC-USDT-PERP", Timeframe.M1, 2**60)
    assert (candle.exchange, candle.instrument) == ("binance_perp", "BTC-USDT-PERP")
    assert (candle.close, candle.vwap) == (61839.0, 61838.5)
    assert candle.trade_count is None, "it counts fills, and our trades are aggregates of them"


def test_limits_leave_half_of_what_the_venue_allows() -> None:
    assert BinancePerp.limits.connects == (150, 300.0)
    assert BinancePerp.limits.requests_per_second * 60 == 2400 / 2
    assert BinancePerp.rotate_after_s == 23 * 3600
