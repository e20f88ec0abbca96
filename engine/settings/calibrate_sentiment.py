"""``calibrate_sentiment``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from engine.settings.labelled_texts import LabelledTextsSection
from engine.settings.section import FilePath


class CalibrateSentimentSection(LabelledTextsSection):
    """Probabilities that mean what they say: fitted on texts that the model did not learn from."""

    model: str = ""
    """Which model; ``sentiment.model`` where it is not given. For ``ensemble`` the weights of its
    members are fitted too."""
    method: Literal["best", "none", "temperature", "vector", "linear", "isotonic"] = "best"
    """How; ``best`` takes the one with the least log loss on texts left out in turn. An ensemble
    always takes the best for each member."""
    held_out: float = Field(0.3, gt=0.0, lt=0.9)
    """Share of the texts that only judges; then the fit is made again with all."""
    least_per_label: PositiveInt = 30
    """Nothing is written where fewer texts of a label that occurs judge."""
    batch_texts: PositiveInt = 256
    """Texts that a model is given at once."""
    out: FilePath = ""
    """File to write; ``data_dir/models/MODEL-calibration.json`` where it is not given, for the
    ensemble ``data_dir/models/ensemble.json``."""
