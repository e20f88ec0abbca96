"""``check_quality``."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from engine.settings.section import Section, Share
from engine.settings.span import SpanSection


class QualitySection(Section):
    """What has to hold before anything counts as fit for training."""

    completeness: Share = 0.95
    """Least share of rows without a missing value, and of a market's bars that are there."""
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
    outlier_sigma: PositiveFloat = 20.0
    """A bar's return further from the median than this many robust standard deviations is an
    outlier."""
    outlier_share: NonNegativeFloat = 0.001
    """Most outliers, as a share of the bars."""


class CheckQualitySection(SpanSection):
    """The gate: measures what is stored, scores every source, sets failing rows aside."""

    tables: tuple[Literal["candles", "texts"], ...] = ("candles", "texts")
    """What to look at."""
    quarantine: bool = True
    """Whether failing rows are copied to ``quarantine`` with the reason."""
