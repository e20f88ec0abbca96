"""Measures of a classifier's probabilities, beside those that training looks at.

Labels are places in `engine.sentiment.base.LABELS`: 0 bearish, 1 neutral, 2 bullish.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.sentiment.training.measures import Labels, Matrix

BINS = 10
"""Of the reliability plot: equally wide ones of the confidence."""


def confusion(labels: Labels, predicted: Labels) -> npt.NDArray[np.int64]:
    """Return how often each label (row) was taken for which (column)."""
    counts = np.zeros((3, 3), dtype=np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def brier(labels: Labels, probabilities: Matrix) -> float:
    """Return the mean squared distance from certainty of the label, in [0, 2].

    Notes
    -----
    Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather Review
    1950: summed over the three labels.
    """
    sure = np.eye(3)[labels]
    return float(((probabilities - sure) ** 2).sum(axis=1).mean())


def area_under_curve(is_label: npt.NDArray[np.bool_], scores: Matrix) -> float | None:
    """Return the chance that a text of the label scores above one of another; half for ties.

    None where one of the two kinds is missing.
    """
    positives = int(is_label.sum())
    negatives = len(is_label) - positives
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = (last - (counts - 1) / 2.0)[place]
    above = float(rank[is_label].sum()) - positives * (positives + 1) / 2.0
    return above / (positives * negatives)


def direction_accuracy(labels: Labels, probabilities: Matrix) -> float | None:
    """Return how often P(bullish) > P(bearish) tells bullish from bearish texts.

    A tie is wrong half of the time. None where no text has a direction.
    """
    sided = labels != 1
    if not sided.any():
        return None
    lean = probabilities[sided, 2] - probabilities[sided, 0]
    side = np.where(labels[sided] == 2, 1.0, -1.0)
    return float(np.mean((np.sign(lean) * side + 1.0) / 2.0))


@dataclass(frozen=True, slots=True)
class Bin:
    """Texts of similar confidence."""

    count: int
    confidence: float
    """Mean probability of the label that was said."""
    accuracy: float
    """How often it was right."""


def reliability(labels: Labels, probabilities: Matrix) -> tuple[Bin | None, ...]:
    """Return `BINS` bins of the confidence; None for one without texts."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    found: list[Bin | None] = []
    for one in range(BINS):
        mine = which == one
        count = int(mine.sum())
        found.append(
            Bin(count, float(confidence[mine].mean()), float(right[mine].mean())) if count else None
        )
    return tuple(found)
