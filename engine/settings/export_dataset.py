"""``export_dataset``."""

from __future__ import annotations

from typing import Literal

from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.moments import parse_moment
from engine.settings.label_outcomes import horizon_ns
from engine.settings.section import FilePath
from engine.settings.span import MarketsSection


class ExportDatasetSection(MarketsSection):
    """A point-in-time training set: Parquet files and a manifest."""

    out: FilePath = "dataset"
    """Folder to write to; it must not hold another data set."""
    timeframe: Timeframe | None = None
    """Of the bars; ``ranking.timeframe`` where it is not given."""
    features: tuple[str, ...] = ()
    """Which features; all of the catalogue where none are given."""
    horizons: tuple[str, ...] = ("24h",)
    """Which outcomes of ``label_outcomes`` to join."""
    sentiment_window: Literal["1h", "4h", "1d", "1w"] = "1d"
    """Which sentiment aggregate to join."""
    sentiment_model: str = ""
    """Whose scores, such as ``lexicon-1``; may be left out where the store holds those of one."""
    watermark: str = ""
    """Nothing that became available after this moment goes in: a day, or a time with zone; the
    moment the job begins where it is not given."""
    force: bool = False
    """Export although the quality gate fails; the manifest says so."""

    def require(self) -> None:
        """Refuse names and moments that are not understood."""
        super().require()
        for horizon in self.horizons:
            horizon_ns(horizon)
        self.watermark_ns()
        if not self.out:
            raise ConfigError("out is empty: name a folder to write to")

    def watermark_ns(self) -> int | None:
        """Return the watermark in UTC nanoseconds; None where it is not given.

        Raises
        ------
        ConfigError
            Where it is neither a day nor a time with zone.
        """
        return parse_moment(self.watermark, "watermark") if self.watermark else None
