"""The lexicon model: VADER's rules over VADER's words, corrected and widened for crypto.

The words are data (`crypto_lexicon.tsv`). Three rules are ours, and touch only its terms:

- a phrase counts as one word (``diamond hands``, ``breaks above {number}``), found before
  VADER weighs the words, so that "broke $70k" is never the sad "broke";
- a hedge before it (``could``, ``if``, ``reportedly`` …) takes 40 % off its strength;
- words that turn it round beside VADER's own negations (``avoids``, ``denies`` …).

Cashtags are names, not words: ``$MOON`` says nothing. A text without any of our terms,
without a cashtag and without a link gets exactly VADER's compound.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from string import punctuation
from typing import NamedTuple

from vaderSentiment.vaderSentiment import N_SCALAR

from engine.sentiment.base import TextSentiment
from engine.sentiment.explanation import WordWeight
from engine.sentiment.registry import register
from engine.sentiment.terms import NUMBER, CryptoTerms, read_terms
from engine.sentiment.vader import REMEMBERED_WORDS, PreparedVader, Reading, Word

MAX_CHARACTERS = 4_000
"""Longer texts are read up to here: an article says its tone early, and time stays bounded."""

NEUTRALITY = 6.0
"""Power in P(neutral): with 6, a label leaves neutral at a score of about 0.15."""

HEDGE_SHARE = 0.6
"""What a hedge leaves of a term's valence."""

REACH = 3
"""Words before a term in which hedges and negations are looked for: VADER's own reach."""


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


HEDGES = _words_of(
    "could might may maybe perhaps possibly possible potential potentially if unless whether "
    "allegedly reportedly rumored rumoured rumor rumour rumors rumours"
)
NEGATIONS = _words_of(
    "avoid avoids avoided avoiding deny denies denied denying dismiss dismisses dismissed "
    "prevent prevents prevented stop stops stopped refuse refuses refused unlikely"
)

_LINK = re.compile(r"https?://\S+|www\.\S+", re.IGNORECASE)
_CASHTAG = re.compile(r"\$[A-Za-z]\w*")
_RUN = re.compile(r"([^\x00-\x7f])\1*")
_LATIN_WORD = re.compile(r"[A-Za-z]{2}")
_NUMBER = re.compile(r"[$€£#~]?\d[\d,.]*(?:k|m|b|t|bn|%)?\+?", re.IGNORECASE)


class _Part(NamedTuple):
    """A word as a part of phrases."""

    key: str
    """Lower case, without punctuation around it."""
    is_number: bool
    seconds: frozenset[str]
    """What comes second in the phrases that it begins."""

    def fits(self, wanted: str) -> bool:
        return self.key == wanted or (wanted == NUMBER and self.is_number)


