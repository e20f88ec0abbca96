"""What each simulated venue answers over REST, asked by the engine's own adapters."""

import pytest
from msgspec.structs import replace
from simulated_client import MARKETS, MS, SECOND, START, Rest, World

from engine.domain.market import TradeRange
from engine.domain.timeframe import Timeframe
from engine.exchanges.registry import exchange

VENUES = list(MARKETS)
COUNTING = [name for name in VENUES if name != "bybit"]


def stored(trades):
    return [replace(trade, receive_time=0) for trade in trades]


def adapter_of(world):
    adapter = exchange(world.name)
    if world.name == "okx":
        for instrument in world.instruments:
            adapter.contract_sizes[instrument] = world.venue.contract_size(instrument)
    return adapter


async def past(rest, adapter, wanted):
    """Page through past trades as a repair does, and keep what is wanted."""
    found, page, pages = {}, None, 0
    while (request := adapter.trades_request(wanted, page)) is not None:
        page = adapter.parse_trades(await rest.ask(request), wanted.instrument, 0)
        found |= {trade.trade_id: trade for trade in page}
        pages += 1
        assert pages < 100
    ordered = sorted(found.values(), key=lambda trade: (trade.exchange_time, trade.sequence))
    return ordered, pages


async def listed(rest, adapter):
    rows = []
    for first in adapter.metadata_requests():
        request = first
        while request is not None:
            body = await rest.ask(request)
            rows += adapter.parse_metadata(body)
            request = adapter.next_metadata_request(request, body)
    return {row.instrument: row for row in rows}


@pytest.mark.parametrize("name", COUNTING)
async def test_past_trades_by_id_are_what_was_streamed(name):
    world = World(name, trades_per_second=150)
    adapter = adapter_of(world)
    async with Rest(world) as rest:
        for instrument in world.instruments:
            ledger = world.venue.ledger(instrument, START - 120 * SECOND, START + 1)
            first, last = ledger[5], ledger[-7]
            wanted = TradeRange(
                instrument, first.sequence, last.sequence, first.exchange_time, last.exchange_time
            )
            found, pages = await past(rest, adapter, wanted)
            inside = [t for t in found if first.sequence <= t.sequence <= last.sequence]
            assert stored(inside) == stored(ledger[5:-6])
            if instrument == world.instruments[0]:
                assert pages > 1


@pytest.mark.parametrize("name", ["coinbase", "kraken", "okx"])
async def test_past_trades_by_time_are_what_was_streamed(name):
    world = World(name)
    adapter = adapter_of(world)
    async with Rest(world) as rest:
        instrument = world.instruments[0]
        begin, end = START - 60 * SECOND, START - 20 * SECOND
        wanted = TradeRange(instrument, None, None, begin, end)
        found, _ = await past(rest, adapter, wanted)
        inside = [t for t in found if begin <= t.exchange_time <= end]
        assert stored(inside) == stored(world.venue.ledger(instrument, begin, end + 1))


@pytest.mark.parametrize("name", ["binance", "binance_perp"])
async def test_first_trade_from_a_time_on_is_found(name):
    world = World(name)
    adapter = adapter_of(world)
    async with Rest(world) as rest:
        instrument = world.instruments[0]
        at = START - 3 * SECOND
        request = adapter.first_trade_request(instrument, at)
        found = adapter.parse_first_trade(await rest.ask(request))
        assert found == world.venue.ledger(instrument, at, START + 1)[0].sequence


async def test_bybit_answers_only_the_latest_trades():
    world = World("bybit", trades_per_second=100)
    adapter = adapter_of(world)
    async with Rest(world) as rest:
        for instrument, count in (("BTC-USDT", 60), ("BTC-USDT-PERP", 1000)):
            wanted = TradeRange(instrument, None, None, START - SECOND, START)
            found, pages = await past(rest, adapter, wanted)
            ledger = world.venue.ledger(instrument, START - 3600 * SECOND, START + 1)
            assert stored(sorted(found, key=lambda t: (t.exchange_time, t.trade_id))) == stored(
                sorted(ledger[-count:], key=lambda t: (t.exchange_time, t.trade_id))
            )
            assert pages == 1


