"""`engine lineage`: from what was served back to the rows it came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from engine.cli.main import app
from engine.clock import NS_PER_S, iso_utc, parse_iso_utc
from engine.config import RetentionConfig
from engine.domain.dataset import Dataset
from engine.domain.features import FeatureRow
from engine.domain.job import JobBlock, JobRun
from engine.domain.market import BookSnapshot, Candle, Gap, Trade
from engine.domain.sentiment import SentimentAggregate, SentimentScore, TargetScore
from engine.domain.signal import Confidence, Contribution, Coverage, Signal
from engine.domain.text import TextItem
from engine.errors import ConfigError
from engine.features.catalogue import FEATURE_NAMES, FEATURE_VERSION, feature_columns
from engine.job_request import config_text, load_job_config
from engine.signals.factors import sentiment_value
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.lineage import writer_of
from engine.store.schema import migrate

HOUR = 3_600 * NS_PER_S
T0 = parse_iso_utc("2026-01-05T12:00:00Z")
CLOSED = T0 + HOUR
KEPT = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))
MARKET = ("binance", "BTC-USDT")
AGGREGATE = SentimentAggregate("BTC-USDT", "1d", CLOSED, 0.5, 0.1, 2, 0, 0, 1.5, "lexicon-1")


def signal(name: str, sentiment: float | None, hour: int = 0, model: str = "linear-1") -> Signal:
    used = Contribution("sentiment", sentiment, 1.0, 0.2, 0.1)
    return Signal(
        signal_id=name, exchange="binance", instrument="BTC-USDT", timeframe="1h", as_of=CLOSED,
        rank=1, score=0.4, percentile=100.0, direction="bullish", confidence=0.5,
        confidence_parts=Confidence(1.0, 1.0, 1.0, 1.0, 1.0), horizon="24h",
        expires_at=CLOSED + 24 * HOUR, reference_price=101.0, contributions=(used,),
        rationale=(), coverage=Coverage(1, 1, (), True, 0.0, True), data_age_ms=1,
        bar_open_time=T0 + hour * HOUR, is_closed_bar=True, model=model,
        feature_version=FEATURE_VERSION,
    )  # fmt: skip


def candle(hour: int, source: str = "trades") -> Candle:
    opened = T0 + hour * HOUR
    return Candle(
        *MARKET, timeframe="1h", open_time=opened, close_time=opened + HOUR, open=100.0,
        high=102.0, low=99.0, close=101.0, volume=3.0, quote_volume=None, trade_count=None,
        vwap=None, twap=None, taker_buy_volume=None, source=source, is_closed=True, version=T0,
    )  # fmt: skip


def trade(number: int) -> Trade:
    at = T0 + number * 60 * NS_PER_S
    return Trade(*MARKET, str(number), number, 101.0, 1.0, "buy", at, at)


def text(number: int, available_at: int) -> TextItem:
    return TextItem(
        f"text-{number}", "newswire", "news", f"Headline {number}", "", "https://news.test/x", "",
        available_at, available_at, 0.0, 1.0, ("BTC-USDT",),
    )  # fmt: skip


def book(number: int) -> BookSnapshot:
    at = T0 + number * HOUR // 2
    return BookSnapshot(
        *MARKET, (100.0,), (1.0,), (102.0,), (1.0,), 198.0, 0.0, 101.0, number, 1, at, at, at
    )


def features(hour: int, instrument: str = "BTC-USDT") -> FeatureRow:
    opened = T0 + hour * HOUR
    missing = float("nan")
    return FeatureRow(
        "binance", instrument, timeframe="1h", open_time=opened, close_time=opened + HOUR,
        available_at=opened + HOUR, close=101.0,
        values=tuple(missing if index < 3 else 1.0 for index in range(len(FEATURE_NAMES))),
        version=FEATURE_VERSION, is_closed=True, last_receive_time=CLOSED,
    )  # fmt: skip


def run(name: str, job: str, started_at: int) -> JobRun:
    return JobRun(
        run_id=name, job=job, submission_id="", config="{}", code_version="0.1.0+abc",
        started_at=started_at, ended_at=started_at + 9 * NS_PER_S, outcome="done", problem="",
        rows=1, skipped=0, details="{}", version=started_at,
    )  # fmt: skip


def importing(name: str, started_at: int, **keys: object) -> JobRun:
    said = [f"{key}={json.dumps(value)}" for key, value in keys.items()]
    config = config_text(load_job_config("import_candles", None, said, {}))
    return msgspec.structs.replace(run(name, "import_candles", started_at), config=config)


def block(name: str, job: str, unit: str, written_at: int) -> JobBlock:
    return JobBlock(job, unit, "f", "t", 1, 1, name, written_at)


def now_of(store: Store) -> int:
    return int(store.command("SELECT toUnixTimestamp64Nano(now64(9))"))


def fill(store: Store) -> None:
    store.insert(
        "signals",
        [
            signal("by-live", None, -2, model="linear-spot_1h_2021_2023"),
            signal("by-text", sentiment_value(AGGREGATE)),
        ],
    )
    store.insert("book_snapshots", [book(number) for number in (0, 1, 2, 3)])
    began = now_of(store)
    store.insert("candles", [candle(-300, "import"), *(candle(hour) for hour in (-3, -2, 0))])
    store.insert("job_runs", [
        importing("import-run", began, path="/data/btc.csv", instruments=["BTC-USDT"]),
        importing("eth-run", began, path="/data/eth.csv", instruments=["ETH-USDT"]),
    ])  # fmt: skip
    store.insert("job_blocks", [block("eth-run", "import_candles", "eth.csv rows 1-9", began)])
    store.insert("trades", [trade(number) for number in (7, 8, 9, 70)])
    store.insert("texts", [text(1, T0), text(2, CLOSED - 24 * HOUR), text(3, CLOSED + 1)])
    store.insert("sentiment_scores", [
        SentimentScore(
            f"text-{n}", "lexicon-1", -0.5, 0.7, 0.2, 0.1, "bearish", 0.7, T0,
            (TargetScore("ETH-USDT", -0.5, "bearish"), TargetScore("BTC-USDT", 0.5, "bullish")),
        )
        for n in (1, 2, 3)
    ])  # fmt: skip
    store.insert("sentiment_aggregates", [AGGREGATE])
    store.insert("feed_gaps", [
        Gap("open-1", *MARKET, "trades", "sequence", 1, 2, T0, T0 + 5, T0, problem="too old"),
        Gap("mended", *MARKET, "trades", "disconnect", 3, 4, T0, T0 + 5, T0, T0 + 9, "rest"),
        Gap("later", *MARKET, "trades", "disconnect", 3, 4, CLOSED + 9, None, CLOSED + 9),
    ])  # fmt: skip
    began = now_of(store)
    store.insert("job_runs", [run("features-run", "build_features", began)])
    store.insert("features", [features(0), features(0, "ETH-USDT")])
    written = now_of(store)
    store.insert("job_blocks", [
        block("features-run", "build_features", "1h 2026-01", written),
        block("features-run", "build_features", "4h 2026-01", written),
        block("labels-run", "label_outcomes", "binance 1h 2026-01", written),
        block("labels-run", "label_outcomes", "binance 1h 2026-02", written),
    ])  # fmt: skip
    store.insert("features", [features(-2)])
    manifest = {"files": [{"name": "2026-01.parquet"}], "request": {"features": list("abcdefg")}}
    store.insert("datasets", [
        Dataset("dataset-1h-77", "export-run", "/data/set", written, T0, "1h", 5, 1, "77", "f",
                "l", "0.1.0", "forced", json.dumps(manifest))
    ])  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    home = EmbeddedStore(tmp_path_factory.mktemp("store") / "db")
    home.start()
    with Store(home.endpoint) as store:
        migrate(store, KEPT, feature_columns())
        fill(store)
    yield home
    home.stop()


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGINE_STATE_DIR", str(tmp_path / "state"))


def lineage(home: EmbeddedStore, *arguments: str) -> Result:
    url = f"store.url={home.endpoint.url}"
    return CliRunner().invoke(app, ["lineage", *arguments, "--set", url], env={"COLUMNS": "200"})


def told(home: EmbeddedStore, name: str) -> dict[str, Any]:
    return json.loads(lineage(home, name, "--json").output)


def parts(origin: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["title"]: one for one in origin["origins"]}


def test_signal_leads_to_its_feature_row_and_the_run_that_wrote_it(home: EmbeddedStore) -> None:
    found = told(home, "by-text")
    assert found["facts"]["market"] == "binance:BTC-USDT"
    row = parts(found)["features"]
    assert row["facts"] == {
        "bar_open_time": iso_utc(T0),
        "available_at": iso_utc(CLOSED),
        "close": 101.0,
        "feature_version": FEATURE_VERSION,
        "values": f"{len(FEATURE_NAMES) - 3} of {len(FEATURE_NAMES)}",
    }
    assert parts(row)["run features-run"]["facts"]["unit"] == "1h 2026-01"
    assert parts(row)["run features-run"]["facts"]["code_version"] == "0.1.0+abc"


def test_signal_leads_to_the_candles_of_its_segment_and_the_trades_of_its_bar(
    home: EmbeddedStore,
) -> None:
    row = parts(told(home, "by-text"))["features"]
    candles = parts(row)["candles of its segment and the warm-up"]
    # The one of 300 hours ago is within the warm-up: the segment is the month.
    assert candles["facts"]["candles"] == 4
    assert candles["facts"]["of_our_trades"] == 3
    assert (candles["facts"]["of_the_venue"], candles["facts"]["imported"]) == (0, 1)
    assert candles["facts"]["intervals_without_one"] == 301 - 4
    trades = parts(candles)["trades of the bar"]["facts"]
    assert trades == {
        "trades": 3,
        "first_id": "7",
        "last_id": "9",
        "from": iso_utc(T0 + 7 * 60 * NS_PER_S),
        "to": iso_utc(T0 + 9 * 60 * NS_PER_S),
    }


def test_signal_names_the_import_of_its_market_and_none_that_ran_meanwhile(
    home: EmbeddedStore,
) -> None:
    row = parts(told(home, "by-text"))["features"]
    writers = parts(parts(row)["candles of its segment and the warm-up"])
    assert set(writers) == {"run import-run", "live, or engine backfill", "trades of the bar"}
    assert writers["run import-run"]["facts"]["candles"] == 1
    live = writers["live, or engine backfill"]["facts"]
    assert (live["candles"], live["source"]) == (3, "our trades")
    assert "eth-run" not in lineage(home, "by-text").output


def test_signal_leads_to_the_texts_that_were_known_and_no_later_one(home: EmbeddedStore) -> None:
    sentiment = parts(told(home, "by-text"))["sentiment"]
    assert sentiment["facts"]["window"] == "1d"
    assert sentiment["facts"]["model"] == "lexicon-1"
    assert list(parts(sentiment)) == ["text text-1"]
    facts = parts(sentiment)["text text-1"]["facts"]
    assert facts["title"] == "Headline 1"
    assert (facts["score"], facts["label"]) == (0.5, "bullish"), "what it feels about BTC"


def test_signal_without_texts_says_so(home: EmbeddedStore) -> None:
    found = parts(told(home, "by-live"))["sentiment"]
    assert found == {
        "title": "sentiment", "facts": {"texts": "none was known about it"}, "origins": [],
    }  # fmt: skip


def test_signal_leads_to_the_gaps_over_its_time(home: EmbeddedStore) -> None:
    gaps = parts(told(home, "by-text"))["gaps of its feed over that time"]
    assert gaps["facts"] == {"open": 1, "repaired": 1}
    assert parts(gaps)["gap open-1"]["facts"]["problem"] == "too old"


def test_row_that_no_run_wrote_was_written_live(home: EmbeddedStore) -> None:
    row = parts(told(home, "by-live"))["features"]
    assert list(parts(row)) == [
        "live", "candles of its segment and the warm-up", "rows of that bar, for ranks and scores",
    ]  # fmt: skip


def test_row_of_a_bar_that_closed_while_its_segment_was_built_was_written_live(
    home: EmbeddedStore,
) -> None:
    with Store(home.endpoint) as store:
        store.insert("job_runs", [run("nightly", "build_features", CLOSED)])
        noted = block("nightly", "build_features", "1h nightly", CLOSED + 9 * NS_PER_S)
        store.insert("job_blocks", [noted])
        asked = store, "build_features", "1h nightly"
        assert writer_of(*asked, CLOSED + 1, CLOSED + NS_PER_S) is None
        before = writer_of(*asked, CLOSED - HOUR, CLOSED + NS_PER_S)
    assert before is not None
    assert before.title == "run nightly"


def test_signal_leads_to_the_rows_it_was_ranked_among_and_its_book(home: EmbeddedStore) -> None:
    row = parts(told(home, "by-text"))["features"]
    among = parts(row)["rows of that bar, for ranks and scores"]
    assert among["facts"] == {"markets": 2}
    assert {name: one["facts"]["close"] for name, one in parts(among).items()} == {
        "binance:BTC-USDT": 101.0,
        "binance:ETH-USDT": 101.0,
    }
    book = parts(row)["book at the end of the bar"]["facts"]
    assert (book["as_of"], book["sequence"]) == (iso_utc(CLOSED), 2), "the last of the bar"


def test_signal_leads_to_what_its_weights_were_measured_on(home: EmbeddedStore) -> None:
    weights = parts(told(home, "by-live"))["weights"]
    assert weights["facts"]["name"] == "spot_1h_2021_2023"
    (data,) = weights["origins"]
    assert data["title"] == "candles of binance_spot_1h_60sym_2021_2023.parquet"
    assert len(data["facts"]["sha256"]) == 64
    other = parts(told(home, "by-text"))["weights"]
    assert other["facts"] == {"name": "1", "file": "not one of this version's"}


def test_dataset_leads_to_the_runs_of_its_months(home: EmbeddedStore) -> None:
    found = told(home, "dataset-1h-77")
    assert found["facts"]["quality"] == "forced"
    assert found["facts"]["rows"] == 5
    export, *_ = found["origins"]
    assert (export["title"], export["facts"]) == ("run export-run", {"record": "expired"})
    assert parts(parts(found)["features"])["run features-run"]["facts"]["units"] == 1
    assert parts(parts(found)["labels"])["run labels-run"]["facts"]["units"] == 1
    asked = parts(found)["what was asked for"]["facts"]
    assert asked == {"features": "a, b, c, d, e, and 2 more"}


def test_lineage_is_a_tree_to_read(home: EmbeddedStore) -> None:
    lines = lineage(home, "by-text").output.splitlines()
    assert lines[0] == "signal by-text"
    assert "├── features" in lines
    assert any("first id 7 · last id 9" in line for line in lines)


def test_unknown_id_is_one_sentence(home: EmbeddedStore) -> None:
    error = lineage(home, "nobody").exception
    assert isinstance(error, ConfigError)
    assert str(error).startswith("there is neither a stored signal nor a data set 'nobody'")
