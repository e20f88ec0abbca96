"""The text stream: restored, aggregated at whole minutes, patient with sources and replicas."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from actors_fakes import WIRING, Memory, RankerStub, config_for, install

from engine.actors.base import Phase
from engine.actors.text_stream import TextStream
from engine.clock import NS_PER_S, DataClock
from engine.domain.sentiment import SentimentAggregate, SentimentScore
from engine.domain.text import TextItem
from engine.errors import SourceError, StoreUnavailable
from engine.sentiment.events import EventMemory

MINUTE = 60 * NS_PER_S
NOW = 20_000 * 1440 * MINUTE + 7 * NS_PER_S
WHOLE_MINUTE = NOW - 7 * NS_PER_S


def text(name: str, available_at: int) -> TextItem:
    return TextItem(
        name, "news", "news", name, "", "", "", available_at, available_at, 0.0, 0.5, ("BTC-USDT",)
    )


def score(name: str, value: float, model: str = "lexicon-2") -> SentimentScore:
    return SentimentScore(name, model, value, 0.1, 0.2, 0.7, "bullish", 0.7, 1)


class Scorer:
    """Scores every text 0.5, when it is there."""

    def __init__(self) -> None:
        self.scored: list[str] = []
        self.absences = 0
        self.unread: set[str] = set()

    async def model(self) -> str:
        return "lexicon-2"

    async def score(self, items: list[TextItem]) -> list[SentimentScore]:
        if self.absences:
            self.absences -= 1
            raise ConnectionError("restarting")
        self.scored += [item.text_id for item in items]
        return [score(item.text_id, 0.5) for item in items if item.text_id not in self.unread]


class Source:
    """Gives what it is told to give; None is an error."""

    name = "news"

    def __init__(self, *answers: list[TextItem] | None) -> None:
        self.answers = list(answers)
        self.seen: set[str] = set()
        self.is_closed = False
        self.failed, self.exhausted = asyncio.Event(), asyncio.Event()

    def resume(self, since_ns: int, seen: Iterable[str] = ()) -> None:
        self.since = since_ns
        self.seen = set(seen)

    async def poll(self) -> list[TextItem]:
        if not self.answers:
            self.exhausted.set()
            return []
        answer = self.answers.pop(0)
        if answer is None:
            self.failed.set()
            raise SourceError("source news: the address cannot be read")
        return answer

    async def close(self) -> None:
        self.is_closed = True


class Parts:
    """A text stream and all that it speaks to."""

    def __init__(
        self,
        folder: Path,
        source: Source,
        monkeypatch: pytest.MonkeyPatch,
        *overrides: str,
    ) -> None:
        self.source = source
        self.clock = DataClock(NOW)
        self.scorer, self.ranker = Scorer(), RankerStub()
        monkeypatch.setattr("engine.actors.text_stream.open_source", self._open)
        monkeypatch.setattr("engine.actors.text_stream.REPLICA_RETRY_S", 0.0)
        monkeypatch.setattr("engine.actors.sentiment_minutes.RANKER_RETRY_S", 0.0)
        config = config_for(
            folder,
            "sources=[{name: news, kind: rss, location: 'http://x', poll_s: 0.001}]",
            *overrides,
        )
        self.stream = TextStream(
            "texts", config, WIRING, ["BTC-USDT"], self.scorer, self.ranker, self.clock
        )

    def _open(self, *_: object, **__: object) -> Source:
        return self.source

    async def next_moment(self) -> Any:
        """Wait until the ranker is told, and return the mean over a day."""
        await asyncio.wait_for(self.ranker.told.wait(), 5)
        self.ranker.told.clear()
        (found,) = [a for a in self.ranker.moments[-1].aggregates if a.window == "1d"]
        return found


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    return install(monkeypatch, "text_stream")


async def test_texts_are_scored_stored_and_aggregated_at_the_whole_minute(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [text("a", WHOLE_MINUTE), text("b", WHOLE_MINUTE + 1)]
    parts = Parts(tmp_path, Source(items), monkeypatch)
    await parts.stream.start("")
    found = await parts.next_moment()
    assert (found.as_of, found.score, found.mentions) == (WHOLE_MINUTE, 0.5, 1), "b came later"
    parts.clock.advance(WHOLE_MINUTE + MINUTE)
    found = await parts.next_moment()
    assert (found.as_of, found.mentions) == (WHOLE_MINUTE + MINUTE, 2)
    await parts.stream.drain()
    assert memory.rows["texts"] == items
    assert [row.text_id for row in memory.rows["sentiment_scores"]] == ["a", "b"]
    assert len({row.as_of for row in memory.rows["sentiment_aggregates"]}) == 2
    assert parts.source.is_closed
    assert memory.closed == ["writer", "bus", "store"]


async def test_texts_restored_from_the_store_are_aggregated_without_a_new_one(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.rows["texts"] = [text("a", WHOLE_MINUTE - 10)]
    memory.rows["sentiment_scores"] = [score("a", 0.8)]
    parts = Parts(tmp_path, Source(), monkeypatch)
    await parts.stream.start("")
    found = await parts.next_moment()
    assert (found.score, found.mentions) == (pytest.approx(0.8), 1)
    assert parts.source.seen == {"a"}
    assert parts.source.since == WHOLE_MINUTE - 10
    assert parts.scorer.scored == []
    await parts.stream.drain()


async def test_texts_scored_by_another_model_or_not_at_all_are_scored_at_the_start(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.rows["texts"] = [text("old-model", WHOLE_MINUTE - 10), text("lost", WHOLE_MINUTE - 9)]
    memory.rows["sentiment_scores"] = [score("old-model", -1.0, model="lexicon-1")]
    parts = Parts(tmp_path, Source(), monkeypatch)
    await parts.stream.start("")
    found = await parts.next_moment()
    assert (found.score, found.mentions, found.model) == (0.5, 2, "lexicon-2")
    assert len(memory.rows["sentiment_scores"]) == 3
    await parts.stream.drain()


async def test_texts_first_moment_waits_until_every_source_was_looked_at(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(tmp_path, Source([text("a", WHOLE_MINUTE)]), monkeypatch)
    parts.scorer.absences = 3
    await parts.stream.start("")
    found = await parts.next_moment()
    assert found.mentions == 1
    assert len(parts.ranker.moments) == 1
    await parts.stream.drain()


async def test_texts_source_that_fails_is_told_of_and_recovers(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(tmp_path, Source(None, None, [text("a", WHOLE_MINUTE)]), monkeypatch)
    await parts.stream.start("")
    await asyncio.wait_for(parts.source.failed.wait(), 5)
    assert parts.stream.details()["trouble"] == {"news": "source news: the address cannot be read"}
    await asyncio.wait_for(parts.source.exhausted.wait(), 5)
    assert parts.stream.details()["trouble"] == {}
    assert parts.stream.details()["texts"] == {"news": 1}
    assert parts.stream.phase is Phase.RUNNING
    await parts.stream.drain()


async def test_texts_moment_is_told_to_a_ranker_that_was_away(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(tmp_path, Source(), monkeypatch)
    parts.ranker.absences = 3
    await parts.stream.start("")
    found = await parts.next_moment()
    assert (found.as_of, found.score, found.mentions) == (WHOLE_MINUTE, None, 0)
    await parts.stream.drain()


async def test_texts_drain_closes_everything_though_the_store_is_gone(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(tmp_path, Source(), monkeypatch)
    await parts.stream.start("")
    memory.store_is_down = True
    with pytest.raises(StoreUnavailable):
        await parts.stream.drain()
    assert parts.stream.phase is Phase.DRAINED
    assert memory.closed == ["writer", "bus", "store"]


async def test_texts_that_are_rejected_are_neither_scored_nor_stored_and_repeats_weigh_nothing(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "Regulator approves the first spot fund after a decade of refusals"
    items = [
        msgspec.structs.replace(text(name, WHOLE_MINUTE), title=title)
        for name, title in (("a", said), ("b", said + "!"), ("c", "https://x.io/1"))
    ]
    parts = Parts(tmp_path, Source(items), monkeypatch)
    await parts.stream.start("")
    found = await parts.next_moment()
    assert found.mentions == 1
    details = parts.stream.details()
    assert details["rejected"] == {"news": {"empty": 1}}
    assert details["duplicates"] == {"news": 1}
    await parts.stream.drain()
    assert parts.scorer.scored == ["a", "b"]
    assert [(row.text_id, row.duplicate_of) for row in memory.rows["texts"]] == [
        ("a", ""),
        ("b", "a"),
    ]
    assert [row.reason for row in memory.rows["quarantine"]] == ["empty"]


def bearish_before() -> SentimentAggregate:
    """What sentiment was a day ago."""
    earlier = WHOLE_MINUTE - 1440 * MINUTE
    return SentimentAggregate("BTC-USDT", "1d", earlier, -0.5, 0.0, 0, 3, 0, 3.0, "lexicon-2")


@pytest.mark.parametrize("bus_is_down", [False, True])
async def test_texts_flip_is_stored_and_told_once_though_the_bus_is_away(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bus_is_down: bool
) -> None:
    memory.event_memory = EventMemory(sides=[bearish_before()])
    memory.bus_is_down = bus_is_down
    source = Source([text("a", WHOLE_MINUTE)])
    parts = Parts(tmp_path, source, monkeypatch, "sentiment.events.flip_weight=0.25")
    await parts.stream.start("")
    assert (await parts.next_moment()).score == 0.5
    parts.clock.advance(WHOLE_MINUTE + MINUTE)
    await parts.next_moment()
    await parts.stream.drain()
    (event,) = memory.rows["sentiment_events"]
    assert (event.kind, event.direction, event.as_of) == ("sentiment_flip", "bullish", WHOLE_MINUTE)
    told = [(alert.alert_id, alert.kind) for alert in memory.alerts]
    assert told == ([] if bus_is_down else [(event.event_id, "sentiment_flip")])
    assert parts.stream.details()["sentiment_events"] == 1


async def test_texts_topics_and_emotions_are_stored_with_each_text(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = msgspec.structs.replace(text("a", WHOLE_MINUTE), title="Panic: exchange hacked!")
    parts = Parts(tmp_path, Source([item]), monkeypatch)
    await parts.stream.start("")
    await parts.next_moment()
    await parts.stream.drain()
    (row,) = memory.rows["text_topics"]
    assert (row.text_id, row.topics, row.available_at) == ("a", ("security",), WHOLE_MINUTE)
    assert row.fear > 0.8
    assert row.greed == 0.0


async def test_texts_older_than_a_week_tell_what_is_usual_and_unread_ones_are_not_covered(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = 1440 * MINUTE
    old = [text(f"old-{n}", WHOLE_MINUTE - n * day - MINUTE) for n in range(1, 20)]
    memory.rows["texts"] = old
    memory.rows["sentiment_scores"] = [score(item.text_id, -0.25) for item in old]
    parts = Parts(tmp_path, Source([text("a", WHOLE_MINUTE), text("b", WHOLE_MINUTE)]), monkeypatch)
    parts.scorer.unread = {"b"}
    await parts.stream.start("")
    found = await parts.next_moment()
    assert (found.volume, found.mentions, found.coverage) == (2, 1, 0.5)
    assert found.momentum == 0.75
    assert found.surprise == pytest.approx(math.log(3 / 2) / math.sqrt(1 / 2))
    await parts.stream.drain()


class ReloadedScorer(Scorer):
    """Replicas that load a new version one after the other: answers by this model or that."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[str] = []

    async def score(self, items: list[TextItem]) -> list[SentimentScore]:
        self.scored += [item.text_id for item in items]
        model = self.answers.pop(0) if self.answers else "lexicon-3"
        value = {"lexicon-2": 0.5, "lexicon-3": -0.5}[model]
        return [score(item.text_id, value, model) for item in items]


