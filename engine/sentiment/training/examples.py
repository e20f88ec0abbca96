"""What a model learns from and is tested on: texts with labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from engine.domain.sentiment import Label
from engine.sentiment.base import LABELS
from engine.sentiment.encoder.wording import plain


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled text."""

    text: str
    """As written, or with marks for the instruments (`engine.sentiment.encoder.wording`)."""
    label: Label
    source: str
    """Set it comes from: results are reported by it."""
    weight: float = 1.0
    """How much it counts while learning, above 0."""
    time: int | None = None
    """When it was published, UTC nanoseconds; None where the set does not say."""
    origin: str = ""
    """The text without marks, where it has some."""

    @property
    def key(self) -> str:
        """Same for texts that differ in case, links, spaces and marks alone: never parted."""
        said = plain(self.origin or self.text).lower()
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def by_source(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """Return examples by the set they come from, in order of first appearance."""
    found: dict[str, list[Example]] = {}
    for example in examples:
        found.setdefault(example.source, []).append(example)
    return found


def balanced_weights(examples: Sequence[Example], power: float = 0.5) -> tuple[float, float, float]:
    """Return class weights that fall with how common a class is.

    Parameters
    ----------
    examples
        With at least one of each label.
    power
        0 gives equal weights, 1 makes all classes count alike.
    """
    counts = [sum(one.weight for one in examples if one.label == label) for label in LABELS]
    raw = [(sum(counts) / (len(LABELS) * count)) ** power for count in counts]
    mean = sum(w * count for w, count in zip(raw, counts, strict=True)) / sum(counts)
    bearish, neutral, bullish = (weight / mean for weight in raw)
    return bearish, neutral, bullish
