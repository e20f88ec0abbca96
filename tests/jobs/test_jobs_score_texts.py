"""``score_texts`` on a Ray of its own: the running engine's scores, bit for bit, each once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from jobs_texts import DAY, QUICK, T0, emptied, home, job_config, text

from engine.actors.sentiment_replica import SentimentReplica
from engine.clock import DataClock
from engine.config import Config
from engine.domain.sentiment import SentimentScore
from engine.domain.text import TextItem
from engine.errors import ConfigError, StartError
from engine.sentiment.base import TextSentiment
from engine.store.client import Store
from engine.store.ray_data import ClickHouseSink
from engine.store.reader import Reader
from jobs.run import running
from jobs.score_texts import COLUMNS, EMPTY, UNREADABLE, TextScorer, main, score
from tests.local_ray import end_shared_ray, own_ray

pytestmark = [
    pytest.mark.ray,
    # Ray leaves sockets and processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TEXTS = [text(n) for n in range(120)]
UNREAD_TEXTS = [text(200, "   "), text(202, "https://news.example/only-a-link"), text(204, "暴涨")]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with home(tmp_path_factory.mktemp("score")) as store:
        yield store


@pytest.fixture
def store(migrated: Store) -> Store:
    return emptied(migrated, "texts", "sentiment_scores")


def config(store: Store, *overrides: str) -> Config:
    return job_config("score_texts", store, "batch_texts=16", *overrides)


def live_scores(items: list[TextItem]) -> list[SentimentScore]:
    """What the running engine's replica makes of texts."""
    replica = SentimentReplica("sentiment-0", QUICK, DataClock(T0))
    return asyncio.run(replica.score(items))


def stored_scores(store: Store) -> dict[str, SentimentScore]:
    found = Reader(store).scores(T0, T0 + 30 * DAY)
    return {each.text_id: msgspec.structs.replace(each, scored_at=T0) for each in found}


def test_text_scorer_stores_scores_and_tells_what_became_of_the_rest(store: Store) -> None:
    items = [TEXTS[0], *UNREAD_TEXTS]
    store.insert("texts", items)
    batch = pa.table({name: [getattr(item, name) for item in items] for name in COLUMNS})
    sink = ClickHouseSink(store.endpoint, "sentiment_scores")
    found = TextScorer("lexicon", Config(), T0, sink)(batch)
    assert found.to_pylist() == [{"texts": 4, "scored": 1, "empty": 1, "unreadable": 2}]
    assert stored_scores(store) == {row.text_id: row for row in live_scores(TEXTS[:1])}


@pytest.mark.usefixtures("shared_ray")
def test_score_texts_equals_the_live_replica_and_does_only_the_rest_again(store: Store) -> None:
    store.insert("texts", [*TEXTS, *UNREAD_TEXTS])
    store.insert("sentiment_scores", live_scores(TEXTS[:20]))
    first = main(config(store))
    assert first.written == {"sentiment_scores": 100}
    assert first.skipped == {EMPTY: 1, UNREADABLE: 2}
    assert first.notes["model"] == "lexicon-1"
    assert stored_scores(store) == {row.text_id: row for row in live_scores(TEXTS)}
    assert store.command("SELECT count() FROM sentiment_scores") == "120"
    store.insert("texts", [text(300)])
    again = main(config(store))
    assert (again.written, again.outcome) == ({"sentiment_scores": 1}, "done")
    assert stored_scores(store)["text-0300"] == live_scores([text(300)])[0]


@pytest.mark.usefixtures("shared_ray")
def test_score_texts_another_version_of_the_model_does_not_count(store: Store) -> None:
    other = TextSentiment.of(0.5, 0.25).row("text-0000", "lexicon-0", T0)
    store.insert("texts", TEXTS[:5])
    store.insert("sentiment_scores", [other])
    end = f"end={'2026-01-05T03:00:00Z'}"
    assert main(config(store, end)).written == {"sentiment_scores": 3}
    models = store.query_arrow("SELECT model FROM sentiment_scores FINAL ORDER BY model")
    assert models.column(0).to_pylist() == ["lexicon-0", *["lexicon-1"] * 3]


@pytest.mark.usefixtures("shared_ray")
def test_score_texts_a_replica_that_dies_is_replaced_and_gives_the_same_rows(
    store: Store, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    trap.touch()

    # Within the test: workers cannot import its module.
    class DyingScorer(TextScorer):
        """Dies in the middle of the work, once: where a file is, which it takes along."""

        def __call__(self, texts: pa.Table) -> pa.Table:
            if "text-0060" in texts.column("text_id").to_pylist() and trap.exists():
                trap.unlink()
                os._exit(1)
            return super().__call__(texts)

    store.insert("texts", TEXTS)
    with running("score_texts", config(store)) as run:
        score(run, DyingScorer)
    assert not trap.exists()
    assert run.summary.written == {"sentiment_scores": 120}
    assert stored_scores(store) == {row.text_id: row for row in live_scores(TEXTS)}


@pytest.mark.usefixtures("shared_ray")
def test_score_texts_gpus_that_are_not_there_are_refused(store: Store) -> None:
    store.insert("texts", TEXTS[:1])
    with pytest.raises(StartError, match=r"num_gpus is 1, but the cluster has none; set it to 0"):
        main(config(store, "model=hf:nobody/nothing", "num_gpus=1"))
    outcome = store.query_arrow("SELECT outcome, problem FROM job_runs FINAL").to_pylist()
    assert [each["outcome"] for each in outcome] == ["failed"]


@pytest.mark.usefixtures("shared_ray")
def test_score_texts_reserves_no_gpu_for_a_model_that_cannot_use_one(store: Store) -> None:
    store.insert("texts", TEXTS[:1])
    done = main(config(store, "num_gpus=1"))
    assert done.notes["num_gpus"] == "lexicon cannot use a GPU: none is reserved"
    assert (done.outcome, done.written) == ("done", {"sentiment_scores": 1})


def test_score_texts_replicas_hold_the_share_of_a_gpu_that_they_are_given(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that Ray only counts, for a model that says it could use one."""
    found = tmp_path / "share"

    class TellingScorer(TextScorer):
        """Writes down what it was given."""

        def __call__(self, texts: pa.Table) -> pa.Table:
            import ray

            found.write_text(str(ray.get_runtime_context().get_assigned_resources()["GPU"]))
            return super().__call__(texts)

    monkeypatch.setattr("jobs.score_texts.can_use_gpu", lambda name, config: True)
    store.insert("texts", TEXTS[:1])
    with (
        own_ray(num_gpus=1),
        running("score_texts", config(store, "num_gpus=0.5")) as run,
    ):
        score(run, TellingScorer)
    assert found.read_text() == "0.5"
    assert run.summary.written == {"sentiment_scores": 1}
    assert run.summary.notes["model"] == "lexicon-1"


def test_score_texts_unknown_model_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="sentiment model 'oracle' is unknown; known: auto, ens"):
        main(config(store, "model=oracle"))


def test_score_texts_nothing_to_score_starts_no_cluster(store: Store) -> None:
    end_shared_ray()
    done = main(config(store))
    assert (done.outcome, done.rows, done.startup_seconds) == ("done", 0, 0.0)