@pytest.mark.parametrize("name", VENUES)
async def test_candles_equal_their_trades(name):
    world = World(name)
    adapter = adapter_of(world)
    async with Rest(world) as rest:
        for instrument in world.instruments:
            begin = Timeframe.M1.floor(START) - 20 * Timeframe.M1.ns
            found = {}
            for request in adapter.candle_requests(instrument, Timeframe.M1, begin, START + 1):
                body = await rest.ask(request)
                for candle in adapter.parse_candles(body, instrument, Timeframe.M1, START):
                    found[candle.open_time] = candle
            assert list(found)[-1] == Timeframe.M1.floor(START)
            assert len(found) >= 15
            for candle in found.values():
                end = min(candle.open_time + Timeframe.M1.ns, START + 1)
                trades = world.venue.ledger(instrument, candle.open_time, end)
                prices = [trade.price for trade in trades]
                assert (candle.open, candle.close) == (prices[0], prices[-1])
                assert (candle.high, candle.low) == (max(prices), min(prices))
                assert candle.volume == pytest.approx(sum(t.amount for t in trades), rel=1e-9)
                assert candle.trade_count in {None, len(trades)}
                assert candle.is_closed == (candle.open_time + Timeframe.M1.ns <= START)


@pytest.mark.parametrize("name", VENUES)
@pytest.mark.parametrize("skew_ms", [-1700, 2000])
async def test_candles_of_a_skewed_venue_equal_the_trades_that_it_stamped(name, skew_ms):
    world = World(name, {"clock_skew_ms": {name: skew_ms}})
    adapter, instrument = adapter_of(world), world.instruments[0]
    now = START + skew_ms * MS
    async with Rest(world) as rest:
        begin = Timeframe.M1.floor(now) - 3 * Timeframe.M1.ns
        request = adapter.candle_requests(instrument, Timeframe.M1, begin, now + 1)[-1]
        body = await rest.ask(request)
        candles = adapter.parse_candles(body, instrument, Timeframe.M1, now)
        assert candles[-1].open_time == Timeframe.M1.floor(now)
        for candle in candles[-2:]:
            end = min(candle.open_time + Timeframe.M1.ns, now + 1)
            trades = world.venue.ledger(instrument, candle.open_time, end)
            assert (candle.open, candle.close) == (trades[0].price, trades[-1].price)
            assert candle.volume == pytest.approx(sum(t.amount for t in trades), rel=1e-9)


@pytest.mark.parametrize("name", VENUES)
async def test_metadata_says_what_is_listed_and_since_when(name):
    world = World(name)
    async with Rest(world) as rest:
        rows = await listed(rest, exchange(name))
    assert set(rows) == set(world.instruments)
    for instrument, row in rows.items():
        asset = world.venue.asset(instrument)
        assert row.status == "trading"
        assert row.tick_size == pytest.approx(10.0**-asset.price_decimals)
        assert row.lot_size == pytest.approx(10.0**-asset.amount_decimals)
        assert row.listed_at in {None, world.market.epoch_ns}
        assert row.delisted_at is None
        assert row.contract_size == (
            world.venue.contract_size(instrument) if name == "okx" else 1.0
        )
    dated = [row for row in rows.values() if row.listed_at is not None]
    assert bool(dated) == (name in {"binance_perp", "bybit", "okx"})


@pytest.mark.parametrize("name", VENUES)
async def test_metadata_tells_of_a_delisting_and_of_the_second_use(name):
    gone = MARKETS[name][-1]
    plan = {"exchange": name, "instrument": gone, "delist_after_s": 10, "relist_after_s": 20}
    world = World(name, {"relistings": [plan]})
    async with Rest(world) as rest:
        world.clock.advance(START + 15 * SECOND)
        rows = await listed(rest, exchange(name))
        status = rows[gone].status if gone in rows else "absent"
        assert status == {
            "binance": "halted", "binance_perp": "delisted", "coinbase": "delisted"
        }.get(name, "absent")  # fmt: skip
        if name == "binance_perp":
            assert rows[gone].delisted_at == START + 10 * SECOND
        world.clock.advance(START + 25 * SECOND)
        rows = await listed(rest, exchange(name))
        assert rows[gone].status == "trading"
        if rows[gone].listed_at is not None:
            assert rows[gone].listed_at == START + 20 * SECOND


