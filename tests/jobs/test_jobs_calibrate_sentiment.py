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


def refused(store: Store, rows: list[str], tmp_path: Path, *asked: str) -> str:
    """Why the job writes nothing; checks that it does not."""
    file, out = tmp_path / "labelled.csv", tmp_path / "out.json"
    file.write_text("\n".join(["text,label", *rows]))
    config = job_config("calibrate_sentiment", store, f"path={file}", f"out={out}", *asked)
    summary = main(config)
    assert (summary.outcome, summary.written) == ("failed", {})
    assert "file" not in summary.notes
    assert "texts that judged" in summary.notes
    assert not out.exists()
    assert summary.problem.startswith("the fit is refused, and not written: ")
    return summary.problem


def spoken(number: int, *labels: str) -> list[str]:
    """Texts that say what their label is."""
    return [f"Coin {n} {SAID[label][n % 4]},{label}" for n in range(number) for label in labels]


@pytest.mark.parametrize(
    "asked",
    [
        ["method=best"],
        ["method=none"],
        ["model=ensemble", "sentiment.ensemble.members=[lexicon,lexicon-calibrated]"],
        ["model=ensemble", "sentiment.ensemble.members=[lexicon,lexicon-calibrated]",
         "sentiment.ensemble.method=soft"],
    ],
)  # fmt: skip
def test_calibrate_sentiment_of_a_model_that_says_one_label_is_refused(store, tmp_path, asked):
    labels = ("bearish", "neutral", "bullish")
    rows = [f"Coin {n} meets on Tuesday,{labels[n % 3]}" for n in range(480)]
    problem = refused(store, rows, tmp_path, *asked)
    assert "for 99% of the texts, of which 33% are: it collapsed to one label" in problem
    assert "the probabilities rank no better than chance" in problem


def test_calibrate_sentiment_judged_by_a_sliver_is_refused(store, tmp_path):
    problem = refused(store, spoken(160, *LABELS), tmp_path, "held_out=0.1")
    assert "only 16 bearish texts were read, 30 are needed: the test is of a sliver" in problem
    assert "only 16 neutral texts" in problem
    assert "only 16 bullish texts" in problem


def test_calibrate_sentiment_least_per_label_may_be_less(store, tmp_path):
    file, out = tmp_path / "labelled.csv", tmp_path / "out.json"
    file.write_text("\n".join(["text,label", *spoken(160, *LABELS)]))
    given = (f"path={file}", f"out={out}", "held_out=0.1", "least_per_label=16")
    summary = main(job_config("calibrate_sentiment", store, *given))
    assert (summary.outcome, summary.notes["file"]) == ("done", str(out))
    assert out.exists()


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("model=lexicon", "lexicon-1"),
        ("model=ensemble", r"lexicon-1, lexicon-1\+\w+"),
    ],
)
def test_calibrate_sentiment_of_mostly_empty_texts_is_refused(store, tmp_path, asked, names):
    file, out = tmp_path / "labelled.csv", tmp_path / "out.json"
    links = [f"https://news.example/{n},{LABELS[n % 3]}" for n in range(720)]
    file.write_text("\n".join(["text,label", *spoken(120, *LABELS), *links]))
    members = "sentiment.ensemble.members=[lexicon,lexicon-calibrated]"
    given = (f"path={file}", f"out={out}", asked, members)
    with pytest.raises(ConfigError, match=f"{names} can read only 252 of 972 texts to fit on; 486"):
        main(job_config("calibrate_sentiment", store, *given))
    assert not out.exists()
