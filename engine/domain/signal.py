"""Signals, rankings and alerts: what the engine says."""

from __future__ import annotations

from typing import Literal

import msgspec

Direction = Literal["bullish", "neutral", "bearish"]

AlertKind = Literal[
    "feed_stale",
    "feed_gap",
    "feed_recovered",
    "actor_restarted",
    "direction_flip",
    "sentiment_flip",
    "mention_spike",
]


class Contribution(msgspec.Struct, frozen=True):
    """One factor's part of a score. The contributions of a signal sum to its score."""

    factor: str
    value: float | None
    """The raw value; None where it is missing."""
    z: float | None
    """Robust z-score over the universe, clipped; None where missing."""
    weight: float
    """The weight used, after a missing factor's weight went to the others; 0 where missing."""
    contribution: float
    """weight x z scaled into the score; 0 where missing."""


class Coverage(msgspec.Struct, frozen=True):
    """What the score stands on, and what it lacks."""

    factors_present: int
    factors_total: int
    missing: tuple[str, ...]
    """Names of the factors without a value."""
    sentiment: bool
    """Whether there was any text about it in the window."""
    redistributed_weight: float
    """Share of the nominal weight that missing factors gave to the others, in [0, 1]."""
    feed_complete: bool
    """No open gap and no staleness in its feed."""


class Confidence(msgspec.Struct, frozen=True):
    """The parts of the confidence, each in [0, 1] (docs/ranking.md has the matrix)."""

    agreement: float
    freshness: float
    coverage: float
    liquidity: float
    stability: float


class Signal(msgspec.Struct, frozen=True):
    """One instrument in a ranking, explained."""

    signal_id: str
    exchange: str
    instrument: str
    timeframe: str
    as_of: int
    rank: int
    """From 1, the highest score."""
    score: float
    """In [-1, 1]: the sum of the contributions, in their order."""
    percentile: float
    """Share of the universe with a lower or equal score, in (0, 100]."""
    direction: Direction
    confidence: float
    """In [0, 1]."""
    confidence_parts: Confidence
    horizon: str
    """What it speaks about: the return over this long."""
    expires_at: int
    reference_price: float
    contributions: tuple[Contribution, ...]
    rationale: tuple[str, ...]
    coverage: Coverage
    data_age_ms: int
    """How old the newest event behind it is, by our clock."""
    bar_open_time: int
    is_closed_bar: bool
    """True where every bar behind it was closed: such signals are stored and reproducible."""
    model: str
    feature_version: str


class Ranking(msgspec.Struct, frozen=True):
    """All signals of one moment, best first."""

    as_of: int
    timeframe: str
    universe: tuple[str, ...]
    signals: tuple[Signal, ...]
    is_closed_bar: bool
    sequence: int
    """Counts rankings of this timeframe since the ranker started."""


class Alert(msgspec.Struct, frozen=True):
    """Something a person would want to be told."""

    alert_id: str
    kind: AlertKind
    severity: Literal["info", "warning", "critical"]
    subject: str
    """Market, instrument or actor it speaks of."""
    message: str
    raised_at: int
