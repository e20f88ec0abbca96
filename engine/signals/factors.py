"""The factors, as data: which feature each reads and how people would say what it shows.

A factor has no sign of its own: whether much of it is good is decided by the measured weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, log
from typing import Literal

from engine.domain.sentiment import SentimentAggregate
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import FEATURE_INDEX

Form = Literal["percent", "bps", "number", "money", "score"]

SENTIMENT = "sentiment"
"""Name of the one factor that comes from texts, not from features."""

MENTIONS_PRIOR = 5.0
"""Texts that a neutral prior is worth: a score from few texts is drawn towards 0."""


def _log_or_none(value: float) -> float | None:
    return log(value) if value > 0 else None


def _same(value: float) -> float | None:
    return value


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor of the score."""

    name: str
    """Lower case; the number in it counts bars."""
    feature: str
    """The feature it reads (`engine.features.catalogue`)."""
    doc: str
    """What it measures."""
    high: str
    """What a value above the universe's median means; ``{span}`` becomes a time."""
    low: str
    """What a value below it means."""
    form: Form
    """How its value is written."""
    bars: int = 0
    """How many bars it looks back on, for ``{span}``."""
    transform: Callable[[float], float | None] = _same
    """Applied before comparing; None where it is not defined."""

    def value(self, values: tuple[float, ...]) -> float | None:
        """Read the raw value from a row's values; None where it is missing."""
        value = values[FEATURE_INDEX[self.feature]]
        return value if isfinite(value) else None

    def phrase(self, *, is_high: bool, timeframe: Timeframe) -> str:
        """Say what a high or low value means, with times instead of bars."""
        text = self.high if is_high else self.low
        return text.format(span=span_text(self.bars * timeframe.ns))


FACTORS: tuple[Factor, ...] = (
    Factor("momentum_168", "return_168", "Return over 168 bars.",
           "a stronger return over the last {span} than most",
           "a weaker return over the last {span} than most",
           "percent", 168),
    Factor("momentum_24", "return_24", "Return over 24 bars.",
           "a stronger return over the last {span} than most",
           "a weaker return over the last {span} than most",
           "percent", 24),
    Factor("reversal_1", "return_1", "Return of the last bar.",
           "a stronger last {span} than most", "a weaker last {span} than most", "percent", 1),
    Factor("volatility_168", "realised_volatility_168", "Realised volatility per bar.",
           "rougher trading over the last {span} than most",
           "calmer trading over the last {span} than most",
           "bps", 168),
    Factor("volume_surprise_24", "volume_surprise_24", "Volume against its recent normal.",
           "unusually high volume against the last {span}",
           "unusually low volume against the last {span}",
           "number", 24),
    Factor("trend_strength_72", "trend_strength_72", "How straight the price rises or falls.",
           "a trend further up over the last {span} than most",
           "a trend further down over the last {span} than most",
           "number", 72),
    Factor("rsi_14", "rsi_14", "Relative strength index.",
           "a higher RSI than most", "a lower RSI than most", "number", 14),
    Factor("vwap_distance_24", "vwap_24_distance", "Distance to the VWAP of 24 bars.",
           "a price higher against its VWAP of the last {span} than most",
           "a price lower against its VWAP of the last {span} than most", "percent", 24),
    Factor("bollinger_b", "bollinger_percent_b", "Place between the Bollinger bands.",
           "a price higher in its Bollinger bands than most",
           "a price lower in its Bollinger bands than most", "number", 20),
    Factor("drawdown_168", "drawdown_168", "Distance to the high of 168 bars.",
           "a price nearer its high of the last {span} than most",
           "a price further below its high of the last {span} than most", "percent", 168),
    Factor("beta_168", "beta_btc_168", "Move per move of Bitcoin.",
           "a higher beta to Bitcoin than most", "a lower beta to Bitcoin than most",
           "number", 168),
    Factor("liquidity_24", "dollar_volume_24", "Quote currency traded, compared as a logarithm.",
           "heavier turnover than most", "thinner turnover than most", "money", 24, _log_or_none),
    Factor("taker_imbalance_24", "taker_imbalance_24", "Takers' buying less their selling.",
           "more buying by takers over the last {span} than most",
           "less buying by takers over the last {span} than most", "number", 24),
)  # fmt: skip
"""Every factor that reads a feature, in the order of the contributions."""

FACTORS_BY_NAME = {factor.name: factor for factor in FACTORS}


def sentiment_value(aggregate: SentimentAggregate | None) -> float | None:
    """Draw an aggregate's score towards 0 by how few texts it stands on.

    ``score x n / (n + 5)`` with *n* texts; None without any text.

    Examples
    --------
    >>> sentiment_value(SentimentAggregate("BTC-USDT", "1d", 0, 0.5, 0.1, 5, 0, 0, 2.0, "m"))
    0.25
    """
    if aggregate is None or aggregate.score is None or aggregate.mentions <= 0:
        return None
    if not isfinite(aggregate.score):
        return None
    return aggregate.score * aggregate.mentions / (aggregate.mentions + MENTIONS_PRIOR)


def span_text(ns: int) -> str:
    """Write a length of time in its largest whole unit.

    Examples
    --------
    >>> span_text(168 * Timeframe.H1.ns), span_text(24 * Timeframe.M1.ns)
    ('7 days', '24 minutes')
    """
    for unit, length in (
        ("day", Timeframe.D1.ns),
        ("hour", Timeframe.H1.ns),
        ("minute", Timeframe.M1.ns),
        ("second", Timeframe.S1.ns),
    ):
        if ns >= length and ns % length == 0:
            count = ns // length
            return f"{count} {unit}s" if count != 1 else unit
    return f"{ns} ns"