async def test_texts_of_a_model_that_is_replaced_are_aggregated_anew_and_never_mixed(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.rows["texts"] = [text("old", WHOLE_MINUTE - 10)]
    memory.rows["sentiment_scores"] = [score("old", 0.5)]
    source = Source(*([text(name, WHOLE_MINUTE - 9)] for name in ("a", "b", "c")))
    parts = Parts(tmp_path, source, monkeypatch)
    scorer = ReloadedScorer()
    # The first text still by the old version; the second by the new one, and so what is stored;
    # the third goes to a replica that has not loaded it yet, and so once more.
    scorer.answers = ["lexicon-2", "lexicon-3", "lexicon-3", "lexicon-2", "lexicon-3"]
    parts.stream._scorer = scorer
    await parts.stream.start("")
    await asyncio.wait_for(source.exhausted.wait(), 5)
    parts.clock.advance(WHOLE_MINUTE + MINUTE)
    found = await parts.next_moment()
    while found.as_of != WHOLE_MINUTE + MINUTE:
        found = await parts.next_moment()
    assert (found.model, found.score, found.mentions) == ("lexicon-3", -0.5, 4)
    await parts.stream.drain()
    newest = {row.text_id: row.model for row in memory.rows["sentiment_scores"]}
    assert newest == dict.fromkeys(("old", "a", "b", "c"), "lexicon-3")
    assert scorer.scored == ["a", "b", "old", "a", "c", "c"]
