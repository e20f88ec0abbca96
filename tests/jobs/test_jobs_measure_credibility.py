"""measure_credibility: from stored texts, scores and outcomes to how often sources were right."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import pytest
from jobs_texts import DAY, HOUR, T0, emptied, home, job_config
from msgspec.structs import replace

from engine.actors.text_gate import TextGate
from engine.config import Config
from engine.domain.credibility import SourceCredibility
from engine.domain.outcome import BarOutcome
from engine.domain.sentiment import Label, SentimentScore, TargetScore
from engine.domain.text import TextItem
from engine.domain.timeframe import Timeframe
from engine.errors import EngineError
from engine.job_request import AGAIN
from engine.store.client import Store
from engine.store.credibility_rows import OpinionScope, read_opinions
from engine.store.reader import Reader
from jobs.measure_credibility import main

VERSION = "2 4h of 1h bars, half-life 90 d, prior 50, authors 5"
SCOPE = OpinionScope("lexicon-1", Timeframe.H1, "4h", T0 + 100 * DAY)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with home(tmp_path_factory.mktemp("credibility")) as store:
        yield store


@pytest.fixture
def store(migrated: Store) -> Store:
    return emptied(migrated, "texts", "sentiment_scores", "outcomes", "source_credibility")


def text(number: int, at: int, **changes: object) -> TextItem:
    plain = TextItem(
        f"text-{number:03}", "wire", "news", f"headline {number}", "", "", "", at, at, 3.0, 0.5,
        ("BTC-USDT",),
    )  # fmt: skip
    return replace(plain, **changes)


def score(item: TextItem, label: Label = "bullish") -> SentimentScore:
    value = {"bullish": 0.5, "neutral": 0.0, "bearish": -0.5}[label]
    return SentimentScore(
        item.text_id, "lexicon-1", value, 0.1, 0.2, 0.7, label, 0.7, item.available_at
    )


def outcome(opened: int, went: float | None, **changes: object) -> BarOutcome:
    plain = BarOutcome(
        "binance", "BTC-USDT", "1h", opened, "4h", opened + 5 * HOUR,
        "gap" if went is None else "whole", went, None, None, "", None, None, "labels-1",
    )  # fmt: skip
    return replace(plain, **changes)


def put(store: Store, *rows: tuple[TextItem, Label]) -> None:
    store.insert("texts", [item for item, _ in rows])
    store.insert("sentiment_scores", [score(*row) for row in rows])


def test_opinion_is_judged_by_the_first_bar_that_closes_when_it_can_be_read_or_later(
    store: Store,
) -> None:
    put(
        store,
        (text(1, T0 + HOUR), "bullish"),  # at the close of the first bar
        (text(2, T0 + HOUR + 1), "bullish"),  # in the second
        (text(3, T0 + 2 * HOUR), "bearish"),  # at the close of the second
    )
    store.insert("outcomes", [outcome(T0, 0.01), outcome(T0 + HOUR, -0.02)])
    found = {each.text_id: each for each in read_opinions(store, SCOPE)}
    assert {name: each.is_right for name, each in found.items()} == {
        "text-001": True,
        "text-002": False,
        "text-003": True,
    }
    assert found["text-001"].known_at == T0 + 5 * HOUR
    assert found["text-003"].engagement == 3.0


def test_opinion_is_what_the_text_feels_about_that_instrument(store: Store) -> None:
    names = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT")
    said = text(1, T0 + 1, instruments=names)
    targets = (
        TargetScore("BTC-USDT", -0.5, "bearish"),
        TargetScore("ETH-USDT", 0.0, "neutral"),
        TargetScore("SOL-USDT", None, None),
    )
    store.insert("texts", [said])
    store.insert("sentiment_scores", [replace(score(said), targets=targets)])
    store.insert("outcomes", [outcome(T0, 0.01, instrument=name) for name in names])
    found = {each.instrument: each.is_right for each in read_opinions(store, SCOPE)}
    assert found == {"BTC-USDT": False, "XRP-USDT": True}


def test_opinions_that_cannot_be_judged_are_left_out(store: Store) -> None:
    put(
        store,
        (text(1, T0 + 1), "neutral"),
        (text(2, T0 + 1, duplicate_of="text-000"), "bullish"),
        (text(3, T0 + 1, instruments=("ETH-USDT",)), "bullish"),
        (text(4, T0 + HOUR + 1), "bullish"),
        (text(5, T0 + 2 * HOUR + 1), "bullish"),
        (text(6, T0 + 3 * HOUR + 1), "bullish"),
    )
    store.insert("texts", [text(7, T0 + 1)])  # without a score
    store.insert(
        "outcomes",
        [
            outcome(T0, 0.01),
            outcome(T0 + HOUR, None),
            outcome(T0 + 2 * HOUR, 0.0),
            outcome(T0 + 3 * HOUR, 0.01, horizon="24h"),
        ],
    )
    assert read_opinions(store, SCOPE) == []


def test_opinion_on_an_instrument_of_two_venues_counts_once(store: Store) -> None:
    put(store, (text(1, T0 + 1), "bullish"))
    store.insert("outcomes", [outcome(T0, 0.01), outcome(T0, -0.01, exchange="kraken")])
    (found,) = read_opinions(store, SCOPE)
    assert found.is_right


def world(store: Store, days: int = 20) -> None:
    """A source that is right three times of four, about a market that rises and falls in turn."""
    rows = []
    for day in range(days):
        rises = day % 2 == 0
        says: Label = "bullish" if rises is (day % 4 != 3) else "bearish"
        rows.append((text(day, T0 + day * DAY + 1, author="ann"), says))
        store.insert("outcomes", [outcome(T0 + day * DAY, 0.01 if rises else -0.01)])
    put(store, *rows)


def config(store: Store, *overrides: str) -> Config:
    source = "sources=[{name: wire, kind: rss, location: 'http://x', credibility: 0.3}]"
    return job_config("measure_credibility", store, "horizon=4h", source, *overrides)


def rows_of(store: Store) -> list[SourceCredibility]:
    return Reader(store).source_credibility("lexicon-1", VERSION)


def test_measure_credibility_stores_what_was_known_at_each_midnight(store: Store) -> None:
    world(store)
    summary = main(config(store))
    assert summary.outcome == "done"
    rows = [row for row in rows_of(store) if row.level == "source"]
    assert [row.as_of for row in rows] == [T0 + (day + 1) * DAY for day in range(20)]
    assert rows[0].prior == 0.3
    assert rows[-1].opinions == 20
    assert rows[-1].right / (rows[-1].right + rows[-1].wrong) == pytest.approx(0.75, abs=0.01)
    assert {row.level for row in rows_of(store)} == {"source", "engagement", "author"}
    assert summary.notes["opinions"] == 20
    assert summary.notes["wire"].startswith(f"{rows[-1].credibility:.3f} (configured 0.300), 20 op")


def test_measure_credibility_a_second_run_writes_only_what_is_new(store: Store) -> None:
    world(store)
    first = main(config(store)).written["source_credibility"]
    again = main(config(store))
    assert (again.written, again.skipped) == ({}, {"rows equal to what is stored": first})
    put(store, (text(90, T0 + 30 * DAY + 1), "bullish"))
    store.insert("outcomes", [outcome(T0 + 30 * DAY, 0.01)])
    third = main(config(store))
    assert third.written == {"source_credibility": 2}, "the source and its class of engagement"


def test_measure_credibility_what_was_known_then_stays_unless_all_is_done_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    world(store)
    rows = main(config(store)).written["source_credibility"]
    before = rows_of(store)
    store.command("ALTER TABLE texts DELETE WHERE text_id = 'text-000' SETTINGS mutations_sync = 1")
    second = main(config(store))
    assert second.written == {}
    assert sum(second.skipped.values()) == rows - 2 - 1, "no row of the first day, nor an author's"
    assert rows_of(store) == before
    monkeypatch.setenv(AGAIN, "1")
    main(config(store))
    last = [row for row in rows_of(store) if row.level == "source"][-1]
    assert last.opinions == 19


def test_measure_credibility_without_an_opinion_says_what_to_do(store: Store) -> None:
    put(store, (text(1, T0 + 1), "bullish"))
    with pytest.raises(
        EngineError, match=r"run score_texts and label_outcomes with horizons=\[4h\]"
    ):
        main(config(store))


class _Sink:
    async def put(self, table: str, rows: Sequence[object]) -> None:
        raise AssertionError("nothing is rejected here")


async def test_texts_that_come_later_weigh_what_was_measured_and_earlier_ones_what_was_known(
    store: Store,
) -> None:
    world(store)
    told = config(store)
    main(told)
    gate = TextGate(told, Reader(store), _Sink(), lambda _: (), logging.getLogger("test"))
    await gate.learn("lexicon-1")
    fresh = [
        text(100, T0, title="Said before anything was known of it", credibility=0.3),
        text(101, T0 + 20 * DAY, title="Said when much was known of it", credibility=0.3),
        text(102, T0 + 20 * DAY, title="Said by the author himself", credibility=0.3, author="ann"),
    ]
    credibilities = [item.credibility for item in await gate.admit(fresh)]
    last = {row.level: row.credibility for row in rows_of(store)}
    assert credibilities == [
        0.3,
        pytest.approx(last["engagement"]),
        pytest.approx(last["author"]),
    ]
    assert gate.details() == {"rejected": {}, "duplicates": {}}
