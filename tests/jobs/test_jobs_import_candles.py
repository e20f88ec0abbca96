"""The import job on a real store: whole or not at all, once, and resumed."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.clock import NS_PER_S, SystemClock, iso_utc
from engine.config import Config, RetentionConfig, SimulatorConfig
from engine.domain.instrument import Market
from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError, EngineError
from engine.features.catalogue import feature_columns
from engine.imports.problem import ImportProblem
from engine.job_request import load_job_config
from engine.job_summary import Summary
from engine.simulator.server import SimulatedVenues
from engine.store.candle_writers import UNCERTAIN, candle_writers, stored_candles
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.lineage import Origin
from engine.store.reader import Reader
from engine.store.schema import migrate
from jobs import import_candles as job
from jobs.progress import Step
from jobs.run import Run, command
from jobs.stopping import Stopped

HOUR = Timeframe.H1.ns
START = 1_640_995_200 * NS_PER_S
"""2022-01-01."""
KEPT = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))
TABLES = ("candles", "instruments", "quarantine", "job_blocks", "job_runs")


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = EmbeddedStore(tmp_path_factory.mktemp("store") / "db")
    home.start()
    with Store(replace(home.endpoint, database="imports")) as store:
        migrate(store, KEPT, feature_columns())
        yield store
    home.stop()


@pytest.fixture
def store(migrated: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store, and tasks done here, one after the other: with Ray see the other file."""
    for table in TABLES:
        migrated.command(f"TRUNCATE TABLE {table}")

    def one_by_one(
        work: Callable[[Any, Any], Any], things: Sequence[Any], common: Any, at_a_time: int
    ) -> Iterator[tuple[Any, Any]]:
        assert at_a_time == 1
        common = pickle.loads(pickle.dumps(common))
        for thing in things:
            yield thing, pickle.loads(pickle.dumps(work))(thing, common)

    monkeypatch.setattr(job, "in_parallel", one_by_one)
    monkeypatch.setattr(Run, "ray", lambda self: 1)
    return migrated


def settings(store: Store, **keys: object) -> Config:
    said = [f"{name}={json.dumps(value)}" for name, value in keys.items()]
    return load_job_config("import_candles", None, [f"store.url={store.endpoint.url}", *said], {})


def imported(store: Store, path: Path, **keys: object) -> Summary:
    return job.main(settings(store, path=str(path), **keys))


def candles(symbol: str, hours: Any, price: float = 100.0) -> pa.Table:
    """Return hourly candles: open = price + hour."""
    opens = [price + hour for hour in hours]
    return pa.table(
        {
            "symbol": pa.array([symbol] * len(opens)),
            "ts": pa.array([START + hour * HOUR for hour in hours]).cast(pa.timestamp("ns", "UTC")),
            "open": opens,
            "high": [value + 2 for value in opens],
            "low": [value - 2 for value in opens],
            "close": [value + 1 for value in opens],
            "volume": [5.0] * len(opens),
        }
    )


def write(path: Path, *parts: pa.Table, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables(parts), path, **options)
    return path


