"""What a training set is to hold."""

from __future__ import annotations

import msgspec


class DatasetRequest(msgspec.Struct, frozen=True):
    """Everything that decides what a data set holds, beside the stored rows themselves.

    Times are UTC nanoseconds.
    """

    timeframe: str
    exchange: str
    """The venue; all where it is empty."""
    instruments: tuple[str, ...]
    """Which; all where there are none."""
    begin: int
    end: int
    """Bars that open in ``[begin, end)``."""
    watermark: int
    """Nothing that became available later is in it."""
    features: tuple[str, ...]
    """In the catalogue's order."""
    feature_version: str
    horizons: tuple[str, ...]
    label_version: str
    """Empty where no label of these horizons is stored."""
    sentiment_window: str
    sentiment_model: str
    """Empty where no aggregate is stored."""
    mood_series: tuple[str, ...]
    """By name."""
