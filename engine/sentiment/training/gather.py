"""The examples that a job's configuration names, in their parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from engine.sentiment.evaluation.labelled import read_labelled
from engine.sentiment.training.examples import Example
from engine.sentiment.training.sets import corpus, known_headlines, labelled_by_entity
from engine.sentiment.training.split import Parts, stratified, temporal
from engine.settings.train_sentiment import TrainingSet, TrainSentimentSection

HEADLINES = {"corpus": "headline_labels.tsv", "corpus_test": "headline_test_labels.tsv"}
"""Where the package keeps its labels of others' texts."""


def gathered(section: TrainSentimentSection) -> Parts:
    """Return what to learn from, to choose by and to be tested on.

    Parameters
    ----------
    section
        What the job is told.

    Raises
    ------
    ConfigError
        Where a file cannot be read, or its columns or labels are not understood.
    """
    drawn: list[Example] = []
    parts = Parts([], [], [])
    for one in section.sets:
        found = examples_of(one)
        {"all": drawn, "training": parts.training, "test": parts.test}[one.role].extend(found)
    drawing = partial(
        stratified, validation=section.validation, test=section.test, seed=section.seed
    )
    by_time = section.split == "temporal"
    shares = temporal(drawn, section.validation, section.test) if by_time else drawing(drawn)
    own = drawing(corpus() if section.corpus else [])
    for part, *more in zip(parts, shares, own, strict=True):
        for some in more:
            part.extend(some)
    return apart(parts)


def examples_of(one: TrainingSet) -> list[Example]:
    """Return the examples of a set."""
    columns = dict(one.columns)
    if one.labelled_by != "column":
        text, labels = columns.get("text", "title"), HEADLINES[one.labelled_by]
        return known_headlines(Path(one.path), text, one.delimiter, one.weight, labels)
    if "entities" in columns:
        text = columns.get("text", "text")
        return labelled_by_entity(Path(one.path), text, columns["entities"], one.labels, one.weight)
    found = read_labelled(one.path, columns, one.labels)
    return [replace(example, weight=one.weight) for example in found]


def apart(parts: Parts) -> Parts:
    """Return the parts without texts that a later one holds as well.

    The same headline is often in two sets: what tests may not have been learnt.
    """
    tested = _keys(parts.test)
    checked = _keys(parts.validation) | tested
    return Parts(
        [one for one in parts.training if one.key not in checked],
        [one for one in parts.validation if one.key not in tested],
        parts.test,
    )


def _keys(examples: Sequence[Example]) -> set[str]:
    return {one.key for one in examples}