def stored(store: Store, instrument: str) -> dict[int, float]:
    """Hour -> open price, as a reader sees it."""
    held = Reader(store).candles("binance", instrument, "1h", 0, 2**62)
    return {(candle.open_time - START) // HOUR: candle.open for candle in held}


def writers(store: Store, timeframe: Timeframe) -> list[Origin]:
    """Who wrote the candles of BTC-USDT, as `engine lineage` tells it."""
    market = Market("binance", "BTC-USDT")
    held = stored_candles(store, market, timeframe, 0, 2**62)
    return list(candle_writers(store, market, timeframe, held))


def count(store: Store, table: str) -> int:
    return int(store.command(f"SELECT count() FROM {table} FINAL"))


def test_import_candles_of_a_file_stores_them_and_tells(store: Store, tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.parquet",
        candles("BTCUSDT", [*range(50), *range(52, 60)]),
        candles("ETHUSDT", range(60), 50.0),
        candles("ETHUSDT", [7], 50.0),
    )
    summary = imported(store, path)
    assert summary.written == {"candles": 118}
    assert summary.skipped == {"equal to another row": 1}
    assert summary.notes == {
        "files": 1,
        "timeframes": [Timeframe.H1],
        "instruments": 2,
        "from": "2022-01-01T00:00:00.000000Z",
        "to": "2022-01-03T12:00:00.000000Z",
        "missing bars": "2: BTC-USDT 2",
        "rows out of order": 1,
    }
    assert stored(store, "BTC-USDT") == {h: 100.0 + h for h in range(60) if h not in (50, 51)}
    [first, *_] = Reader(store).candles("binance", "ETH-USDT", "1h", 0, 2**62)
    assert first == Candle(
        "binance", "ETH-USDT", "1h", START, START + HOUR, 50.0, 52.0, 48.0, 51.0, 5.0,
        None, None, None, None, None, "import", True, START - 1,
    )  # fmt: skip
    run = store.query_arrow("SELECT * FROM job_runs FINAL").to_pylist()
    assert [(row["job"], row["outcome"], row["rows"]) for row in run] == [
        ("import_candles", "done", 118)
    ]
    [writer] = writers(store, Timeframe.H1)
    assert (writer.title, writer.facts["candles"]) == (f"run {summary.run_id}", 58)


def test_import_candles_run_again_writes_nothing_and_says_so(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "c.parquet", candles("BTCUSDT", range(60)), row_group_size=20)
    imported(store, path)
    again = imported(store, path)
    assert (again.written, again.skipped) == ({"candles": 0}, {"rows that are stored already": 60})
    monkeypatch.setenv("ENGINE_JOB_AGAIN", "1")
    whole = imported(store, path)
    assert whole.written == {"candles": 60}
    assert count(store, "candles") == 60


@pytest.mark.parametrize(
    ("loss", "written"),
    [
        ("TRUNCATE TABLE candles", 60),
        ("ALTER TABLE candles DELETE WHERE true SETTINGS mutations_sync = 2", 60),
        (
            f"ALTER TABLE candles DELETE WHERE toUnixTimestamp64Nano(open_time) = {START + HOUR} "
            "SETTINGS mutations_sync = 2",
            20,
        ),
    ],
)
def test_import_candles_run_again_writes_what_the_store_has_lost(
    store: Store, tmp_path: Path, loss: str, written: int
) -> None:
    path = write(tmp_path / "c.parquet", candles("BTCUSDT", range(60)), row_group_size=20)
    imported(store, path)
    store.command(loss)
    summary = imported(store, path)
    assert summary.written == {"candles": written}
    assert sum(summary.skipped.values()) == 60 - written
    assert stored(store, "BTC-USDT") == {hour: 100.0 + hour for hour in range(60)}
    assert imported(store, path).skipped == {"rows that are stored already": 60}


def test_import_candles_of_a_file_after_one_that_overlaps_counts_again(
    store: Store, tmp_path: Path
) -> None:
    first = write(tmp_path / "x.parquet", candles("BTCUSDT", range(10)))
    second = write(tmp_path / "y.parquet", candles("BTCUSDT", range(8, 12), 300.0))
    imported(store, first)
    imported(store, second)
    assert stored(store, "BTC-USDT")[9] == 309.0
    assert imported(store, first).written == {"candles": 10}
    assert stored(store, "BTC-USDT") == {
        **{hour: 100.0 + hour for hour in range(10)}, 10: 310.0, 11: 311.0,
    }  # fmt: skip


def test_import_candles_leaves_candles_of_another_source_when_run_again(
    store: Store, tmp_path: Path
) -> None:
    path = write(tmp_path / "c.parquet", candles("BTCUSDT", range(3)))
    imported(store, path)
    theirs = Candle(
        "binance", "BTC-USDT", "1h", START + HOUR, START + 2 * HOUR, 7.0, 8.0, 6.0, 7.0, 1.0,
        7.0, 1, 7.0, 7.0, 1.0, "rest", True, START + HOUR,
    )  # fmt: skip
    store.insert("candles", [theirs])
    assert imported(store, path).skipped == {"rows that are stored already": 3}


def test_import_candles_stopped_half_way_does_the_rest_when_run_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "c.parquet", candles("BTCUSDT", range(120)), row_group_size=10)
    advance = Step.advance

    def stop_at_the_fifth(self: Step, pieces: int = 1, rows: int = 0) -> None:
        advance(self, pieces, rows)
        if self.done == 5:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Step, "advance", stop_at_the_fifth)
        with pytest.raises(Stopped):
            imported(store, path)
    held = len(stored(store, "BTC-USDT"))
    assert held == 50
    summary = imported(store, path)
    assert summary.skipped == {"rows that are stored already": 50}
    assert summary.written == {"candles": 70}
    assert stored(store, "BTC-USDT") == {hour: 100.0 + hour for hour in range(120)}
    outcomes = store.query_arrow("SELECT outcome FROM job_runs FINAL ORDER BY started_at")
    assert outcomes["outcome"].to_pylist() == ["stopped", "done"]


