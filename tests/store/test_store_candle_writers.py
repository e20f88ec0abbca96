"""Which runs wrote stored candles: named where that is sure, told as possible where it is not."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from engine.clock import NS_PER_S, iso_utc, parse_iso_utc
from engine.config import RetentionConfig
from engine.domain.instrument import Market
from engine.domain.job import JobBlock, JobRun
from engine.domain.market import CandleSource
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import feature_columns
from engine.job_request import config_text, load_job_config
from engine.store.candle_writers import (
    LIVE,
    MOST_WRITERS,
    UNCERTAIN,
    UNRECORDED,
    StoredCandle,
    candle_writers,
)
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.lineage import Origin
from engine.store.schema import migrate

KEPT = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))
MARKET = Market("binance", "BTC-USDT")
HOUR = Timeframe.H1
MINUTE_NS = 60 * NS_PER_S
NOON = parse_iso_utc("2026-01-05T12:00:00Z")
"""When the runs of these tests begin; each lasts an hour."""


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = EmbeddedStore(tmp_path_factory.mktemp("store") / "db")
    home.start()
    with Store(home.endpoint) as store:
        migrate(store, KEPT, feature_columns())
        yield store
    home.stop()


@pytest.fixture
def store(migrated: Store) -> Store:
    for table in ("job_runs", "job_blocks"):
        migrated.command(f"TRUNCATE TABLE {table}")
    return migrated


def ran(store: Store, name: str, job: str, started_at: int = NOON, **keys: object) -> None:
    said = [f"{key}={json.dumps(value)}" for key, value in keys.items()]
    config = config_text(load_job_config(job, None, said, {}))
    run = JobRun(
        run_id=name, job=job, submission_id="", config=config, code_version="0.1.0",
        started_at=started_at, ended_at=started_at + HOUR.ns, outcome="done", problem="", rows=1,
        skipped=0, details="{}", version=started_at,
    )  # fmt: skip
    store.insert("job_runs", [run])


def built(store: Store, name: str, unit: str, written_at: int) -> None:
    store.insert("job_blocks", [JobBlock("build_candles", unit, "f", name, 1, 1, name, written_at)])


def stored(
    source: CandleSource, inserted: int, open_time: int = NOON - 9 * HOUR.ns
) -> StoredCandle:
    return StoredCandle(source, open_time, open_time + HOUR.ns, 0, inserted)


def writers(store: Store, *candles: StoredCandle) -> list[Origin]:
    return list(candle_writers(store, MARKET, HOUR, candles))


def titles(origins: list[Origin]) -> list[str]:
    return [origin.title for origin in origins]


def fetched(**keys: object) -> dict[str, object]:
    """Return what a run over REST is asked for: the hours of these tests' market and day."""
    asked = {"exchange": "binance", "instruments": ["BTC-USDT"], "begin": "2026-01-05"}
    return asked | {"timeframe": "1h"} | keys


def test_live_candle_stored_while_a_file_is_imported_is_live(store: Store) -> None:
    ran(store, "imports", "import_candles", path="eth.parquet")
    [live] = writers(store, stored("trades", NOON + MINUTE_NS))
    assert live == Origin(
        LIVE,
        {"candles": 1, "source": "our trades", "written": iso_utc(NOON + MINUTE_NS)},
    )


def test_imported_candles_name_each_run_that_imported_them_newest_first(store: Store) -> None:
    ran(store, "early", "import_candles", NOON - 5 * HOUR.ns, path="a.csv")
    ran(store, "late", "import_candles", path="b.csv", instruments=["BTC-USDT"], timeframe="1h")
    found = writers(
        store,
        stored("import", NOON - 5 * HOUR.ns + NS_PER_S),
        stored("import", NOON + NS_PER_S, NOON - 8 * HOUR.ns),
        stored("import", NOON + 2 * NS_PER_S, NOON - 7 * HOUR.ns),
    )
    assert titles(found) == ["run late", "run early"]
    assert [origin.facts["candles"] for origin in found] == [2, 1]
    assert found[0].facts["job"] == "import_candles"
    assert found[0].facts["source"] == "files"


@pytest.mark.parametrize(
    "other",
    [
        {"instruments": ["ETH-USDT"]},
        {"exchange": "kraken"},
        {"timeframe": "1m"},
        {"begin": "2026-01-06"},
        {"end": "2026-01-05"},
    ],
)
def test_imported_candle_is_not_of_a_run_that_was_asked_for_others(
    store: Store, other: dict[str, object]
) -> None:
    ran(store, "mine", "import_candles", path="btc.csv")
    ran(store, "other", "import_candles", path="eth.csv", **other)
    assert titles(writers(store, stored("import", NOON + NS_PER_S))) == ["run mine"]


