"""What each simulated venue streams, read by our adapters, against the market's truth."""

import json
from itertools import pairwise

import pytest
from aiohttp.test_utils import make_mocked_request
from msgspec.structs import replace
from simulated_client import MARKETS, MS, SECOND, START, World

from engine.books.keeper import BookKeeper
from engine.clock import NS_PER_MS
from engine.domain.market import BookTop, BookUpdate, Heartbeat, PerpetualTick, Trade
from engine.errors import VenueError
from engine.simulator.books import BookProcess

VENUES = list(MARKETS)
WITH_PERPETUALS = ["binance_perp", "bybit", "okx"]


def stored(trades):
    return [replace(trade, receive_time=0) for trade in trades]


def keeper_of(world, instruments):
    adapter = world.wires[0].adapter
    asked = adapter.book_request(instruments[0]) is not None
    return BookKeeper(
        world.name,
        instruments,
        levels=adapter.book_levels,
        checksum=adapter.checksum if adapter.checksum_levels else None,
        checksum_levels=adapter.checksum_levels,
        snapshots="rest" if asked else "stream",
    )


def answered(world, instrument):
    """Return the snapshot that REST answers now, where the venue has none in its stream."""
    body = json.dumps(world.venue.depth({"symbol": world.venue.symbol(instrument), "limit": 1000}))
    adapter = world.wires[0].adapter
    return adapter.parse_book(body.encode(), instrument, world.clock.now_ns())


def levels_of(world, instrument, depth):
    """Return the truth of a book as of now, in the units that adapters give."""
    venue, process = world.venue, BookProcess(world.market.config)
    step = process.step_of(venue.clock.now_ns())
    last = venue.last_trade(instrument, process.step_start(step))
    bids, asks = process.state(last, step).levels(depth)
    asset = venue.asset(instrument)
    prices, amounts = 10**asset.price_decimals, 10**asset.amount_decimals
    return [[(tick / prices, lots / amounts) for tick, lots in side] for side in (bids, asks)]


@pytest.mark.parametrize("name", VENUES)
def test_trades_streamed_equal_the_ledger_exactly(name):
    world = World(name)
    world.connect(["trades"])
    world.run(20)
    found = [event for event in world.events() if isinstance(event, Trade)]
    for instrument in world.instruments:
        ledger = world.venue.ledger(instrument, START + 1, world.clock.now_ns() + 1)
        streamed = [
            trade
            for trade in found
            if trade.instrument == instrument and trade.exchange_time > START
        ]
        assert stored(streamed) == stored(ledger)
        assert len({trade.trade_id for trade in ledger}) == len(ledger) > 5
        if world.wires[0].adapter.counts_trades:
            assert [b.sequence - a.sequence for a, b in pairwise(ledger)] == [1] * (len(ledger) - 1)
        else:
            assert {trade.sequence for trade in ledger} == {0}


@pytest.mark.parametrize("name", VENUES)
def test_books_rebuilt_from_the_stream_equal_the_process(name):
    world = World(name)
    world.connect(["book"])
    world.run(0.5)
    keeper, snapshots = keeper_of(world, world.instruments), {}
    if world.wires[0].adapter.book_request(world.instruments[0]):
        snapshots = {name: answered(world, name) for name in world.instruments}
    world.run(15)
    for update in [e for e in world.events() if isinstance(e, BookUpdate)]:
        keeper.take(update)
        for wanted in keeper.wanted():
            keeper.take(snapshots[wanted])
    assert keeper.faults() == []
    for instrument in world.instruments:
        book = keeper.book(instrument)
        depth = world.wires[0].adapter.book_levels
        bids, asks = levels_of(world, instrument, depth)
        for got, truth in ((book.bids(), bids), (book.asks(), asks)):
            assert [price for price, _ in got] == [price for price, _ in truth]
            assert [amount for _, amount in got] == pytest.approx([a for _, a in truth], rel=1e-12)
        assert book.updates > 100
    assert (keeper.checked > 100) == (name in {"kraken", "okx"})


