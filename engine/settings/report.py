"""``report``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from engine.domain.timeframe import Timeframe
from engine.settings.section import JobSection


class ReportSection(JobSection):
    """The best of a ranking, and why."""

    top: PositiveInt = 10
    """How many signals."""
    timeframe: Timeframe | None = None
    """Of the ranking; ``ranking.timeframe`` where it is not given."""
    as_of: str = ""
    """The newest ranking not after this moment; the newest of all where it is not given."""
    formats: tuple[Literal["md", "json", "html"], ...] = Field(("md", "json", "html"), min_length=1)
    """What to write."""
    out: str = ""
    """Folder to write to; ``data_dir/reports`` where it is not given."""
    every: str = ""
    """How often a running engine makes one: ``1h``, ``1d`` or five fields of cron; empty for
    never."""
