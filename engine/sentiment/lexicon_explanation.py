"""What each word did to a reading of the lexicon, exactly."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import cache

from engine.sentiment.explanation import WordWeight
from engine.sentiment.lexicon import CryptoVader
from engine.sentiment.terms import CryptoTerms, read_terms
from engine.sentiment.vader import Word

NORMAL = 15.0
"""VADER's alpha: ``compound = s / sqrt(s ** 2 + 15)`` of the sum ``s``."""


@cache
def explaining_vader() -> ExplainingVader:
    """Return the one with the shipped terms."""
    return ExplainingVader(read_terms())


class ExplainingVader(CryptoVader):
    """Notes what it weighs while it reads.

    Parameters
    ----------
    terms
        As the model has them.
    """

    def __init__(self, terms: CryptoTerms) -> None:
        super().__init__(terms)
        self._one_at_a_time = threading.Lock()
        self._written: list[str] = []
        self._weighed: list[float] = []
        self._sum = 0.0

    def explain(self, text: str) -> list[WordWeight]:
        """Return the words that did something.

        Their weights sum to the compound, up to its four digits; exclamation and question marks
        that made it stronger stand at the end.
        """
        with self._one_at_a_time:
            self._written, self._weighed, self._sum = [], [], 0.0
            self.compound(text)
            written, weighed, total = self._written, self._weighed, self._sum
        scale = 1.0 / math.sqrt(total**2 + NORMAL)
        found = [
            WordWeight(word, valence * scale)
            for word, valence in zip(written, weighed, strict=True)
            if valence
        ]
        emphasis = total - math.fsum(weighed)
        marks = "".join(sign for sign in text if sign in "!?")
        if marks and abs(emphasis) > 1e-9:
            found.append(WordWeight(marks, emphasis * scale))
        return found

    def _merged(self, words: Sequence[Word]) -> Sequence[Word]:
        free = 0
        for first, length, _ in [*self._phrases_in(words), (len(words), 0, "")]:
            self._written += [word.written for word in words[free:first]]
            if length:
                self._written.append(" ".join(w.written for w in words[first : first + length]))
            free = first + length
        return super()._merged(words)

    def _total(self, sentiments: Sequence[float], text: str) -> float:
        self._weighed = [float(one) for one in sentiments]
        self._sum = super()._total(sentiments, text)
        return self._sum