def test_import_candles_of_a_mended_file_replaces_what_the_bad_one_said(
    store: Store, tmp_path: Path
) -> None:
    path = write(tmp_path / "c.parquet", candles("BTCUSDT", range(10)))
    imported(store, path)
    write(path, candles("BTCUSDT", range(10), 300.0))
    assert imported(store, path).written == {"candles": 10}
    assert stored(store, "BTC-USDT") == {hour: 300.0 + hour for hour in range(10)}


@pytest.mark.parametrize("first", ["import", "other"])
@pytest.mark.parametrize("source", ["trades", "rest"])
def test_import_candles_never_wins_over_trades_or_the_venue(
    store: Store, tmp_path: Path, source: str, first: str
) -> None:
    path = write(tmp_path / "c.parquet", candles("BTCUSDT", range(3)))
    version = START + HOUR if source == "rest" else SystemClock().now_ns()
    theirs = Candle(
        "binance", "BTC-USDT", "1h", START + HOUR, START + 2 * HOUR, 7.0, 8.0, 6.0, 7.0, 1.0,
        7.0, 1, 7.0, 7.0, 1.0, source, True, version,  # type: ignore[arg-type]
    )  # fmt: skip
    steps = [lambda: imported(store, path), lambda: store.insert("candles", [theirs])]
    for act in steps if first == "import" else steps[::-1]:
        act()
    assert stored(store, "BTC-USDT") == {0: 100.0, 1: 7.0, 2: 102.0}


