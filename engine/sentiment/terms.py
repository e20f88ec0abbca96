"""The crypto terms: read from a table, checked, and laid out for look-up."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from itertools import product

from engine.errors import ConfigError

NUMBER = "{number}"
"""Stands in a phrase for any amount or price: ``$70k``, ``42,000``, ``15%``."""

MAX_VALENCE = 4.0
"""VADER's scale: -4 (most negative) to 4."""

Phrase = tuple[tuple[str, ...], str]
"""The words after the first one, and the phrase's key in the lexicon."""


@dataclass(frozen=True, slots=True)
class CryptoTerms:
    """Terms with their valences, each kind where the model looks for it."""

    valences: dict[str, float]
    """Words, phrases and emoji that say something, lower case; on VADER's scale, never 0."""
    silenced: frozenset[str]
    """Words and phrases that say nothing here, whatever VADER thinks of them."""
    phrases: dict[str, tuple[Phrase, ...]]
    """By first word, the longest first; silenced ones too."""
    emoji: tuple[str, ...]
    """Of one character each, as in VADER."""


def read_terms(text: str | None = None, where: str = "crypto_lexicon.tsv") -> CryptoTerms:
    """Read the table.

    A line is ``term<TAB>valence<TAB>note``; ``#`` starts a comment line. Within a term
    ``a|b`` means either word, so one line holds a verb's forms. Phrases of plain words are
    found with hyphens as well.

    Parameters
    ----------
    text
        The table; by default the one shipped with the package.
    where
        What to call it in errors.

    Raises
    ------
    ConfigError
        Where a line is malformed, a valence is outside [-4, 4], or a term comes twice.
    """
    if text is None:
        text = files("engine.sentiment").joinpath(where).read_text(encoding="utf-8")
    found: dict[str, float] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        term, valence = _row(line, f"{where}, line {number}")
        for form in _forms(term):
            if form in found:
                raise ConfigError(f"{where}, line {number}: {form!r} is listed before; keep one")
            found[form] = valence
    return _lay_out(found)


def _row(line: str, place: str) -> tuple[str, float]:
    cells = line.split("\t")
    if len(cells) != 3 or not cells[0].strip():
        raise ConfigError(f"{place}: expected term, valence and note between tabs: {line!r}")
    try:
        valence = float(cells[1])
    except ValueError:
        raise ConfigError(f"{place}: valence {cells[1]!r} is not a number") from None
    if not abs(valence) <= MAX_VALENCE:
        raise ConfigError(f"{place}: valence {valence} is outside -4 to 4")
    return cells[0].strip().lower(), valence


def _forms(term: str) -> list[str]:
    return [" ".join(words) for words in product(*(word.split("|") for word in term.split()))]


def _lay_out(found: dict[str, float]) -> CryptoTerms:
    phrases: dict[str, list[Phrase]] = {}
    for form in found:
        words = tuple(form.split())
        if len(words) > 1:
            phrases.setdefault(words[0], []).append((words[1:], form))
    hyphenated = {
        form.replace(" ", "-"): valence
        for form, valence in found.items()
        if " " in form and NUMBER not in form
    }
    every = {**hyphenated, **found}
    return CryptoTerms(
        valences={term: valence for term, valence in every.items() if valence},
        silenced=frozenset(term for term, valence in every.items() if not valence),
        phrases={
            first: tuple(sorted(group, key=lambda phrase: -len(phrase[0])))
            for first, group in phrases.items()
        },
        emoji=tuple(term for term in found if len(term) == 1 and not term.isascii()),
    )
