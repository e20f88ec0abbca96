"""``train_sentiment``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from engine.errors import ConfigError
from engine.settings.section import FilePath, JobSection, Section, Share
from engine.settings.sentiment_models import SentimentLabel


class TrainingSet(Section):
    """A file of labelled texts."""

    path: FilePath
    """A CSV, TSV, Parquet or JSON lines file, a folder of them, or a pattern."""
    columns: dict[str, str] = {}
    """``text``, ``label``, ``source``, ``time``, ``entities`` -> the file's column, where it is
    not one of the usual names. ``entities`` (CSV only) holds ``{'Gold': 'positive', …}``: a label
    for each thing named instead of one for the text."""
    labels: dict[str, SentimentLabel] = {}
    """The file's label -> ours, where it is not one of the usual words."""
    labelled_by: Literal["column", "corpus", "corpus_test"] = "column"
    """``corpus``: a CSV of texts whose labels come with the package, by the texts' hashes;
    ``corpus_test``: those that the shipped model was tested on."""
    delimiter: str = Field(",", min_length=1, max_length=1)
    """Between the columns of a CSV that the corpus labels."""
    weight: PositiveFloat = 1.0
    """What each of its texts counts while learning."""
    role: Literal["all", "training", "test"] = "all"
    """``test``: never learnt from; ``training``: none of it is held out."""


_OF_MINILM: dict[str, object] = {
    "rank": 32, "hiding": 0.0, "threads": 2, "device": "auto", "init": (), "teachers": (),
    "teaching": 0.7,
}  # fmt: skip
_OF_NETWORKS: dict[str, object] = {
    "epochs": None, "patience": 2, "batch_texts": None, "learning_rate": None, "dropout": None,
}  # fmt: skip
_UNUSED: dict[str, dict[str, object]] = {
    "minilm": {},
    "lstm": _OF_MINILM,
    "tfidf": _OF_NETWORKS | _OF_MINILM,
}
"""Model -> keys that it knows nothing of, with their defaults: a job's configuration travels with
every key written out."""

_EPOCHS = {"minilm": 3, "lstm": 12, "tfidf": 1}


class TrainSentimentSection(JobSection):
    """A sentiment model, from labelled texts."""

    model: Literal["minilm", "tfidf", "lstm"] = "minilm"
    """Which to train."""
    version: str = Field("own", pattern=r"^[A-Za-z0-9_.]{1,32}$")
    """Part of the trained model's name."""
    sets: tuple[TrainingSet, ...] = ()
    """What to learn from, and be tested on."""
    corpus: bool = True
    """Learn from the texts that come with the package as well."""
    split: Literal["stratified", "temporal"] = "stratified"
    """``temporal``: the newest texts of each set are its test; needs their times."""
    validation: Annotated[Share, Field(gt=0.0, le=0.4)] = 0.08
    """Share of the texts that chooses the epoch and the temperature."""
    test: Annotated[Share, Field(gt=0.0, le=0.4)] = 0.1
    """Share of the texts that has the last word."""
    least_per_label: PositiveInt = 30
    """Texts of each label that training, validation and test need at least."""
    epochs: PositiveInt | None = None
    """Most passes over the texts; 3 of `minilm` and 12 of `lstm` where it is not given."""
    patience: PositiveInt = 2
    """Passes without a better result after which it stops."""
    batch_texts: PositiveInt | None = None
    """Texts of a step; 32 of `minilm` and 64 of `lstm` where it is not given."""
    learning_rate: PositiveFloat | None = None
    """Largest rate of the steps; 0.0012 of `minilm` and 0.002 of `lstm` where it is not given."""
    rank: PositiveInt = Field(32, le=256)
    """Of the changes to each layer of `minilm`."""
    dropout: float | None = Field(None, ge=0.0, lt=1.0)
    """Share of the values left out while it learns; 0.1 of `minilm` and 0.4 of `lstm` where it is
    not given."""
    hiding: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the words hidden from `minilm` while it learns, drawn anew each time."""
    class_weight_power: float | None = Field(None, ge=0.0, le=1.0)
    """0 weighs all texts alike, 1 all labels; 0.3 of `minilm`, 0.5 of `lstm` and 0 of `tfidf` where
    it is not given."""
    threads: PositiveInt = 2
    """Cores that share each step of `minilm`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where `minilm` learns; ``auto``: on a GPU if there is one."""
    seed: int = 7
    """Draws the split, the batches and the dropout."""
    init: tuple[FilePath, ...] = ()
    """Adapter of `minilm` to begin with, of the same rank; a fresh one where it is empty. Of
    several that began with the same one, their mean."""
    teachers: tuple[FilePath, ...] = ()
    """Adapters of `minilm` whose opinions of the texts are learnt beside the labels."""
    teaching: float = Field(0.7, ge=0.0, le=1.0)
    """What the teachers count beside the labels, of 1."""
    out: FilePath = ""
    """Folder for the model, its report and the checkpoint; ``data_dir/models/NAME`` where it is
    not given. A run of `minilm` that was stopped goes on from its checkpoint; the others learn in
    minutes, on the processor, and begin anew."""

    @field_validator("init", mode="before")
    @classmethod
    def _one_or_several(cls, init: object) -> object:
        """Take a single path too, as engines that were started earlier recorded it."""
        if isinstance(init, str):
            return (init,) if init else ()
        return init

    @property
    def most_epochs(self) -> int:
        """Most passes over the texts."""
        return self.epochs or _EPOCHS[self.model]

    def require(self) -> None:
        """Refuse a job without texts, and keys that its model knows nothing of."""
        super().require()
        unknown = _UNUSED[self.model]
        idle = [name for name, default in unknown.items() if getattr(self, name) != default]
        if idle:
            raise ConfigError(
                f"the model {self.model} learns without {', '.join(idle)}: take them out of "
                "train_sentiment, or choose another model"
            )
        if not self.sets and not self.corpus:
            raise ConfigError(
                "there is nothing to learn from: name files in sets, or set corpus to true"
            )