@pytest.mark.parametrize("name", ["binance", "binance_perp"])
def test_rest_book_at_any_moment_continues_the_stream(name):
    world = World(name)
    instrument = world.instruments[0]
    world.instruments = [instrument]
    world.connect(["book"])
    snapshots = []
    for _ in range(40):
        world.run(0.1)
        snapshots.append(answered(world, instrument))
    world.run(1)
    updates = [event for event in world.events() if isinstance(event, BookUpdate)]
    inside = 0
    for snapshot in snapshots:
        keeper = keeper_of(world, [instrument])
        before = [u for u in updates if u.exchange_time <= snapshot.receive_time]
        for update in before[-3:]:
            keeper.take(update)
        keeper.take(snapshot)
        for update in updates[len(before) :]:
            keeper.take(update)
        book = keeper.book(instrument)
        assert [book.bids(), book.asks()] == levels_of(world, instrument, 0)
        assert keeper.faults() == []
        follower = updates[len(before)]
        inside += follower.first_sequence <= snapshot.last_sequence < follower.last_sequence
    assert 10 < inside < 40


@pytest.mark.parametrize("name", VENUES)
def test_tops_are_the_books_best_levels(name):
    world = World(name)
    world.connect(["book_top"])
    world.run(10)
    tops = [event for event in world.events() if isinstance(event, BookTop)]
    process = BookProcess(world.market.config)
    for instrument in world.instruments:
        found = [top for top in tops if top.instrument == instrument]
        assert len(found) > 3
        last = world.venue.last_trade(instrument, found[-1].exchange_time or world.clock.now_ns())
        assert last.price in {found[-1].bid_price, found[-1].ask_price}
        assert all(0 < top.bid_price < top.ask_price for top in found)
        asset = world.venue.asset(instrument)
        if found[-1].exchange_time is not None and name != "coinbase":
            step = process.step_of(found[-1].exchange_time)
            best = process.best(last, step)
            scale = 10**asset.amount_decimals
            amounts = (found[-1].bid_amount * scale, found[-1].ask_amount * scale)
            assert amounts == pytest.approx((best.bid_lots, best.ask_lots), rel=1e-9)


@pytest.mark.parametrize("name", WITH_PERPETUALS)
def test_perpetuals_streamed_say_what_the_process_says(name):
    world = World(name)
    world.instruments = [each for each in world.instruments if each.endswith("-PERP")]
    world.connect(["perpetual"])
    world.run(70, step_ms=500)
    ticks = [event for event in world.events() if isinstance(event, PerpetualTick)]
    for instrument in world.instruments:
        known = {}
        for tick in ticks:
            if tick.instrument == instrument:
                fields = ("mark_price", "index_price", "funding_rate", "next_funding_time",
                          "open_interest")  # fmt: skip
                told = {field: getattr(tick, field) for field in fields}
                known |= {field: value for field, value in told.items() if value is not None}
        if name == "binance_perp":
            symbol = world.venue.symbol(instrument)
            request = world.wires[0].adapter.poll_requests([instrument], ["perpetual"])[0]
            body = json.dumps(world.venue._open_interest({"symbol": symbol})).encode()
            [polled] = world.wires[0].adapter.parse_poll(request, body, world.clock.now_ns())
            known["open_interest"] = polled.open_interest
        truth = world.venue.perpetual(instrument)
        # The last message is up to a second old, and rounded to ticks.
        near = 1e-4 * truth.mark_price + 10.0 ** -world.venue.asset(instrument).price_decimals
        assert known["mark_price"] == pytest.approx(truth.mark_price, abs=near)
        assert known["index_price"] == pytest.approx(truth.index_price, abs=near)
        assert known["funding_rate"] == truth.funding_rate
        assert known["next_funding_time"] == truth.funding_time_ns
        assert known["open_interest"] == pytest.approx(truth.open_interest, rel=1e-3)
        assert truth.funding_time_ns % (8 * 3600 * SECOND) == 0


@pytest.mark.parametrize("name", VENUES)
def test_clients_of_two_depths_and_ages_get_the_same_book(name):
    world = World(name)
    world.connect(["book"])
    world.run(3)
    world.connect(["book"])
    if name == "kraken":
        late = world.wires[-1]
        symbols = [world.venue.symbol(each) for each in world.instruments]
        params = {"channel": "book", "symbol": symbols, "depth": 10}
        late.frames.clear()
        late.send(
            world.venue.answer(json.dumps({"method": "subscribe", "params": params}), late.client)
        )
    world.run(3)
    half = len(world.wires) // 2
    for first, second in zip(world.wires[:half], world.wires[half:], strict=True):
        tails = [
            [
                (update.instrument, update.last_sequence, update.exchange_time)
                for frame in wire.frames
                for update in wire.adapter.parse(frame.encode(), 0)
                if isinstance(update, BookUpdate) and not update.is_snapshot
            ]
            for wire in (first, second)
        ]
        if name == "kraken":
            assert {each[0] for each in tails[1]} == set(world.instruments)
        else:
            assert tails[1] == tails[0][-len(tails[1]) :]


