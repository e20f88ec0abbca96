"""Timeframes: how long a candle lasts, what it is built from, and its segment."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from engine.clock import NS_PER_S

_SECONDS = {
    "1s": 1,
    "1m": 60,
    "5m": 300,
    "15m": 900,
    "1h": 3_600,
    "4h": 14_400,
    "1d": 86_400,
}

SegmentSpan = Literal["hour", "day", "month"]


class Timeframe(StrEnum):
    """Length of a candle. Intervals start at whole multiples since 1970 (UTC).

    Examples
    --------
    >>> Timeframe.H1.floor(3_600_000_000_001)
    3600000000000
    >>> Timeframe.M1.parent is Timeframe.S1
    True
    """

    S1 = "1s"
    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"

    @property
    def ns(self) -> int:
        """Length in nanoseconds."""
        return _SECONDS[self.value] * NS_PER_S

    @property
    def parent(self) -> Timeframe | None:
        """The next finer timeframe, which this one is built from; None for ``1s`` (trades)."""
        order = list(Timeframe)
        index = order.index(self)
        return order[index - 1] if index else None

    @property
    def segment_span(self) -> SegmentSpan:
        """The calendar span on which features of this timeframe are defined.

        A recursive indicator depends on the bar it starts from, so a value is *defined* on
        the segment that holds it. Months for one hour and longer; shorter timeframes take a
        day or an hour, so that opening one never reads more than about 1,700 bars
        (3,600 for ``1s``).
        """
        if self is Timeframe.S1:
            return "hour"
        return "day" if self.ns < Timeframe.H1.ns else "month"

    def floor(self, time_ns: int) -> int:
        """Open time of the interval that holds `time_ns`."""
        return time_ns - time_ns % self.ns

    def segment_start(self, time_ns: int) -> int:
        """Start of the segment that holds the bar opening at `time_ns`, UTC nanoseconds.

        Examples
        --------
        >>> from engine.clock import parse_iso_utc, iso_utc
        >>> iso_utc(Timeframe.H1.segment_start(parse_iso_utc("2024-08-08T23:00:00Z")))
        '2024-08-01T00:00:00.000000Z'
        """
        span = self.segment_span
        if span == "hour":
            return Timeframe.H1.floor(time_ns)
        if span == "day":
            return Timeframe.D1.floor(time_ns)
        moment = datetime.fromtimestamp(time_ns // NS_PER_S, UTC)
        first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return int(first.timestamp()) * NS_PER_S
