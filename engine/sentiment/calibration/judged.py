"""What a calibration changes, measured on texts that it was not fitted on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from engine.errors import ConfigError
from engine.sentiment.base import LABELS, SentimentModel, TextSentiment
from engine.sentiment.calibration.fitting import FITS, Method, best_method
from engine.sentiment.calibration.logit import Labels, Matrix
from engine.sentiment.calibration.model import Calibration, with_map
from engine.sentiment.ensemble.fitting import MemberReadings, fit_ensemble
from engine.sentiment.ensemble.model import EnsembleModel
from engine.sentiment.ensemble.parameters import EnsembleParameters
from engine.sentiment.ensemble.parameters import Method as Way
from engine.sentiment.evaluation.quality import Quality, quality_of
from engine.sentiment.probabilities import triple_of
from engine.sentiment.training.examples import Example, by_source
from engine.sentiment.training.split import Parts, stratified

FEWEST_ROWS = 100
"""Fewer texts, or fewer than ten of a label, fit noise."""

FEWEST_OF_LABEL = 10

FEWEST_READ = 0.5
"""Share of the texts to fit on that must be read: of mostly empty ones a fit shows nothing."""

Readings = Sequence[TextSentiment | None]


class Judged(msgspec.Struct, frozen=True):
    """One way of reading the texts that only judge."""

    name: str
    quality: Quality


class Recorded:
    """A model whose readings are known: each text is read once, however often it is asked for.

    Parameters
    ----------
    model
        The model.
    texts
        Those that will be asked for.
    readings
        What it says of each.
    """

    def __init__(self, model: SentimentModel, texts: Sequence[str], readings: Readings) -> None:
        self.name = model.name
        self._readings = dict(zip(texts, readings, strict=True))

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        """Return the known readings."""
        return [self._readings[text] for text in texts]


def split(examples: Sequence[Example], held_out: float) -> Parts:
    """Return a part to fit on and one to judge by, each source and label alike.

    Raises
    ------
    ConfigError
        Where there are too few texts to fit on.
    """
    parts = stratified(examples, validation=0.0, test=held_out)
    for label in LABELS:
        count = sum(example.label == label for example in parts.training)
        if len(parts.training) < FEWEST_ROWS or count < FEWEST_OF_LABEL:
            raise ConfigError(
                f"{len(parts.training)} texts are left to fit on, {count} of them {label}; "
                f"{FEWEST_ROWS} and {FEWEST_OF_LABEL} of each label are needed: give more texts"
            )
    return parts


def calibrate(
    model: Recorded, examples: Sequence[Example], parts: Parts, method: Method | None
) -> tuple[Calibration, list[Judged]]:
    """Fit a calibration, and judge it.

    Parameters
    ----------
    model
        The model with its readings.
    examples
        All of them.
    parts
        What `split` made of them.
    method
        How; None for the best.

    Returns
    -------
    tuple
        The calibration, fitted on all texts, and how the model does on the held-out ones: as it
        is, and with a calibration that has not seen them.

    Raises
    ------
    ConfigError
        Where the model can read too few of the texts.
    """
    _check_read([model], parts.training)
    said, labels = _known(model, parts.training)
    chosen = method or best_method(said, labels)
    judge = with_map(model, FITS[chosen](said, labels))
    table = [_judged("as it is", model, parts.test), _judged(chosen, judge, parts.test)]
    said, labels = _known(model, examples)
    return (
        Calibration(model.name, FITS[chosen](said, labels), len(labels), _sources(examples)),
        table,
    )


def calibrate_ensemble(
    members: Sequence[tuple[str, Recorded]],
    examples: Sequence[Example],
    parts: Parts,
    ways: Sequence[Way],
) -> tuple[EnsembleParameters, list[Judged]]:
    """Fit an ensemble, and judge it.

    Parameters
    ----------
    members
        Name in the registry, and the model with its readings.
    examples, parts
        As for `calibrate`.
    ways
        Of putting members together, to be judged.

    Returns
    -------
    tuple
        Parameters fitted on all texts; how each member and each way does on the held-out ones.

    Raises
    ------
    ConfigError
        Where the members together can read too few of the texts.
    """
    models = [model for _, model in members]
    _check_read(models, parts.training)
    trial = _fitted(members, parts.training)
    table = [_judged(name, model, parts.test) for name, model in members]
    table += [_judged(way, EnsembleModel(models, trial, way), parts.test) for way in ways]
    return _fitted(members, examples), table


def _fitted(
    members: Sequence[tuple[str, Recorded]], examples: Sequence[Example]
) -> EnsembleParameters:
    texts = [example.text for example in examples]
    readings = [
        MemberReadings(
            name,
            model.name,
            tuple(triple_of(one) if one else None for one in model.score(texts)),
        )
        for name, model in members
    ]
    return fit_ensemble(readings, texts, _labels(examples), _sources(examples))


def _check_read(models: Sequence[Recorded], examples: Sequence[Example]) -> None:
    texts = [example.text for example in examples]
    readings = zip(*(model.score(texts) for model in models), strict=True)
    read = sum(any(one is not None for one in row) for row in readings)
    needed = max(FEWEST_ROWS, math.ceil(FEWEST_READ * len(texts)))
    if read < needed:
        names = ", ".join(model.name for model in models)
        raise ConfigError(
            f"{names} can read only {read} of {len(texts)} texts to fit on; {needed} are needed: "
            "give texts with words in them, or check the text column"
        )


def _known(model: Recorded, examples: Sequence[Example]) -> tuple[Matrix, Labels]:
    """Return probabilities and labels of the texts that the model can read."""
    readings = model.score([example.text for example in examples])
    read = [(triple_of(one), place) for place, one in enumerate(readings) if one is not None]
    said = np.array([triple for triple, _ in read], dtype=np.float64).reshape(-1, 3)
    return said, _labels([examples[place] for _, place in read])


def _labels(examples: Sequence[Example]) -> Labels:
    return np.array([LABELS.index(example.label) for example in examples], dtype=np.int64)


def _judged(name: str, model: SentimentModel, examples: Sequence[Example]) -> Judged:
    quality = quality_of("", examples, model.score([example.text for example in examples]))
    if quality is None:
        raise ConfigError(f"{model.name} can read none of the {len(examples)} held-out texts")
    return Judged(name, quality)


def _sources(examples: Sequence[Example]) -> tuple[str, ...]:
    return tuple(sorted(by_source(examples)))
