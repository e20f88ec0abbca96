"""A model whose probabilities go through a calibration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path

import msgspec

from engine.domain.text import Mention
from engine.errors import ConfigError
from engine.sentiment.base import BoundedModel, SentimentModel, TargetModel, TextSentiment
from engine.sentiment.calibration.files import read_parameters
from engine.sentiment.calibration.maps import CalibrationMap
from engine.sentiment.explanation import WordWeight, explain
from engine.sentiment.lexicon import LexiconModel
from engine.sentiment.probabilities import reading_of, triple_of
from engine.sentiment.registry import register

SHIPPED_LEXICON = "lexicon_calibration.json"


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was fitted, for which model, on what."""

    model: str
    """Name and version: the probabilities of another mean something else."""
    map: CalibrationMap
    rows: int
    """How many labelled texts it was fitted on."""
    sources: tuple[str, ...]
    """Sets that they were of."""


class CalibratedModel:
    """Reads as another model does, with calibrated probabilities.

    Parameters
    ----------
    model
        The other one.
    calibration
        Map of its probabilities.
    """

    def __init__(self, model: SentimentModel, calibration: CalibrationMap) -> None:
        self._model = model
        self._map = calibration
        digest = hashlib.sha256(msgspec.json.encode(calibration)).hexdigest()[:6]
        self.name = f"{model.name}+{digest}"

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        """Read texts; see `engine.sentiment.base.SentimentModel`."""
        return [self._calibrated(reading) for reading in self._model.score(texts)]

    def explain(self, text: str) -> list[WordWeight]:
        """Return what each word did to the reading before it was calibrated."""
        return explain(self._model, text)

    def truncates(self, text: str) -> bool:
        """Whether the text goes on behind what the model reads."""
        return isinstance(self._model, BoundedModel) and self._model.truncates(text)

    def _calibrated(self, reading: TextSentiment | None) -> TextSentiment | None:
        return None if reading is None else reading_of(self._map.apply(triple_of(reading)))


class CalibratedTargetModel(CalibratedModel):
    """The same for a model that reads targets."""

    def score_targets(
        self, text: str, mentions: Sequence[Mention]
    ) -> Mapping[str, TextSentiment | None]:
        """Read a text once for each asset; see `engine.sentiment.base.TargetModel`."""
        if not isinstance(self._model, TargetModel):
            raise TypeError(f"{self._model.name} reads no targets")
        found = self._model.score_targets(text, mentions)
        return {name: self._calibrated(reading) for name, reading in found.items()}


def with_map(model: SentimentModel, calibration: CalibrationMap) -> CalibratedModel:
    """Put a calibration around a model; what it does beyond `score` it goes on doing."""
    kind = CalibratedTargetModel if isinstance(model, TargetModel) else CalibratedModel
    return kind(model, calibration)


def calibrated(model: SentimentModel, path: str) -> CalibratedModel:
    """Put the calibration of a file around a model.

    Raises
    ------
    ConfigError
        Where the file cannot be read, or was fitted for another model.
    """
    fit = "fit it with the job calibrate_sentiment, or leave sentiment.calibration empty"
    found = read_parameters(Path(path), Calibration, fit)
    if found.model != model.name:
        raise ConfigError(
            f"the calibration {path} was fitted for {found.model}, not for {model.name}: {fit}"
        )
    return with_map(model, found.map)


@register("lexicon-calibrated")
def calibrated_lexicon() -> CalibratedModel:
    """Return the lexicon with the calibration that comes with the package."""
    with as_file(files("engine.sentiment").joinpath("artifacts", SHIPPED_LEXICON)) as path:
        return calibrated(LexiconModel(), str(path))
