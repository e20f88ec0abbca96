"""VADER with its tables prepared once and its rules applied without waste.

`PreparedVader` gives vaderSentiment 3.3.2's own numbers, to the bit. The package lower-cases
the whole text again for every word it knows, walks its list of negations each time and looks
every character up among the emoji; here each word is looked at once and remembered, and a text's
rules are applied around the words that say something. Subclasses change what the words are
(`_merged`) and what a word is worth (`lexicon`, `_valence`).

Source: C.J. Hutto and E.E. Gilbert, VADER: A Parsimonious Rule-based Model for Sentiment
Analysis of Social Media Text, ICWSM 2014; vaderSentiment 3.3.2.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple, cast

from vaderSentiment.vaderSentiment import (
    BOOSTER_DICT,
    C_INCR,
    N_SCALAR,
    NEGATE,
    SPECIAL_CASES,
    SentimentIntensityAnalyzer,
    SentiText,
    normalize,
)

REMEMBERED_WORDS = 65_536
"""Words whose look-up is kept: texts repeat theirs."""

_NEGATIONS = frozenset(NEGATE)
_DAMPENED = (1.0, 0.95, 0.9)
"""What is left of a booster's strength one, two and three words before."""

# Every emoji is; a class of all of them would be searched one by one at each character.
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


def is_negation(word: str) -> bool:
    """Whether VADER takes a lower-case word for a negation."""
    return word in _NEGATIONS or "n't" in word


class Word(NamedTuple):
    """A word, and what the rules ask of it."""

    written: str
    lower: str
    is_upper: bool
    is_known: bool
    """Whether the lexicon has it and no booster is the same."""
    is_doubtful: bool
    """Whether it is ``kind``, which is nothing before ``of``."""
    booster: float
    """What it adds to the strength of words behind it; 0 for most."""
    is_negation: bool


class Reading(NamedTuple):
    """A text, cut into words."""

    words: Sequence[Word]
    is_cap_diff: bool
    """Whether some of its words, but not all, are in capitals."""


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
        self._bare = lru_cache(REMEMBERED_WORDS)(SentiText._strip_punc_if_word)
        self._word = lru_cache(REMEMBERED_WORDS)(self._look_up)

    def compound(self, text: str) -> float:
        """Return VADER's compound, in [-1, 1]; 0 where it knows no word of the text."""
        text = self._plain(text)
        total = self._total(self._sentiments(text), text)
        return round(float(normalize(total)), 4)

    def polarity_scores(self, text: str) -> dict[str, float]:
        """Return ``neg``, ``neu``, ``pos`` (shares of the text) and ``compound``."""
        text = self._plain(text)
        return cast("dict[str, float]", self.score_valence(self._sentiments(text), text))

    def _total(self, sentiments: Sequence[float], text: str) -> float:
        """Return what the words say together, stronger for the text's ``!`` and ``?``."""
        total = float(sum(sentiments))
        if total > 0:
            total += self._punctuation_emphasis(text)
        elif total < 0:
            total -= self._punctuation_emphasis(text)
        return total

    def _plain(self, text: str) -> str:
        """Return a text with its emoji put into words."""
        return (text if text.isascii() else _BEYOND_ASCII.sub(self._describe, text)).strip()

    def _sentiments(self, text: str) -> list[float]:
        """Return what each word of a text says."""
        written = [self._bare(token) for token in text.split()]
        words = [self._word(each) for each in written]
        capitals = sum(word.is_upper for word in words)
        reading = Reading(self._merged(words), 0 < capitals < len(words))
        sentiments: list[float] = [0] * len(reading.words)
        for position, word in enumerate(reading.words):
            if word.is_known and not (
                word.is_doubtful and [w.lower for w in reading.words[position + 1 :][:1]] == ["of"]
            ):
                sentiments[position] = self._valence(reading, position)
        if any(word.lower == "but" for word in reading.words):
            sentiments = self._but_check([word.lower for word in reading.words], sentiments)
        return sentiments

    def _merged(self, words: Sequence[Word]) -> Sequence[Word]:
        """Return the words to weigh; here they are VADER's own."""
        return words

    def _look_up(self, written: str) -> Word:
        lower = written.lower()
        return Word(
            written,
            lower,
            written.isupper(),
            lower in self.lexicon and lower not in BOOSTER_DICT,
            lower == "kind",
            BOOSTER_DICT.get(lower, 0.0),
            is_negation(lower),
        )

    def _valence(self, reading: Reading, i: int) -> float:
        """Return what one known word says, by VADER's rules for the words around it."""
        words = reading.words
        here = words[i]
        known: float = self.lexicon[here.lower]
        one = words[i - 1].lower if i > 0 else ""
        two = words[i - 2].lower if i > 1 else ""
        three = words[i - 3].lower if i > 2 else ""
        valence = known
        if here.lower == "no" and i + 1 < len(words) and words[i + 1].lower in self.lexicon:
            valence = 0.0
        if "no" in (one, two) or (three == "no" and one in ("or", "nor")):
            valence = known * N_SCALAR
        if here.is_upper and reading.is_cap_diff:
            valence += C_INCR if valence > 0 else -C_INCR
        for distance in range(min(3, i)):
            before = words[i - 1 - distance]
            if before.lower in self.lexicon:
                continue
            if before.booster:
                valence += _DAMPENED[distance] * _boost(before, valence, reading.is_cap_diff)
            valence = _negated(valence, before, distance, one, two)
            if distance == 2:
                valence = _idioms(valence, words, i)
        if one == "least" and "least" not in self.lexicon and two not in ("at", "very"):
            valence *= N_SCALAR
        return valence

    def _describe(self, match: re.Match[str]) -> str:
        description = self._described.get(match.group())
        if description is None:
            return match.group()
        before = match.string[match.start() - 1] if match.start() else " "
        space = "" if before == " " else " "
        return space + cast("str", description)


def _boost(word: Word, valence: float, is_cap_diff: bool) -> float:
    """Return what a booster before a word adds to its valence, one word before it."""
    scalar = -word.booster if valence < 0 else word.booster
    if word.is_upper and is_cap_diff:
        scalar += C_INCR if valence > 0 else -C_INCR
    return scalar


def _negated(valence: float, first: Word, distance: int, one: str, two: str) -> float:
    """Apply VADER's rules for a negation one, two or three words before."""
    if distance:
        if distance == 1:
            emphasised, doubtless = first.lower == "never" and one in ("so", "this"), one == "doubt"
        else:
            # Precedence as in the package: "so" right before the word is enough.
            emphasised = (first.lower == "never" and two in ("so", "this")) or one in ("so", "this")
            doubtless = "doubt" in (one, two)
        if emphasised:
            return valence * 1.25
        if first.lower == "without" and doubtless:
            return valence
    return valence * N_SCALAR if first.is_negation else valence


def _idioms(valence: float, words: Sequence[Word], i: int) -> float:
    """Apply VADER's idioms around a word, looking only at the words around it."""
    three, two, one, here = (word.lower for word in words[i - 3 : i + 1])
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
    after = [word.lower for word in words[i + 1 : i + 3]]
    for length in (1, 2):
        sequence = " ".join((here, *after[:length]))
        if len(after) >= length and sequence in SPECIAL_CASES:
            valence = SPECIAL_CASES[sequence]
    for sequence in (sequences[3], sequences[4], sequences[2]):
        valence += BOOSTER_DICT.get(sequence, 0)
    return valence
