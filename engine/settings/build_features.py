"""``build_features``."""

from __future__ import annotations

from pydantic import PositiveFloat

from engine.domain.timeframe import Timeframe
from engine.moments import in_ns
from engine.settings.span import MarketsSection

DAY_S = 86_400.0


class BuildFeaturesSection(MarketsSection):
    """Features of the stored candles, segment by segment."""

    timeframes: tuple[Timeframe, ...] = ()
    """Which candles; ``features.timeframes`` where none are given."""
    quiet_days: PositiveFloat = 7.0
    """A market without a trade keeps its place in the universe, with flat bars, for so long; then
    it has none until it trades again. Live too."""

    @property
    def silence_ns(self) -> int:
        """`quiet_days` in nanoseconds."""
        return in_ns(self.quiet_days * DAY_S)
