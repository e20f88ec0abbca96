"""Which bars must be fetched or read at start, and which of the fetched ones count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe


class TimeRange(NamedTuple):
    """A half-open stretch of time ``[start, end)``, UTC nanoseconds."""

    start: int
    end: int


def needed_range(timeframe: Timeframe, now_ns: int, warm_up_bars: int) -> TimeRange:
    """Return the closed bars that features need at `now_ns`.

    From `warm_up_bars` before the segment of the forming bar, to the start of that bar.

    Examples
    --------
    >>> needed_range(Timeframe.S1, 3_600_500_000_000, 10)
    TimeRange(start=3590000000000, end=3600000000000)
    """
    forming = timeframe.floor(now_ns)
    start = timeframe.segment_start(forming) - warm_up_bars * timeframe.ns
    return TimeRange(max(0, timeframe.floor(start)), forming)


def missing_ranges(
    have: Iterable[int], timeframe: Timeframe, start_ns: int, end_ns: int
) -> list[TimeRange]:
    """Return the stretches of ``[start, end)`` without a bar, ascending and as long as can be.

    An interval in which nothing traded has no bar either, so it comes back too: only the venue
    can tell the two apart.

    Parameters
    ----------
    have
        Open times of the bars that are there, any order.
    timeframe
        Theirs.
    start_ns, end_ns
        Only whole intervals within count.

    Examples
    --------
    >>> missing_ranges([2_000_000_000], Timeframe.S1, 0, 5_000_000_000)
    [TimeRange(start=0, end=2000000000), TimeRange(start=3000000000, end=5000000000)]
    """
    step = timeframe.ns
    cursor = -(-start_ns // step) * step
    end = timeframe.floor(end_ns)
    found: list[TimeRange] = []
    for time in sorted({time for time in have if cursor <= time < end}):
        if time > cursor:
            found.append(TimeRange(cursor, time))
        cursor = time + step
    if cursor < end:
        found.append(TimeRange(cursor, end))
    return found


def accepted(
    fetched: Iterable[Candle], held: Iterable[Candle], covered: Sequence[TimeRange]
) -> list[Candle]:
    """Return which of a venue's REST bars to store.

    A bar is left out where

    - nothing traded in it (volume 0): an empty interval has no row;
    - it is not closed, or no candle can hold its numbers;
    - a candle from trades is held and our trades cover its whole interval: that one is exact.

    A candle from trades over an interval that they cover only in part is replaced: the bar's
    version is then one above it. Otherwise the version is the bar's open time, so a candle
    that trades make later wins.

    Parameters
    ----------
    fetched
        Bars as the venue gave them.
    held
        Candles of the same markets and timeframe already stored.
    covered
        Stretches over which our feed of that market is known to be whole.
    """
    known = {(c.exchange, c.instrument, c.timeframe, c.open_time): c for c in held}
    kept: list[Candle] = []
    for bar in fetched:
        if not bar.is_closed or not _is_usable(bar):
            continue
        version = bar.open_time
        old = known.get((bar.exchange, bar.instrument, bar.timeframe, bar.open_time))
        if old is not None and old.source == "trades":
            if any(s.start <= bar.open_time and bar.close_time <= s.end for s in covered):
                continue
            version = old.version + 1
        kept.append(msgspec.structs.replace(bar, source="rest", version=version))
    return kept


def restore_ranges(
    stored: Sequence[Timeframe], trades_from_ns: int
) -> list[tuple[Timeframe, TimeRange]]:
    """Return which stored candles `CandleBuilder.restore` needs, finest first.

    Of each stored timeframe: those within the unfinished interval of the next coarser stored
    one (of a day, for the coarsest).

    Parameters
    ----------
    stored
        Timeframes in the store.
    trades_from_ns
        From where on trades will be added again.

    Raises
    ------
    ValueError
        Where `trades_from_ns` is not at the start of an interval of the finest of them: the
        part of that interval before it would be lost.
    """
    ladder = sorted(stored, key=list(Timeframe).index)
    if ladder and ladder[0].floor(trades_from_ns) != trades_from_ns:
        raise ValueError(f"trades must be restored from the start of a {ladder[0]} interval")
    ranges = []
    for timeframe, coarser in zip(ladder, [*ladder[1:], Timeframe.D1], strict=True):
        span = TimeRange(coarser.floor(trades_from_ns), timeframe.floor(trades_from_ns))
        if span.start < span.end:
            ranges.append((timeframe, span))
    return ranges


def _is_usable(bar: Candle) -> bool:
    return (
        0 < bar.low <= bar.open <= bar.high < float("inf")
        and bar.low <= bar.close <= bar.high
        and 0 < bar.volume < float("inf")
    )
