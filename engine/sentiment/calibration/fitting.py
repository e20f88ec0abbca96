"""Fits calibration maps on texts whose label is known and that the model did not learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from engine.sentiment.calibration.logit import Labels, Matrix, fit_logit
from engine.sentiment.calibration.maps import (
    CalibrationMap,
    Curve,
    Isotonic,
    LinearLogits,
    Temperature,
    Uncalibrated,
    VectorScaling,
)
from engine.sentiment.probabilities import FLOOR, Triple

Method = Literal["none", "temperature", "vector", "linear", "isotonic"]

FOLDS = 5
"""Parts in which methods are compared: each is judged by maps that did not see it."""

RIDGE = 1.0
"""How many rows the wish to change nothing weighs."""

LOWEST_TEMPERATURE = 0.05


def logarithms(probabilities: Matrix) -> Matrix:
    """Return natural logarithms, of at least `FLOOR`."""
    logs: Matrix = np.log(np.maximum(probabilities, FLOOR))
    return logs


def applied(calibration: CalibrationMap, probabilities: Matrix) -> Matrix:
    """Return what a map makes of many texts' probabilities, a row each."""
    rows = [calibration.apply((row[0], row[1], row[2])) for row in probabilities.tolist()]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def fit_none(probabilities: Matrix, labels: Labels) -> Uncalibrated:
    """Return the map that changes nothing."""
    del probabilities, labels
    return Uncalibrated()


def fit_temperature(probabilities: Matrix, labels: Labels) -> Temperature:
    """Return the temperature at which the labels are most probable.

    Parameters
    ----------
    probabilities
        Rows x 3.
    labels
        Places in `engine.sentiment.base.LABELS`.
    """
    design = logarithms(probabilities)[:, :, None]
    sharpness = float(fit_logit(design, labels, np.ones(1), RIDGE)[0])
    # A model that is wrong more often than not asks for a negative one: flat is the best then.
    return Temperature(1.0 / max(sharpness, LOWEST_TEMPERATURE))


def fit_vector(probabilities: Matrix, labels: Labels) -> VectorScaling:
    """Return slopes and shifts at which the labels are most probable; see `fit_temperature`."""
    slopes = logarithms(probabilities)[:, :, None] * np.eye(3)
    shifts = np.broadcast_to(np.eye(3), slopes.shape)
    design = np.concatenate([slopes, shifts], axis=2)
    prior = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    found = fit_logit(design, labels, prior, RIDGE)
    return VectorScaling(_triple(found[:3]), _triple(found[3:]))


def fit_linear(probabilities: Matrix, labels: Labels) -> LinearLogits:
    """Return logits linear in the probabilities under which the labels are most probable."""
    rows = len(labels)
    # A logit for each label: its own three slopes, times the three probabilities.
    design = np.einsum("kj,np->nkjp", np.eye(3), probabilities).reshape(rows, 3, 9)
    bearish, neutral, bullish = fit_logit(design, labels, np.zeros(9), RIDGE).reshape(3, 3)
    return LinearLogits((_triple(bearish), _triple(neutral), _triple(bullish)))


def fit_isotonic(probabilities: Matrix, labels: Labels) -> Isotonic:
    """Return for each label the rising curve nearest to how often it was right."""
    first, second, third = (_rising(probabilities[:, label], labels == label) for label in range(3))
    return Isotonic((first, second, third))


def _triple(values: Matrix) -> Triple:
    bearish, neutral, bullish = values.tolist()
    return bearish, neutral, bullish


def _rising(places: Matrix, right: npt.NDArray[np.bool_]) -> Curve:
    """Pool adjacent violators: neighbours that fall are put together until none does.

    A block's height is shrunk by half a row to each side, so that few rows never give the
    certainty of 0 or 1.
    """
    distinct, which, counts = np.unique(places, return_inverse=True, return_counts=True)
    hits = np.bincount(which, weights=right, minlength=len(distinct))
    blocks: list[list[float]] = []  # sum of places, rows, right ones
    for place, count, hit in zip(distinct.tolist(), counts.tolist(), hits.tolist(), strict=True):
        blocks.append([place * count, float(count), hit])
        while len(blocks) > 1 and _height(blocks[-2]) >= _height(blocks[-1]):
            place_sum, rows, more = blocks.pop()
            blocks[-1] = [blocks[-1][0] + place_sum, blocks[-1][1] + rows, blocks[-1][2] + more]
    heights = np.maximum.accumulate([(hit + 0.5) / (rows + 1.0) for _, rows, hit in blocks])
    middles = [place_sum / rows for place_sum, rows, _ in blocks]
    found = dict(zip(middles, heights.tolist(), strict=True))
    return Curve(tuple(found), tuple(found.values()))


def _height(block: list[float]) -> float:
    return block[2] / block[1]


FITS: Mapping[Method, Callable[[Matrix, Labels], CalibrationMap]] = {
    "none": fit_none,
    "temperature": fit_temperature,
    "vector": fit_vector,
    "linear": fit_linear,
    "isotonic": fit_isotonic,
}
"""The simplest first."""


def held_out(method: Method, probabilities: Matrix, labels: Labels) -> Matrix:
    """Return calibrated probabilities, each row's by a map fitted on the other folds."""
    found = np.empty_like(probabilities, dtype=np.float64)
    fold = np.arange(len(labels)) % FOLDS
    for part in range(FOLDS):
        mine = fold == part
        calibration = FITS[method](probabilities[~mine], labels[~mine])
        found[mine] = applied(calibration, probabilities[mine])
    return found


def mean_log_loss(probabilities: Matrix, labels: Labels) -> float:
    """Return the mean negative logarithm of the labels' probabilities."""
    right = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(right, FLOOR)).mean())


def best_method(probabilities: Matrix, labels: Labels) -> Method:
    """Return the method with the least log loss on rows that it was not fitted on.

    A simpler one is kept where the next gains less than a thousandth.
    """
    best: Method = "none"
    least = mean_log_loss(probabilities, labels)
    for method in FITS:
        loss = mean_log_loss(held_out(method, probabilities, labels), labels)
        if loss < least - 1e-3:
            best, least = method, loss
    return best