def test_imported_candle_of_one_of_two_runs_names_neither_alone(store: Store) -> None:
    ran(store, "one", "import_candles", path="a.csv")
    ran(store, "two", "import_candles", NOON + NS_PER_S, path="b.csv")
    [found] = writers(store, stored("import", NOON + MINUTE_NS))
    assert (found.title, found.facts["runs"]) == (UNCERTAIN, 2)
    assert titles(list(found.origins)) == ["run one", "run two"]


def test_imported_candle_of_no_recorded_run_says_so(store: Store) -> None:
    ran(store, "rest", "import_candles", **fetched())
    assert titles(writers(store, stored("import", NOON + MINUTE_NS))) == [UNRECORDED]


def test_built_candle_names_the_run_that_noted_its_market_and_day(store: Store) -> None:
    ran(store, "build", "build_candles")
    built(store, "build", "binance:BTC-USDT 2026-01-05", NOON + MINUTE_NS + NS_PER_S)
    candle = stored("trades", NOON + MINUTE_NS)
    assert titles(writers(store, candle)) == ["run build"]
    assert titles(writers(store, candle._replace(source="rest"))) == [LIVE]


@pytest.mark.parametrize(
    "unit",
    ["binance:ETH-USDT 2026-01-05", "binance:BTC-USDT-PERP 2026-01-05",
     "kraken:BTC-USDT 2026-01-05", "binance:BTC-USDT 2026-01-04"],
)  # fmt: skip
def test_live_candle_stored_while_another_unit_is_built_is_live(store: Store, unit: str) -> None:
    ran(store, "build", "build_candles")
    built(store, "build", unit, NOON + MINUTE_NS + NS_PER_S)
    assert titles(writers(store, stored("trades", NOON + MINUTE_NS))) == [LIVE]


def test_live_candle_that_closed_while_its_day_was_built_is_live(store: Store) -> None:
    ran(store, "build", "build_candles")
    built(store, "build", "binance:BTC-USDT 2026-01-05", NOON + 3 * NS_PER_S)
    closed_now = stored("trades", NOON + 2 * NS_PER_S, NOON - HOUR.ns)
    assert titles(writers(store, closed_now)) == [LIVE]


def test_candle_stored_long_before_its_day_was_noted_is_live(store: Store) -> None:
    ran(store, "build", "build_candles")
    built(store, "build", "binance:BTC-USDT 2026-01-05", NOON + 30 * MINUTE_NS)
    assert titles(writers(store, stored("trades", NOON + MINUTE_NS))) == [LIVE]


@pytest.mark.parametrize("job", ["import_candles", "backfill"])
def test_venues_candle_stored_while_a_run_fetched_its_market_may_be_either(
    store: Store, job: str
) -> None:
    ran(store, "fetch", job, **fetched(**({"what": "candles"} if job == "backfill" else {})))
    [found] = writers(store, stored("rest", NOON + MINUTE_NS))
    assert (found.title, found.facts["runs"]) == (UNCERTAIN, 1)
    assert found.facts["source"] == "the venue's REST"
    assert titles(list(found.origins)) == ["run fetch", LIVE]
    assert titles(writers(store, stored("rest", NOON - MINUTE_NS))) == [LIVE]


@pytest.mark.parametrize(
    "other", [{"instruments": ["ETH-USDT"]}, {"timeframe": "1m"}, {"what": "trades"}]
)
def test_venues_candle_is_not_of_a_backfill_of_others(
    store: Store, other: dict[str, object]
) -> None:
    ran(store, "fetch", "backfill", **fetched(**({"what": "candles"} | other)))
    assert titles(writers(store, stored("rest", NOON + MINUTE_NS))) == [LIVE]


def test_candle_rebuilt_in_a_backfill_of_its_days_trades_may_be_either(store: Store) -> None:
    ran(
        store,
        "fetch",
        "backfill",
        **fetched(begin="2026-01-05T11:00:00Z", end="2026-01-05T11:30:00Z"),
    )
    [found] = writers(store, stored("trades", NOON + MINUTE_NS))
    assert titles(list(found.origins)) == ["run fetch", LIVE]
    yesterday = stored("trades", NOON + MINUTE_NS, NOON - 24 * HOUR.ns)
    assert titles(writers(store, yesterday)) == [LIVE]


def test_writers_beyond_the_bound_are_counted(store: Store) -> None:
    days = MOST_WRITERS + 3
    for day in range(days):
        ran(store, f"run-{day:02}", "import_candles", NOON + day * 24 * HOUR.ns, path="a.csv")
    found = writers(
        store, *(stored("import", NOON + day * 24 * HOUR.ns + NS_PER_S) for day in range(days))
    )
    assert (found[0].title, len(found)) == (f"run run-{days - 1:02}", MOST_WRITERS + 1)
    assert found[-1] == Origin("3 more writers")
