"""Curated lists of words and phrases, read from a table and found in texts.

A line of the table is ``group<TAB>weight<TAB>term, term, …``; ``#`` starts a comment line.

========================  ==========================================================
``hack|hacks``            either word
``regulat*``              every word that begins so
``{number}``              any number: ``70k``, ``15``, ``2.0``
``SEC``                   with a capital letter, a single word: this spelling or all capitals
weight 0                  says nothing here, and hides the shorter terms inside it
========================  ==========================================================

Where several terms begin at a word the longest one counts, and what it covers is not looked at
again. Hyphens part words (``layer-2`` is ``layer 2``), a term is found with an ``'s`` behind it
too, links and cashtags are passed over, and an emoji is a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import product

from engine.errors import ConfigError

MAX_CHARACTERS = 4_000
"""Longer texts are read up to here: an article says early what it is about."""

REMEMBERED_WORDS = 65_536
"""Words whose look-up is kept: texts repeat theirs."""

_NUMBER = "{number}"
_LINK = re.compile(r"https?://\S+|www\.\S+", re.IGNORECASE)
_CASHTAG = re.compile(r"\$[A-Za-z]\w*")
_WORD = re.compile(r"[A-Za-z0-9]+(?:[&'][A-Za-z0-9]+)*|[^\x00-\x7f\s]")
_LATIN_WORD = re.compile(r"[A-Za-z]{2}")


@dataclass(frozen=True, slots=True)
class Found:
    """A term in a text."""

    term: str
    """As the table has it, one spelling of it."""
    weights: tuple[tuple[str, float], ...]
    """Group and weight of each group that lists it; empty for one that says nothing."""
    position: int
    """Of its first word, from 0."""
    length: int
    """In words."""


def words_of(text: str) -> list[str]:
    """Return the words, numbers and emoji of a text, up to `MAX_CHARACTERS`.

    Examples
    --------
    >>> words_of("Binance's layer-2 🚀 https://x.io $BTC")
    ["Binance's", 'layer', '2', '🚀']
    """
    text = text[:MAX_CHARACTERS].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    text = _CASHTAG.sub(" ", _LINK.sub(" ", text))
    return _WORD.findall(text)


def has_words(words: Sequence[str]) -> bool:
    """Whether there is a word in Latin letters, of two or more."""
    return any(_LATIN_WORD.search(word) for word in words)


class WordLists:
    """Terms by group, ready to be found.

    Parameters
    ----------
    name
        Of a table shipped in ``engine/sentiment``; what it is called in errors.
    text
        Its content; None reads the shipped one.

    Raises
    ------
    ConfigError
        Where a line is malformed, a weight is negative, or a group lists a term twice.
    """

    def __init__(self, name: str, text: str | None = None) -> None:
        if text is None:
            text = files("engine.sentiment").joinpath(name).read_text(encoding="utf-8")
        self._terms: dict[tuple[str, ...], dict[str, float]] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                self._enter(line, f"{name}, line {number}")
        weighing = (g for held in self._terms.values() for g, weight in held.items() if weight)
        self.groups = frozenset(weighing)
        """Those whose terms weigh something."""
        self._phrases = self._by_first_word()
        patterns = {pattern for term in self._terms for pattern in term}
        self._plain = frozenset(pattern for pattern in patterns if not pattern.endswith("*"))
        self._stems = frozenset(p.removesuffix("*") for p in patterns if p.endswith("*"))
        self._stem_lengths = sorted({len(stem) for stem in self._stems}, reverse=True)
        self._patterns = lru_cache(REMEMBERED_WORDS)(self._patterns_of)

    def find(self, words: Sequence[str]) -> Iterator[Found]:
        """Yield the terms among words, as `words_of` gives them, in the order of the text."""
        patterns = list(map(self._patterns, words))
        free = 0
        for position, here in enumerate(patterns):
            if not here or position < free:
                continue
            term = self._longest(patterns, position)
            if term is not None:
                free = position + len(term)
                weights = tuple((g, w) for g, w in self._terms[term].items() if w)
                yield Found(" ".join(term), weights, position, len(term))

    def _longest(
        self, patterns: Sequence[tuple[str, ...]], position: int
    ) -> tuple[str, ...] | None:
        best: tuple[str, ...] | None = None
        for first in patterns[position]:
            for term in self._phrases.get(first, ()):
                if best is not None and len(term) <= len(best):
                    break
                after = patterns[position + 1 : position + len(term)]
                if len(after) == len(term) - 1 and all(
                    wanted in there for wanted, there in zip(term[1:], after, strict=True)
                ):
                    best = term
                    break
        return best

    def _patterns_of(self, written: str) -> tuple[str, ...]:
        """Return what of the tables a word is: itself, its stems, a number."""
        bare = written.removesuffix("'s").removesuffix("'S")
        lower = bare.lower()
        spellings = [written, written.lower(), bare, lower]
        if bare.isupper():
            spellings.append(bare.capitalize())
        found = [each for each in dict.fromkeys(spellings) if each in self._plain]
        found += [
            f"{lower[:length]}*"
            for length in self._stem_lengths
            if length <= len(lower) and lower[:length] in self._stems
        ]
        if lower[0].isdigit():
            found.append(_NUMBER)
        return tuple(found)

    def _by_first_word(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        grouped: dict[str, list[tuple[str, ...]]] = {}
        for term in self._terms:
            grouped.setdefault(term[0], []).append(term)
        return {
            first: tuple(sorted(terms, key=len, reverse=True)) for first, terms in grouped.items()
        }

    def _enter(self, line: str, place: str) -> None:
        cells = line.split("\t")
        if len(cells) != 3 or not cells[0].strip():
            raise ConfigError(f"{place}: expected group, weight and terms between tabs: {line!r}")
        group, weight = cells[0].strip(), _weight(cells[1], place)
        for written in cells[2].split(","):
            for term in _forms(written, place):
                held = self._terms.setdefault(term, {})
                if group in held:
                    raise ConfigError(
                        f"{place}: {' '.join(term)!r} is in {group} already; keep one"
                    )
                held[group] = weight


def _weight(cell: str, place: str) -> float:
    try:
        weight = float(cell)
    except ValueError:
        raise ConfigError(f"{place}: weight {cell!r} is not a number") from None
    if not 0.0 <= weight <= 4.0:
        raise ConfigError(f"{place}: weight {weight} is outside 0 to 4")
    return weight


def _forms(written: str, place: str) -> Iterator[tuple[str, ...]]:
    words = written.split()
    if not words:
        raise ConfigError(f"{place}: there is an empty term; remove a comma")
    is_cased = written != written.lower()
    if is_cased and len(words) > 1:
        raise ConfigError(f"{place}: only single words may have capitals, not {written.strip()!r}")
    yield from product(*(word.split("|") for word in words))
