"""What a feature is: a name, a formula, a ranking or a measure, a range, and words."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from engine.indicators.expression import Expression

FeatureKind = Literal["number", "pattern", "cross_section", "book"]
"""A number from a formula, a candlestick pattern, a rank over the universe, or a measure of the
L2 book."""

Unit = Literal["price", "amount", "quote", "fraction", "bps", "score", "rank"]
"""price: quote currency per base; amount: base currency; quote: quote currency; fraction:
0.01 is one percent; bps: 1 is a hundredth of a percent; score: without a unit; rank: [0, 1]."""

Group = Literal[
    "trend", "momentum", "volatility", "volume", "market", "pattern", "book", "cross_section"
]


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the catalogue."""

    name: str
    """Lower case, letters, digits and underscores; the column's name in the store."""
    group: Group
    formula: Expression | None
    """What it computes from bars; None for a rank over the universe or a measure of the book."""
    doc: str
    """One sentence: what it says, and how to read it."""
    unit: Unit = "score"
    low: float = -inf
    """Lowest value, included."""
    high: float = inf
    """Highest value, included."""
    ranks: str = ""
    """For a rank over the universe: the feature that it ranks."""
    measure: str = ""
    """For a measure of the L2 book: the field of `engine.features.books.BarBook`."""

    @property
    def kind(self) -> FeatureKind:
        """How it is computed and stored."""
        if self.formula is None:
            return "book" if self.measure else "cross_section"
        return "pattern" if self.group == "pattern" else "number"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Fields of the bar it reads, in alphabetical order."""
        return tuple(sorted(self.formula.inputs)) if self.formula is not None else ()

    @property
    def warm_up(self) -> int:
        """Bars before the first value, where nothing is missing; 0 without a formula."""
        return self.formula.warm_up if self.formula is not None else 0

    @property
    def definition(self) -> str:
        """Everything that decides its values, as one line."""
        if self.formula is not None:
            how = self.formula.text
        else:
            how = f"{self.measure} of the book" if self.measure else f"rank of {self.ranks}"
        return f"{self.name} [{self.low:g}, {self.high:g}] = {how}"
