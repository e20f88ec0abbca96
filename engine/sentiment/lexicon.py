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
from string import punctuation
from typing import cast

from vaderSentiment.vaderSentiment import N_SCALAR, SentiText

from engine.sentiment.base import TextSentiment
from engine.sentiment.explanation import WordWeight
from engine.sentiment.registry import register
from engine.sentiment.terms import NUMBER, CryptoTerms, read_terms
from engine.sentiment.vader import PreparedVader

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

    def compound(self, text: str) -> float:
        """Return the compound, in [-1, 1]; 0 where no word of the text is known."""
        text = _CASHTAG.sub("cashtag", _LINK.sub(" ", text))
        return super().compound(_RUN.sub(self._spaced, text))

    def knows(self, text: str) -> bool:
        """Whether there is anything to read: a word in Latin letters, or an emoji."""
        text = _CASHTAG.sub(" ", _LINK.sub(" ", text))
        if _LATIN_WORD.search(text):
            return True
        return any(sign in self._own_emoji or sign in self._described for sign in text)

    def _spaced(self, run: re.Match[str]) -> str:
        """Set our emoji apart; a run of the same one counts twice at most."""
        emoji = run.group(1)
        if emoji not in self._own_emoji:
            return run.group()
        return f" {emoji} " if run.group() == emoji else f" {emoji} {emoji} "

    def _words(self, words: list[str]) -> list[str]:
        lower = [word.lower().strip(punctuation) or word for word in words]
        merged: list[str] = []
        position = 0
        while position < len(words):
            length, key = self._phrase(lower, position)
            whole = words[position : position + length]
            if key:
                merged.append(key.upper() if all(map(str.isupper, whole)) else key)
            else:
                merged += whole
            position += length
        return merged

    def _phrase(self, lower: list[str], position: int) -> tuple[int, str]:
        """Return how many words the longest phrase here takes and its key, else 1 and empty."""
        for rest, key in self._phrases.get(lower[position], ()):
            after = lower[position + 1 : position + 1 + len(rest)]
            if len(after) == len(rest) and all(
                word == wanted or (wanted == NUMBER and _NUMBER.fullmatch(word))
                for word, wanted in zip(after, rest, strict=True)
            ):
                return 1 + len(rest), key
        return 1, ""

    def sentiment_valence(
        self, valence: float, sentitext: SentiText, item: str, i: int, sentiments: list[float]
    ) -> list[float]:
        """Weigh one word as VADER does, then apply our rules where it is one of our terms."""
        weighed = super().sentiment_valence(valence, sentitext, item, i, sentiments)
        sentiments = cast("list[float]", weighed)
        if i and item.lower() in self._terms:
            words = sentitext.words_and_emoticons[max(0, i - REACH) : i]
            before = {word.lower() for word in words}
            if before & NEGATIONS:
                sentiments[-1] *= N_SCALAR
            if before & HEDGES:
                sentiments[-1] *= HEDGE_SHARE
        return sentiments


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
        return explaining_vader().explain(text) if self._vader.knows(text) else []

    def _read(self, text: str) -> TextSentiment | None:
        if not self._vader.knows(text):
            return None
        score = self._vader.compound(text)
        return TextSentiment.of(score, neutral_probability(score))
