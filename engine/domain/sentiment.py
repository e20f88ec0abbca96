"""What a text feels about an instrument, and what many texts feel together."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from engine.clock import NS_PER_S

Label = Literal["bearish", "neutral", "bullish"]
SentimentEventKind = Literal["sentiment_flip", "mention_spike"]


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


class TargetScore(msgspec.Struct, frozen=True):
    """What a text feels about one of the instruments that it speaks of."""

    instrument: str
    score: float | None
    """In [-1, 1]; None where what the text says of it cannot be read."""
    label: Label | None
    """None where `score` is."""


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
    targets: tuple[TargetScore, ...] = ()
    """Where the text names several assets: one for each of its instruments that it names. Empty
    where it feels the same about all."""


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
    volume: int | None = None
    """How many texts spoke of it, read or not; None in rows of versions that did not count them."""
    coverage: float | None = None
    """Share of `volume` that the model could read, in [0, 1]; None where there was no text."""
    surprise: float | None = None
    """How unusual `volume` is: standard deviations of log volume above the mean of the windows
    before; None where too few of them were watched."""
    momentum: float | None = None
    """`score` less the score one window earlier, in [-2, 2]; None where either is."""

    @property
    def mentions(self) -> int:
        """How many texts its score stands on: those that were read."""
        return self.bullish + self.bearish + self.neutral


class SentimentEvent(msgspec.Struct, frozen=True):
    """Something that happened to the sentiment of an instrument, over one window."""

    event_id: str
    """Of kind, instrument, window, moment and model: the same event has the same one."""
    kind: SentimentEventKind
    instrument: str
    window: str
    as_of: int
    """Of the aggregate that showed it, UTC nanoseconds."""
    direction: Label | None
    """Where a flip turned to; None at a spike."""
    score: float | None
    """The aggregate's; None where no text could be read."""
    surprise: float | None
    volume: int | None
    weight: float
    model: str
    """Whose scores, with the version."""


class TextTopics(msgspec.Struct, frozen=True):
    """What a text is about and what it feels, by the word lists of one version."""

    text_id: str
    version: str
    """Of the word lists, for example ``topics-1``: answers of different versions never mix."""
    topics: tuple[str, ...]
    """In the order of `engine.sentiment.topics.TOPICS`; empty where none is recognised."""
    fear: float | None
    """In [0, 1], as are the others; all three are None where the text could not be read."""
    greed: float | None
    excitement: float | None
    available_at: int
    """When the text could first be read, UTC nanoseconds."""
