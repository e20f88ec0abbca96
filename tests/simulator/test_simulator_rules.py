"""Connections that end or fall silent, the venues' rules, and the control of a simulator."""

import asyncio
import contextlib
import json
import signal
import sys

import aiohttp
import httpx
import msgspec
import pytest

from engine.clock import DataClock, parse_iso_utc
from engine.config import FaultsConfig, SimulatorConfig
from engine.domain.market import Trade
from engine.errors import ConfigError, InstrumentError
from engine.simulator import __main__ as process
from engine.simulator import connection as connections
from engine.simulator.connection import Rules
from engine.simulator.control import serve_control
from engine.simulator.server import SimulatedVenues

START = parse_iso_utc("2026-02-03T14:30:10Z")
SECOND = 1_000_000_000
MARKETS = {"binance": ["BTC-USDT", "ETH-USDT"], "coinbase": ["BTC-USD"], "kraken": ["BTC-USD"]}
BTC = ("binance", "BTC-USDT")
SUBSCRIBE = json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})


class World:
    """A running simulator whose clock stands until it is moved."""

    def __init__(self, rules=None, **faults):
        config = SimulatorConfig(trades_per_second=200, faults=FaultsConfig(**faults))
        self.clock = DataClock(START)
        self.venues = SimulatedVenues(config, self.clock, MARKETS, rules)

    async def __aenter__(self):
        self.endpoints = await self.venues.start()
        self.session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_):
        await self.session.close()
        await self.venues.stop()

    def connect(self, name="binance", **options):
        return self.session.ws_connect(self.endpoints.exchanges[name][0] + "/ws"
                                       if name == "binance" else self.endpoints.exchanges[name][0],
                                       **options)  # fmt: skip

    @contextlib.asynccontextmanager
    async def subscribed(self):
        """Connect to Binance and subscribe to BTC's trades."""
        async with self.connect() as socket:
            await socket.send_str(SUBSCRIBE)
            assert json.loads(await socket.receive_str(timeout=20))["id"] == 1
            yield socket

    def pass_s(self, seconds):
        self.clock.advance(self.clock.now_ns() + int(seconds * SECOND))

    def counted(self, name="binance"):
        return {kind: n for (venue, kind), n in self.venues.injected().items() if venue == name}

    def rest(self, name="binance"):
        return httpx.AsyncClient(base_url=self.endpoints.exchanges[name][1])


async def _ending(socket):
    """Read a connection to its end; return the trades' ids, and the close code."""
    ids = []
    while (message := await socket.receive(timeout=20)).type is aiohttp.WSMsgType.TEXT:
        ids.append(json.loads(message.data)["t"])
    return ids, socket.close_code


