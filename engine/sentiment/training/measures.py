"""How good predictions are: what training itself looks at.

Labels are places in `engine.sentiment.base.LABELS`: 0 bearish, 1 neutral, 2 bullish.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]

CLASSES = 3


def class_f1(labels: Labels, predicted: Labels) -> Matrix:
    """Return the F1 of each class; 0 for a class that was neither there nor predicted."""
    scores = np.zeros(CLASSES)
    for each in range(CLASSES):
        right = np.sum((labels == each) & (predicted == each))
        total = np.sum(labels == each) + np.sum(predicted == each)
        scores[each] = 2 * right / total if total else 0.0
    return scores


def macro_f1(labels: Labels, predicted: Labels) -> float:
    """Return the mean F1 of the classes among the labels."""
    return float(class_f1(labels, predicted)[np.unique(labels)].mean())


def weighted_f1(labels: Labels, predicted: Labels) -> float:
    """Return the F1 of the classes, weighted with how common each is among the labels."""
    shares = np.bincount(labels, minlength=CLASSES) / len(labels)
    return float(class_f1(labels, predicted) @ shares)


def accuracy(labels: Labels, predicted: Labels) -> float:
    """Return the share of right predictions."""
    return float(np.mean(labels == predicted))


def softmax(logits: Matrix, temperature: float = 1.0) -> Matrix:
    """Return probabilities, row by row."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares: Matrix = powers / powers.sum(axis=1, keepdims=True)
    return shares


def log_loss(labels: Labels, probabilities: Matrix) -> float:
    """Return the mean negative logarithm of the labels' probabilities."""
    said = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(said, 1e-12)).mean())


def calibration_error(labels: Labels, probabilities: Matrix, bins: int = 10) -> float:
    """Return the expected calibration error of the predicted label.

    Parameters
    ----------
    labels
        What is right.
    probabilities
        Three a row.
    bins
        Equally wide ones of the confidence.

    Notes
    -----
    Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(float(np.sum(right[which == one]) - np.sum(confidence[which == one])))
        for one in range(bins)
    ]
    return sum(gaps) / len(labels)


def fitted_temperature(labels: Labels, logits: Matrix) -> float:
    """Return the temperature, in [0.25, 4], at which the log loss is least."""
    grid = np.geomspace(0.25, 4.0, 401)
    losses = [log_loss(labels, softmax(logits, one)) for one in grid]
    return float(grid[int(np.argmin(losses))])
