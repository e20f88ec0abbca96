"""``evaluate_sentiment``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from engine.settings.labelled_texts import LabelledTextsSection
from engine.settings.section import FilePath


class EvaluateSentimentSection(LabelledTextsSection):
    """How good sentiment models are on labelled texts."""

    models: tuple[str, ...] = ()
    """Which models; ``sentiment.model`` where none is given."""
    least_per_label: PositiveInt = 30
    """A test with fewer texts of a label that occurs is refused."""
    batch_texts: PositiveInt = 256
    """Texts that a model is given at once."""
    formats: tuple[Literal["md", "json", "html"], ...] = Field(("md", "json", "html"), min_length=1)
    """What to write."""
    out: FilePath = ""
    """Folder to write to; ``data_dir/reports/sentiment`` where it is not given."""
