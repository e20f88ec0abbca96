"""The simulated venues as a client sees them, compared with the market's own ledger."""

import asyncio

import aiohttp
import httpx
import pytest

from engine.clock import DataClock, parse_iso_utc
from engine.config import FaultsConfig, SimulatorConfig
from engine.domain.market import BookTop, Heartbeat, Trade
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, StartError
from engine.exchanges.registry import exchange
from engine.simulator.listing import LISTINGS
from engine.simulator.server import SimulatedVenues

START = parse_iso_utc("2026-02-03T14:30:10Z")
SECOND = 1_000_000_000
MARKETS = {
    "binance": ["BTC-USDT", "ETH-USDT", "PEPE-USDT"],
    "coinbase": ["BTC-USD", "ETH-USD"],
    "kraken": ["BTC-USD", "XMR-USD"],
}

QUESTION = {
    "binance": ('{"method":"LIST_SUBSCRIPTIONS","id":99}', '"id": 99'),
    "coinbase": ('{"type":"unsubscribe","product_ids":[],"channels":[]}', "subscriptions"),
    "kraken": ('{"method":"ping","req_id":99}', "pong"),
}
"""A message whose answer proves that the subscriptions before it were taken."""


async def _serve(config=None, at=START):
    clock = DataClock(at)
    venues = SimulatedVenues(config or SimulatorConfig(), clock, MARKETS)
    return venues, clock, await venues.start()


async def _collect(name, venues, clock, endpoints, until):
    """Stream a venue through its adapter until every trade before `until` arrived."""
    adapter = exchange(name)
    events, errors = [], []
    expected = {
        trade.trade_id + trade.instrument
        for instrument in MARKETS[name]
        for trade in venues.ledger(name, instrument, START + 1, until + 1)
    }
    url = adapter.url(endpoints.exchanges[name][0], MARKETS[name], ["trades", "book_top"])
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        for message in adapter.subscribe(MARKETS[name], ["trades", "book_top"]):
            await socket.send_str(message)
        await socket.send_str(QUESTION[name][0])
        while QUESTION[name][1] not in (await asyncio.wait_for(socket.receive(), 20)).data:
            pass
        clock.advance(until)
        seen = set()
        while not expected <= seen:
            frame = await asyncio.wait_for(socket.receive(), 20)
            assert frame.type is aiohttp.WSMsgType.TEXT
            try:
                found = adapter.parse(frame.data.encode(), until)
            except FrameError as error:
                errors.append(error.kind)
                continue
            events += found
            seen |= {e.trade_id + e.instrument for e in found if isinstance(e, Trade)}
    return events, errors


@pytest.mark.parametrize("name", ["binance", "coinbase", "kraken"])
async def test_venue_streamed_through_adapter_equals_ledger(name):
    venues, clock, endpoints = await _serve()
    try:
        until = START + 75 * SECOND
        events, errors = await _collect(name, venues, clock, endpoints, until)
        assert errors == []
        for instrument in MARKETS[name]:
            got = [
                (e.sequence, e.price, e.amount, e.side, e.exchange_time)
                for e in events
                if isinstance(e, Trade) and e.instrument == instrument and e.exchange_time > START
            ]
            ledger = venues.ledger(name, instrument, START + 1, until + 1)
            assert got == [(t.sequence, t.price, t.amount, t.side, t.exchange_time) for t in ledger]
            assert len(ledger) > 0
        tops = [e for e in events if isinstance(e, BookTop)]
        assert all(0 < top.bid_price < top.ask_price for top in tops)
        assert any(isinstance(e, BookTop | Heartbeat) for e in events)
    finally:
        await venues.stop()


@pytest.mark.parametrize("name", ["binance", "coinbase", "kraken"])
async def test_rest_candles_equal_trades(name):
    venues, _, endpoints = await _serve()
    adapter = exchange(name)
    try:
        async with httpx.AsyncClient(base_url=endpoints.exchanges[name][1]) as client:
            instrument = MARKETS[name][1]
            begin = Timeframe.M1.floor(START) - 30 * Timeframe.M1.ns
            (request,) = adapter.candle_requests(instrument, Timeframe.M1, begin, START)
            answer = await client.get(request.path, params=dict(request.params))
            candles = adapter.parse_candles(answer.content, instrument, Timeframe.M1, START)
            assert len(candles) >= 20
            for candle in candles:
                end = min(candle.open_time + Timeframe.M1.ns, START + 1)
                trades = venues.ledger(name, instrument, candle.open_time, end)
                prices = [trade.price for trade in trades]
                assert (candle.open, candle.close) == (prices[0], prices[-1])
                assert (candle.high, candle.low) == (max(prices), min(prices))
                assert candle.volume == pytest.approx(sum(t.amount for t in trades), rel=1e-12)
                assert candle.trade_count in {None, len(trades)}
                if candle.taker_buy_volume is not None:
                    bought = sum(t.amount for t in trades if t.side == "buy")
                    assert candle.taker_buy_volume == pytest.approx(bought, rel=1e-12)
            [metadata] = adapter.metadata_requests()
            body = (await client.get(metadata.path)).content
            listed = {row.instrument for row in adapter.parse_metadata(body)}
            assert listed == set(MARKETS[name])
    finally:
        await venues.stop()


