"""``label_outcomes``."""

from __future__ import annotations

import re

from pydantic import Field, NonNegativeFloat, PositiveFloat

from engine.clock import NS_PER_S
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.settings.span import MarketsSection

_HORIZON = re.compile(r"([1-9][0-9]*)([mhd])")
_UNITS_S = {"m": 60, "h": 3_600, "d": 86_400}


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
    volatility_bars: int = Field(48, ge=2)
    """Bars up to and including the bar that the standard deviation is taken over."""

    def require(self) -> None:
        """Refuse horizons that are not understood, or are not whole bars."""
        super().require()
        for horizon in self.horizons:
            horizon_ns(horizon)
        if self.timeframe is not None:
            horizons_in_bars(self.horizons, self.timeframe)


def horizon_ns(horizon: str) -> int:
    """Return the length of a horizon, nanoseconds.

    Raises
    ------
    ConfigError
        Where it is not a number with m, h or d.

    Examples
    --------
    >>> horizon_ns("4h") // NS_PER_S
    14400
    """
    match = _HORIZON.fullmatch(horizon)
    if match is None:
        raise ConfigError(f"horizons: {horizon!r} is not a number with m, h or d, as 4h")
    return int(match[1]) * _UNITS_S[match[2]] * NS_PER_S


def horizons_in_bars(horizons: tuple[str, ...], timeframe: Timeframe) -> dict[str, int]:
    """Return how many bars each horizon is, the shortest first.

    Raises
    ------
    ConfigError
        Where one is not understood, is not whole bars, or is there twice (``24h`` and ``1d``).
    """
    found: dict[int, str] = {}
    for horizon in horizons:
        bars, rest = divmod(horizon_ns(horizon), timeframe.ns)
        if rest or not bars:
            raise ConfigError(f"horizons: {horizon} is not whole bars of {timeframe.value}")
        if bars in found:
            raise ConfigError(f"horizons: {found[bars]} and {horizon} are the same")
        found[bars] = horizon
    return {found[bars]: bars for bars in sorted(found)}
