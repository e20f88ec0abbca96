"""What the shipped models make of texts that nothing was trained, tuned or calibrated on.

They were written for this project by somebody who saw none of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engine.sentiment.base import LABELS, SentimentModel, TextSentiment
from engine.sentiment.probabilities import triple_of
from engine.sentiment.registry import sentiment_model
from engine.sentiment.training.measures import calibration_error, macro_f1

HELD_OUT = Path(__file__).with_name("held_out.tsv")
BY_NUMBER = {"-1": "bearish", "0": "neutral", "1": "bullish"}


def held_out(kind: str) -> tuple[list[str], np.ndarray]:
    """Return texts, and their labels as places in `LABELS`."""
    _, *lines = HELD_OUT.read_text(encoding="utf-8").splitlines()
    rows = [row for row in (line.split("\t", 2) for line in lines) if row[1] == kind]
    return [row[2] for row in rows], np.array([LABELS.index(BY_NUMBER[row[0]]) for row in rows])


def probabilities(readings: Sequence[TextSentiment | None]) -> np.ndarray:
    """Return a row for each reading; what cannot be read (one has no word) leans nowhere."""
    assert sum(reading is None for reading in readings) <= 1
    return np.array([triple_of(each) if each else (1 / 3, 1 / 3, 1 / 3) for each in readings])


@pytest.fixture(scope="module")
def best() -> SentimentModel:
    return sentiment_model("ensemble")


@pytest.mark.parametrize("kind", ["new posts", "new headlines"])
def test_ensemble_holds_on_texts_by_a_writer_it_never_saw(best: SentimentModel, kind: str) -> None:
    texts, labels = held_out(kind)
    found = probabilities(best.score(texts))
    assert macro_f1(labels, found.argmax(1)) > 0.75
    opinions = labels != LABELS.index("neutral")
    leans_up = found[opinions, 2] > found[opinions, 0]
    assert np.mean(leans_up == (labels[opinions] == LABELS.index("bullish"))) >= 0.85
    assert calibration_error(labels, found) < 0.12


def test_lexicon_and_linear_model_are_the_worse_the_less_they_understand() -> None:
    texts, labels = held_out("new posts")
    scores = {
        name: macro_f1(labels, probabilities(sentiment_model(name).score(texts)).argmax(1))
        for name in ("lexicon", "tfidf", "minilm")
    }
    assert scores["minilm"] > scores["tfidf"] > scores["lexicon"]
    assert scores["lexicon"] > 1 / 3