@pytest.mark.parametrize("name", VENUES)
def test_books_that_nobody_follows_are_not_computed(name):
    world = World(name)
    world.connect(["trades"])
    world.run(1)
    assert world.venue.books == {}
    world.connect(["book"])
    assert set(world.venue.books) == set(world.instruments)
    world.stream.connections.clear()
    world.run(0.2)
    assert world.venue.books == {}


@pytest.mark.parametrize("name", VENUES)
def test_relisted_symbol_streams_another_instrument(name):
    first = MARKETS[name][0]
    plan = {"exchange": name, "instrument": first, "delist_after_s": 4, "relist_after_s": 8}
    world = World(name, {"relistings": [plan]})
    world.instruments = [first]
    world.connect(["trades", "book"])
    world.run(12)
    second = world.venue.ledger(first, START + 8 * SECOND, world.clock.now_ns() + 1)
    names = {trade.instrument for trade in second}
    [reborn] = names
    assert "~2" in reborn
    found = [event for event in world.events() if isinstance(event, Trade)]
    # The symbol on the wire stays the same, so an adapter that was told of one name says it.
    alike = [replace(trade, instrument=first) for trade in second]
    assert stored(found)[-len(alike) :] == stored(alike)
    times = [trade.exchange_time for trade in found]
    assert not [time for time in times if START + 4 * SECOND <= time < START + 8 * SECOND]
    if world.wires[0].adapter.counts_trades:
        assert [trade.sequence for trade in second] == list(range(1, len(second) + 1))
    updates = [event for event in world.events() if isinstance(event, BookUpdate)]
    gone = [u for u in updates if START + 4 * SECOND < u.exchange_time < START + 8 * SECOND]
    assert gone == []
    fresh = [u for u in updates if u.exchange_time >= START + 8 * SECOND]
    if world.wires[0].adapter.book_request(first) is None:
        assert fresh[0].is_snapshot
    assert max(price for price, _ in fresh[1].bids or fresh[1].asks) < second[0].price * 1.1


@pytest.mark.parametrize("name", VENUES)
@pytest.mark.parametrize("skew_ms", [-2000, 2000])
def test_skewed_venue_stamps_everything_by_its_own_clock(name, skew_ms):
    world = World(name, {"clock_skew_ms": {name: skew_ms}})
    world.connect(["trades", "book"])
    world.run(5)
    now = world.clock.now_ns()
    events = world.events()
    newest = max(event.exchange_time for event in events if isinstance(event, BookUpdate))
    assert abs(newest - now - skew_ms * MS) <= 100 * MS
    for instrument in world.instruments:
        begin = START + skew_ms * MS
        ledger = world.venue.ledger(instrument, begin + 1, now + skew_ms * MS + 1)
        streamed = [
            event
            for event in events
            if isinstance(event, Trade)
            and event.instrument == instrument
            and event.exchange_time > begin
        ]
        assert stored(streamed) == stored(ledger)


@pytest.mark.parametrize(
    ("name", "path", "message", "answers"),
    [
        ("bybit", "/v5/public/spot", '{"op":"ping","req_id":"7"}',
         [{"success": True, "ret_msg": "pong", "req_id": "7", "op": "ping"}]),
        ("bybit", "/v5/public/linear", '{"op":"subscribe","args":["publicTrade.FOO"]}',
         [{"success": False, "ret_msg": "error:handler not found,topic:publicTrade.FOO",
           "req_id": "", "op": "subscribe"}]),
        ("bybit", "/v5/public/spot",
         '{"op":"subscribe","args":[' + ",".join(['"publicTrade.BTCUSDT"'] * 11) + "]}",
         [{"success": False, "ret_msg": "args size >10", "req_id": "", "op": "subscribe"}]),
        ("okx", "/ws/v5/business",
         '{"op":"subscribe","args":[{"channel":"trades-all","instId":"BTC-USDT"}]}',
         [{"event": "subscribe", "arg": {"channel": "trades-all", "instId": "BTC-USDT"}}]),
        ("okx", "/ws/v5/public",
         '{"op":"subscribe","args":[{"channel":"trades-all","instId":"BTC-USDT"}]}',
         [{"event": "error", "code": "60018",
           "msg": "Wrong URL or channel:trades-all,instId:BTC-USDT doesn't exist. Please use the "
                  "correct URL, channel and parameters referring to API document."}]),
        ("binance_perp", "/market/stream", '{"method":"SUBSCRIBE","params":7,"id":3}',
         [{"code": 2, "msg": "Invalid request: params must be an array of strings", "id": 3}]),
        ("binance", "/stream", '{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":3}',
         [{"result": None, "id": 3}]),
        ("coinbase", "/",
         '{"type":"subscribe","product_ids":["BTC-USD"],"channels":["level2"]}',
         [{"type": "error", "message": "Failed to subscribe",
           "reason": "level2, level3, and full channels now require authentication."}]),
        ("kraken", "/v2",
         '{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":7}}',
         [{"error": "Subscription depth not supported", "method": "subscribe", "success": False}]),
    ],
)  # fmt: skip
def test_message_is_answered_as_the_venue_does(name, path, message, answers):
    world = World(name)
    client = world.venue.client(make_mocked_request("GET", path))
    found = [json.loads(frame) for frame in world.venue.answer(message, client)]
    for answer in found:
        answer.pop("conn_id", None)
        answer.pop("connId", None)
    assert found == answers


