"""What makes a model, or a test of it, worthless however good its accuracy looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.sentiment.evaluation.quality import Quality
from engine.sentiment.training.examples import Example

MOST_EMPTY = 0.5
"""Share of texts that hold nothing, or cannot be read, above which nothing was tested."""

COLLAPSED = 0.95
"""Share of one label among the predictions at which a model says nothing else …"""

MARGIN = 0.1
"""… where the texts have that label this much less often."""

BARELY_BETTER = 0.52
"""Mean area under the ROC curve up to which probabilities rank no better than chance."""


def refusals(
    examples: Sequence[Example], quality: Quality | None, least_per_label: int
) -> tuple[str, ...]:
    """Return why a model should not be used on the strength of this test.

    Parameters
    ----------
    examples
        The labelled texts.
    quality
        What was measured on all of them; None where none could be read.
    least_per_label
        Fewest texts of each label that occurs.

    Returns
    -------
    tuple of str
        Sentences; empty where nothing is wrong.
    """
    if quality is None:
        return (f"the model can read none of the {len(examples)} texts: check the text column",)
    return tuple(_reasons(quality, least_per_label))


def _reasons(quality: Quality, least: int) -> Iterator[str]:
    lost = quality.unreadable / quality.texts
    if lost > MOST_EMPTY:
        yield (
            f"{lost:.0%} of the texts cannot be read ({quality.empty} are empty): the test is of "
            "the few others; check the text column"
        )
    present = [label for label in quality.labels if label.texts]
    if len(present) < 2:
        yield f"all texts are {present[0].label}: a test needs at least two labels"
        return
    for label in present:
        if label.texts < least:
            yield (
                f"only {label.texts} {label.label} texts were read, {least} are needed: the test "
                "is of a sliver; give more texts"
            )
    yield from _collapse(quality)
    if quality.auc is not None and quality.auc <= BARELY_BETTER:
        yield (
            f"the mean area under the ROC curve is {quality.auc:.2f}: the probabilities rank no "
            "better than chance"
        )


def _collapse(quality: Quality) -> Iterator[str]:
    read = quality.texts - quality.unreadable
    for label in quality.labels:
        said, there = label.predicted / read, label.texts / read
        if said >= COLLAPSED and said - there > MARGIN:
            yield (
                f"the model says {label.label} for {said:.0%} of the texts, of which {there:.0%} "
                "are: it collapsed to one label"
            )
    for label in quality.labels:
        if label.texts and not label.predicted:
            yield f"the model never says {label.label}, which {label.texts} of the texts are"
