"""Whether a text speaks of stocks and the economy, or of coins.

The two are written about in different manners and labelled by different habits, so the shipped
ensemble has members of its own for stocks (`engine.sentiment.ensemble.by_subject`).

The subject is told from the words alone, by a weight for each (`artifacts/stock_words.tsv`, a line
``word<TAB>weight`` each, above 0 for stocks): a text is about stocks where the sum is above 0. One
without a known word is about coins: those are what is watched here. How the weights are fitted:
`engine.sentiment.ensemble.subject_fitting`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Literal

from engine.errors import ConfigError

Subject = Literal["coins", "stocks"]

SHIPPED = "stock_words.tsv"

MAX_CHARACTERS = 4_000
"""Longer texts are read up to here."""

ANY_TEXT = "<any>"
"""The word that every text has: what is said by saying nothing else."""

_WORD = re.compile(r"(?P<link>https?://\S+)|(?P<number>\d[\d.,]*%?)|[$#@]?[A-Za-z][\w'’]*|[^\s\w!]")


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text; all numbers are one, and all links; cries say nothing.

    Examples
    --------
    >>> sorted(words_of("$AAPL up 4.2% to $190! https://t.co/x"))
    ['$', '$aapl', '<link>', '<number>', 'to', 'up']
    """
    return frozenset(
        f"<{match.lastgroup}>" if match.lastgroup else match.group().lower()
        for match in _WORD.finditer(text[:MAX_CHARACTERS])
    )


@dataclass(frozen=True)
class StockWords:
    """How much each word speaks for stocks."""

    weights: Mapping[str, float]
    """Of the words that say something; below 0 for coins."""

    @classmethod
    def read(cls, table: str) -> StockWords:
        """Read a table of lines ``word<TAB>weight``; ``#`` and a blank begin a comment.

        Raises
        ------
        ConfigError
            Where a line is something else.
        """
        weights: dict[str, float] = {}
        for number, line in enumerate(table.splitlines(), 1):
            if not line or line.startswith("# "):
                continue
            word, _, weight = line.partition("\t")
            try:
                weights[word] = float(weight)
            except ValueError:
                raise ConfigError(
                    f"{SHIPPED}, line {number}: expected a word, a tab and a number, found {line!r}"
                ) from None
        return cls(weights)

    @classmethod
    def shipped(cls) -> StockWords:
        """Read the table that comes with the package."""
        place = files("engine.sentiment").joinpath("artifacts", SHIPPED)
        return cls.read(place.read_text(encoding="utf-8"))

    @cached_property
    def digest(self) -> str:
        """Eight hexadecimal digits that change with any weight."""
        return hashlib.sha256(repr(sorted(self.weights.items())).encode()).hexdigest()[:8]

    def subject(self, text: str) -> Subject:
        """Return what a text speaks of."""
        known = [self.weights[word] for word in words_of(text) if word in self.weights]
        said = math.fsum((*known, self.weights.get(ANY_TEXT, 0.0)))
        return "stocks" if known and said > 0.0 else "coins"