@pytest.mark.parametrize("name", ["bybit", "okx", "coinbase", "kraken"])
def test_unknown_symbol_is_refused_by_adapter_and_venue(name):
    world = World(name)
    world.connect(["trades"])
    wire = world.wires[0]
    foreign = "NOSUCH-USD" if name in {"coinbase", "kraken"} else "NOSUCH-USDT"
    [message] = wire.adapter.subscribe([foreign], ["trades"])
    [frame] = world.venue.answer(message, wire.client)
    with pytest.raises(VenueError, match="refused"):
        wire.adapter.parse(frame.encode(), 0)


def test_okx_ping_is_answered_with_pong_and_no_json():
    world = World("okx")
    world.connect(["trades"])
    [frame] = world.venue.answer("ping", world.wires[0].client)
    assert frame == "pong"
    [beat] = world.wires[0].adapter.parse(frame.encode(), 5)
    assert beat == Heartbeat("okx", None, 5)


def test_binance_perp_streams_on_the_wrong_address_stay_silent():
    world = World("binance_perp")
    wire = world.open(world.instruments, ["trades"])
    world.venue.answer('{"method":"SUBSCRIBE","params":["btcusdt@bookTicker"],"id":1}', wire.client)
    assert wire.client.wanted == {("trades", name) for name in world.instruments}


def test_okx_amounts_of_swaps_are_contracts_of_a_thousand_lots():
    world = World("okx")
    assert world.venue.contract_value("BTC-USDT-PERP") == "0.01"
    assert world.venue.contract_value("ETH-USDT-PERP") == "0.1"
    assert world.venue.contract_value("SHIB-USDT-PERP") == "1000"
    last = world.venue.last_trade("BTC-USDT-PERP", START)
    price, size = world.venue.texts(last)
    assert float(size) * 0.01 == pytest.approx(last.amount, rel=1e-12)
    assert float(price) == last.price


def test_bybit_ids_are_numbers_for_spot_and_uuids_for_perpetuals():
    world = World("bybit")
    spot, linear = (
        [trade.trade_id for trade in world.venue.ledger(name, START, START + 5 * SECOND)]
        for name in ("BTC-USDT", "BTC-USDT-PERP")
    )
    assert all(text.isdigit() and len(text) == 19 for text in spot)
    assert all(len(text) == 36 and text[14] == "5" for text in linear)
    assert len({*spot, *linear}) == len(spot) + len(linear)


def test_kraken_update_leaves_pushed_out_levels_unsaid():
    world = World("kraken")
    wire = world.open(["BTC-USD"], ["book"])
    world.run(10)
    keeper = keeper_of(world, ["BTC-USD"])
    unsaid = 0
    for frame in wire.frames:
        for update in wire.adapter.parse(frame.encode(), 0):
            if isinstance(update, BookUpdate):
                before = keeper.book("BTC-USD")
                held = len(before.bids()) + len(before.asks()) if before else 0
                deleted = sum(amount == 0 for _, amount in (*update.bids, *update.asks))
                added = len(update.bids) + len(update.asks) - deleted
                unsaid += bool(held == 200 and added > deleted)
                keeper.take(update)
    assert keeper.faults() == []
    assert unsaid > 0


def test_coinbase_trade_times_have_microseconds_and_perpetual_times_milliseconds():
    coinbase, perpetual = World("coinbase"), World("binance_perp")
    for world, step in ((coinbase, 1_000), (perpetual, NS_PER_MS)):
        ledger = world.venue.ledger(world.instruments[0], START, START + 60 * SECOND)
        assert all(trade.exchange_time % step == 0 for trade in ledger)
        assert any(trade.exchange_time % (1_000 * step) for trade in ledger)
