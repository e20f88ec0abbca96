"""What is measured of a model on labelled texts, and what of it is too bad to be used."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from engine.domain.sentiment import Label
from engine.sentiment.base import LABELS, TextSentiment
from engine.sentiment.evaluation.measures import (
    Bin,
    area_under_curve,
    brier,
    confusion,
    direction_accuracy,
    reliability,
)
from engine.sentiment.probabilities import triple_of
from engine.sentiment.training.examples import Example, by_source
from engine.sentiment.training.measures import (
    Labels,
    Matrix,
    accuracy,
    calibration_error,
    log_loss,
    macro_f1,
    weighted_f1,
)


class LabelQuality(msgspec.Struct, frozen=True):
    """How well one label is told from the others."""

    label: Label
    texts: int
    """That have it."""
    predicted: int
    """That the model gives it."""
    precision: float | None
    """Share of the predicted that have it; None where none is predicted."""
    recall: float | None
    """Share of those that have it that are predicted; None where none has it."""
    f1: float | None
    """Harmonic mean of the two; None where none has it."""
    auc: float | None
    """Area under the ROC curve against the other two; None where there is nothing to compare."""


class Quality(msgspec.Struct, frozen=True):
    """How good a model is on some labelled texts; all but the counts is of those it could read."""

    source: str
    """Set that they are of; empty for all together."""
    texts: int
    unreadable: int
    """Texts that the model cannot read."""
    empty: int
    """Of those, texts that hold nothing."""
    accuracy: float
    macro_f1: float
    """Mean F1 of the labels that occur."""
    weighted_f1: float
    """Mean F1, weighted with how many texts have the label."""
    auc: float | None
    """Mean of the labels' areas under the ROC curve, each against the rest."""
    log_loss: float
    brier: float
    """In [0, 2]."""
    calibration_error: float
    """Expected calibration error of the predicted label, ten bins."""
    direction_accuracy: float | None
    """Of bullish and bearish texts, how many lean to the right side."""
    labels: tuple[LabelQuality, ...]
    confusion: tuple[tuple[int, ...], ...]
    """How often each label (row) was taken for which (column)."""
    reliability: tuple[Bin | None, ...]
    """Bins of the confidence, from 0 to 1; None for one without texts."""


class Speed(msgspec.Struct, frozen=True):
    """What a model takes of the machine it was measured on."""

    texts_per_s: float
    """All texts, given together."""
    one_text_ms: float
    """Median time for one text given alone."""
    memory_mb: float
    """By how much loading and reading raised the process's peak of memory."""
    machine: str


class Evaluation(msgspec.Struct, frozen=True):
    """What is found of one model."""

    model: str
    """Name and version."""
    overall: Quality | None
    """None where it could read no text."""
    sources: tuple[Quality, ...]
    """Each set by itself, where it could read any of it."""
    speed: Speed
    refusals: tuple[str, ...]
    """Why it should not be used; empty where nothing is wrong."""


def quality_of(
    source: str, examples: Sequence[Example], readings: Sequence[TextSentiment | None]
) -> Quality | None:
    """Measure readings against labels.

    Parameters
    ----------
    source
        Name of the set.
    examples
        The labelled texts.
    readings
        One for each.

    Returns
    -------
    Quality or None
        None where no text could be read.
    """
    read = [
        (LABELS.index(example.label), triple_of(reading))
        for example, reading in zip(examples, readings, strict=True)
        if reading is not None
    ]
    if not read:
        return None
    labels = np.array([label for label, _ in read], dtype=np.int64)
    said = np.array([triple for _, triple in read], dtype=np.float64)
    predicted = said.argmax(axis=1)
    kinds = tuple(_label_quality(place, labels, predicted, said) for place in range(3))
    areas = [kind.auc for kind in kinds if kind.auc is not None]
    return Quality(
        source=source,
        texts=len(examples),
        unreadable=len(examples) - len(read),
        empty=sum(not example.text.strip() for example in examples),
        accuracy=accuracy(labels, predicted),
        macro_f1=macro_f1(labels, predicted),
        weighted_f1=weighted_f1(labels, predicted),
        auc=sum(areas) / len(areas) if areas else None,
        log_loss=log_loss(labels, said),
        brier=brier(labels, said),
        calibration_error=calibration_error(labels, said),
        direction_accuracy=direction_accuracy(labels, said),
        labels=kinds,
        confusion=tuple(tuple(row) for row in confusion(labels, predicted).tolist()),
        reliability=reliability(labels, said),
    )


def _label_quality(place: int, labels: Labels, predicted: Labels, said: Matrix) -> LabelQuality:
    has, given = labels == place, predicted == place
    right, texts, count = int((has & given).sum()), int(has.sum()), int(given.sum())
    return LabelQuality(
        LABELS[place],
        texts,
        count,
        right / count if count else None,
        right / texts if texts else None,
        2 * right / (texts + count) if texts else None,
        area_under_curve(has, said[:, place]),
    )


def qualities(
    examples: Sequence[Example], readings: Sequence[TextSentiment | None]
) -> tuple[Quality | None, tuple[Quality, ...]]:
    """Measure all texts together, and each set by itself."""
    place_of = {id(example): place for place, example in enumerate(examples)}
    found = []
    for source, some in by_source(examples).items():
        mine = [readings[place_of[id(example)]] for example in some]
        quality = quality_of(source, some, mine)
        if quality is not None:
            found.append(quality)
    return quality_of("", examples, readings), tuple(found)