async def test_faulty_binance_stream_loses_nothing_but_order():
    faults = FaultsConfig(
        garbage_per_minute=30, truncated_per_minute=30, duplicate_share=0.3, late_share=0.3
    )
    venues, clock, endpoints = await _serve(SimulatorConfig(faults=faults))
    try:
        mover = asyncio.create_task(_advance(clock, START + 60 * SECOND))
        events, errors = await _collect("binance", venues, clock, endpoints, START + 10 * SECOND)
        await mover
        ids = [e.trade_id + e.instrument for e in events if isinstance(e, Trade)]
        assert len(ids) > len(set(ids))
        assert errors
    finally:
        await venues.stop()


async def _advance(clock, until):
    while clock.now_ns() < until:
        clock.advance(clock.now_ns() + SECOND // 4)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("name", "path", "status", "body"),
    [
        ("binance", "/api/v3/klines?symbol=FOO&interval=1m", 400,
         {"code": -1121, "msg": "Invalid symbol."}),
        ("binance", "/api/v3/klines?symbol=BTCUSDT&interval=7m", 400,
         {"code": -1120, "msg": "Invalid interval."}),
        ("coinbase", "/products/FOO-USD/candles", 404, {"message": "NotFound"}),
        ("coinbase", "/products/BTC-USD/candles?granularity=61", 400,
         {"message": "Unsupported granularity"}),
        ("kraken", "/0/public/OHLC?pair=FOOUSD", 200, {"error": ["EQuery:Unknown asset pair"]}),
    ],
)  # fmt: skip
async def test_rest_wrong_parameter_answers_as_the_venue(name, path, status, body):
    venues, _, endpoints = await _serve()
    try:
        async with httpx.AsyncClient(base_url=endpoints.exchanges[name][1]) as client:
            answer = await client.get(path)
            assert (answer.status_code, answer.json()) == (status, body)
    finally:
        await venues.stop()


async def test_news_feed_pages_through_every_post_once():
    venues, _, endpoints = await _serve()
    try:
        since = START - 7 * 86_400 * SECOND
        truth = [t for t in venues.news.texts(since, START + 1) if t.kind == "post"]
        async with httpx.AsyncClient(base_url=endpoints.news_url) as client:
            found, cursor, pages = [], str(since), 0
            while cursor is not None:
                answer = await client.get("/posts", params={"since": cursor, "limit": 5000})
                page = answer.json()
                found += page["data"]
                cursor, pages = page["next"], pages + 1
            assert [post["id"] for post in found] == [text.text_id for text in truth]
            assert pages <= 3
            assert set(found[0]) == {
                "id", "author", "text", "created_at", "likes", "reposts", "cashtags"
            }  # fmt: skip
            rss = (await client.get("/news/rss")).text
            assert rss.count("<item>") == 100
            mood = (await client.get("/fng/", params={"limit": 3})).json()["data"]
            assert [0 <= int(row["value"]) <= 100 for row in mood] == [True] * 3
    finally:
        await venues.stop()


async def test_start_before_epoch_is_refused():
    config = SimulatorConfig(epoch="2026-01-01T00:00:00Z")
    venues = SimulatedVenues(config, DataClock(config.epoch_ns - 1))
    with pytest.raises(StartError, match=r"simulator\.epoch"):
        await venues.start()


def test_listings_hold_fifty_bases_and_the_majors_everywhere():
    bases = {name.split("-")[0] for names in LISTINGS.values() for name in names}
    assert len(bases) == 56
    assert {venue: len(names) for venue, names in LISTINGS.items()} == {
        "binance": 32,
        "coinbase": 16,
        "kraken": 12,
        "binance_perp": 12,
        "bybit": 14,
        "okx": 14,
    }
    assert all(names[0][:3] == "BTC" and names[1][:3] == "ETH" for names in LISTINGS.values())
    assert LISTINGS["okx"][8:10] == ("BTC-USDT-PERP", "ETH-USDT-PERP")
