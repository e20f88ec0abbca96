"""Whether a text speaks of stocks and the economy, or of coins.

The two are written about in different manners and labelled by different habits, so the shipped
ensemble has members of its own for stocks (`engine.sentiment.ensemble.by_subject`).

The subject is told from the words alone, by a weight for each (`artifacts/stock_words.tsv`, a line
``word<TAB>weight`` each, above 0 for stocks): a text is about stocks where the sum is above
`MARGIN`. One that says little either way is about coins: those are what is watched here. How the
weights are fitted: `engine.sentiment.ensemble.subject_fitting`.
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

RULE = 1
"""Changes with what a word is and how weights are put together."""

MARGIN = 1.0
"""To take a text about coins for one about stocks is worse than the other way round."""

MAX_CHARACTERS = 4_000
"""Longer texts are read up to here."""

_LINK = re.compile(r"https?://\S+|www\.\S+|\bpic\.twitter\.com/\S+", re.IGNORECASE)
_WORD = re.compile(r"[$#@]?[A-Za-z][\w'’]*")


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text, tags and handles included; numbers, signs and links are none.

    Examples
    --------
    >>> sorted(words_of("$AAPL up 4.2% to $190! https://t.co/x"))
    ['$aapl', 'to', 'up']
    """
    said = _LINK.sub(" ", text[:MAX_CHARACTERS])
    return frozenset(match.group().lower() for match in _WORD.finditer(said))


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
        """Eight hexadecimal digits that change with any weight, and with how they are used."""
        whole = (RULE, MARGIN, MAX_CHARACTERS, sorted(self.weights.items()))
        return hashlib.sha256(repr(whole).encode()).hexdigest()[:8]

    def subject(self, text: str) -> Subject:
        """Return what a text speaks of."""
        said = math.fsum(self.weights.get(word, 0.0) for word in words_of(text))
        return "stocks" if said > MARGIN else "coins"
