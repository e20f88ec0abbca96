"""``check_quality``: scores by source and day, failing rows set aside, and exit code 1."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from jobs_texts import DAY, HOUR, T0, emptied, home, job_config, text

from engine.config import Config
from engine.domain.market import Candle
from engine.errors import ConfigError
from engine.store.client import Store
from jobs.check_quality import main

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with home(tmp_path_factory.mktemp("check")) as store:
        yield store


@pytest.fixture
def store(migrated: Store) -> Store:
    return emptied(migrated, "texts", "candles", "quarantine", "quality_scores")


def bar(number: int, instrument: str = "BTC-USDT") -> Candle:
    close = 100.0 + random.Random(number).random()
    return Candle(
        exchange="binance",
        instrument=instrument,
        timeframe="1h",
        open_time=T0 + number * HOUR,
        close_time=T0 + (number + 1) * HOUR,
        open=close,
        high=close + 1,
        low=close - 1,
        close=close,
        volume=1.0,
        quote_volume=None,
        trade_count=None,
        vwap=None,
        twap=None,
        taker_buy_volume=None,
        source="rest",
        is_closed=True,
        version=1,
    )


def config(store: Store, *overrides: str) -> Config:
    return job_config("check_quality", store, "begin=2026-01-05", "end=2026-01-07", *overrides)


def scores(store: Store, measure: str) -> dict[tuple[str, int], tuple[float, bool]]:
    found = store.query_arrow(
        "SELECT source, intDiv(toUnixTimestamp64Nano(day), 86400000000000) AS day, value, passed "
        "FROM quality_scores FINAL WHERE measure = {measure:String}",
        {"measure": measure},
    ).to_pylist()
    first = T0 // DAY
    return {(r["source"], r["day"] - first): (r["value"], r["passed"]) for r in found}


def test_check_quality_of_sound_candles_passes_and_keeps_the_scores(store: Store) -> None:
    store.insert("candles", [bar(n) for n in range(48)])
    done = main(config(store, "tables=[candles]"))
    assert (done.outcome, done.problem) == ("done", "")
    assert done.notes["score"] == "1.0000 over 1 source"
    assert done.written == {"quality_scores": 13, "quarantine": 0}
    assert scores(store, "score") == {
        ("binance BTC-USDT 1h", 0): (1.0, True),
        ("binance BTC-USDT 1h", 1): (1.0, True),
    }


def test_check_quality_failing_is_the_runs_problem_and_measured_again_it_counts_once(
    store: Store,
) -> None:
    store.insert("candles", [bar(n) for n in range(48) if not 12 <= n < 24])
    store.insert("candles", [bar(n, "bad name") for n in range(48)])
    for again in (False, True):
        done = main(config(store, "tables=[candles]"))
        assert done.outcome == "failed"
        assert done.problem == (
            "the gate does not pass: binance BTC-USDT 1h: completeness 75 % (at least 95 %), and 1 "
            "more"
        )
        assert done.notes["problem 2"] == "binance bad name 1h: schema 0 % (at least 100 %)"
        assert done.written["quarantine"] == (0 if again else 48)
    assert scores(store, "completeness") == {
        ("binance BTC-USDT 1h", 0): (0.5, False),
        ("binance BTC-USDT 1h", 1): (1.0, True),
        ("binance bad name 1h", 0): (1.0, True),
        ("binance bad name 1h", 1): (1.0, True),
    }
    assert store.command("SELECT count() FROM quarantine") == "48"
    problems = store.query_arrow("SELECT DISTINCT outcome FROM job_runs FINAL").to_pylist()
    assert problems == [{"outcome": "failed"}]


def test_check_quality_without_quarantine_sets_nothing_aside(store: Store) -> None:
    store.insert("candles", [bar(n, "bad name") for n in range(48)])
    done = main(config(store, "tables=[candles]", "quarantine=false"))
    assert (done.outcome, "quarantine" in done.written) == ("failed", False)
    assert store.command("SELECT count() FROM quarantine") == "0"


def test_check_quality_of_nothing_does_not_pass(store: Store) -> None:
    done = main(config(store))
    assert done.problem == "the gate does not pass: nothing is stored of what was asked for"


def test_check_quality_of_the_last_days_begins_with_a_whole_one(store: Store) -> None:
    store.insert("candles", [bar(n) for n in range(72)])
    end = "end=2026-01-07T06:00:00Z"
    main(job_config("check_quality", store, "days=1", end, "tables=[candles]"))
    assert sorted(day for _, day in scores(store, "score")) == [1, 2]


def test_check_quality_of_days_and_a_begin_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="days=2 and begin=2026-01-05 both say where to begin"):
        config(store, "days=2")


def test_check_quality_of_no_table_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="tables is empty: write candles, texts or both"):
        config(store, "tables=[]")


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_check_quality_of_texts_tells_their_languages_and_sets_failing_ones_aside(
    store: Store,
) -> None:
    spanish = "El precio de la moneda cae por debajo de los veinte mil dólares"
    texts = [text(n) for n in range(46)]
    store.insert("texts", [*texts, text(46, f"{spanish} hoy"), text(47, spanish)])
    done = main(config(store, "tables=[texts]", "quality.english_share=0.99"))
    assert done.outcome == "failed"
    assert done.written["quarantine"] >= 2
    english = scores(store, "english")
    assert english["wire", 0] == (1.0, True)
    assert english["wire", 1] == (22 / 24, False)
    found = store.query_arrow(
        "SELECT JSONExtractString(row, 'text_id') AS text_id FROM quarantine FINAL "
        "WHERE reason = 'not in English' AND source = 'wire' ORDER BY text_id"
    )
    assert found.column(0).to_pylist() == ["text-0046", "text-0047"]
