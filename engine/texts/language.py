"""Which language a text is in.

py3langid (a fork of langid.py, M. Lui and T. Baldwin, ACL 2012; BSD, 4.6 MB, offline) tells
languages apart by n-grams of bytes. Between all of its hundred languages it takes one headline of
fifty for another language than English; between the languages that people write about markets in
it is right on 99.5 % of 3,000 English crypto headlines and 99.7 % of 2,000 posts, and reads 15,000
a second. lingua weighs about 100 MB; langdetect draws at random and has had no release since 2021.
"""

from __future__ import annotations

import re
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

LANGUAGES = (
    "en", "es", "pt", "fr", "de", "it", "nl", "pl", "tr", "ru", "uk", "zh", "ja", "ko", "vi",
    "id", "ar", "fa", "hi", "th",
)  # fmt: skip
"""Between which it decides, by their ISO 639-1 codes."""

ENGLISH = "en"

LETTERS = 10
"""Fewer do not tell a language."""

MOST_CHARACTERS = 1_000
"""A text is read up to here."""

_NAMES = re.compile(r"https?://\S+|www\.\S+|[$@#]\w+")
_LETTER = re.compile(r"[^\W\d_]")
# A character of these says as much as a word.
_DENSE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@cache
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(LANGUAGES)
    return identifier


def language_of(text: str) -> str | None:
    """Return the language of a text, one of `LANGUAGES`.

    Links, cashtags, hashtags and names of people say nothing of a language.

    Returns
    -------
    str or None
        None where what is left is too short to tell.

    Examples
    --------
    >>> [language_of(text) for text in ("Bitcoin slides below its average", "Ето", "$BTC!")]
    ['en', None, None]
    """
    spoken = _NAMES.sub(" ", text)[:MOST_CHARACTERS]
    if len(_LETTER.findall(spoken)) < LETTERS and not _DENSE.search(spoken):
        return None
    return str(_identifier().classify(spoken)[0])


SURE = 12.0
"""How much more likely than English another language must be, as a logarithm: of 12,000 English
posts and headlines none reached 12, slang included; of short headlines in nine other languages
all but the shortest did."""

_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
_NOT_LATIN = frozenset(("ru", "uk", "zh", "ja", "ko", "ar", "fa", "hi", "th"))


def sure_language(text: str) -> str | None:
    """Return the language of a text that is not to be taken for another than English lightly.

    Slang looks like many a language (``wen lambo``); whoever leaves foreign texts out must not
    lose it. English is told where nothing else is sure.

    Returns
    -------
    str or None
        One of `LANGUAGES`; None where there is too little to tell, or where most letters are of a
        script that none of them uses.

    Examples
    --------
    >>> texts = ("gm ser, wen lambo", "Цена биткоина упала", "ביטקוין יורד בחדות היום")
    >>> [sure_language(text) for text in texts]
    ['en', 'ru', None]
    """
    spoken = _NAMES.sub(" ", text)[:MOST_CHARACTERS]
    letters = len(_LETTER.findall(spoken))
    if letters < LETTERS and not _DENSE.search(spoken):
        return None
    ranked = {str(code): float(score) for code, score in _identifier().rank(spoken)}
    best = max(ranked, key=ranked.__getitem__)
    if best not in _NOT_LATIN and 2 * len(_LATIN.findall(spoken)) < letters:
        return None
    return best if ranked[best] - ranked[ENGLISH] >= SURE else ENGLISH