@pytest.mark.parametrize("name", COUNTING)
async def test_rest_of_a_relisted_symbol_knows_only_the_new_instrument(name):
    first = MARKETS[name][0]
    plan = {"exchange": name, "instrument": first, "delist_after_s": 20, "relist_after_s": 40}
    world = World(name, {"relistings": [plan]})
    adapter = adapter_of(world)
    async with Rest(world) as rest:
        now = START + 100 * SECOND
        world.clock.advance(now)
        ledger = world.venue.ledger(first, START + 40 * SECOND, now + 1)
        wanted = TradeRange(first, 1, ledger[-1].sequence, START, now)
        found, _ = await past(rest, adapter, wanted)
        assert [t.sequence for t in found] == list(range(1, len(ledger) + 1))
        assert [(t.price, t.exchange_time) for t in found] == [
            (t.price, t.exchange_time) for t in ledger
        ]
        begin = Timeframe.M1.floor(START) - 2 * Timeframe.M1.ns
        request = adapter.candle_requests(first, Timeframe.M1, begin, now + 1)[-1]
        candles = adapter.parse_candles(await rest.ask(request), first, Timeframe.M1, now)
        opened = Timeframe.M1.floor(START + 40 * SECOND)
        assert [c.open_time for c in candles] == [opened, opened + Timeframe.M1.ns]
        begun = [t for t in ledger if t.exchange_time < opened + Timeframe.M1.ns]
        assert (candles[0].open, candles[0].close) == (begun[0].price, begun[-1].price)
        assert candles[0].volume == pytest.approx(sum(t.amount for t in begun), rel=1e-9)


async def test_bybit_metadata_pages_by_cursor():
    world = World("bybit")
    async with Rest(world) as rest:
        path = "/v5/market/instruments-info?category=linear&limit=1"
        _, first = await rest.get(path)
        assert [row["symbol"] for row in first["result"]["list"]] == ["BTCUSDT"]
        cursor = first["result"]["nextPageCursor"]
        _, second = await rest.get(f"{path}&cursor={cursor}")
        assert [row["symbol"] for row in second["result"]["list"]] == ["ETHPERP"]
        assert second["result"]["nextPageCursor"] == ""


@pytest.mark.parametrize(
    ("name", "path", "status", "body"),
    [
        ("binance_perp", "/fapi/v1/depth?symbol=FOO", 400,
         {"code": -1121, "msg": "Invalid symbol."}),
        ("binance_perp", "/fapi/v1/klines?symbol=BTCUSDT&interval=1s", 400,
         {"code": -1120, "msg": "Invalid interval."}),
        ("binance", "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=x", 400,
         {"code": -1100, "msg": "Illegal characters found in parameter 'fromId'."}),
        ("okx", "/api/v5/market/history-trades?instId=FOO-USDT", 200,
         {"code": "51001", "msg": "Instrument ID does not exist.", "data": []}),
        ("okx", "/api/v5/market/candles?instId=BTC-USDT&bar=7m", 200,
         {"code": "51000", "msg": "Parameter bar error", "data": []}),
        ("okx", "/api/v5/market/trades", 200,
         {"code": "50014", "msg": "Parameter instId can not be empty.", "data": []}),
        ("okx", "/api/v5/market/trades?instId=BTC-USDT&limit=x", 200,
         {"code": "51000", "msg": "Parameter error", "data": []}),
        ("kraken", "/0/public/Trades?pair=XBTUSD&since=x", 200,
         {"error": ["EGeneral:Invalid arguments"]}),
        ("coinbase", "/products/BTC-USD/trades?after=x", 400,
         {"message": "Invalid cursor or limit"}),
    ],
)  # fmt: skip
async def test_wrong_parameter_is_answered_as_the_venue_does(name, path, status, body):
    async with Rest(World(name)) as rest:
        assert await rest.get(path) == (status, body)


@pytest.mark.parametrize(
    "path",
    [
        "/v5/market/kline?category=spot&symbol=FOO&interval=1",
        "/v5/market/kline?category=spot&symbol=BTCUSDT&interval=2",
        "/v5/market/recent-trade?category=linear&symbol=FOO",
        "/v5/market/instruments-info?category=option",
    ],
)
async def test_bybit_wrong_parameter_is_code_10001(path):
    async with Rest(World("bybit")) as rest:
        status, body = await rest.get(path)
        assert (status, body["retCode"], body["result"]) == (200, 10001, {})
