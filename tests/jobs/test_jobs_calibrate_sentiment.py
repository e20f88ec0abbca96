"""The job that fits calibrations and ensembles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from jobs_texts import home, job_config

from engine.errors import ConfigError
from engine.sentiment.calibration.model import Calibration
from engine.sentiment.ensemble.parameters import EnsembleParameters
from engine.sentiment.registry import sentiment_model
from engine.settings.sentiment import SentimentConfig
from engine.settings.sentiment_models import EnsembleConfig
from engine.store.client import Store
from jobs.calibrate_sentiment import main

SAID = {
    "bullish": ("soars", "rallies hard", "breaks out", "hits a record"),
    "neutral": ("meets on Tuesday", "is in a survey", "opens an office", "publishes a paper"),
    "bearish": ("crashes", "is hacked", "plunges", "slumps again"),
}
LABELS = tuple(SAID)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with home(tmp_path_factory.mktemp("calibrate")) as store:
        yield store


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts whose words are right three times of four: nobody may be surer than that."""
    random = np.random.default_rng(4)
    rows = ["text,label,source"]
    for number in range(480):
        label = LABELS[number % 3]
        said = label if random.random() < 0.75 else LABELS[random.integers(3)]
        rows.append(f"Coin {number} {random.choice(SAID[said])},{label},{'ab'[number % 2]}")
    file = tmp_path_factory.mktemp("labelled") / "labelled.csv"
    file.write_text("\n".join(rows))
    return file


def error_of(told: str) -> float:
    return float(told.split("ECE ")[1].split(",", maxsplit=1)[0])


def test_calibrate_sentiment_brings_the_error_down_where_it_was_not_fitted(
    store, labelled, tmp_path
):
    out = tmp_path / "lexicon.json"
    config = job_config("calibrate_sentiment", store, f"path={labelled}", f"out={out}")
    summary = main(config)
    assert summary.written == {"texts fitted on": 480}
    assert summary.notes["texts that judged"] == 144
    chosen = next(reversed(summary.notes))
    assert error_of(summary.notes["as it is"]) > 0.15
    assert error_of(summary.notes[chosen]) < 0.1
    held = msgspec.json.decode(out.read_bytes(), type=Calibration)
    assert (held.model, held.rows, held.sources) == ("lexicon-1", 480, ("a", "b"))
    model = sentiment_model("lexicon", SentimentConfig(model="lexicon", calibration=str(out)))
    assert model.name.startswith("lexicon-1+")


def test_calibrate_sentiment_method_may_be_chosen(store, labelled, tmp_path):
    out = tmp_path / "c.json"
    main(
        job_config(
            "calibrate_sentiment", store, f"path={labelled}", f"out={out}", "method=temperature"
        )
    )
    assert msgspec.json.decode(out.read_bytes())["map"]["type"] == "temperature"


def test_calibrate_sentiment_ensemble_is_fitted_for_its_members(store, labelled, tmp_path):
    out = tmp_path / "ensemble.json"
    config = job_config(
        "calibrate_sentiment", store, f"path={labelled}", f"out={out}", "model=ensemble",
        "sentiment.ensemble.members=[lexicon,tfidf]",
    )  # fmt: skip
    summary = main(config)
    assert {"lexicon", "tfidf", "soft", "weighted", "stacking", "dynamic"} <= set(summary.notes)
    assert error_of(summary.notes["stacking"]) < error_of(summary.notes["lexicon"])
    held = EnsembleParameters.load(out)
    assert [one.name for one in held.members] == ["lexicon", "tfidf"]
    told = SentimentConfig(ensemble=EnsembleConfig(parameters=str(out), method="stacking"))
    reading = sentiment_model("ensemble", told).score(["Coin 7 soars"])[0]
    assert reading is not None
    assert reading.label == "bullish"


def test_calibrate_sentiment_of_too_few_texts_is_refused(store, tmp_path):
    file = tmp_path / "few.csv"
    file.write_text("text,label\n" + "\n".join(f"Coin {n} soars,1\nCoin {n} falls,-1\nx {n},0"
                                               for n in range(20)))  # fmt: skip
    config = job_config("calibrate_sentiment", store, f"path={file}")
    with pytest.raises(ConfigError, match="texts are left to fit on"):
        main(config)


def test_calibrate_sentiment_of_texts_that_the_model_cannot_read_is_refused(store, tmp_path):
    file = tmp_path / "links.csv"
    labels = ("bearish", "neutral", "bullish")
    rows = [f"https://news.example/{n},{labels[n % 3]}" for n in range(300)]
    file.write_text("\n".join(["text,label", *rows]))
    with pytest.raises(ConfigError, match=r"lexicon-1 can read only 0 of 300 texts to fit on"):
        main(job_config("calibrate_sentiment", store, f"path={file}"))
