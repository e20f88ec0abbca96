"""Which words drove a reading.

A model that can tell exactly has a method ``explain`` of its own: the lexicon, whose words have
valences, and the linear model, whose words have weights. For any other, each word is left out in
turn, and what the score loses without it is its weight.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol, runtime_checkable

from engine.sentiment.base import SentimentModel

MOST_WORDS = 128
"""Words that are left out in turn: a model of that many tokens reads no further."""

_WORD = re.compile(r"\S+")


class WordWeight(NamedTuple):
    """A word and what it did."""

    word: str
    """As it stands in the text (the lexicon leaves punctuation out), in its order; a phrase of
    the lexicon is one."""
    weight: float
    """Above 0 it made the text more bullish, below 0 more bearish. In parts of the score; for the
    linear model in parts of the logarithm of P(bullish) / P(bearish)."""


@runtime_checkable
class Explaining(Protocol):
    """A model that tells exactly what each word did."""

    def explain(self, text: str) -> list[WordWeight]:
        """Return the words that did something, in the order of the text."""
        ...


def explain(model: SentimentModel, text: str) -> list[WordWeight]:
    """Return what each word of a text did to a model's reading.

    Parameters
    ----------
    model
        Any; one that is `Explaining` says it itself.
    text
        Any text.

    Returns
    -------
    list of WordWeight
        Empty where the model cannot read the text.
    """
    if isinstance(model, Explaining):
        return model.explain(text)
    return leave_one_out(model, text)


def leave_one_out(model: SentimentModel, text: str) -> list[WordWeight]:
    """Return what the score loses without each of the first `MOST_WORDS` words.

    A word without which the model cannot read the text at all has the whole score as its weight.
    """
    spots = [match.span() for match in _WORD.finditer(text)][:MOST_WORDS]
    without = [text[:begin] + text[end:] for begin, end in spots]
    whole, *others = model.score([text, *without])
    if whole is None:
        return []
    return [
        WordWeight(text[begin:end], whole.score - (other.score if other else 0.0))
        for (begin, end), other in zip(spots, others, strict=True)
    ]
