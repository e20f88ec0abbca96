"""The report job on a real store: which ranking it takes, and what it puts beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import nan
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.clock import iso_utc, parse_iso_utc
from engine.config import Config, RetentionConfig, load_config
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.market import Candle, Gap
from engine.domain.outcome import BarOutcome
from engine.domain.sentiment import SentimentAggregate
from engine.domain.signal import Signal
from engine.domain.text import MarketMood
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError, StoreError
from engine.features.catalogue import (
    FEATURE_INDEX,
    FEATURE_NAMES,
    FEATURE_VERSION,
    feature_columns,
)
from engine.job_request import load_job_config
from engine.reports.report import PastSignal, Report
from engine.signals.factors import FACTORS
from engine.signals.ranker import rank
from engine.signals.weights import load_weights
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.report_source import ReportSource
from engine.store.schema import migrate
from jobs.report import chosen, main

HOUR = Timeframe.H1.ns
DAY = 24 * HOUR
AS_OF = parse_iso_utc("2026-02-03T14:00:00Z")
KEPT = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))
NAMES = ("ADA-USDT", "BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT")
TABLES = (
    "signals", "features", "candles", "outcomes", "feed_gaps", "market_mood",
    "sentiment_aggregates",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def migrated(folder: Path) -> Iterator[Store]:
    home = EmbeddedStore(folder / "store")
    home.start()
    with Store(home.endpoint) as store:
        migrate(store, KEPT, feature_columns())
        yield store
    home.stop()


@pytest.fixture
def store(migrated: Store) -> Store:
    for table in TABLES:
        migrated.command(f"TRUNCATE TABLE {table}")
    return migrated


def row(name: str, level: float, close_time: int = AS_OF, **changes: Any) -> FeatureRow:
    """Features that all stand at one level: the lower, the better it ranks by most weights."""
    values = [nan] * len(FEATURE_NAMES)
    for factor in FACTORS:
        values[FEATURE_INDEX[factor.feature]] = level
    whole = FeatureRow(
        "binance", name, "1h", close_time - HOUR, close_time, close_time, 10.0 + level,
        tuple(values), FEATURE_VERSION, True, close_time,
    )  # fmt: skip
    return msgspec.structs.replace(whole, **changes)


def rows(close_time: int = AS_OF, names: tuple[str, ...] = NAMES) -> list[FeatureRow]:
    return [row(name, float(level + 1), close_time) for level, name in enumerate(names)]


def signals(close_time: int = AS_OF, reverse: bool = False) -> list[Signal]:
    order = NAMES[::-1] if reverse else NAMES
    ranking = rank(
        rows(close_time, order),
        {},
        as_of=close_time,
        config=Config().ranking,
        weights=load_weights(Config().ranking.weights),
        feed={},
        sequence=1,
    )
    return list(ranking.signals)


def candles(name: str, count: int, end: int = AS_OF) -> list[Candle]:
    return [
        Candle(
            "binance", name, "1h", end - (count - k) * HOUR, end - (count - k - 1) * HOUR,
            1.0, 1.0, 1.0, 100.0 + k, 5.0, None, None, None, None, None, "trades", True, 1,
        )
        for k in range(count)
    ]  # fmt: skip


def outcome(name: str, close_time: int, forward: float | None, **changes: Any) -> BarOutcome:
    whole = BarOutcome(
        exchange="binance",
        instrument=name,
        timeframe="1h",
        open_time=close_time - HOUR,
        horizon="24h",
        known_at=close_time + DAY,
        status="whole",
        forward_return=forward,
        net_return_long=None if forward is None else forward - 0.001,
        net_return_short=None if forward is None else -forward - 0.001,
        barrier="vertical",
        barrier_time=close_time + DAY,
        volatility=0.02,
        version="1",
    )
    return msgspec.structs.replace(whole, **changes)


def report(store: Store, *overrides: str) -> Report:
    config = load_job_config("report", None, overrides, {})
    return ReportSource(store, config, lambda found: chosen(found, config)).report()


def test_report_takes_the_newest_stored_ranking(store: Store) -> None:
    store.insert("signals", signals(AS_OF - HOUR, reverse=True))
    store.insert("signals", signals())
    found = report(store, "top=2")
    assert (found.as_of, found.source, found.ranked) == (AS_OF, "signals", 5)
    assert [one.signal for one in found.signals] == signals()[:2]
    assert found.universe == NAMES


def test_report_as_of_a_moment_takes_the_newest_not_after_it(store: Store) -> None:
    store.insert("signals", signals(AS_OF - HOUR, reverse=True))
    store.insert("signals", signals())
    found = report(store, f"as_of={iso_utc(AS_OF - 1)}")
    assert found.as_of == AS_OF - HOUR
    assert [one.signal for one in found.signals] == signals(AS_OF - HOUR, reverse=True)
    exactly = report(store, f"as_of={iso_utc(AS_OF)}")
    assert exactly.as_of == AS_OF


def test_report_of_two_models_prefers_the_configured_one(store: Store) -> None:
    other = [
        msgspec.structs.replace(one, model="a-other", signal_id=f"other-{one.rank}")
        for one in signals(reverse=True)
    ]
    store.insert("signals", [*other, *signals()])
    assert {one.signal.model for one in report(store).signals} == {"linear-spot_1h_2021_2023"}
    store.command("TRUNCATE TABLE signals")
    store.insert("signals", other)
    assert report(store).model == "a-other"


def test_report_without_signals_ranks_the_stored_features_of_the_newest_bar(store: Store) -> None:
    store.insert("features", [*rows(AS_OF - HOUR, NAMES[::-1]), *rows()])
    found = report(store)
    assert (found.source, found.as_of) == ("features", AS_OF)
    assert [one.signal for one in found.signals] == signals()
    earlier = report(store, f"as_of={iso_utc(AS_OF - 1)}")
    assert [one.signal for one in earlier.signals] == signals(AS_OF - HOUR, reverse=True)


def test_report_of_features_ranks_one_market_of_a_coin_and_names_those_that_lack_the_bar(
    store: Store,
) -> None:
    store.insert("features", [*rows(AS_OF - HOUR), *rows()[:-1]])
    store.insert("features", [row("BTC-USD", 9.0, exchange="kraken")])
    found = report(store)
    assert found.universe == NAMES[:-1]
    assert found.absent == ("binance:XRP-USDT",)
    first = report(store, "exchanges={kraken: {instruments: [BTC-USD]}}")
    assert "BTC-USD" in first.universe
    assert "BTC-USDT" not in first.universe


def test_report_of_features_joins_the_sentiment_that_was_known(store: Store) -> None:
    store.insert("features", rows())
    known = SentimentAggregate("BTC-USDT", "1d", AS_OF - HOUR, 0.5, 0.1, 5, 0, 0, 2.0, "m")
    later = msgspec.structs.replace(known, as_of=AS_OF + 1, score=-1.0)
    stale = msgspec.structs.replace(known, instrument="ETH-USDT", as_of=AS_OF - DAY)
    store.insert("sentiment_aggregates", [known, later, stale])
    by_name = {one.signal.instrument: one.signal for one in report(store).signals}
    assert by_name["BTC-USDT"].coverage.sentiment
    assert by_name["BTC-USDT"].contributions[-1].value == 0.25
    assert not by_name["ETH-USDT"].coverage.sentiment


def test_report_shows_closes_up_to_the_ranking_and_no_later(store: Store) -> None:
    store.insert("signals", signals())
    store.insert("candles", candles("ADA-USDT", 60, AS_OF + 10 * HOUR))
    forming = msgspec.structs.replace(
        candles("ADA-USDT", 1, AS_OF)[0], is_closed=False, version=9, close=1e9
    )
    store.insert("candles", [forming])
    charts = {one.signal.instrument: one.chart for one in report(store, "chart_bars=24").signals}
    drawn = charts["ADA-USDT"]
    assert drawn.times == tuple(AS_OF - number * HOUR for number in range(23, 0, -1))
    assert drawn.closes == tuple(100.0 + k for k in range(26, 49))
    assert charts["BTC-USDT"].closes == ()


def test_report_of_signals_tells_how_earlier_ones_turned_out(store: Store) -> None:
    for days in (1, 2, 3):
        store.insert("signals", signals(AS_OF - days * DAY, reverse=days == 2))
    store.insert("signals", [*signals(AS_OF - DAY + HOUR), *signals()])
    store.insert(
        "outcomes",
        [
            outcome("ADA-USDT", AS_OF - DAY, 0.03),
            outcome("ADA-USDT", AS_OF - DAY + HOUR, 0.5),
            outcome("ADA-USDT", AS_OF - 2 * DAY, 0.01),
            outcome("ADA-USDT", AS_OF - 3 * DAY, None, status="gap"),
            outcome("BTC-USDT", AS_OF - DAY, 0.02, known_at=AS_OF + 1),
        ],
    )
    found = {one.signal.instrument: one.record for one in report(store).signals}
    ada = found["ADA-USDT"]
    assert ada is not None
    best, worst = signals(AS_OF - DAY)[0], signals(AS_OF - 2 * DAY, reverse=True)[-1]
    assert (best.instrument, worst.instrument) == ("ADA-USDT", "ADA-USDT")
    assert ada.signals == (
        PastSignal(AS_OF - 2 * DAY, 5, worst.score, "bearish", 0.01, -0.011),
        PastSignal(AS_OF - DAY, 1, best.score, "bullish", 0.03, 0.03 - 0.001),
    )
    assert (ada.hits, len(ada.sided)) == (1, 2)
    # What was not known yet, and what nobody labelled, is not told.
    btc = found["BTC-USDT"]
    assert btc is not None
    assert btc.signals == ()


def test_report_of_features_ranks_earlier_bars_to_tell_how_they_turned_out(store: Store) -> None:
    store.insert("features", [*rows(AS_OF - DAY, NAMES[::-1]), *rows()])
    store.insert("outcomes", [outcome("ADA-USDT", AS_OF - DAY, -0.02)])
    found = {one.signal.instrument: one.record for one in report(store).signals}
    then = signals(AS_OF - DAY, reverse=True)[-1]
    ada = found["ADA-USDT"]
    assert ada is not None
    assert ada.signals == (PastSignal(AS_OF - DAY, 5, then.score, "bearish", -0.02, 0.019),)


def test_report_without_any_outcome_has_no_record(store: Store) -> None:
    store.insert("signals", signals())
    store.insert("outcomes", [outcome("ADA-USDT", AS_OF - DAY, 0.1, horizon="4h")])
    assert {one.record for one in report(store).signals} == {None}


def test_report_header_holds_what_was_known_then(store: Store) -> None:
    store.insert("signals", signals())
    gap = Gap(
        "open", "binance", "BTC-USDT", "trades", "disconnect", None, None,
        AS_OF - 2 * HOUR, None, AS_OF - 2 * HOUR,
    )  # fmt: skip
    changes: list[dict[str, Any]] = [
        {},
        {"gap_id": "repaired later", "to_time": AS_OF - HOUR, "repaired_at": AS_OF + 1},
        {"gap_id": "repaired before", "to_time": AS_OF - HOUR, "repaired_at": AS_OF - 1},
        {"gap_id": "noticed later", "opened_at": AS_OF + 1},
        {"gap_id": "long ago", "from_time": 1, "to_time": AS_OF - 400 * HOUR},
        {"gap_id": "of another", "instrument": "DOGE-USDT"},
    ]
    store.insert("feed_gaps", [msgspec.structs.replace(gap, **each) for each in changes])
    moods = [
        MarketMood("fear_greed", AS_OF - 2 * DAY, 40.0, AS_OF - 2 * DAY),
        MarketMood("fear_greed", AS_OF - DAY, 50.0, AS_OF - DAY),
        MarketMood("fear_greed", AS_OF - HOUR, 60.0, AS_OF + 1),
    ]
    store.insert("market_mood", moods)
    found = report(store)
    assert [one.gap_id for one in found.gaps] == ["open", "repaired later"]
    assert found.mood == (moods[1],)


def test_report_of_an_empty_store_says_what_to_do(store: Store) -> None:
    with pytest.raises(StoreError, match="neither a signal nor a row of features of 1h bars in"):
        report(store)
    store.insert("features", [row(name, 1.0, version="old") for name in NAMES])
    with pytest.raises(StoreError, match="are of catalogue old, this version ranks"):
        report(store)
    store.insert("features", rows()[:1])
    with pytest.raises(StoreError, match="no 1h bar has features of 2 markets"):
        report(store)
    with pytest.raises(StoreError, match="of 1h bars up to 2020-01-01 in the store"):
        report(store, "as_of=2020-01-01")


def test_report_asked_for_wrongly_is_refused_before_it_runs() -> None:
    for override, why in (
        ("as_of=yesterday", "as_of 'yesterday' is no time"),
        ("top=0", "report.top"),
        ("formats=[pdf]", "report.formats"),
    ):
        with pytest.raises(ConfigError, match=why):
            load_job_config("report", None, [override], {})


def test_job_writes_the_files_and_counts_its_signals(store: Store, folder: Path) -> None:
    store.insert("signals", signals())
    store.insert("candles", candles("ADA-USDT", 50))
    config = load_config(overrides=[f"data_dir={folder}", "report.top=3"], environment={})
    first = main(config)
    assert (first.outcome, first.written) == ("done", {"signals in the report": 3})
    names = sorted(path.name for path in (folder / "reports").iterdir())
    assert names == sorted(
        f"{stem}.{form}"
        for stem in ("latest", "report-1h-20260203T140000Z")
        for form in ("html", "json", "md")
    )
    before = {path.name: path.read_bytes() for path in (folder / "reports").iterdir()}
    main(config)
    assert {path.name: path.read_bytes() for path in (folder / "reports").iterdir()} == before
    found = json.loads(before["latest.json"])
    assert [one["instrument"] for one in found["signals"]] == list(NAMES[:3])
    outcomes = store.query_arrow("SELECT outcome, rows FROM job_runs FINAL")
    assert set(zip(*(outcomes[name].to_pylist() for name in ("outcome", "rows")), strict=True)) == {
        ("done", 3)
    }


def test_chosen_markets_follow_the_configuration_then_their_names() -> None:
    found = [Market("okx", "BTC-USDT"), Market("binance", "BTC-USDT"), Market("okx", "ETH-USDT")]
    assert chosen(found, Config()) == [Market("binance", "BTC-USDT"), Market("okx", "ETH-USDT")]
    own = load_config(overrides=["exchanges={okx: {instruments: [BTC-USDT]}}"], environment={})
    assert chosen(found, own)[0] == Market("okx", "BTC-USDT")
