"""``evaluate_sentiment``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from engine.settings.labelled_texts import LabelledTextsSection
from engine.settings.section import FilePath, Share


class EvaluateSentimentSection(LabelledTextsSection):
    """How good sentiment models are on labelled texts."""

    labelled_by: Literal["column", "corpus", "corpus_test"] = "column"
    """As of the sets of ``train_sentiment``: ``corpus_test`` takes, of a CSV of the texts, those
    that the shipped model was tested on, with the labels that come with the package."""
    delimiter: str = Field(",", min_length=1, max_length=1)
    """Between the columns of a CSV that the corpus labels."""
    held_out: Annotated[Share, Field(lt=1.0)] = 0.0
    """Only the share that ``train_sentiment`` holds out as its test, drawn by its stratified split;
    0 takes all texts."""
    seed: int = 7
    """Of that split, as of ``train_sentiment``."""
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
