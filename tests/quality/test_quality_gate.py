"""The gate over a real store: planted faults are counted, named and set aside, once."""

from __future__ import annotations

import json
import math

from quality_samples import DAY, END, HOUR, T0, bar, text

from engine.domain.market import Candle
from engine.domain.text import TextItem
from engine.domain.timeframe import Timeframe
from engine.quality.verdict import SourceQuality
from engine.settings.check_quality import QualitySection
from engine.store.client import Store
from engine.store.quality_candles import CandleQuality
from engine.store.quality_gate import Scope, gate
from engine.store.quality_texts import TextQuality, foreign_of

QUALITY = QualitySection()
CANDLES = Scope(T0, END, END, tables=["candles"])
TEXTS = Scope(T0, END, END, tables=["texts"])
WHOLE = range(48)


def _gate_candles(store: Store, candles: list[Candle], scope: Scope = CANDLES) -> SourceQuality:
    store.insert("candles", candles)
    (source,) = gate(store, QUALITY, scope).sources
    return source


def _values(source: SourceQuality) -> dict[str, float]:
    return {measure.name: measure.value for measure in source.measures}


def _failing(source: SourceQuality) -> set[str]:
    return {measure.name for measure in source.measures if not measure.passed}


def _set_aside(store: Store) -> list[tuple[str, str, str]]:
    found = store.query_arrow(
        "SELECT source, reason, row FROM quarantine FINAL ORDER BY source, reason, row"
    )
    return [(each["source"], each["reason"], each["row"]) for each in found.to_pylist()]


def test_gate_of_sound_candles_passes(store: Store) -> None:
    source = _gate_candles(store, [bar(n) for n in WHOLE])
    assert (source.source, source.passed, source.score) == ("binance BTC-USDT 1h", True, 1.0)
    assert _values(source) == {
        "completeness": 1.0,
        "timestamps": 1.0,
        "schema": 1.0,
        "duplicates": 0.0,
        "outliers": 0.0,
        "freshness": 0.0,
    }


def test_gate_counts_missing_bars_from_the_first_one_on(store: Store) -> None:
    source = _gate_candles(store, [bar(n) for n in WHOLE if n >= 8 and n % 10])
    assert _values(source)["completeness"] == 36 / 40
    assert _failing(source) == {"completeness"}


def test_gate_newest_version_of_a_bar_counts(store: Store) -> None:
    candles = [bar(n) for n in WHOLE]
    store.insert("candles", [bar(3, high=1.0)])
    assert _gate_candles(store, [bar(3, version=2), *candles]).passed


def test_gate_impossible_bars_fail_the_schema(store: Store) -> None:
    wrong = {
        2: {"high": 1.0},
        3: {"volume": -1.0},
        4: {"close": math.nan},
        5: {"low": 0.0},
        6: {"taker_buy_volume": 9.0},
        7: {"trade_count": -1},
    }
    candles = [bar(n, **wrong.get(n, {})) for n in WHOLE]  # type: ignore[arg-type]
    source = _gate_candles(store, candles)
    assert _values(source)["schema"] == 42 / 48
    assert "schema" in _failing(source)


def test_gate_times_off_the_grid_or_in_the_future_fail(store: Store) -> None:
    off = bar(4, open_time=T0 + 4 * HOUR + 1)
    long = bar(5, close_time=T0 + 9 * HOUR)
    candles = [bar(n) for n in WHOLE if n not in (4, 5)]
    scope = Scope(T0, END, END - HOUR, tables=["candles"])
    source = _gate_candles(store, [*candles, off, long], scope)
    assert _values(source)["timestamps"] == 45 / 48


def test_gate_repeated_bars_are_duplicates_unless_nothing_traded(store: Store) -> None:
    stuck = [bar(n, close=100.0, volume=3.0) for n in range(10, 16)]
    quiet = [bar(n, close=100.0, volume=0.0) for n in range(20, 26)]
    rest = [bar(n) for n in WHOLE if n not in {*range(10, 16), *range(20, 26)}]
    source = _gate_candles(store, [*stuck, *quiet, *rest])
    assert _values(source)["duplicates"] == 5 / 48
    assert _failing(source) == {"duplicates"}


