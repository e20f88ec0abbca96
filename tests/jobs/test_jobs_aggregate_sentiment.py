"""``aggregate_sentiment``: the running engine's aggregates, bit for bit, and never the future's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest
from jobs_texts import DAY, HOUR, QUICK, T0, emptied, home, job_config, text
from msgspec.structs import replace

from engine.actors.sentiment_replica import SentimentReplica
from engine.clock import NS_PER_S, DataClock
from engine.domain.sentiment import SentimentAggregate, SentimentScore, Window
from engine.domain.text import TextItem
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError, EngineError
from engine.sentiment.aggregate import ScoredText, aggregate
from engine.sentiment.aggregator import Aggregator
from engine.sentiment.events import EventDetector
from engine.sentiment.tagging import tag
from engine.settings.sentiment_events import SentimentEventsConfig
from engine.store.aggregate_days import (
    AggregateDay,
    AggregateDays,
    AggregateRequest,
    aggregate_days,
    bundles,
)
from engine.store.client import Store
from engine.store.columns import TIME
from engine.store.event_pass import missing_events
from engine.store.sentiment_history import SentimentHistory
from engine.store.tables import table_named
from jobs.aggregate_sentiment import main

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TEXTS = [text(n) for n in range(0, 240, 7)]
END = T0 + 10 * DAY
UNIVERSE = ("BTC-USDT", "SOL-USDT")
Key = tuple[str, str, int]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with home(tmp_path_factory.mktemp("aggregate")) as store:
        yield store


@pytest.fixture
def store(migrated: Store) -> Store:
    return emptied(
        migrated,
        "texts",
        "sentiment_scores",
        "sentiment_aggregates",
        "sentiment_events",
        "text_topics",
    )


def scores_of(items: list[TextItem]) -> list[SentimentScore]:
    replica = SentimentReplica("sentiment-0", QUICK, DataClock(T0))
    return asyncio.run(replica.score(items))


def put(store: Store, items: list[TextItem]) -> None:
    store.insert("texts", items)
    store.insert("sentiment_scores", scores_of(items))


def request(begin: int | None = None, every: Timeframe = Timeframe.H1) -> AggregateRequest:
    return AggregateRequest("lexicon-1", every, begin, END, 0.5, UNIVERSE)


def made(store: Store, asked: AggregateRequest) -> dict[Key, SentimentAggregate]:
    plan = AggregateDays(store, asked)
    return {
        (row.instrument, row.window, row.as_of): row
        for bundle in bundles(plan.days)
        for done in aggregate_days(store, asked, bundle, plan.first_mentions)
        for row in done.rows
    }


def live(items: Sequence[TextItem]) -> dict[Key, SentimentAggregate]:
    """What a running engine has as of every minute: texts are added as they come."""
    scored = [
        ScoredText.of(item, score)
        for item, score in zip(items, scores_of(list(items)), strict=True)
    ]
    aggregator = Aggregator("lexicon-1", half_life_share=0.5, instruments=UNIVERSE)
    found = {}
    for as_of in range(T0 + HOUR, END, HOUR // 2):
        for each in scored:
            if each.available_at <= as_of:
                aggregator.add(each)
        for row in aggregator.aggregates(as_of):
            found[row.instrument, row.window, row.as_of] = row
    return found


def heard(row: SentimentAggregate) -> SentimentAggregate:
    """An aggregate without what depends on texts about others."""
    return replace(row, surprise=None)


def test_aggregate_days_equal_the_live_ones_to_the_bit(store: Store) -> None:
    put(store, TEXTS)
    found = made(store, request())
    expected = {key: row for key, row in live(TEXTS).items() if key[2] % HOUR == 0}
    assert found == expected
    assert found["SOL-USDT", "1h", T0 + DAY].score is None
    assert len({row.score for row in found.values()}) > 100


def test_aggregate_days_equal_the_definition(store: Store) -> None:
    put(store, TEXTS)
    scored = [ScoredText.of(*each) for each in zip(TEXTS, scores_of(TEXTS), strict=True)]
    found = made(store, request(begin=T0 + 9 * DAY))
    assert len(found) == 24 * 3 * 4
    for (instrument, window, as_of), row in found.items():
        expected = aggregate(
            scored, instrument, Window(window), as_of, half_life_share=0.5, model="lexicon-1"
        )
        assert row == expected


def test_aggregate_days_a_text_that_comes_late_changes_nothing_earlier(store: Store) -> None:
    put(store, TEXTS)
    before = made(store, request())
    days = {day.name: day.fingerprint for day in AggregateDays(store, request()).days}
    came = T0 + 3 * DAY + HOUR // 2
    late = text(900, "Solana crashes, everyone sells", available_at=came)
    # Published long before it could be read.
    late = TextItem(**{n: getattr(late, n) for n in late.__struct_fields__} | {
        "published_at": T0, "instruments": ("SOL-USDT", "DOGE-USDT")})  # fmt: skip
    put(store, [late])
    after = made(store, request())
    changed = {key for key in after if after[key] != before.get(key)}
    assert min(as_of for _, _, as_of in changed) == T0 + 3 * DAY + HOUR
    # Of others it tells only that somebody was listening at that hour.
    felt = {key for key in changed if key not in before or heard(after[key]) != heard(before[key])}
    assert {name for name, _, _ in felt} == {"SOL-USDT", "DOGE-USDT"}
    assert {key for key in before if key[2] < came} == {key for key in after if key[2] < came}
    redone = [
        day.name
        for day in AggregateDays(store, request()).days
        if days[day.name] != day.fingerprint
    ]
    assert redone == [f"lexicon-1 1h 2026-01-{day:02}" for day in range(8, 15)]


def test_aggregate_days_texts_without_a_score_are_not_covered_and_feel_nothing(
    store: Store,
) -> None:
    put(store, TEXTS[:10])
    before = made(store, request())
    store.insert("texts", TEXTS[10:])
    after = made(store, request())
    for key, row in before.items():
        assert (after[key].score, after[key].weight) == (row.score, row.weight)
    at = T0 + 4 * DAY
    counted = after["BTC-USDT", "1w", at]
    about = [item for item in TEXTS if item.available_at <= at and item.instruments]
    scored = [item for item in TEXTS[:10] if item.instruments]
    assert (counted.volume, counted.mentions) == (len(about), len(scored))
    assert counted.coverage == len(scored) / len(about)
    assert before["BTC-USDT", "1w", at].coverage == 1.0


def test_aggregate_days_texts_that_repeat_another_do_not_count(store: Store) -> None:
    put(store, TEXTS)
    before = made(store, request())
    (again,) = TEXTS[:1]
    copies = [replace(again, text_id=f"copy-{n}", duplicate_of=again.text_id) for n in range(3)]
    put(store, copies)
    assert made(store, request()) == before


def test_missing_events_of_stored_aggregates_are_those_of_an_engine_that_saw_them(
    store: Store,
) -> None:
    put(store, TEXTS)
    rows = sorted(
        made(store, request()).values(), key=lambda row: (row.as_of, row.instrument, row.window)
    )
    store.insert("sentiment_aggregates", rows)
    rules = SentimentEventsConfig(
        flip_windows=(Window.H4, Window.D1), flip_band=0.05, flip_weight=0.1, cooldown_windows=0.5
    )
    expected = EventDetector(rules).observe(rows)
    assert len(expected) > 5
    assert missing_events(store, "lexicon-1", rules, T0, END) == expected
    # An engine that is started again half-way goes on as if it had run through.
    half = expected[len(expected) // 2].as_of
    store.insert("sentiment_events", [event for event in expected if event.as_of < half])
    memory = SentimentHistory(store).event_memory("lexicon-1", rules, half)
    again = EventDetector(rules, memory).observe(row for row in rows if row.as_of >= half)
    assert again == [event for event in expected if event.as_of >= half]
    assert missing_events(store, "lexicon-1", rules, T0, END) == again


def test_aggregate_days_what_the_engine_stored_itself_stays(store: Store) -> None:
    put(store, TEXTS)
    rows = made(store, request())
    own = [rows["BTC-USDT", "1d", T0 + DAY], rows["BTC-USDT", "1d", T0 + DAY + HOUR]]
    changed = SentimentAggregate(
        **{n: getattr(own[1], n) for n in own[1].__struct_fields__} | {"score": 0.125}
    )
    by_job = rows["BTC-USDT", "1d", T0 + DAY + 2 * HOUR]
    for row, delay in ((own[0], NS_PER_S), (changed, 30 * NS_PER_S), (by_job, HOUR)):
        stored = table_named("sentiment_aggregates").to_arrow([row])
        when = pa.array([row.as_of + delay]).cast(TIME)
        store.insert_arrow("sentiment_aggregates", stored.append_column("inserted_at", when))
    plan = AggregateDays(store, request())
    (day,) = [each for each in plan.days if each.moments[0] == T0 + DAY]
    (done,) = aggregate_days(store, request(), [day], plan.first_mentions)
    assert (done.kept, done.differing) == (1, 1)
    assert own[0] not in done.rows
    assert by_job in done.rows
    assert len(done.rows) == 24 * 3 * 4 - 2


def test_bundles_join_days_that_follow_each_other() -> None:
    def day(number: int) -> AggregateDay:
        midnight = T0 + number * DAY
        return AggregateDay(str(number), "", tuple(range(midnight, midnight + DAY, HOUR)))

    found = bundles([day(n) for n in (0, 1, *range(5, 35))])
    assert [[each.name for each in bundle] for bundle in found] == [
        ["0", "1"],
        [str(n) for n in range(5, 33)],
        ["33", "34"],
    ]


def test_aggregate_sentiment_without_scores_says_what_to_do(store: Store) -> None:
    store.insert("texts", TEXTS[:1])
    with pytest.raises(EngineError, match="no text has a score of lexicon-1: run score_texts"):
        main(job_config("aggregate_sentiment", store))


def test_aggregate_sentiment_every_second_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="every: 1s is less than a minute"):
        job_config("aggregate_sentiment", store, "every=1s")


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_aggregate_sentiment_does_only_the_days_whose_texts_changed(store: Store) -> None:
    put(store, TEXTS)
    rules = ("sentiment.events.flip_band=0.05", "sentiment.events.flip_weight=0.1")
    config = job_config("aggregate_sentiment", store, "every=4h", "end=2026-01-15", *rules)
    first = main(config)
    rows = first.written["sentiment_aggregates"]
    assert first.outcome == "done"
    assert store.command("SELECT count() FROM sentiment_aggregates") == str(rows)
    second = main(config)
    assert (second.written, second.skipped) == ({}, {"days that are stored already": 10})
    put(store, [text(900, available_at=T0 + 8 * DAY + HOUR)])
    third = main(config)
    assert third.skipped == {"days that are stored already": 8}
    assert first.written["text_topics"] == len(TEXTS)
    assert third.written["text_topics"] == 1
    stored_topics = table_named("text_topics").from_arrow(
        store.query_arrow(f"SELECT {table_named('text_topics').select} FROM text_topics FINAL")
    )
    by_id = {row.text_id: row for row in stored_topics}
    hacked = next(item for item in TEXTS if item.title.startswith("Exchange hacked"))
    assert by_id[hacked.text_id] == tag(hacked.text_id, hacked.content, hacked.available_at, "en")
    assert "security" in by_id[hacked.text_id].topics
    events = config.sentiment.events
    assert first.written["sentiment_events"] > 0
    assert missing_events(store, "lexicon-1", events, T0, END) == []
    held = store.command("SELECT count() FROM sentiment_aggregates FINAL")
    assert held == str(rows)
    expected = made(store, request(every=Timeframe.H4))
    found = table_named("sentiment_aggregates").from_arrow(
        store.query_arrow(
            f"SELECT {table_named('sentiment_aggregates').select} FROM sentiment_aggregates FINAL "
            "WHERE instrument IN ('BTC-USDT', 'ETH-USDT')"
        )
    )
    assert len(found) > 400
    for row in found:
        assert row == expected[row.instrument, row.window, row.as_of]
