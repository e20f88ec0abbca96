"""``export_dataset``."""

from __future__ import annotations

from engine.domain.timeframe import Timeframe
from engine.settings.span import MarketsSection


class ExportDatasetSection(MarketsSection):
    """A point-in-time training set: Parquet files and a manifest."""

    out: str = "dataset"
    """Folder to write to; it must not hold another data set."""
    timeframe: Timeframe | None = None
    """Of the bars; ``ranking.timeframe`` where it is not given."""
    features: tuple[str, ...] = ()
    """Which features; all of the catalogue where none are given."""
    horizons: tuple[str, ...] = ("24h",)
    """Which outcomes of ``label_outcomes`` to join."""
    sentiment_window: str = "1d"
    """Which sentiment aggregate to join."""
    force: bool = False
    """Export although the quality gate fails; the manifest says so."""
