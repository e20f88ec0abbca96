import numpy as np
import pytest

from engine.sentiment.training.measures import (
    accuracy,
    calibration_error,
    class_f1,
    fitted_temperature,
    log_loss,
    macro_f1,
    softmax,
    weighted_f1,
)

LABELS = np.array([0, 0, 1, 1, 1, 2])
PREDICTED = np.array([0, 1, 1, 1, 2, 2])


def test_f1_of_known_predictions_is_exact() -> None:
    assert class_f1(LABELS, PREDICTED) == pytest.approx([2 / 3, 2 / 3, 2 / 3])
    assert macro_f1(LABELS, PREDICTED) == pytest.approx(2 / 3)
    assert weighted_f1(LABELS, PREDICTED) == pytest.approx(2 / 3)
    assert accuracy(LABELS, PREDICTED) == pytest.approx(4 / 6)


def test_macro_f1_label_that_does_not_occur_does_not_count() -> None:
    assert macro_f1(np.array([0, 2]), np.array([0, 2])) == 1.0


def test_macro_f1_collapse_to_the_majority_is_no_success() -> None:
    labels = np.array([1] * 90 + [0] * 5 + [2] * 5)

    assert accuracy(labels, np.ones(100, dtype=int)) == 0.9
    assert macro_f1(labels, np.ones(100, dtype=int)) < 0.32


def test_calibration_error_of_known_confidences_is_exact() -> None:
    said = np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.3, 0.6], [0.6, 0.2, 0.2]])

    # Two said at 0.8, one right: 0.3 apart; two at 0.6, one right: 0.1 apart.
    assert calibration_error(np.array([0, 1, 2, 1]), said) == pytest.approx(0.2)


def test_log_loss_of_a_half_is_one_bit() -> None:
    assert log_loss(np.array([0]), np.array([[0.5, 0.25, 0.25]])) == pytest.approx(np.log(2))


def test_fitted_temperature_finds_how_overconfident_logits_are() -> None:
    draw = np.random.default_rng(3)
    logits = draw.normal(size=(4_000, 3))
    labels = np.array([draw.choice(3, p=row) for row in softmax(logits)])

    assert fitted_temperature(labels, logits * 2.0) == pytest.approx(2.0, rel=0.1)
    assert fitted_temperature(labels, logits * 0.5) == pytest.approx(0.5, rel=0.1)
