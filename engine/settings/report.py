"""``report``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from engine.domain.timeframe import Timeframe
from engine.moments import parse_moment
from engine.settings.schedule import checked_every
from engine.settings.section import FilePath, JobSection


class ReportSection(JobSection):
    """The best of a ranking, and why."""

    top: PositiveInt = 10
    """How many signals."""
    timeframe: Timeframe | None = None
    """Of the ranking; ``ranking.timeframe`` where it is not given."""
    as_of: str = ""
    """The newest ranking not after this moment, a day or a time with zone; the newest of all
    where it is not given."""
    formats: tuple[Literal["md", "json", "html"], ...] = Field(("md", "json", "html"), min_length=1)
    """What to write."""
    out: FilePath = ""
    """Folder to write to; ``data_dir/reports`` where it is not given."""
    chart_bars: PositiveInt = Field(168, ge=2, le=2000)
    """Bars in each price chart."""
    past: PositiveInt = Field(30, le=1000)
    """How many earlier signals of each instrument are looked up for how they turned out."""
    every: str = ""
    """How often a running engine makes one: ``1h``, ``1d`` or five fields of cron; empty for
    never."""

    @field_validator("every")
    @classmethod
    def _recurs(cls, every: str) -> str:
        return checked_every(every) if every else every

    def require(self) -> None:
        """Refuse a moment that cannot be read."""
        super().require()
        self.moment()

    def moment(self) -> int | None:
        """Return `as_of` in UTC nanoseconds, None where it is not given.

        Raises
        ------
        ConfigError
            Where it is neither a day nor a time with zone.
        """
        return parse_moment(self.as_of, "as_of") if self.as_of else None
