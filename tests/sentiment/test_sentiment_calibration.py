"""Calibration: what each map does, that fits recover what was planted, and files."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.sentiment.base import TextSentiment
from engine.sentiment.calibration.files import write_parameters
from engine.sentiment.calibration.fitting import (
    FITS,
    applied,
    best_method,
    fit_isotonic,
    fit_temperature,
    fit_vector,
    held_out,
    mean_log_loss,
)
from engine.sentiment.calibration.logit import fit_logit
from engine.sentiment.calibration.maps import (
    CalibrationMap,
    Curve,
    Isotonic,
    LinearLogits,
    Temperature,
    Uncalibrated,
    VectorScaling,
)
from engine.sentiment.calibration.model import Calibration, calibrated, with_map
from engine.sentiment.lexicon import LexiconModel
from engine.sentiment.probabilities import FLOOR, logs, reading_of, shares, softmax, triple_of
from engine.sentiment.registry import sentiment_model
from engine.sentiment.training.measures import calibration_error
from engine.settings.sentiment import SentimentConfig

RISING = Curve((0.0, 0.5, 1.0), (0.1, 0.2, 0.9))
MAPS: list[CalibrationMap] = [
    Uncalibrated(),
    Temperature(2.5),
    VectorScaling((0.5, 1.0, 1.5), (0.2, -0.4, 0.0)),
    LinearLogits(((2.0, 0.0, -1.0), (0.0, 1.0, 0.0), (-1.0, 0.5, 3.0))),
    Isotonic((RISING, RISING, RISING)),
]
weights = st.tuples(*[st.floats(0.0, 1.0)] * 3).filter(lambda three: sum(three) > 1e-3)


def drawn(rows: int, sharpness: float, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from probabilities, and the same probabilities made too sharp or too flat."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, 3)) * 1.5
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([random.choice(3, p=row) for row in true])
    said = np.exp(logits * sharpness)
    return said / said.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("calibration", MAPS)
@given(three=weights)
def test_calibration_any_map_gives_probabilities(calibration, three):
    found = calibration.apply(shares(three))
    assert math.isclose(sum(found), 1.0, abs_tol=1e-12)
    assert all(0.0 <= one <= 1.0 for one in found)


@given(three=weights, temperature=st.floats(0.1, 10.0))
def test_calibration_temperature_keeps_the_order(three, temperature):
    before = shares(three)
    after = Temperature(temperature).apply(before)
    for one in range(3):
        for other in range(3):
            if before[one] > before[other]:
                assert after[one] >= after[other]


def test_calibration_temperature_one_changes_only_rounding():
    assert Temperature(1.0).apply((0.2, 0.3, 0.5)) == pytest.approx((0.2, 0.3, 0.5), abs=1e-15)


def test_calibration_of_certainty_stays_finite():
    assert Temperature(2.0).apply((0.0, 0.0, 1.0))[2] == pytest.approx(
        1.0 / (1.0 + 2.0 * math.sqrt(FLOOR))
    )


def test_calibration_curve_is_level_outside_and_a_line_between_its_points():
    curve = Curve((0.2, 0.4), (0.1, 0.5))
    found = [curve.at(place) for place in (0.0, 0.2, 0.3, 0.4, 1.0)]
    assert found == pytest.approx([0.1, 0.1, 0.3, 0.5, 0.5])


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_calibration_temperature_fitted_finds_the_planted_one(sharpness):
    said, labels = drawn(6_000, sharpness)
    assert fit_temperature(said, labels).temperature == pytest.approx(sharpness, rel=0.08)


def test_calibration_temperature_of_a_model_that_is_wrong_flattens_it():
    said = np.tile([0.98, 0.01, 0.01], (60, 1))
    found = fit_temperature(said, np.array([2] * 60))
    assert found.temperature == pytest.approx(20.0)
    assert found.apply((0.98, 0.01, 0.01))[0] < 0.5


def test_calibration_vector_fitted_finds_planted_shifts():
    said, labels = drawn(6_000, 1.0)
    shifted = applied(VectorScaling((1.0, 1.0, 1.0), (0.9, 0.0, -0.4)), said)
    found = fit_vector(shifted, labels)
    assert found.slopes == pytest.approx((1.0, 1.0, 1.0), abs=0.12)
    # Only differences of shifts matter.
    assert found.shifts[0] - found.shifts[1] == pytest.approx(-0.9, abs=0.12)
    assert found.shifts[2] - found.shifts[1] == pytest.approx(0.4, abs=0.12)


def test_calibration_isotonic_pools_what_falls_and_rises_everywhere():
    places = [0.1, 0.2, 0.3, 0.4]
    said = np.array([[1.0 - p, 0.0, p] for p in places for _ in range(10)])
    labels = np.array([2 if n < k else 0 for k in (1, 6, 4, 9) for n in range(10)])
    curve = fit_isotonic(said, labels).curves[2]
    assert curve.places == pytest.approx((0.1, 0.25, 0.4))
    assert curve.heights == pytest.approx((1.5 / 11, 10.5 / 21, 9.5 / 11))


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 2)), min_size=3, max_size=40))
def test_calibration_isotonic_fitted_never_falls(rows):
    said = np.array([shares((1.0 - p, p / 2, p / 2)) for p, _ in rows])
    for curve in fit_isotonic(said, np.array([label for _, label in rows])).curves:
        assert list(curve.places) == sorted(set(curve.places))
        assert list(curve.heights) == sorted(curve.heights)


@pytest.mark.parametrize("method", ["temperature", "vector", "linear", "isotonic"])
def test_calibration_fitted_brings_the_error_down_on_texts_it_did_not_see(method):
    said, labels = drawn(4_000, 3.0)
    found = FITS[method](said[:2_000], labels[:2_000])
    before = calibration_error(labels[2_000:], said[2_000:])
    after = calibration_error(labels[2_000:], applied(found, said[2_000:]))
    assert before > 0.12
    assert after < 0.04


def test_calibration_best_method_of_calibrated_probabilities_is_none():
    assert best_method(*drawn(3_000, 1.0)) == "none"


def test_calibration_best_method_of_too_sharp_ones_is_temperature():
    assert best_method(*drawn(3_000, 3.0)) == "temperature"


def test_calibration_held_out_rows_never_see_their_own_label():
    said, labels = drawn(100, 1.0)
    found = held_out("vector", said, labels)
    changed = labels.copy()
    changed[::5] = (changed[::5] + 1) % 3  # all of the first fold
    again = held_out("vector", said, changed)
    assert np.array_equal(found[::5], again[::5])
    assert not np.array_equal(found[1::5], again[1::5])


def test_calibration_logit_gradient_vanishes_at_the_fit():
    random = np.random.default_rng(1)
    design, labels = random.normal(size=(200, 3, 4)), random.integers(0, 3, 200)
    prior = np.array([0.5, 0.0, 0.0, -0.5])
    found = fit_logit(design, labels, prior, 2.0)
    logits = design @ found
    said = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    slope = np.einsum("nk,nkp->p", said, design) - design[np.arange(200), labels].sum(axis=0)
    assert slope + 2.0 * (found - prior) == pytest.approx(np.zeros(4), abs=1e-6)


def test_calibration_mean_log_loss_of_a_certain_mistake_is_bounded():
    assert mean_log_loss(np.array([[1.0, 0.0, 0.0]]), np.array([2])) == pytest.approx(
        -math.log(FLOOR)
    )


@given(three=weights)
def test_probabilities_reading_keeps_them(three):
    probabilities = shares(three)
    assert triple_of(reading_of(probabilities)) == pytest.approx(probabilities, abs=1e-15)


@pytest.mark.parametrize("three", [(0.5, 0.0, 0.5), (0.4, 0.2, 0.4), (1 / 3, 1 / 3, 1 / 3)])
def test_probabilities_that_tie_are_neutral(three):
    assert reading_of(three).label == "neutral"


@given(three=weights)
def test_probabilities_softmax_undoes_logs(three):
    probabilities = shares(tuple(max(one, 1e-3) for one in three))
    assert softmax(logs(probabilities)) == pytest.approx(probabilities, abs=1e-12)


class Sharp:
    """Says one thing of every text but the empty one."""

    name = "sharp-1"

    def score(self, texts):
        return [reading_of((0.05, 0.15, 0.8)) if text else None for text in texts]


def test_calibrated_model_unknown_stays_unknown_and_the_name_changes():
    model = with_map(Sharp(), Temperature(2.0))
    assert model.name.startswith("sharp-1+")
    known, unknown = model.score(["up", ""])
    assert unknown is None
    assert isinstance(known, TextSentiment)
    assert triple_of(known) == pytest.approx(Temperature(2.0).apply((0.05, 0.15, 0.8)))
    assert with_map(Sharp(), Temperature(2.1)).name != model.name


def test_calibration_file_of_another_model_is_refused(tmp_path: Path):
    path = tmp_path / "c.json"
    write_parameters(path, Calibration("dull-1", Temperature(2.0), 100, ("own",)))
    with pytest.raises(ConfigError, match="was fitted for dull-1, not for sharp-1"):
        calibrated(Sharp(), str(path))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "does not exist"),
        ('{"model": "sharp-1"}', "missing required field"),
        ("{", "cannot be used"),
        (
            '{"model": "sharp-1", "map": {"type": "temperature", "temperature": -1},'
            ' "rows": 1, "sources": []}',
            "map.temperature",
        ),
    ],
)
def test_calibration_file_damaged_is_told_in_a_sentence(tmp_path, text, told):
    path = tmp_path / "c.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=told) as caught:
        calibrated(Sharp(), str(path))
    assert "calibrate_sentiment" in str(caught.value)


def test_calibration_in_the_configuration_is_put_around_its_model_alone(tmp_path):
    path = tmp_path / "c.json"
    write_parameters(path, Calibration("lexicon-1", Temperature(3.0), 100, ("own",)))
    config = SentimentConfig(model="lexicon", calibration=str(path))
    text = "Bitcoin soars to a record"
    plain, through = LexiconModel().score([text])[0], sentiment_model("lexicon", config)
    assert plain is not None
    assert through.score([text])[0] == reading_of(Temperature(3.0).apply(triple_of(plain)))
    elsewhere = SentimentConfig(model="tfidf", calibration=str(path))
    assert sentiment_model("lexicon", elsewhere).name == "lexicon-1"


@pytest.mark.parametrize("calibration", MAPS)
def test_calibration_map_comes_back_from_json(calibration):
    held = Calibration("m-1", calibration, 5, ("a", "b"))
    assert msgspec.json.decode(msgspec.json.encode(held), type=Calibration) == held


def test_calibrated_lexicon_is_shipped_and_keeps_the_side():
    model = sentiment_model("lexicon-calibrated")
    up, down, unread = model.score(["Bitcoin soars to a record", "Exchange hacked, funds lost", ""])
    assert up is not None
    assert down is not None
    assert up.score > 0 > down.score
    assert unread is None
    assert model.name.startswith("lexicon-1+")
