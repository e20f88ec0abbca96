"""``measure_credibility``."""

from __future__ import annotations

from pydantic import PositiveFloat, PositiveInt

from engine.domain.timeframe import Timeframe
from engine.settings.label_outcomes import horizon_ns
from engine.settings.section import JobSection


class MeasureCredibilitySection(JobSection):
    """How often each source was right: its scores against what followed."""

    model: str = ""
    """Whose scores: a model, or a name with its version as ``sentiment_scores`` has it;
    ``sentiment.model`` where it is not given."""
    timeframe: Timeframe | None = None
    """Of the labelled bars; ``ranking.timeframe`` where it is not given."""
    horizon: str = "24h"
    """How far forward an opinion looks: one of the horizons that ``label_outcomes`` labelled."""
    every: Timeframe = Timeframe.D1
    """Distance between the moments of which it is told what was known."""
    half_life_days: PositiveFloat = 90.0
    """After so many days what became known is worth half."""
    prior_opinions: PositiveFloat = 50.0
    """As many opinions as this does the configured credibility weigh."""
    author_opinions: PositiveInt = 5
    """An author with fewer is not told from the source."""

    def require(self) -> None:
        """Refuse a horizon that is not understood."""
        super().require()
        horizon_ns(self.horizon)
