"""Whether a text is in English, by the day and source.

`engine.texts.language` tells the languages apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from engine.texts.language import ENGLISH, sure_language

Language = Literal["english", "other", "untold"]


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
    language = sure_language(text)
    if language is None:
        return "untold"
    return "english" if language == ENGLISH else "other"
