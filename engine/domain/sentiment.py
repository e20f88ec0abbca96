"""What a text feels about an instrument, and what many texts feel together."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from engine.clock import NS_PER_S

Label = Literal["bearish", "neutral", "bullish"]


class Window(StrEnum):
    """How far back an aggregate looks."""

    H1 = "1h"
    H4 = "4h"
    D1 = "1d"
    W1 = "1w"

    @property
    def ns(self) -> int:
        """Length in nanoseconds."""
        hours = {"1h": 1, "4h": 4, "1d": 24, "1w": 168}[self.value]
        return hours * 3_600 * NS_PER_S


class SentimentScore(msgspec.Struct, frozen=True):
    """One model's reading of one text."""

    text_id: str
    model: str
    """Name and version, for example ``lexicon-1``: answers of different versions never mix."""
    score: float
    """In [-1, 1]: P(bullish) - P(bearish)."""
    bearish: float
    """Probability in [0, 1]; the three sum to 1."""
    neutral: float
    bullish: float
    label: Label
    confidence: float
    """Probability of the label, in [0, 1]."""
    scored_at: int


class SentimentAggregate(msgspec.Struct, frozen=True):
    """Texts about one instrument over ``(as_of - window, as_of]``, weighted and counted."""

    instrument: str
    window: str
    as_of: int
    """UTC nanoseconds; only texts with available_at <= as_of are in it."""
    score: float | None
    """Weighted mean in [-1, 1]; None where there was no text."""
    dispersion: float | None
    """Weighted standard deviation of the scores; None where there was no text."""
    bullish: int
    bearish: int
    neutral: int
    weight: float
    """Sum of the weights (credibility x engagement x decay)."""
    model: str

    @property
    def mentions(self) -> int:
        """How many texts it counts."""
        return self.bullish + self.bearish + self.neutral