async def _until(condition):
    """Let the loop run until something is so."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


# -- endings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("abruptly", "code"), [(False, 1001), (True, 1006)])
async def test_connection_of_age_is_cut_with_or_without_a_handshake(abruptly, code):
    async with World(cut_after_s=60, cut_abruptly=abruptly) as world:
        async with world.subscribed() as socket:
            world.pass_s(10)
            first = json.loads(await socket.receive_str(timeout=20))
            assert first["T"] * 1_000_000 > START
            world.pass_s(50)
            _, ended = await _ending(socket)
            assert ended == code
        assert world.counted() == {"cut": 1}
        async with world.subscribed() as socket:
            world.pass_s(5)
            assert json.loads(await socket.receive_str(timeout=20))["e"] == "trade"


async def test_disconnect_breaks_one_venue_without_a_handshake():
    async with World() as world, world.subscribed() as socket, world.connect("kraken") as other:
        assert world.venues.disconnect("binance") == 1
        assert await _ending(socket) == ([], 1006)
        assert world.counted() == {"disconnect": 1}
        assert world.counted("kraken") == {}
        await other.send_str('{"method":"ping"}')
        while "pong" not in await other.receive_str(timeout=20):
            pass


async def test_cut_lets_what_is_queued_through():
    async with World() as world, world.subscribed() as socket:
        world.pass_s(20)
        first = (await _frame(socket))["t"]  # all of one look at the market are queued together
        assert world.venues.cut("binance") == 1
        ids, code = await _ending(socket)
        ledger = world.venues.ledger(*BTC, START + 1, world.clock.now_ns() + 1)
        assert [first, *ids] == [trade.sequence for trade in ledger]
        assert code == 1001


async def test_random_disconnects_come_over_the_wire():
    async with World(disconnect_every_s=1) as world:
        for number in range(1, 4):
            async with world.subscribed() as socket:
                world.pass_s(30)
                assert (await _ending(socket))[1] == 1006
            assert world.counted() == {"disconnect": number}


# -- silence -----------------------------------------------------------------------------------


async def test_stall_loses_what_falls_due_in_it():
    async with World() as world, world.subscribed() as socket:
        assert world.venues.stall("binance", 30) == 1
        world.pass_s(29)
        await _until(lambda: "unsent" in world.counted())
        missed = world.venues.ledger(*BTC, START + 1, world.clock.now_ns() + 1)
        assert world.counted() == {"stall": 1, "unsent": len(missed)}
        world.pass_s(20)
        frame = json.loads(await socket.receive_str(timeout=20))
        assert frame["t"] == missed[-1].sequence + 1
        assert len(missed) > 50


async def test_lost_trades_are_in_the_ledger_and_over_rest():
    async with World(lost_share=0.2) as world, world.subscribed() as socket:
        world.pass_s(20)
        ledger = world.venues.ledger(*BTC, START + 1, world.clock.now_ns() + 1)
        await _until(lambda: "lost" in world.counted())
        ids = [json.loads(await socket.receive_str(timeout=20))["t"]
               for _ in range(len(ledger) - world.counted()["lost"])]  # fmt: skip
        lost = {trade.sequence for trade in ledger} - set(ids)
        assert len(lost) == world.counted()["lost"] > 10
        async with world.rest() as client:
            query = {"symbol": "BTCUSDT", "limit": 1000, "fromId": min(lost)}
            answer = await client.get("/api/v3/historicalTrades", params=query)
            assert lost <= {row["id"] for row in answer.json()}


async def test_slow_client_is_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(connections, "QUEUED_FRAMES", 50)
    async with World() as world, world.subscribed():
        world.pass_s(60)
        await _until(lambda: "slow_client" in world.counted())
        assert world.counted() == {"slow_client": 1}
        await _until(lambda: world.venues.connections == 0)


# -- rules -------------------------------------------------------------------------------------


async def test_binance_drops_who_answers_no_ping():
    rules = {"binance": Rules(ping_every_s=0.05, pong_within_s=0.3)}
    async with World(rules) as world:
        async with world.connect(autoping=False) as socket:
            pings = 0
            while (await socket.receive(timeout=20)).type is aiohttp.WSMsgType.PING:
                pings += 1
                await socket.pong(b"unsolicited")  # answers nothing, so it does not help
            assert pings >= 1
            assert socket.close_code == 1006
        assert world.counted() == {"no_pong": 1}


async def test_binance_keeps_who_answers_pings():
    rules = {"binance": Rules(ping_every_s=0.05, pong_within_s=0.8)}
    async with World(rules) as world, world.connect(autoping=False) as socket:
        end = asyncio.get_running_loop().time() + 1.2
        while asyncio.get_running_loop().time() < end:
            message = await socket.receive(timeout=20)
            assert message.type is aiohttp.WSMsgType.PING
            await socket.pong(message.data)
        assert world.counted() == {}


async def test_coinbase_closes_a_quiet_connection_but_not_one_with_heartbeats():
    async with World({"coinbase": Rules(quiet_s=2.5)}) as world, world.connect("coinbase") as kept:
        await kept.send_str(json.dumps(
            {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["heartbeat"]}
        ))  # fmt: skip
        mover = asyncio.create_task(_run(world))
        async with world.connect("coinbase") as quiet:
            assert await _ending(quiet) == ([], 1001)
        mover.cancel()
        assert world.counted("coinbase") == {"quiet": 1}
        assert not kept.closed


async def _run(world):
    while True:
        world.pass_s(0.25)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("name", ["kraken", "coinbase"])
async def test_idle_client_is_dropped_where_the_venue_asks_for_pings(name):
    async with World({name: Rules(idle_s=0.4)}) as world, world.connect(name) as socket:
        while (await socket.receive(timeout=20)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert socket.close_code == 1006
        assert world.counted(name) == {"idle": 1}


async def test_chatty_client_is_closed():
    async with World() as world, world.connect() as socket:
        for _ in range(20):
            await socket.send_str('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        while (await socket.receive(timeout=20)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert world.counted() == {"chatty": 1}


# -- REST --------------------------------------------------------------------------------------


async def test_rest_refusals_come_over_http_and_leave_sockets_alone():
    async with World(rest_busy_share=1.0, rest_retry_after_s=2, rest_ban_s=20) as world:
        async with world.rest() as client, world.subscribed():
            answers = [await client.get("/api/v3/time") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [429] * 4 + [418]
        assert [answer.headers["Retry-After"] for answer in answers] == ["2"] * 4 + ["20"]
        assert answers[0].json()["code"] == -1003
        assert world.counted() == {"rest_busy": 4, "rest_banned": 1}


async def test_rest_errors_and_calm_come_over_http():
    async with World(rest_error_share=1.0) as world, world.rest("kraken") as client:
        assert (await client.get("/0/public/Time")).status_code in {500, 502, 503, 504}
        world.venues.calm()
        assert (await client.get("/0/public/Time")).status_code == 200
        assert world.counted("kraken") == {"rest_error": 1}


async def test_slow_rest_answers_in_the_end():
    async with World(rest_slow_ms=50) as world, world.rest("coinbase") as client:
        assert (await client.get("/time")).status_code == 200
        assert world.counted("coinbase") == {"rest_slow": 1}


# -- listings and clocks -----------------------------------------------------------------------


async def test_relisted_ticker_streams_the_next_generation_under_its_symbol():
    async with World() as world, world.subscribed() as socket:
        world.pass_s(10)
        first = await _trades_upto(socket, world)
        world.venues.delist(*BTC)
        delisted = world.clock.now_ns()
        world.pass_s(10)
        world.venues.relist(*BTC)
        world.pass_s(10)
        ids = [(await _frame(socket))["t"] for _ in range(20)]
        assert first[-1] == world.venues.ledger(*BTC, START + 1, delisted)[-1].sequence
        assert ids == list(range(1, 21))
        assert world.venues.instruments("binance") == ["BTC-USDT", "BTC~2-USDT", "ETH-USDT"]
        end = world.clock.now_ns() + 1
        assert world.venues.ledger(*BTC, delisted, end) == []
        second = world.venues.ledger("binance", "BTC~2-USDT", START, end)
        assert [trade.sequence for trade in second][:20] == ids


async def _frame(socket):
    return json.loads(await socket.receive_str(timeout=20))


async def _trades_upto(socket, world):
    ledger = world.venues.ledger(*BTC, START + 1, world.clock.now_ns() + 1)
    ids = [(await _frame(socket))["t"] for _ in ledger]
    assert ids == [trade.sequence for trade in ledger]
    return ids


@pytest.mark.parametrize("skew_ms", [2000, -2000])
async def test_skewed_venue_stamps_its_own_time_everywhere(skew_ms):
    async with World(clock_skew_ms={"binance": skew_ms}) as world, world.subscribed() as socket:
        world.pass_s(10)
        skewed = world.clock.now_ns() + skew_ms * 1_000_000
        ledger = world.venues.ledger(*BTC, START + skew_ms * 1_000_000 + 1, skewed + 1)
        frames = [await _frame(socket) for _ in ledger]
        assert [(f["t"], f["T"] * 1_000_000) for f in frames] == [
            (trade.sequence, trade.exchange_time) for trade in ledger
        ]
        assert skewed - SECOND < ledger[-1].exchange_time <= skewed
        async with world.rest() as client:
            told = (await client.get("/api/v3/time")).json()["serverTime"]
            assert told == skewed // 1_000_000


@pytest.mark.parametrize("call", ["disconnect", "cut", "delist", "ledger"])
async def test_unserved_venue_is_refused(call):
    venues = World().venues
    arguments = {"delist": ["BTC-USDT"], "ledger": ["BTC-USDT", 0, 1]}.get(call, [])
    with pytest.raises(InstrumentError, match="serves no venue 'okx'; it serves binance, coinbase"):
        getattr(venues, call)("okx", *arguments)


def test_relisting_of_what_is_not_listed_here_is_refused():
    plan = {"exchange": "kraken", "instrument": "ETH-USD", "delist_after_s": 5}
    with pytest.raises(InstrumentError, match="kraken lists no ETH-USD here; it lists BTC-USD"):
        World(relistings=[plan])


# -- control -----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def controlled(world):
    runner, url = await serve_control(world.venues)
    try:
        async with httpx.AsyncClient(base_url=f"{url}/control") as client:
            yield client
    finally:
        await runner.cleanup()


async def test_control_ledger_streams_the_ledger_line_by_line():
    async with World() as world, controlled(world) as client:
        span = {"start": "2026-02-03T14:28:00Z", "end": str(START)}
        answer = await client.get(
            "/ledger", params={"exchange": "binance", "instrument": "BTC-USDT", **span}
        )
        trades = [msgspec.json.decode(line, type=Trade) for line in answer.text.splitlines()]
        ledger = world.venues.ledger(*BTC, START - 130 * SECOND, START)
        assert trades == ledger
        assert len(trades) > 1000


async def test_looks_tell_when_trades_were_sent():
    async with World() as world, controlled(world) as client, world.subscribed() as socket:
        world.pass_s(1)
        trade = json.loads(await socket.receive_str(timeout=20))
        looks = (await client.get("/looks", params={"exchange": "binance"})).json()
        assert looks == sorted(looks)
        assert looks[-1] == START + SECOND
        assert START < trade["T"] * 1_000_000 <= looks[-1]
        assert (await client.get("/looks")).status_code == 400


async def test_control_deafens_a_subscription_until_it_is_asked_for_again():
    async with World() as world, controlled(world) as client, world.subscribed() as socket:
        market = {"exchange": "binance", "instrument": "BTC-USDT"}
        other = await client.post("/deafen", params={**market, "feed": "book"})
        assert other.json() == {"connections": 0}
        assert (await client.post("/deafen", params=market)).json() == {"connections": 1}
        world.pass_s(10)
        await asyncio.sleep(0.3)
        await socket.send_str(SUBSCRIBE)
        assert json.loads(await socket.receive_str(timeout=20))["id"] == 1, "no trade was sent"
        world.pass_s(10)
        first = json.loads(await socket.receive_str(timeout=20))
        assert first["T"] * 1_000_000 > START + 9 * SECOND
        assert world.counted() == {"deaf": 1}


async def test_calm_has_a_venue_remember_what_it_forgot():
    async with World(deaf_every_s=1) as world, world.subscribed() as socket:
        world.pass_s(20)
        await _until(lambda: world.counted().get("deaf"))
        world.venues.calm()
        world.pass_s(20)
        seen = 0
        while seen <= START + 20 * SECOND:
            seen = json.loads(await socket.receive_str(timeout=20))["T"] * 1_000_000
        assert world.counted() == {"deaf": 1}


async def test_control_commands_do_what_they_say():
    async with World() as world, controlled(world) as client:
        async with world.subscribed() as socket:
            stalled = await client.post("/stall", params={"exchange": "binance", "seconds": 1})
            broken = await client.post("/disconnect")
            assert (stalled.json(), broken.json()) == ({"connections": 1}, {"connections": 1})
            assert (await _ending(socket))[1] == 1006
        async with world.subscribed() as socket:
            assert (await client.post("/cut", params={"exchange": "binance"})).is_success
            assert (await _ending(socket))[1] == 1001
        market = {"exchange": "binance", "instrument": "BTC-USDT"}
        assert (await client.post("/delist", params=market)).is_success
        world.pass_s(1)
        assert (await client.post("/relist", params=market)).is_success
        assert (await client.post("/calm")).is_success
        assert (await client.get("/instruments")).json() == {
            **MARKETS, "binance": ["BTC-USDT", "BTC~2-USDT", "ETH-USDT"]
        }  # fmt: skip
        assert (await client.get("/injected")).json() == {
            "binance": {"cut": 1, "disconnect": 1, "stall": 1}, "coinbase": {}, "kraken": {}
        }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("POST", "/disconnect?exchange=okx", "serves no venue 'okx'"),
        ("POST", "/stall?seconds=0", "seconds must be above 0"),
        ("POST", "/deafen?exchange=binance&instrument=BTC-USDT&feed=news", "not 'news'"),
        ("POST", "/deafen?exchange=binance&instrument=FOO-USDT", "no FOO-USDT"),
        ("POST", "/stall", "/control/stall needs the parameter 'seconds'"),
        ("POST", "/relist?exchange=binance&instrument=BTC-USDT", "still lists BTC-USDT"),
        ("GET", "/ledger?exchange=binance&instrument=FOO-USDT&start=1&end=2", "no FOO-USDT"),
        ("GET", "/ledger?exchange=binance&instrument=BTC-USDT&start=noon&end=2", "noon"),
    ],
)
async def test_control_says_what_is_wrong(method, path, error):
    async with World() as world, controlled(world) as client:
        answer = await client.request(method, path)
        assert answer.status_code == 400
        assert error in answer.json()["error"]


# -- the process -------------------------------------------------------------------------------


async def test_process_prints_its_addresses_and_stops_on_sigterm(tmp_path):
    config = tmp_path / "simulator.yaml"
    config.write_text(
        "exchanges: {binance: {instruments: [BTC-USDT]}}\nsimulator: {trades_per_second: 50}\n"
    )
    simulator = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "engine.simulator", "--config", str(config),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        line = json.loads(await asyncio.wait_for(simulator.stdout.readline(), 60))
        assert list(line["exchanges"]) == ["binance"]
        async with httpx.AsyncClient() as client:
            listed = await client.get(line["control_url"] + "/control/instruments")
            assert listed.json() == {"binance": ["BTC-USDT"]}
            rest_url = line["exchanges"]["binance"]["rest_url"]
            assert (await client.get(rest_url + "/api/v3/time")).status_code == 200
            assert (await client.get(line["news_url"] + "/fng/")).status_code == 200
        simulator.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(simulator.wait(), 20) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            simulator.kill()
        await simulator.communicate()


def test_process_refuses_a_broken_configuration_in_a_sentence(tmp_path, capsys):
    assert process.main(["--config", str(tmp_path / "none.yaml")]) == ConfigError.exit_code
    assert "none.yaml does not exist" in capsys.readouterr().err
