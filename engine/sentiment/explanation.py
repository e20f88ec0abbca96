"""Which words drove a reading.

A model that can tell exactly has a method ``explain`` of its own: the lexicon, whose words have
valences, and the linear model, whose words have weights. For any other, each word is left out in
turn, and what the score loses without it is its weight. So it is for every model where what is
explained is the score towards one of several assets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from engine.domain.text import Mention
from engine.sentiment.base import SentimentModel, TargetModel
from engine.sentiment.targets import Named, parts_clauses, read_targets

MOST_WORDS = 128
"""Words that are left out in turn: a model of that many tokens reads no further."""

_WORD = re.compile(r"\S+")
# Without the signs behind it, which end a clause.
_BARE_WORD = re.compile(r"\S*[^\s.,;!?]")


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


def explain_target(model: SentimentModel, named: Named, name: str) -> list[WordWeight]:
    """Return what each word did to what a text feels about one of the assets that it names.

    Words that name assets, or part clauses (``while``), stay: they say whom the others concern.

    Parameters
    ----------
    model
        Any; all texts are read by `read_targets` at once.
    named
        A text that names several assets.
    name
        The one in question, as in the mentions.

    Returns
    -------
    list of WordWeight
        In parts of the score, for the first `MOST_WORDS` words; a model that reads a text once
        for each asset reads no more often than that in all. Empty where nothing is known of it.
    """
    names = {mention.name for mention in named.mentions}
    most = MOST_WORDS // len(names) if isinstance(model, TargetModel) else MOST_WORDS
    spots = [match.span() for match in _BARE_WORD.finditer(named.text)]
    spots = [spot for spot in spots if _is_said(named, *spot)][:most]
    whole, *others = (
        readings.get(name)
        for readings in read_targets(model, [named, *_without_each(named, spots)])
    )
    if whole is None:
        return []
    return [
        WordWeight(named.text[begin:end], whole.score - (other.score if other else 0.0))
        for (begin, end), other in zip(spots, others, strict=True)
    ]


def _is_said(named: Named, begin: int, end: int) -> bool:
    names_none = not any(each.start < end and begin < each.end for each in named.mentions)
    return names_none and not parts_clauses(named.text[begin:end])


def _without_each(named: Named, spots: list[tuple[int, int]]) -> Iterator[Named]:
    for begin, end in spots:
        mentions = tuple(
            Mention(each.start - (end - begin), each.end - (end - begin), each.name)
            if each.start >= end
            else each
            for each in named.mentions
        )
        yield Named(named.text[:begin] + named.text[end:], mentions, named.whole)