def test_import_candles_with_anything_wrong_writes_nothing(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "candles"
    write(folder / "a.parquet", candles("BTCUSDT", range(10)))
    bad = candles("ETHUSDT", range(10))
    write(folder / "b.parquet", bad.set_column(5, "close", pa.array([-1.0] * 2 + [101.0] * 8)))
    (folder / "c.parquet").write_bytes(b"PAR1 torn")
    write(folder / "d.parquet", candles("SOLUSDT", range(10)).drop_columns(["volume"]))
    with pytest.raises(ImportProblem) as caught:
        imported(store, folder)
    message = str(caught.value)
    assert "c.parquet cannot be read as parquet" in message
    assert "d.parquet lacks the column 'volume'" in message
    assert "b.parquet: row 1: column 'close' (-1.0) is not a finite number above 0" in message
    assert count(store, "candles") == 0
    run = store.query_arrow("SELECT outcome, problem FROM job_runs FINAL").to_pylist()
    assert run == [{"outcome": "failed", "problem": message}]


def test_import_candles_skipping_what_is_bad_sets_it_aside_once(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "candles"
    write(folder / "a.parquet", candles("BTCUSDT", range(10)))
    bad = candles("ETHUSDT", range(10))
    closes = [-1.0, 102.0, None, *(101.0 + hour for hour in range(3, 10))]
    write(folder / "b.parquet", bad.set_column(5, "close", pa.array(closes)))
    (folder / "c.parquet").write_bytes(b"PAR1 torn")
    for _ in range(2):
        summary = imported(store, folder, skip_bad=True)
        assert summary.skipped["in quarantine: close is not a finite number above 0"] == 2
        assert summary.skipped["files that cannot be used"] == 1
        assert "c.parquet cannot be read" in summary.notes["files not used"]
    assert set(stored(store, "BTC-USDT")) == set(range(10))
    assert set(stored(store, "ETH-USDT")) == {1, *range(3, 10)}
    held = store.query_arrow(
        "SELECT table_name, source, row_number, reason, row, job FROM quarantine FINAL "
        "ORDER BY source, row_number"
    ).to_pylist()
    assert [(row["source"], row["row_number"]) for row in held] == [
        ("b.parquet", 1), ("b.parquet", 3), ("c.parquet", 0),
    ]  # fmt: skip
    assert {(row["table_name"], row["job"]) for row in held} == {("candles", "import_candles")}
    assert json.loads(held[0]["row"])["close"] == -1.0
    assert held[0]["reason"] == "close is not a finite number above 0"


def test_import_candles_files_that_tell_the_same_are_joined_and_contradictions_refused(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "candles"
    write(folder / "a.parquet", candles("BTCUSDT", range(10)))
    write(folder / "b.parquet", candles("BTCUSDT", range(5, 15)))
    summary = imported(store, folder)
    assert (summary.written, summary.skipped) == ({"candles": 15}, {"equal to another row": 5})
    write(folder / "b.parquet", candles("BTCUSDT", range(5, 15), 200.0))
    with pytest.raises(ImportProblem, match="has another row of the same symbol with other values"):
        imported(store, folder)
    summary = imported(store, folder, skip_bad=True)
    why = "in quarantine: open_time has another row of the same symbol with other values"
    assert summary.skipped[why] == 10


def test_import_candles_of_a_reused_ticker_names_two_instruments(
    store: Store, tmp_path: Path
) -> None:
    steady = candles("BTCUSDT", range(720))
    first, second = candles("LUNAUSDT", range(100)), candles("LUNAUSDT", range(500, 720), 5.0)
    summary = imported(store, write(tmp_path / "c.parquet", steady, first, second))
    assert set(stored(store, "LUNA-USDT")) == set(range(100))
    assert set(stored(store, "LUNA~2-USDT")) == set(range(500, 720))
    assert summary.notes["tickers used again"] == ["LUNA~2-USDT from 2022-01-21"]
    listed = [
        (row.instrument, row.status, iso_utc(row.valid_from)[:10], row.symbol)
        for row in Reader(store).listings("binance")
        if row.symbol == "LUNAUSDT"
    ]
    assert listed == [
        ("LUNA-USDT", "trading", "2022-01-01", "LUNAUSDT"),
        ("LUNA-USDT", "delisted", "2022-01-12", "LUNAUSDT"),
        ("LUNA~2-USDT", "trading", "2022-01-21", "LUNAUSDT"),
    ]


def test_import_candles_of_nothing_that_was_asked_for_is_refused(
    store: Store, tmp_path: Path
) -> None:
    path = write(tmp_path / "c.parquet", candles("BTCUSDT", range(10)))
    with pytest.raises(ImportProblem, match="holds no sound candle of DOGE-USDT"):
        imported(store, path, instruments=["DOGE-USDT", "BTC-USDT"])
    with pytest.raises(ImportProblem, match="holds no candle to import"):
        imported(store, path, begin="2023-01-01")
    with pytest.raises(ImportProblem, match="is no file, folder or pattern of files"):
        imported(store, tmp_path / "none.parquet")


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({}, "path is missing"),
        ({"path": "x.csv", "columns": {"price": "p"}}, r"columns\.price is no column of candles"),
        ({"path": "x.csv", "columns": {"opentime": "p"}}, "did you mean 'open_time'"),
        ({"path": "x.csv", "symbols": {"XBT": "bitcoin"}}, "'bitcoin' is not of the form"),
        ({"path": "x.csv", "naive_timezone": "Mars/North"}, "is no time zone"),
        ({"path": "x.csv", "pathh": "y"}, "pathh"),
    ],
)
def test_import_candles_that_cannot_work_is_refused_before_it_is_submitted(
    keys: dict[str, object], why: str
) -> None:
    said = [f"{name}={json.dumps(value)}" for name, value in keys.items()]
    with pytest.raises(ConfigError, match=why):
        load_job_config("import_candles", None, said, {})


def test_import_candles_over_rest_of_simulated_venues_is_refused(store: Store) -> None:
    config = settings(
        store, instruments=["BTC-USDT"], begin="2026-01-01", **{"simulator.enabled": True}
    )
    with pytest.raises(ConfigError, match="the venues of this configuration are simulated"):
        job.main(config)


async def test_import_candles_over_rest_stores_what_the_venue_tells(store: Store) -> None:
    venues = SimulatedVenues(SimulatorConfig(), SystemClock(), {"binance": ["BTC-USDT"]})
    found = await venues.start()
    try:
        now = SystemClock().now_ns()
        begin = Timeframe.M1.floor(now - 2 * HOUR)
        config = settings(
            store,
            instruments=["BTC-USDT"],
            begin=iso_utc(begin),
            end=iso_utc(begin + HOUR),
            timeframe="1m",
            **{"exchanges": {"binance": {"rest_url": found.exchanges["binance"][1]}}},
        )
        first = await asyncio.to_thread(job.main, config)
        again = await asyncio.to_thread(job.main, config)
    finally:
        await venues.stop()
    held = Reader(store).candles("binance", "BTC-USDT", "1m", 0, 2**62)
    assert first.written == {"candles": len(held)}
    assert 50 <= len(held) <= 60
    assert {candle.source for candle in held} == {"rest"}
    assert again.written == {"candles": 0}
    assert first.notes["from"] == iso_utc(held[0].open_time)
    assert first.notes["to"] == iso_utc(held[-1].close_time)
    [writer] = writers(store, Timeframe.M1)
    assert (writer.title, writer.facts["candles"]) == (UNCERTAIN, len(held))
    assert f"run {first.run_id}" in {origin.title for origin in writer.origins}


def test_import_candles_command_with_skip_bad_imports_what_is_sound(
    store: Store, tmp_path: Path
) -> None:
    rows = candles("BTCUSDT", range(10))
    closes = pa.array([-1.0, *rows["close"].to_pylist()[1:]])
    bad = rows.set_column(rows.column_names.index("close"), "close", closes)
    path = write(tmp_path / "c.parquet", bad)
    given = ["--set", f"path={path}", "--set", f"store.url={store.endpoint.url}"]
    assert command("import_candles", job.main, given) == 2
    assert (count(store, "candles"), count(store, "quarantine")) == (0, 0)
    assert command("import_candles", job.main, [*given, "--skip-bad"]) == 0
    assert (count(store, "candles"), count(store, "quarantine")) == (9, 1)


def test_skip_bad_is_an_option_of_the_import_and_refused_by_other_jobs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = {}
    for name in ("import_candles", "report"):
        with pytest.raises(SystemExit):
            command(name, job.main, ["--help"])
        shown[name] = "--skip-bad" in capsys.readouterr().out
    assert shown == {"import_candles": True, "report": False}
    assert command("report", job.main, ["--skip-bad"]) == 2
    assert capsys.readouterr().err == (
        "error: --skip-bad: report sets no bad rows aside; that is for import_candles\n"
    )


def test_import_candles_command_tells_a_mistake_in_one_sentence(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    naive = candles("BTCUSDT", range(10))
    naive = naive.set_column(1, "ts", naive["ts"].cast(pa.timestamp("us")))
    path = write(tmp_path / "c.parquet", naive)
    given = ["--set", f"path={path}", "--set", f"store.url={store.endpoint.url}"]
    assert command("import_candles", job.main, given) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == (
        "error: nothing was written: c.parquet: column 'ts' holds times without a time zone; say "
        "which one is meant, for example with --set naive_timezone=UTC. Mend the files, or import "
        "what is sound with --skip-bad"
    )
    assert command("import_candles", job.main, [*given, "--set", "naive_timezone=UTC"]) == 0
    assert count(store, "candles") == 10


def test_import_problem_travels_between_processes() -> None:
    problem = ImportProblem("c.parquet holds no rows")
    again = pickle.loads(pickle.dumps(problem))
    assert isinstance(again, EngineError)
    assert (str(again), again.exit_code) == ("c.parquet holds no rows", 2)
