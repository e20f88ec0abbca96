"""History over real HTTP from the simulated venues, compared with the market's own ledger."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from ray.exceptions import RayError

from engine.backfill.ccxt_venue import CcxtVenue
from engine.backfill.run import BackfillConfig, BackfillResult, Step, backfill
from engine.backfill.stretches import REPAIR_NS, lacking
from engine.backfill.venue import OwnVenue
from engine.bus.client import Bus
from engine.clock import NS_PER_S, DataClock, parse_iso_utc
from engine.config import RetentionConfig, SimulatorConfig
from engine.domain.instrument import Market
from engine.domain.market import Gap, Trade, TradeRange
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError, InstrumentError, VenueError
from engine.exchanges.feeds import delisting_gap
from engine.exchanges.registry import exchange
from engine.exchanges.repair import Fetched
from engine.features.catalogue import feature_columns
from engine.job_request import load_job_config
from engine.simulator.server import SimulatedVenues
from engine.store.client import Store
from engine.store.completeness import Selection, verify
from engine.store.embedded import EmbeddedStore
from engine.store.reader import Reader
from engine.store.schema import migrate
from jobs import backfill as job
from jobs import cluster
from jobs.run import command

NOW = parse_iso_utc("2026-02-03T14:30:10Z")
MINUTE = 60 * NS_PER_S
HOUR = 60 * MINUTE
START, END = NOW - HOUR - 10 * NS_PER_S, NOW - HOUR + 1_190 * NS_PER_S
MARKETS = {
    "binance": ["BTC-USDT"],
    "binance_perp": ["BTC-USDT-PERP"],
    "coinbase": ["BTC-USD"],
    "kraken": ["BTC-USD"],
    "okx": ["BTC-USDT-PERP"],
    "bybit": ["BTC-USDT"],
}
KEPT = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    home = EmbeddedStore(tmp_path_factory.mktemp("store") / "db")
    home.start()
    yield home
    home.stop()


@pytest.fixture(scope="module")
def migrated(home: EmbeddedStore) -> Iterator[Store]:
    with Store(home.endpoint) as store:
        migrate(store, KEPT, feature_columns())
        yield store


@pytest.fixture
def store(migrated: Store) -> Store:
    for table in ("trades", "candles", "feed_gaps"):
        migrated.command(f"TRUNCATE TABLE {table}")
    return migrated


class World:
    """The simulated venues and their clock."""

    def __init__(self) -> None:
        self.clock = DataClock(NOW)
        self.venues = SimulatedVenues(SimulatorConfig(), self.clock, MARKETS)
        self.urls: dict[str, str] = {}

    def truth(self, market: Market, start: int, end: int) -> list[Trade]:
        return [
            msgspec.structs.replace(trade, receive_time=0)
            for trade in self.venues.ledger(*market, start, end)
        ]

    def asks(self, market: Market, **changes: object) -> BackfillConfig:
        whole = BackfillConfig(
            market.exchange,
            (market.instrument,),
            START,
            END,
            rest_url=self.urls[market.exchange],
            requests_per_second=10_000.0,
        )
        return replace(whole, **changes)  # type: ignore[arg-type]

    async def fetch(self, store: Store, config: BackfillConfig, **more: object) -> BackfillResult:
        return await backfill(config, store, clock=self.clock, **more)  # type: ignore[arg-type]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    found = await world.venues.start()
    world.urls = {name: rest for name, (_, rest) in found.exchanges.items()}
    yield world
    await world.venues.stop()


def held(store: Store, market: Market) -> list[Trade]:
    return [
        msgspec.structs.replace(trade, receive_time=0)
        for trade in Reader(store).trades(*market, 0, 2**63 - 1)
    ]


def market_of(name: str) -> Market:
    return Market(name, MARKETS[name][0])


def a_gap(market: Market, start: int, end: int | None) -> Gap:
    return Gap(
        gap_id="lasting",
        exchange=market.exchange,
        instrument=market.instrument,
        channel="trades",
        cause="disconnect",
        from_sequence=None,
        to_sequence=None,
        from_time=start,
        to_time=end,
        opened_at=start,
    )


@pytest.mark.parametrize("name", ["binance", "binance_perp", "coinbase", "kraken", "okx"])
async def test_backfill_trades_are_the_venues_ledger_and_prove_complete(
    store: Store, world: World, name: str
) -> None:
    market = market_of(name)
    steps: list[Step] = []
    result = await world.fetch(store, world.asks(market), tell=steps.append)
    truth = world.truth(market, START, END + 1)
    assert len(truth) > 200
    assert held(store, market) == truth
    assert result.problems == []
    assert (result.trades, result.gaps_closed) == (len(truth), 1)
    (report,) = verify(store, Selection())
    assert report.is_complete
    assert report.candles.compared == result.candles > 200
    assert [one.open_time for one in Reader(store).candles(*market, "1m", 0, 2**63 - 1)] == sorted(
        {Timeframe.M1.floor(trade.exchange_time) for trade in truth}
    )
    assert steps[-1] == Step(market.instrument, 1.0, len(truth))
    # All of it again asks for nothing and writes nothing.
    again = await world.fetch(store, world.asks(market))
    assert again == BackfillResult()


async def test_backfill_closes_holes_and_open_gaps_and_rebuilds_their_candles(
    store: Store, world: World
) -> None:
    market = market_of("binance")
    truth = world.truth(market, START, END)
    store.insert("trades", [*truth[:100], *truth[130:200], *truth[201:]])
    (before,) = verify(store, Selection())
    assert before.missing_ids == 31
    result = await world.fetch(store, world.asks(market, start=truth[0].exchange_time))
    assert (result.trades, result.gaps_closed, result.problems) == (31, 3, [])
    assert held(store, market) == truth
    (after,) = verify(store, Selection())
    assert after.is_complete
    assert after.repaired_gaps == 3  # the holes, and what lies behind the last trade
    assert after.candles.compared > 0


@pytest.mark.parametrize("name", ["binance", "binance_perp", "coinbase", "kraken", "okx"])
async def test_backfill_of_a_range_inside_a_longer_hole_fetches_it_and_proves_it(
    store: Store, world: World, name: str
) -> None:
    market = market_of(name)
    early = world.truth(market, START - 10 * MINUTE, START - 5 * MINUTE)
    late = world.truth(market, END + 5 * MINUTE, END + 10 * MINUTE)
    store.insert("trades", [*early, *late])
    asked = Selection(start=START, end=END)
    (before,) = verify(store, asked)
    assert (before.counts.trades, len(before.edge_holes)) == (0, 1)
    assert not before.is_complete
    result = await world.fetch(store, world.asks(market))
    assert (result.gaps_closed, result.problems) == (1, [])
    truth = world.truth(market, START, END + 1)
    assert held(store, market) == [*early, *truth, *late]
    (after,) = verify(store, asked)
    assert after.is_complete
    (wider,) = verify(store, Selection(start=START - MINUTE, end=END + MINUTE))
    assert len(wider.edge_holes) == 2
    assert await world.fetch(store, world.asks(market)) == BackfillResult()


class Skipping(OwnVenue):
    """A venue that never gave some ids to a trade."""

    never: frozenset[int] = frozenset()

    async def trades(self, wanted: TradeRange) -> Fetched:
        found = await super().trades(wanted)
        left = [trade for trade in found.trades if trade.sequence not in self.never]
        lacks = len(left) < len(found.trades)
        return Fetched(left, "some ids were not given" if lacks else found.problem)


async def test_backfill_of_ids_that_the_venue_skipped_explains_them(
    store: Store, world: World
) -> None:
    market = market_of("binance")
    truth = world.truth(market, START, END)
    first = truth[0].sequence
    venue = Skipping(exchange("binance"), world.urls["binance"], world.clock, 10_000.0)
    venue.never = frozenset({first + 20, first + 21, first + 40})
    store.insert("trades", [*truth[:10], *truth[60:]])
    asked = world.asks(market, start=truth[0].exchange_time, end=truth[-1].exchange_time)
    result = await world.fetch(store, asked, venue=venue)
    assert (result.trades, result.problems) == (47, [])
    (report,) = verify(store, Selection())
    assert report.counts.missing == 3
    assert report.missing_ids == 0
    assert report.is_complete


async def test_lacking_beside_a_running_engine_leaves_its_own_gaps_to_it(
    store: Store, world: World
) -> None:
    market = market_of("kraken")
    trades = world.truth(market, NOW - 600 * NS_PER_S, NOW)
    store.insert("trades", trades)
    first, last = trades[0].exchange_time, trades[-1].exchange_time
    store.insert("feed_gaps", [a_gap(market, last, None)])
    assert lacking(store, market, first, NOW, NOW, live=True) == []
    (found,) = lacking(store, market, first, NOW, NOW)
    assert (found.gap_id, found.from_time, found.to_time) == ("lasting", last, None)
    # What lies before the first trade is nobody's, and reaches up to its id.
    (head,) = lacking(store, market, first - MINUTE, NOW, NOW, live=True)
    assert (head.cause, head.from_time, head.to_time) == ("start", first - MINUTE, first)
    assert head.to_sequence == trades[0].sequence - 1


async def test_lacking_beside_a_running_engine_leaves_gaps_that_it_is_fetching_to_it(
    store: Store, world: World
) -> None:
    market = market_of("binance")
    trades = world.truth(market, NOW - 900 * NS_PER_S, NOW)
    store.insert("trades", [*trades[:20], *trades[30:]])
    first, low, high = trades[0].exchange_time, trades[19].exchange_time, trades[30].exchange_time
    ended = msgspec.structs.replace(
        a_gap(market, low, high), gap_id="ended",
        from_sequence=trades[20].sequence, to_sequence=trades[29].sequence,
    )  # fmt: skip
    patience = round(331.5 * NS_PER_S)
    assert patience == REPAIR_NS

    def found(now: int, *, live: bool = True) -> list[str]:
        return [gap.gap_id for gap in lacking(store, market, first, high + 1, now, live=live)]

    # Its ids are missing before the stream has written the gap down.
    hole = f"{market}:trades:backfill:{low}:{high}:{trades[20].sequence}"
    assert found(high + patience - 1) == []
    assert found(high + patience) == [hole]
    store.insert("feed_gaps", [ended])
    assert found(high + patience - 1) == []
    assert found(high + patience - 1, live=False) == ["ended"]
    assert found(high + patience) == ["ended"]
    # One that was found long after is fetched from then on.
    late = msgspec.structs.replace(ended, opened_at=high + 2 * patience)
    store.command("TRUNCATE TABLE feed_gaps")
    store.insert("feed_gaps", [late])
    assert found(high + 3 * patience - 1) == []
    assert found(high + 3 * patience) == ["ended"]
    # What a backfill left that was killed goes on at once.
    left = msgspec.structs.replace(late, gap_id="x:backfill:1:2", opened_at=high)
    store.command("TRUNCATE TABLE feed_gaps")
    store.insert("feed_gaps", [left])
    assert found(high + 1) == ["x:backfill:1:2"]


async def test_lacking_leaves_the_last_trades_before_a_delisting_to_the_stream(
    store: Store, world: World
) -> None:
    market = market_of("kraken")
    trades = world.truth(market, NOW - 600 * NS_PER_S, NOW)
    store.insert("trades", trades)
    first, last = trades[0].exchange_time, trades[-1].exchange_time
    gap = delisting_gap(*market, trades[-1].sequence, last, NOW, NOW)
    store.insert("feed_gaps", [gap])
    assert lacking(store, market, first, NOW, NOW) == []


class Breaking(OwnVenue):
    """A venue that stops answering after some requests."""

    left = 3

    async def trades(self, wanted: TradeRange) -> Fetched:
        if not self.left:
            raise VenueError("the venue went away")
        self.left -= 1
        return await super().trades(wanted)


@pytest.mark.parametrize("name", ["coinbase", "kraken"])
async def test_backfill_that_broke_off_is_an_open_gap_and_goes_on(
    store: Store, world: World, name: str
) -> None:
    market = market_of(name)
    asked = world.asks(market)
    broken = Breaking(exchange(name), world.urls[name], world.clock, 10_000.0)
    broken.left = 1
    result = await world.fetch(store, asked, venue=broken)
    assert result.problems == [f"{market}: the venue went away"]
    (report,) = verify(store, Selection())
    assert not report.is_complete
    (gap,) = report.open_gaps
    assert gap.from_time == START
    assert gap.to_time is not None
    assert START < gap.to_time < END
    first = len(held(store, market))
    result = await world.fetch(store, asked)
    assert result.problems == []
    truth = world.truth(market, START, END + 1)
    assert result.trades == len(truth) - first
    assert held(store, market) == truth
    (report,) = verify(store, Selection())
    assert report.is_complete


async def test_backfill_of_a_venue_that_keeps_little_says_what_stays_open(
    store: Store, world: World
) -> None:
    market = market_of("bybit")
    result = await world.fetch(store, world.asks(market, end=NOW))
    (problem,) = result.problems
    assert problem.startswith("bybit:BTC-USDT: bybit's REST gives past trades of BTC-USDT only fr")
    truth = world.truth(market, START, NOW + 1)
    assert held(store, market) == truth[-len(held(store, market)) :]
    (report,) = verify(store, Selection())
    assert report.open_gaps[0].problem in problem
    # Asked again, it is the same gap, not another one.
    await world.fetch(store, world.asks(market, end=NOW))
    (report,) = verify(store, Selection())
    assert len(report.open_gaps) == 1


@pytest.mark.parametrize("name", ["binance", "coinbase", "kraken", "okx", "bybit"])
async def test_backfill_candles_come_once(store: Store, world: World, name: str) -> None:
    market = market_of(name)
    asked = world.asks(market, what="candles", timeframe=Timeframe.M1)
    result = await world.fetch(store, asked)
    stored = Reader(store).candles(*market, "1m", 0, 2**63 - 1)
    assert result.problems == []
    assert result.candles == len(stored) > 15
    traded = {Timeframe.M1.floor(one.exchange_time) for one in world.truth(market, START, END)}
    assert {candle.open_time for candle in stored} == traded
    assert all(candle.source == "rest" and candle.is_closed for candle in stored)
    assert (await world.fetch(store, asked)).candles == 0


async def test_backfill_beside_stored_trades_of_a_venue_without_counting_leaves_no_silence(
    store: Store, world: World
) -> None:
    market = market_of("bybit")
    later = world.truth(market, NOW - 10 * NS_PER_S, NOW)
    store.insert("trades", later)
    await world.fetch(store, world.asks(market))
    (report,) = verify(store, Selection())
    between = [gap for gap in report.open_gaps if gap.from_time == END]
    assert [gap.to_time for gap in between] == [later[0].exchange_time]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"instruments": ()}, ConfigError, "no instrument is named"),
        ({"instruments": ("btc",)}, InstrumentError, "is not of the form"),
        ({"end": START}, ConfigError, "the range to fetch is empty"),
        ({"start": NOW + 1, "end": None}, ConfigError, "the range to fetch is empty"),
        ({"instruments": ("NOPE-USDT",)}, VenueError, "binance does not list NOPE-USDT"),
        ({"exchange": "mtgox"}, ConfigError, "mtgox"),
    ],
)
async def test_backfill_of_what_cannot_be_says_so(
    store: Store, world: World, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        await world.fetch(store, world.asks(market_of("binance"), **changes))


async def test_backfill_without_ccxt_says_how_to_get_it(
    store: Store, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ccxt.async_support", None)
    asked = world.asks(market_of("binance"), exchange="gemini")
    with pytest.raises(ConfigError, match=r"pip install 'signal-engine\[ccxt\]'"):
        await world.fetch(store, asked)


async def test_backfill_by_ccxt_equals_the_ledger(store: Store, world: World) -> None:
    pytest.importorskip("ccxt", reason="ccxt is not installed (an optional extra)")
    options: dict[str, object] = {
        "enableRateLimit": False,
        "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False},
    }
    market = market_of("binance")

    def venue() -> CcxtVenue:
        return CcxtVenue("binance", world.clock, rest_url=world.urls["binance"], options=options)

    result = await world.fetch(store, world.asks(market), venue=venue())
    truth = [
        msgspec.structs.replace(trade, sequence=0) for trade in world.truth(market, START, END + 1)
    ]
    assert result.problems == []
    assert sorted(held(store, market), key=lambda t: int(t.trade_id)) == truth
    (report,) = verify(store, Selection())
    assert report.is_complete
    asked = world.asks(
        market, what="candles", timeframe=Timeframe.M5, start=START - HOUR, end=START
    )
    result = await world.fetch(store, asked, venue=venue())
    assert result.candles == 12
    assert result.problems == []


def test_job_read_from_the_command_line_has_the_configurations_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        json.dumps(
            {
                "data_dir": str(tmp_path),
                "exchanges": {
                    "kraken": {"rest_url": "http://127.0.0.1:1", "rest_per_second": 7},
                },
                "candles": {"timeframes": ["1m", "1h"]},
            }
        )
    )
    config = load_job_config(
        "backfill",
        path,
        ["exchange=kraken", "instruments=[BTC-USD]", "begin=2026-02-03",
         "end=2026-02-04T01:00:00Z", "what=candles", "timeframe=1h"],
    )  # fmt: skip
    assert job.request_of(config) == BackfillConfig(
        "kraken",
        ("BTC-USD",),
        parse_iso_utc("2026-02-03T00:00:00Z"),
        parse_iso_utc("2026-02-04T01:00:00Z"),
        "candles",
        Timeframe.H1,
        "http://127.0.0.1:1",
        7.0,
        (Timeframe.M1, Timeframe.H1),
        live=False,
    )


def test_job_run_on_a_cluster_leaves_the_last_minutes_to_its_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    config = load_job_config(
        "backfill", None, ["exchange=kraken", "instruments=[BTC-USD]", "begin=2026-02-03"]
    )
    assert job.request_of(config).live


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["begin=yesterday"], "begin 'yesterday' is no time"),
        ([], "begin is missing: backfill needs --set exchange=binance"),
        (["begin=2026-02-03", "what=books"], "backfill.what: Input should be 'trades' or"),
        (["begin=2026-02-03", "simulator.enabled=true"], "venues of this configuration"),
        (["begin=2026-02-03", "timeframe=2m"], "backfill.timeframe: Input should be '1s', '1m'"),
    ],
)
def test_job_with_a_wrong_key_says_which(
    overrides: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["exchange=kraken", "instruments=[BTC-USD]"]
    arguments = [part for one in [*common, *overrides] for part in ("--set", one)]
    assert command("backfill", job.main, arguments) == 2
    assert words in capsys.readouterr().err


def test_job_beside_an_engine_keeps_the_pauses_asked_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = BackfillConfig("kraken", ("BTC-USD",), 0)
    assert cluster.with_engines_bus(request) == request  # no cluster, no engine

    class Supervisor:
        bus_address = SimpleNamespace(remote=lambda: "the answer")

    def answer(asked: str, timeout: float) -> tuple[str, str]:
        assert (asked, timeout) == ("the answer", cluster.PATIENCE_S)
        return "redis://127.0.0.1:1/0", "mine"

    monkeypatch.setattr(cluster, "_supervisor", Supervisor)
    monkeypatch.setattr(cluster.ray, "get", answer)
    beside = replace(request, bus_url="redis://127.0.0.1:1/0", bus_prefix="mine")
    assert cluster.with_engines_bus(request) == beside

    def silent(asked: str, timeout: float) -> None:
        raise RayError

    monkeypatch.setattr(cluster.ray, "get", silent)
    assert cluster.with_engines_bus(beside) == beside


async def test_venue_closes_the_bus_that_it_was_given() -> None:
    bus = Bus("redis://127.0.0.1:1/0")
    closed: list[bool] = []

    async def close() -> None:
        closed.append(True)

    bus.close = close  # type: ignore[method-assign]
    async with OwnVenue(exchange("kraken"), "", DataClock(NOW), bus=bus):
        assert not closed
    assert closed == [True]
