"""``aggregate_sentiment``."""

from __future__ import annotations

from engine.domain.timeframe import Timeframe
from engine.settings.span import SpanSection


class AggregateSentimentSection(SpanSection):
    """What the stored texts felt about each instrument, as of regular moments."""

    model: str = ""
    """Whose scores; ``sentiment.model`` where it is not given."""
    every: Timeframe = Timeframe.H1
    """Distance between the moments."""
