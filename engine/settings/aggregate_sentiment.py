"""``aggregate_sentiment``."""

from __future__ import annotations

from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.settings.span import SpanSection


class AggregateSentimentSection(SpanSection):
    """What the stored texts felt about each instrument, as of regular moments."""

    model: str = ""
    """Whose scores: a model, or a name with its version as ``sentiment_scores`` has it;
    ``sentiment.model`` where it is not given."""
    every: Timeframe = Timeframe.H1
    """Distance between the moments; a minute or more."""

    def require(self) -> None:
        """Refuse moments that a running engine never has."""
        super().require()
        if self.every.ns < Timeframe.M1.ns:
            raise ConfigError(
                f"every: {self.every} is less than a minute; aggregates are by minute"
            )
