"""What of a GPU the replicas of ``score_texts`` take, on clusters that only say what they have."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError, StartError
from engine.job_request import load_job_config, section_of
from jobs import score_texts
from jobs.score_texts import find_gpu_share, find_replicas, find_work

JOB = "score_texts"
CORES = 8
HF = "model=hf:nobody/nothing"


class Answers:
    """A store with nothing in it."""

    def to_pylist(self) -> list[dict[str, int]]:
        return [{"texts": 0, "unscored": 0}]

    def query_arrow(self, *_: object) -> Answers:
        return self


class Started:
    """A run of the job: what it is told, and how often it joined the cluster."""

    def __init__(self, *overrides: str) -> None:
        self.config = load_job_config(JOB, None, ["sentiment.model=lexicon", *overrides], {})
        self.section = section_of(JOB, self.config)
        self.notes: dict[str, object] = {}
        self.joined = 0
        self.started_at = 1
        self.store = Answers()

    def ray(self) -> int:
        self.joined += 1
        return CORES

    def note(self, key: str, value: object) -> None:
        self.notes[key] = value


@pytest.fixture
def cluster(monkeypatch):
    """Say how many GPUs there are; one by default."""

    def having(gpus: float) -> None:
        monkeypatch.setattr(score_texts, "gpus", lambda: gpus)

    having(1.0)
    return having


@pytest.fixture
def loaded(monkeypatch):
    """Where versions were asked: the share of a GPU, and the device of the model."""
    asked: list[tuple[float, str]] = []

    def on_cpu(name, config):
        asked.append((0.0, config.sentiment.hf.device))
        return f"{name}-fp32"

    def on_gpu(name, config, share):
        asked.append((share, config.sentiment.hf.device))
        return f"{name}-bf16"

    monkeypatch.setattr(score_texts, "_version", on_cpu)
    monkeypatch.setattr(score_texts, "_version_on_gpu", on_gpu)
    return asked


@pytest.mark.parametrize(
    ("gpus", "asked", "share"),
    [(0.0, [], 0.0), (2.0, [], 1.0), (2.0, ["num_gpus=0"], 0.0), (2.0, ["num_gpus=0.25"], 0.25)],
)
def test_score_texts_takes_a_gpu_where_there_is_one_unless_told_otherwise(
    cluster, gpus, asked, share
):
    cluster(gpus)
    run = Started(HF, *asked)
    assert find_gpu_share(run) == share
    assert run.notes == {}


@pytest.mark.parametrize("model", ["lexicon", "tfidf", "lstm", "ensemble"])
def test_score_texts_for_a_model_of_the_cpu_reserves_nothing_and_joins_no_cluster(cluster, model):
    run = Started(f"model={model}")
    assert (find_gpu_share(run), run.joined, run.notes) == (0.0, 0, {})


def test_score_texts_says_that_a_share_asked_for_is_not_reserved(cluster):
    run = Started("model=ensemble", "num_gpus=0.5")
    assert find_gpu_share(run) == 0.0
    assert run.notes == {"num_gpus": "ensemble cannot use a GPU: none is reserved"}


@pytest.mark.parametrize(("gpus", "held"), [(0.0, "none"), (1.0, "only 1")])
def test_score_texts_share_that_the_cluster_lacks_is_refused(cluster, gpus, held):
    cluster(gpus)
    with pytest.raises(StartError, match=f"num_gpus is 2, but the cluster has {held}; set it to 0"):
        find_gpu_share(Started(HF, "num_gpus=2"))


def test_score_texts_unknown_model_is_refused_before_the_cluster_is_joined(cluster):
    run = Started("model=oracle", "num_gpus=1")
    with pytest.raises(ConfigError, match="sentiment model 'oracle' is unknown"):
        find_gpu_share(run)
    assert run.joined == 0


@pytest.mark.parametrize(
    ("gpus", "share", "asked", "replicas"),
    [
        (0.0, 0.0, [], CORES),
        (4.0, 0.0, ["replicas=3"], 3),
        (2.0, 0.5, [], 4),
        (2.0, 1.0, ["replicas=9"], 2),
        (2.0, 1.0, ["replicas=1"], 1),
    ],
)
def test_score_texts_has_as_many_replicas_as_fit(cluster, gpus, share, asked, replicas):
    cluster(gpus)
    assert find_replicas(Started(*asked), share) == replicas


def test_score_texts_version_is_asked_where_a_replica_would_be(loaded):
    work = find_work(Started(HF), 0.5)
    assert loaded == [(0.5, "")]
    assert (work.version, work.gpu_share) == ("hf:nobody/nothing-bf16", 0.5)
    assert work.config.sentiment.hf.device == ""


@pytest.mark.parametrize(
    ("overrides", "device"),
    [
        ([], "cpu"),
        (["num_gpus=0"], "cpu"),
        (["num_gpus=0", "sentiment.hf.device=cuda"], "cpu"),
        (["sentiment.hf.device=cuda"], "cuda"),
    ],
)
def test_score_texts_without_a_share_keeps_the_model_off_a_gpu_that_is_seen(
    loaded, overrides, device
):
    work = find_work(Started(HF, *overrides), 0.0)
    assert loaded == [(0.0, device)]
    assert (work.version, work.gpu_share) == ("hf:nobody/nothing-fp32", 0.0)
    assert work.config.sentiment.hf.device == device
