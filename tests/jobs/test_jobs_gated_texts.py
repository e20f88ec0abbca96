"""What the gate decided live is what batch sees: a repeated text counts once in both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from jobs_texts import HOUR, QUICK, T0, emptied, home, text
from msgspec.structs import replace

from engine.actors.sentiment_replica import SentimentReplica
from engine.clock import DataClock
from engine.domain.sentiment import SentimentAggregate, SentimentScore, Window
from engine.domain.text import TextItem
from engine.domain.timeframe import Timeframe
from engine.sentiment.aggregate import ScoredText
from engine.sentiment.aggregator import Aggregator
from engine.settings.texts import TextsSection
from engine.store.aggregate_days import AggregateDays, AggregateRequest, aggregate_days, bundles
from engine.store.client import Store
from engine.texts.pipeline import TextPipeline

END = T0 + 48 * HOUR
STORY = "Regulator approves the first spot fund for bitcoin after a decade of refusals"


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with home(tmp_path_factory.mktemp("gated")) as store:
        yield store


@pytest.fixture
def store(migrated: Store) -> Store:
    return emptied(migrated, "texts", "sentiment_scores", "sentiment_aggregates")


def admitted() -> list[TextItem]:
    """Texts of a day, of which a story is told four times by three sources."""
    told = [text(number) for number in range(20)]
    for number, source in ((5, "wire"), (7, "agency"), (9, "blog"), (11, "wire")):
        again = text(100 + number, STORY, T0 + number * HOUR)
        told.append(replace(again, source=source, body="", instruments=("BTC-USDT",)))
    told.sort(key=lambda item: item.available_at)
    return TextPipeline(TextsSection(), lambda _: ()).admit(told).items


def scores_of(items: list[TextItem]) -> list[SentimentScore]:
    replica = SentimentReplica("sentiment-0", QUICK, DataClock(T0))
    return asyncio.run(replica.score(items))


def batch(store: Store, items: list[TextItem]) -> list[SentimentAggregate]:
    store = emptied(store, "texts", "sentiment_scores")
    store.insert("texts", items)
    store.insert("sentiment_scores", scores_of(items))
    asked = AggregateRequest("lexicon-1", Timeframe.H1, T0 + 24 * HOUR, END, 0.5, ("BTC-USDT",))
    plan = AggregateDays(store, asked)
    return [
        row
        for bundle in bundles(plan.days)
        for done in aggregate_days(store, asked, bundle, plan.first_mentions)
        for row in done.rows
        if row.instrument == "BTC-USDT"
    ]


def test_repeated_texts_count_once_live_and_in_batch(store: Store) -> None:
    items = admitted()
    repeats = [item for item in items if item.duplicate_of]
    assert [item.duplicate_of for item in repeats] == ["text-0105"] * 3
    told_once = batch(store, [item for item in items if not item.duplicate_of])
    assert batch(store, items) == told_once
    live = Aggregator("lexicon-1", half_life_share=0.5, instruments=["BTC-USDT"])
    for item, score in zip(items, scores_of(items), strict=True):
        live.add(ScoredText.of(item, score))
    as_of = T0 + 24 * HOUR
    found = {row.window: row for row in live.aggregates(as_of) if row.instrument == "BTC-USDT"}
    expected = {row.window: row for row in told_once if row.as_of == as_of}
    assert set(found) == set(Window)
    for window, row in found.items():
        assert row == expected[window]