def test_gate_outliers_are_judged_by_the_market_itself(store: Store) -> None:
    candles = [bar(n, close=250.0) if n in (20, 30) else bar(n) for n in WHOLE]
    source = _gate_candles(store, candles)
    assert _values(source)["outliers"] == 4 / 47
    assert _failing(source) == {"outliers"}


def test_gate_a_single_shock_is_an_event_not_a_fault(store: Store) -> None:
    source = _gate_candles(store, [bar(n, close=250.0) if n == 30 else bar(n) for n in WHOLE])
    assert _values(source)["outliers"] == 2 / 47
    assert source.passed


def test_gate_bar_that_ended_while_the_gate_looks_is_not_of_the_future(store: Store) -> None:
    end = T0 + 47 * HOUR + HOUR // 2
    made_when_over, made_before = T0 + 48 * HOUR, T0 + 47 * HOUR
    for version, share in ((made_before, 47 / 48), (made_when_over, 1.0)):
        candles = [bar(n, version=version) if n == 47 else bar(n) for n in WHOLE]
        source = _gate_candles(store, candles, Scope(T0, end, end, tables=["candles"]))
        assert _values(source)["timestamps"] == share


def test_gate_flat_prices_have_no_outliers(store: Store) -> None:
    source = _gate_candles(store, [bar(n, close=100.0) for n in WHOLE])
    assert source.passed


def test_gate_a_return_over_a_hole_is_no_outlier(store: Store) -> None:
    candles = [bar(n, close=None if n < 30 else 250.0 + n % 3) for n in WHOLE if n != 30]
    source = _gate_candles(store, candles)
    assert _values(source)["outliers"] == 0.0


def test_gate_a_stale_market_fails_and_one_that_ended_does_not(store: Store) -> None:
    end = T0 + 12 * DAY
    scope = Scope(T0, end, end, tables=["candles"])
    store.insert("candles", [bar(n) for n in range(12 * 24)])
    store.insert("candles", [bar(n, "GONE-USDT") for n in range(48)])
    store.insert("candles", [bar(n, "LATE-USDT") for n in range(12 * 24 - 48)])
    btc, gone, late = gate(store, QUALITY, scope).sources
    assert btc.passed
    assert gone.passed
    assert "freshness" not in _values(gone)
    assert _values(late)["freshness"] == 48.0
    assert _values(late)["completeness"] == 10 / 12


def test_gate_all_markets_silent_have_not_ended(store: Store) -> None:
    end = T0 + 12 * DAY
    source = _gate_candles(store, [bar(n) for n in WHOLE], Scope(T0, end, end, tables=["candles"]))
    assert _failing(source) == {"freshness", "completeness"}


