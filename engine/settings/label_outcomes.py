"""``label_outcomes``."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.settings.span import MarketsSection


class LabelOutcomesSection(MarketsSection):
    """What followed each bar: forward returns and the barrier that was touched first."""

    timeframe: Timeframe | None = None
    """Of the bars; ``ranking.timeframe`` where it is not given."""
    horizons: tuple[str, ...] = Field(("1h", "4h", "24h"), min_length=1)
    """How far forward: a number with m, h or d; whole bars."""
    cost_bps: NonNegativeFloat = 10.0
    """What going in and out costs together, in hundredths of a percent of the price."""
    barrier_volatilities: PositiveFloat = 2.0
    """Distance of the upper and the lower barrier, in standard deviations of the return over the
    horizon as known at the bar."""
    volatility_bars: PositiveInt = 48
    """Bars before that the standard deviation is taken over."""

    def require(self) -> None:
        """Refuse horizons that are not understood."""
        super().require()
        for horizon in self.horizons:
            if not horizon[:-1].isdigit() or horizon[-1] not in "mhd" or int(horizon[:-1]) < 1:
                raise ConfigError(f"horizons: {horizon!r} is not a number with m, h or d, as 4h")