class CryptoVader(PreparedVader):
    """VADER with crypto terms.

    Parameters
    ----------
    terms
        Words, phrases and emoji with their valences.
    """

    def __init__(self, terms: CryptoTerms) -> None:
        super().__init__(kept_emoji=terms.emoji)
        self._terms = terms.valences
        self._phrases = terms.phrases
        self.lexicon.update(terms.valences)
        for word in terms.silenced:
            self.lexicon.pop(word, None)
        self._own_emoji = frozenset(terms.emoji)
        self._part = lru_cache(REMEMBERED_WORDS)(self._part_of)

    def compound(self, text: str) -> float:
        """Return the compound, in [-1, 1]; 0 where no word of the text is known."""
        return super().compound(self._without_names(_without_links(text)))

    def read(self, text: str) -> float | None:
        """Return the compound; None where there is nothing to read.

        That is where there is neither a word in Latin letters nor an emoji, links and cashtags
        apart.
        """
        text = _without_links(text)
        if not self._has_words(_CASHTAG.sub(" ", text) if "$" in text else text):
            return None
        return super().compound(self._without_names(text))

    def _has_words(self, text: str) -> bool:
        if _LATIN_WORD.search(text):
            return True
        return not text.isascii() and any(
            sign in self._own_emoji or sign in self._described for sign in text
        )

    def _without_names(self, text: str) -> str:
        """Take cashtags for names, and set emoji apart."""
        if "$" in text:
            text = _CASHTAG.sub("cashtag", text)
        return text if text.isascii() else _RUN.sub(self._spaced, text)

    def _spaced(self, run: re.Match[str]) -> str:
        """Set our emoji apart; a run of the same one counts twice at most."""
        emoji = run.group(1)
        if emoji not in self._own_emoji:
            return run.group()
        return f" {emoji} " if run.group() == emoji else f" {emoji} {emoji} "

    def _merged(self, words: Sequence[Word]) -> Sequence[Word]:
        """Put phrases together: each is one word from here on."""
        found = self._phrases_in(words)
        if not found:
            return words
        merged: list[Word] = []
        free = 0
        for first, length, key in found:
            is_upper = all(word.is_upper for word in words[first : first + length])
            merged += words[free:first]
            merged.append(self._word(key.upper() if is_upper else key))
            free = first + length
        return [*merged, *words[free:]]

    def _phrases_in(self, words: Sequence[Word]) -> list[tuple[int, int, str]]:
        """Return where phrases begin, of how many words they are, and their keys.

        Where several begin at a word it is the longest; they do not overlap.
        """
        parts = [self._part(word.written) for word in words]
        found: list[tuple[int, int, str]] = []
        free = 0
        for position, (part, after) in enumerate(pairwise(parts)):
            # Most words that begin a phrase are followed by none of its second words.
            if position < free or not part.seconds:
                continue
            if after.key in part.seconds or (after.is_number and NUMBER in part.seconds):
                for rest, key in self._phrases[part.key]:
                    following = parts[position + 1 : position + 1 + len(rest)]
                    if len(following) == len(rest) and all(map(_Part.fits, following, rest)):
                        free = position + 1 + len(rest)
                        found.append((position, 1 + len(rest), key))
                        break
        return found

    def _part_of(self, written: str) -> _Part:
        key = written.lower().strip(punctuation) or written
        phrases = self._phrases.get(key, ())
        return _Part(key, bool(_NUMBER.fullmatch(key)), frozenset(rest[0] for rest, _ in phrases))

    def _valence(self, reading: Reading, i: int) -> float:
        """Weigh one word as VADER does, then apply our rules where it is one of our terms."""
        valence = super()._valence(reading, i)
        if i and reading.words[i].lower in self._terms:
            before = {word.lower for word in reading.words[max(0, i - REACH) : i]}
            if before & NEGATIONS:
                valence *= N_SCALAR
            if before & HEDGES:
                valence *= HEDGE_SHARE
        return valence


def _without_links(text: str) -> str:
    # Most texts have none; looking for the signs of one is far quicker than the expression.
    if "://" in text or "www." in text.lower():
        return _LINK.sub(" ", text)
    return text


def neutral_probability(score: float) -> float:
    """Return P(neutral) for a compound: ``(1 - |score|) ** NEUTRALITY``.

    VADER gives a strength, not probabilities. This map keeps ``score = P(bullish) -
    P(bearish)``, is 1 where no word was known and falls to 0 at the ends.

    Examples
    --------
    >>> neutral_probability(0.0), neutral_probability(-1.0)
    (1.0, 0.0)
    """
    return float((1.0 - abs(score)) ** NEUTRALITY)


@register("lexicon")
class LexiconModel:
    """The lexicon as a sentiment model: no weights, no network, ready at once."""

    name = "lexicon-1"

    def __init__(self) -> None:
        self._vader = CryptoVader(read_terms())

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        """Read texts; see `engine.sentiment.base.SentimentModel`.

        A text is unreadable where it holds no word in Latin letters and no emoji once links
        and cashtags are gone. A readable text of which no word is known is neutral: 0.
        """
        return [self._read(text[:MAX_CHARACTERS]) for text in texts]

    def explain(self, text: str) -> list[WordWeight]:
        """Return what each word added to the score; see `engine.sentiment.lexicon_explanation`."""
        from engine.sentiment.lexicon_explanation import explaining_vader  # noqa: PLC0415  (cyclic)

        text = text[:MAX_CHARACTERS]
        return explaining_vader().explain(text) if self._vader.read(text) is not None else []

    def _read(self, text: str) -> TextSentiment | None:
        score = self._vader.read(text)
        if score is None:
            return None
        return TextSentiment.of(score, neutral_probability(score))
