"""``check_quality``, and the thresholds of the gate."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.settings.section import Section, Share
from engine.settings.span import MarketsSection


class QualitySection(Section):
    """What has to hold before anything counts as fit for training."""

    completeness: Share = 0.95
    """Least share of texts without a missing value, and of a market's bars that are there."""
    valid_timestamps: Share = 1.0
    """Least share of rows whose times are possible: on the grid, and not in the future."""
    valid_schema: Share = 1.0
    """Least share of rows whose values are possible: a high not below the low, a volume not
    below 0."""
    text_length: tuple[PositiveInt, PositiveInt] = (10, 1000)
    """Shortest and longest text that is sound, characters."""
    text_length_share: Share = 0.90
    """Least share of texts of such a length."""
    english_share: Share = 0.95
    """Least share of texts in English."""
    duplicate_share: Share = 0.05
    """Duplicates must stay below this share."""
    freshness_h: PositiveFloat = 24.0
    """Oldest that the newest row may be, hours before the end of the stretch that is looked at."""
    ended_after_days: PositiveFloat = 7.0
    """A market or source that is silent for longer, while others of its kind are not, has ended
    (delisted, given up) and need not be fresh."""
    outlier_sigma: PositiveFloat = 20.0
    """A bar's return further from the median than this many robust standard deviations is an
    outlier."""
    outlier_share: NonNegativeFloat = 0.001
    """Most outliers, as a share of the bars."""
    outliers_allowed: NonNegativeInt = 3
    """So many never fail a market, however few its bars: one shock is an event, not a fault."""


class CheckQualitySection(MarketsSection):
    """The gate: measures what is stored, scores every source, sets failing rows aside."""

    days: PositiveInt | None = None
    """Only so many whole days (UTC), up to the end: for a schedule, instead of `begin`."""
    tables: tuple[Literal["candles", "texts"], ...] = ("candles", "texts")
    """What to look at."""
    timeframes: tuple[Timeframe, ...] = ()
    """Which candles; all but ``1s`` where none are given: a second without a trade is no fault."""
    sources: tuple[str, ...] = ()
    """Which sources of texts; all where none are given."""
    quarantine: bool = True
    """Whether failing rows are copied to ``quarantine`` with the reason."""

    def require(self) -> None:
        """Refuse to look at nothing."""
        super().require()
        if self.days is not None and self.begin:
            raise ConfigError(f"days={self.days} and begin={self.begin} both say where to begin")
        if not self.tables:
            raise ConfigError("tables is empty: write candles, texts or both")
