"""`engine verify`, `record`, `backfill` and `bench`, as a person runs them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from click.testing import Result
from typer.testing import CliRunner

from engine.backfill.run import BackfillConfig, BackfillResult
from engine.candles.resample import candles_from_trades
from engine.cli import bench
from engine.cli.main import app
from engine.cli.runfile import Run, write_run
from engine.clock import NS_PER_S, SystemClock, iso_utc, parse_iso_utc
from engine.config import ExchangeConfig, ReconnectConfig, RetentionConfig, SimulatorConfig
from engine.domain.market import Trade
from engine.errors import ConfigError, EngineError, NotRunningError, StoreQueryError, VenueError
from engine.exchanges.recording import read_answers, read_header
from engine.exchanges.recording_run import NullSink, RecordingRun
from engine.exchanges.replay import inspect_recordings
from engine.exchanges.sink import FeedEvent
from engine.features.catalogue import feature_columns
from engine.simulator.server import SimulatedEndpoints, SimulatedVenues
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.schema import migrate

T0 = parse_iso_utc("2026-01-05T12:00:00Z")
KEPT = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))
MARKETS = {"binance": ["BTC-USDT", "ETH-USDT"], "kraken": ["BTC-USD"], "okx": ["BTC-USDT-PERP"]}
TRADES = [
    Trade("kraken", "BTC-USD", str(number), number, 100.0 + number, 1.0, "buy", T0 + number, T0)
    for number in range(1, 11)
]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGINE_STATE_DIR", str(tmp_path / "state"))


def command(*arguments: str, width: int = 200) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(width)})


def refusal(*arguments: str) -> EngineError:
    error = command(*arguments).exception
    assert isinstance(error, EngineError), error
    return error


@contextmanager
def opened(path: Path, trades: list[Trade]) -> Iterator[EmbeddedStore]:
    home = EmbeddedStore(path)
    try:
        with Store(home.start()) as store:
            migrate(store, KEPT, feature_columns())
            store.insert("trades", trades)
            store.insert("candles", candles_from_trades(trades))
        yield home
    finally:
        home.stop()


# -- verify ------------------------------------------------------------------------------


def test_verify_stopped_engines_store_that_is_whole_exits_with_0() -> None:
    with opened(Path("data/store"), TRADES):
        pass
    shown = {}
    for width in (80, 170):
        done = command("verify", width=width)
        assert done.exit_code == 0, done.exception
        assert "complete: 10 trades, none missing, none twice" in done.stdout
        (row,) = [line for line in done.stdout.splitlines() if line.startswith("kraken:BTC-USD ")]
        shown[width] = row.split()
    assert shown == {
        80: ["kraken:BTC-USD", "10", "0", "complete"],
        170: [
            "kraken:BTC-USD", "1", "10", "2026-01-05T12:00:00", "2026-01-05T12:00:00", "10", "10",
            "0", "0/0", "0/1", "complete",
        ],
    }  # fmt: skip


def test_verify_running_engines_store_that_is_not_whole_exits_with_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.cli.verify.PATIENCE_S", 0.01)
    with opened(Path("data/store"), [*TRADES[:4], *TRADES[6:], TRADES[0]]):
        done = command("verify", "--exchange", "kraken", "--json")
        assert done.exit_code == 1
        found = json.loads(done.stdout)
        (market,) = found["markets"]
        assert found["complete"] is market["complete"] is False
        assert market["problems"] == [
            "2 trade ids are missing: 5 to 6",
            "1 trades are stored twice",
        ]
        told = command("verify")
        assert told.exit_code == 1
        assert "not complete: kraken:BTC-USD: 2 trade ids are missing: 5 to 6" in told.stdout


def test_verify_without_anything_to_verify_says_so() -> None:
    with pytest.raises(NotRunningError, match="there is no store at"):
        raise refusal("verify")
    with opened(Path("data/store"), []):
        assert "holds no trades yet" in str(refusal("verify"))
        assert isinstance(refusal("verify", "--instrument", "BTC-USD"), StoreQueryError)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "noon"), "--from 'noon' is no time; write a day"),
        (("--from", "2026-01-02", "--to", "2026-01-01"), "does not lie before --to 2026-01-01"),
        (("--instrument", "btc"), "is not of the form"),
        (("--from", "2026-01-02T00:00:00"), "with its zone"),
    ],
)
def test_verify_mistake_is_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    error = refusal("verify", *arguments)
    assert error.exit_code == 2
    assert words in str(error)


# -- record and backfill -----------------------------------------------------------------


@pytest.fixture(scope="module")
def endpoints() -> Iterator[SimulatedEndpoints]:
    """Simulated venues in a thread of their own, as another process would run them."""
    found: list[SimulatedEndpoints] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        config = SimulatorConfig(trades_per_second=2_000.0)
        venues = SimulatedVenues(config, SystemClock(), MARKETS)
        found.append(await venues.start())
        ready.set()
        await stopping.wait()
        await venues.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    yield found[0]
    loop.call_soon_threadsafe(stopping.set)
    thread.join(30)
    loop.close()


def _at(endpoints: SimulatedEndpoints, name: str) -> list[str]:
    ws_url, rest_url = endpoints.exchanges[name]
    settings = {"ws_url": ws_url, "rest_url": rest_url, "rest_per_second": "1000"}
    return [
        part
        for key, value in settings.items()
        for part in ("--set", f"exchanges.{name}.{key}={value}")
    ]


def test_record_for_a_while_writes_files_that_can_be_replayed(
    endpoints: SimulatedEndpoints,
) -> None:
    done = command(
        "record", "--exchange", "binance", "--instrument", "BTC-USDT", "--instrument", "ETH-USDT",
        "--for", "3s", "--out", "frames", *_at(endpoints, "binance"),
    )  # fmt: skip
    assert done.exit_code == 0, done.exception
    paths = [Path(line) for line in done.stdout.split()]
    assert paths == sorted(Path("frames").iterdir())
    (recording,) = inspect_recordings(paths)
    assert recording.instruments == ("BTC-USDT", "ETH-USDT")
    assert recording.frames > 10
    # Each book began with a snapshot over REST, which a replay needs.
    asked = {answer.target.partition("&")[0] for answer in read_answers(recording.path)}
    assert asked == {"/api/v3/depth?symbol=BTCUSDT", "/api/v3/depth?symbol=ETHUSDT"}


class Watching(NullSink):
    """Says when it has seen some events."""

    def __init__(self) -> None:
        super().__init__()
        self.enough = asyncio.Event()

    async def events(self, events: Sequence[FeedEvent]) -> None:
        await super().events(events)
        if self.events_seen >= 3:
            self.enough.set()


async def test_record_keeps_the_contracts_sizes(
    endpoints: SimulatedEndpoints, tmp_path: Path
) -> None:
    ws_url, rest_url = endpoints.exchanges["okx"]
    venue = ExchangeConfig(
        ws_url=ws_url,
        rest_url=rest_url,
        rest_per_second=1000,
        instruments=("BTC-USDT-PERP",),
        channels=("trades", "book_top"),
        repair=False,
    )
    run = RecordingRun("okx", venue, ReconnectConfig(), tmp_path / "out")
    run.sink = sink = Watching()
    assert run.progress(None) == "looking up okx's instruments"
    task = asyncio.create_task(run.run())
    await asyncio.wait_for(sink.enough.wait(), 30)
    assert "connections" in run.progress(1.0)
    await run.stop()
    await task
    headers = [read_header(path) for path in run.paths]
    assert {header.contract_sizes["BTC-USDT-PERP"] for header in headers if header} == {0.01}
    found = inspect_recordings(run.paths)
    assert all(recording.instruments == ("BTC-USDT-PERP",) for recording in found)


def test_record_of_what_cannot_be_says_so(endpoints: SimulatedEndpoints) -> None:
    asked = ["record", "--exchange", "kraken", "--instrument", "BTC-USD"]
    assert "no adapter for exchange 'mtgox'" in str(
        refusal("record", "--exchange", "mtgox", "--instrument", "BTC-USD")
    )
    assert "--for 'soon' is no duration" in str(refusal(*asked, "--for", "soon"))
    assert "--channel 'perpetual' is none of kraken's: book, book_top, trades" in str(
        refusal(*asked, "--channel", "perpetual")
    )
    unlisted = refusal(
        "record", "--exchange", "kraken", "--instrument", "NOPE-USD", *_at(endpoints, "kraken")
    )
    assert isinstance(unlisted, VenueError)
    assert "kraken does not list NOPE-USD" in str(unlisted)


def test_backfill_beside_an_engine_keeps_the_pauses_asked_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[BackfillConfig] = []

    def run(request: BackfillConfig, *_: object) -> BackfillResult:
        asked.append(request)
        return BackfillResult()

    monkeypatch.setattr("engine.cli.backfill._run", run)
    words = ("backfill", "--exchange", "kraken", "--instrument", "BTC-USD", "--from", "2026-01-05")
    me, own = psutil.Process(), tmp_path / "engine.yaml"
    own.write_text("bus: {prefix: mine}")
    engine = Run(
        me.pid, me.create_time(), str(own), str(tmp_path / "data"), "", "http://a:b@127.0.0.1:1/c",
        "", "", "", (), (), "", True, bus_url="redis://:secret@127.0.0.1:1/0",
    )  # fmt: skip
    write_run(engine)
    assert command(*words).exit_code == 0
    other = ("--set", "bus.url=redis://127.0.0.1:2/0")
    assert command(*words, *other).exit_code == 0
    assert command(*words, "--set", "bus.prefix=other").exit_code == 0
    assert [(request.bus_url, request.bus_prefix) for request in asked] == [
        (engine.bus_url, "mine"), ("redis://127.0.0.1:2/0", "engine"), ("", "other"),
    ]  # fmt: skip


def test_backfill_then_verify_is_complete(endpoints: SimulatedEndpoints) -> None:
    now = SystemClock().now_ns()
    span = ["--from", iso_utc(now - 600 * NS_PER_S), "--to", iso_utc(now - 300 * NS_PER_S)]
    done = command(
        "backfill", "--exchange", "kraken", "--instrument", "BTC-USD", *span, "--json",
        *_at(endpoints, "kraken"),
    )  # fmt: skip
    assert done.exit_code == 0, (done.exception, done.output)
    found = json.loads(done.stdout)
    assert found["problems"] == []
    assert found["trades"] > 0
    assert found["gaps_closed"] == 1
    checked = command("verify", "--json")
    assert checked.exit_code == 0
    (market,) = json.loads(checked.stdout)["markets"]
    assert market["counts"]["trades"] == found["trades"]
    assert market["candles"]["compared"] == found["candles"] > 0


def test_backfill_of_a_simulated_engine_does_not_ask_the_real_venue() -> None:
    error = refusal(
        "backfill", "--exchange", "kraken", "--instrument", "BTC-USD", "--from", "2026-01-01",
        "--set", "simulator.enabled=true",
    )  # fmt: skip
    assert "does not belong into its store" in str(error)
    assert not Path("data").exists()


def test_sql_asks_the_stopped_engines_store() -> None:
    with opened(Path("data/store"), TRADES):
        pass
    done = command("sql", "SELECT count() AS n FROM trades", "--format", "csv")
    assert done.stdout == "n\n10\n"
    assert str(refusal("sql", "SELECT nothing")).startswith("Unknown expression identifier")


# -- bench -------------------------------------------------------------------------------


@pytest.fixture
def benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "machine.py").write_text('"""No benchmark."""\n')
    (folder / "speed.py").write_text(
        '"""How fast it is.\n\nMore.\n"""\nimport sys, pathlib\n'
        'if __name__ == "__main__":\n'
        '    pathlib.Path("told").write_text(" ".join(sys.argv[1:]))\n'
        "    sys.exit(int(sys.argv[2]))\n"
    )
    monkeypatch.setattr(bench.engine, "__file__", str(tmp_path / "engine" / "__init__.py"))
    return folder


@pytest.mark.usefixtures("benchmarks")
def test_bench_list_shows_what_can_be_run() -> None:
    shown = command("bench", "--list").stdout
    assert [line.rstrip().split(maxsplit=1) for line in shown.splitlines()[1:]] == [
        ["speed", "How fast it is."]
    ]


@pytest.mark.parametrize("code", [0, 3])
def test_bench_runs_it_with_what_follows_and_exits_like_it(benchmarks: Path, code: int) -> None:
    assert command("bench", "speed", "--rows", str(code)).exit_code == code
    assert (benchmarks.parent / "told").read_text() == f"--rows {code}"


def test_bench_of_nothing_known_or_without_a_checkout_says_so(benchmarks: Path) -> None:
    assert "there is no benchmark 'slow'; there are speed" in str(refusal("bench", "slow"))
    (benchmarks / "__init__.py").unlink()
    assert isinstance(refusal("bench", "speed"), ConfigError)
    assert "run this from a checkout" in str(refusal("bench", "--list"))
