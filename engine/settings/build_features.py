"""``build_features``."""

from __future__ import annotations

from engine.domain.timeframe import Timeframe
from engine.settings.span import MarketsSection


class BuildFeaturesSection(MarketsSection):
    """Features of the stored candles, segment by segment."""

    timeframes: tuple[Timeframe, ...] = ()
    """Which candles; ``features.timeframes`` where none are given."""
