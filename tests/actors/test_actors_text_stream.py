"""The text stream: restored, aggregated at whole minutes, patient with sources and replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from actors_fakes import WIRING, Memory, RankerStub, config_for, install

from engine.actors.base import Phase
from engine.actors.text_stream import TextStream
from engine.clock import NS_PER_S, DataClock
from engine.domain.sentiment import SentimentScore
from engine.domain.text import TextItem
from engine.errors import SourceError, StoreUnavailable

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

    async def model(self) -> str:
        return "lexicon-2"

    async def score(self, items: list[TextItem]) -> list[SentimentScore]:
        if self.absences:
            self.absences -= 1
            raise ConnectionError("restarting")
        self.scored += [item.text_id for item in items]
        return [score(item.text_id, 0.5) for item in items]


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

    def __init__(self, folder: Path, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source = source
        self.clock = DataClock(NOW)
        self.scorer, self.ranker = Scorer(), RankerStub()
        monkeypatch.setattr("engine.actors.text_stream.open_source", self._open)
        for name in ("REPLICA_RETRY_S", "RANKER_RETRY_S"):
            monkeypatch.setattr(f"engine.actors.text_stream.{name}", 0.0)
        config = config_for(
            folder, "sources=[{name: news, kind: rss, location: 'http://x', poll_s: 0.001}]"
        )
        self.stream = TextStream(
            "texts", config, WIRING, ["BTC-USDT"], [self.scorer], self.ranker, self.clock
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
    assert memory.closed == ["writer", "store"]


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
    assert memory.closed == ["writer", "store"]
