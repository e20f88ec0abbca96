"""What the writer of a text feels: fear, greed and excitement, by curated lists of terms.

The lists are data (`emotions.tsv`). Each term counts once. A term weighs

- nothing with a negation within three words before it (``no need to panic``);
- half more in capitals inside a text that is not all capitals;
- a quarter more for each exclamation mark of the text, three at most.

An emotion whose terms weigh *w* together is felt by ``1 - 2 ** -w``: each 1 halves what is left
to 1. The three are not exclusive, and none says whether a price will rise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from engine.sentiment.vader import is_negation
from engine.sentiment.word_lists import Found, WordLists, has_words, words_of

REACH = 3
"""Words before a term in which a negation is looked for."""
CAPITALS = 1.5
"""What capitals make of a term's weight."""
EXCLAMATION = 0.25
"""What each exclamation mark adds to every term's weight, as a share."""
MOST_EXCLAMATIONS = 3

_LETTERS_OF_A_SHOUT = 3
"""A word in capitals that is shorter is a name (``BTC`` is too, but is no term)."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEGATIONS = _words(
    "no nobody none anti less stop stops stopped avoid avoids avoided avoiding deny denies denied "
    "denying dismiss dismisses dismissed ease eases eased easing calm calms calmed"
)
"""Words that take an emotion away, beside VADER's negations."""


@dataclass(frozen=True, slots=True)
class Emotions:
    """How strongly each is felt, in [0, 1]; 0 where no term of it was found."""

    fear: float
    greed: float
    excitement: float


@cache
def _lists() -> WordLists:
    return WordLists("emotions.tsv")


def emotions(text: str) -> Emotions | None:
    """Return what a text feels.

    Parameters
    ----------
    text
        A headline or a post, in English; the first 4,000 characters are read.

    Returns
    -------
    Emotions or None
        None where the text has neither a word in Latin letters nor a term's emoji: what cannot
        be read is not calm.

    Examples
    --------
    >>> emotions("Panic everywhere")
    Emotions(fear=0.75, greed=0.0, excitement=0.0)
    >>> emotions("No panic here").fear
    0.0
    >>> emotions("比特币") is None
    True
    """
    words = words_of(text)
    found = list(_lists().find(words))
    if not found and not has_words(words):
        return None
    felt: dict[str, dict[str, float]] = {}
    for term, strength in _strengths(found, words, text):
        for emotion, weight in term.weights:
            held = felt.setdefault(emotion, {})
            held[term.term] = max(held.get(term.term, 0.0), weight * strength)
    return Emotions(*(_felt(felt.get(each, {})) for each in ("fear", "greed", "excitement")))


def _felt(terms: dict[str, float]) -> float:
    return 1.0 - math.exp2(-math.fsum(terms.values()))


def _strengths(
    found: Sequence[Found], words: Sequence[str], text: str
) -> Iterator[tuple[Found, float]]:
    """Yield each term with what its surroundings make of its weight, 0 or from 1 up."""
    shouted = sum(map(str.isupper, words))
    is_mixed = shouted * 2 < len(words)
    general = 1.0 + EXCLAMATION * min(text.count("!"), MOST_EXCLAMATIONS)
    for term in found:
        first = term.position
        if any(_turns_round(word) for word in words[max(0, first - REACH) : first]):
            continue
        own = words[first : first + term.length]
        is_shouted = is_mixed and all(
            word.isupper() and len(word) >= _LETTERS_OF_A_SHOUT for word in own
        )
        yield term, general * (CAPITALS if is_shouted else 1.0)


def _turns_round(word: str) -> bool:
    lower = word.lower()
    return lower in _NEGATIONS or is_negation(lower)