def test_gate_seconds_are_left_out_unless_asked_for(store: Store) -> None:
    second = bar(0, timeframe="1s", close_time=T0 + HOUR // 3600)
    store.insert("candles", [second])
    assert gate(store, QUALITY, CANDLES).sources == ()
    seconds = Scope(T0, END, END, tables=["candles"], timeframes=[Timeframe.S1])
    assert gate(store, QUALITY, seconds).sources[0].source == "binance BTC-USDT 1s"


def test_gate_names_what_was_asked_for_and_is_not_there(store: Store) -> None:
    store.insert("candles", [bar(n) for n in WHOLE])
    scope = Scope(
        T0, END, END, exchange="binance", instruments=["BTC-USDT", "DOGE-USDT"], sources=["wire"]
    )
    verdict = gate(store, QUALITY, scope)
    assert verdict.problems == ("DOGE-USDT: nothing is stored", "wire: nothing is stored")


def test_candle_quality_by_day_adds_up_and_misses_days_without_bars(store: Store) -> None:
    store.insert("candles", [bar(n) for n in (*range(12), *range(60, 72))])
    end = T0 + 3 * DAY
    candles = CandleQuality(store, QUALITY, Scope(T0, end, end))
    (series,) = candles.series
    ((whole, daily),) = candles.measured(series)
    assert [(day, each.measures[0].value) for day, each in daily] == [
        (T0, 0.5),
        (T0 + DAY, 0.0),
        (T0 + 2 * DAY, 0.5),
    ]
    assert whole.measures[0].value == 24 / 72


def test_set_aside_candles_twice_keeps_each_once(store: Store) -> None:
    store.insert("candles", [bar(n, high=1.0) if n == 7 else bar(n) for n in WHOLE])
    candles = CandleQuality(store, QUALITY, CANDLES)
    for run in ("run-1", "run-2"):
        for series in candles.series:
            candles.set_aside(series, run)
    ((source, reason, row),) = _set_aside(store)
    assert (source, reason) == ("binance BTC-USDT 1h", "prices or volumes are impossible")
    held = json.loads(row)
    assert (held["open_time"], held["high"]) == ("2026-01-05 07:00:00.000000000", 1)
    assert store.command("SELECT count() FROM quarantine") == "1"


def _gate_texts(store: Store, texts: list[TextItem]) -> SourceQuality:
    store.insert("texts", texts)
    (source,) = gate(store, QUALITY, TEXTS).sources
    return source


def test_gate_of_sound_texts_passes(store: Store) -> None:
    source = _gate_texts(store, [text(n) for n in WHOLE])
    assert (source.table, source.source, source.passed) == ("texts", "wire", True)
    assert _values(source) == {
        "completeness": 1.0,
        "timestamps": 1.0,
        "schema": 1.0,
        "text_length": 1.0,
        "english": 1.0,
        "duplicates": 0.0,
        "freshness": (HOUR - 10**9) / HOUR,
    }


def test_gate_texts_with_faults_fail_measure_by_measure(store: Store) -> None:
    wrong: dict[int, dict[str, object]] = {
        0: {"title": "short"},
        1: {"title": "long " * 201},
        2: {"title": " ", "body": "Only what follows a headline that is not there at all"},
        3: {"published_at": T0 + 3 * HOUR + 400 * 10**9},
        4: {"credibility": 1.5},
        5: {"instruments": ("bitcoin",)},
        6: {"title": "El precio de la moneda cae por debajo de los veinte mil dólares"},
    }
    texts = [text(n, **wrong.get(n, {})) for n in WHOLE]  # type: ignore[arg-type]
    found = _values(_gate_texts(store, texts))
    assert found["text_length"] == 46 / 48
    assert found["completeness"] == 47 / 48
    assert found["timestamps"] == 47 / 48
    assert found["schema"] == 46 / 48
    assert found["english"] == 46 / 47


def test_gate_repeated_texts_are_duplicates_of_their_own_source(store: Store) -> None:
    again = [
        text(
            40,
            "SOLANA holders watch — bitcoin climbs above its highest price of the week, "
            "as traders return! https://news.example/1",
        ),
        text(41, text(1).title),
        text(42, text(2).title, source="posts"),
    ]
    store.insert("texts", [*(text(n) for n in range(40)), *again])
    posts, wire = gate(store, QUALITY, TEXTS).sources
    assert (wire.source, _values(wire)["duplicates"]) == ("wire", 2 / 42)
    assert (posts.source, _values(posts)["duplicates"]) == ("posts", 0.0)


def test_gate_near_duplicates_of_a_running_engine_count_where_they_repeat_their_own_source(
    store: Store,
) -> None:
    marked = [
        text(40, duplicate_of="text-001"),
        text(41, source="posts", duplicate_of="text-002"),
    ]
    store.insert("texts", [*(text(n) for n in range(40)), *marked])
    posts, wire = gate(store, QUALITY, TEXTS).sources
    assert (wire.source, _values(wire)["duplicates"]) == ("wire", 1 / 41)
    assert (posts.source, _values(posts)["duplicates"]) == ("posts", 0.0)


def test_set_aside_texts_names_every_reason_once(store: Store) -> None:
    foreign = "El precio de la moneda cae por debajo de los veinte mil dólares"
    texts = [text(1), text(2), text(3, "tiny"), text(4, text(1).title), text(5, foreign)]
    store.insert("texts", texts)
    quality = TextQuality(store, QUALITY, TEXTS)
    ids = foreign_of(quality.sampled_languages())
    assert ids == ["text-005"]
    for run in ("run-1", "run-2"):
        quality.set_aside(ids, run)
    found = [(reason, json.loads(row)["text_id"]) for _, reason, row in _set_aside(store)]
    assert found == [
        ("not in English", "text-005"),
        ("said before by the same source", "text-004"),
        ("too short", "text-003"),
    ]
    assert store.command("SELECT count() FROM quarantine") == "3"
