"""VADER with its tables prepared once and its rules applied without waste.

`PreparedVader` gives vaderSentiment 3.3.2's own numbers, to the bit. The package lower-cases
the whole text again for every word it knows, walks its list of negations each time and looks
every character up among the emoji; here each is a set look-up. Subclasses change what the
words are (`_words`) and what a word is worth (`lexicon`).

Source: C.J. Hutto and E.E. Gilbert, VADER: A Parsimonious Rule-based Model for Sentiment
Analysis of Social Media Text, ICWSM 2014; vaderSentiment 3.3.2.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import cast

from vaderSentiment.vaderSentiment import (
    BOOSTER_DICT,
    N_SCALAR,
    NEGATE,
    SPECIAL_CASES,
    SentimentIntensityAnalyzer,
    SentiText,
)

_NEGATIONS = frozenset(NEGATE)

# Every emoji is; a class of all of them would be searched one by one at each character.
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


def is_negation(word: str) -> bool:
    """Whether VADER takes a lower-case word for a negation."""
    return word in _NEGATIONS or "n't" in word


class PreparedVader(SentimentIntensityAnalyzer):  # type: ignore[misc]  # the package has no types
    """vaderSentiment's analyser with equal results.

    Parameters
    ----------
    kept_emoji
        Emoji that stay as they are, since the lexicon knows them; the rest become words.
    """

    def __init__(self, kept_emoji: Collection[str] = ()) -> None:
        super().__init__()
        # Its own loop looks at single characters: longer emoji never match there, nor here.
        self._described = {
            sign: description
            for sign, description in self.emojis.items()
            if len(sign) == 1 and sign not in kept_emoji
        }

    def compound(self, text: str) -> float:
        """Return VADER's compound, in [-1, 1]; 0 where it knows no word of the text."""
        return self.polarity_scores(text)["compound"]

    def polarity_scores(self, text: str) -> dict[str, float]:
        """Return ``neg``, ``neu``, ``pos`` (shares of the text) and ``compound``."""
        text = _BEYOND_ASCII.sub(self._describe, text).strip()
        reading = SentiText(text)
        words = self._words(reading.words_and_emoticons)
        reading.words_and_emoticons = words
        sentiments: list[float] = []
        for position, word in enumerate(words):
            lower = word.lower()
            if lower in BOOSTER_DICT or (
                lower == "kind"
                and [after.lower() for after in words[position + 1 : position + 2]] == ["of"]
            ):
                sentiments.append(0)
            elif lower in self.lexicon:
                sentiments = self.sentiment_valence(0, reading, word, position, sentiments)
            else:
                sentiments.append(0)
        sentiments = self._but_check(words, sentiments)
        return cast("dict[str, float]", self.score_valence(sentiments, text))

    def _words(self, words: list[str]) -> list[str]:
        """Return the words to weigh; here they are VADER's own."""
        return words

    def _describe(self, match: re.Match[str]) -> str:
        description = self._described.get(match.group())
        if description is None:
            return match.group()
        before = match.string[match.start() - 1] if match.start() else " "
        space = "" if before == " " else " "
        return space + cast("str", description)

    @staticmethod
    def _negation_check(valence: float, words: list[str], start_i: int, i: int) -> float:
        """Apply VADER's rules for a negation one, two or three words before."""
        first = words[i - (start_i + 1)].lower()
        if start_i == 0:
            return valence * N_SCALAR if is_negation(first) else valence
        one = words[i - 1].lower()
        if start_i == 1:
            emphasised, doubtless = one in ("so", "this"), one == "doubt"
            emphasised = first == "never" and emphasised
        else:
            two = words[i - 2].lower()
            # Precedence as in the package: "so" right before the word is enough.
            emphasised = (first == "never" and two in ("so", "this")) or one in ("so", "this")
            doubtless = "doubt" in (one, two)
        if emphasised:
            return valence * 1.25
        if first == "without" and doubtless:
            return valence
        return valence * N_SCALAR if is_negation(first) else valence

    @staticmethod
    def _special_idioms_check(valence: float, words: list[str], i: int) -> float:
        """Apply VADER's idioms around the word, looking only at the words around it."""
        before = [word.lower() for word in words[i - 3 : i + 1]]
        three, two, one, here = before
        sequences = (
            f"{one} {here}",
            f"{two} {one} {here}",
            f"{two} {one}",
            f"{three} {two} {one}",
            f"{three} {two}",
        )
        for sequence in sequences:
            if sequence in SPECIAL_CASES:
                valence = SPECIAL_CASES[sequence]
                break
        after = [word.lower() for word in words[i + 1 : i + 3]]
        for length in (1, 2):
            sequence = " ".join((here, *after[:length]))
            if len(after) >= length and sequence in SPECIAL_CASES:
                valence = SPECIAL_CASES[sequence]
        for sequence in (sequences[3], sequences[4], sequences[2]):
            valence += BOOSTER_DICT.get(sequence, 0)
        return valence
