"""What of a timeframe is stored that features depend on: candles, books and listings, by segment.

Numbers and hashes alone are read, computed by the store: of millions of candles a line a month.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import FEATURE_VERSION
from engine.features.segment import segment_end
from engine.store.client import Store

_STARTS = {"hour": "toStartOfHour({})", "day": "toStartOfDay({})", "month": "toStartOfMonth({})"}


@dataclass(slots=True)
class Series:
    """What is stored of one market's candles, by segment."""

    segments: list[int] = field(default_factory=list)
    """Starts, ascending, of those that hold a candle."""
    opens: list[int] = field(default_factory=list)
    """Of each, the open time of its first candle."""
    marks: list[str] = field(default_factory=list)
    """Of each, the number and hash of its candles."""
    last_open: int = 0

    @property
    def first_open(self) -> int:
        """Open time of the first candle."""
        return self.opens[0]

    def read_by(self, start: int, warm_up_start: int) -> list[tuple[int, str]]:
        """Return what a segment reads: its own, the warm-up's, and the close before that."""
        low = max(0, bisect_right(self.segments, warm_up_start) - 1)
        if low and self.opens[low] > warm_up_start:
            low -= 1
        high = bisect_right(self.segments, start)
        return list(zip(self.segments[low:high], self.marks[low:high], strict=True))

    def may_have_bars(self, start: int, end: int, timeframe: Timeframe, silence_ns: int) -> bool:
        """Say whether it may have bars in a segment: candles, or flat ones behind them."""
        if self.first_open >= end:
            return False
        if bisect_left(self.segments, end) > bisect_left(self.segments, start):
            return True
        last = self.segments[bisect_left(self.segments, start) - 1]
        return start - segment_end(last, timeframe) <= silence_ns


def segment_of(timeframe: Timeframe, column: str) -> str:
    """Return SQL for the start of the segment that a time lies in, UTC nanoseconds."""
    start = _STARTS[timeframe.segment_span].format(column)
    return f"toUnixTimestamp64Nano(toDateTime64({start}, 9, 'UTC'))"


def stored_series(store: Store, timeframe: Timeframe) -> dict[Market, Series]:
    """Return what is stored of each market's closed candles."""
    found = store.query_arrow(
        f"SELECT exchange, instrument, {segment_of(timeframe, 'open_time')} AS segment, "
        "count() AS candles, groupBitXor(cityHash64(open_time, open, high, low, close, volume, "
        "ifNull(vwap, nan), ifNull(twap, nan), ifNull(taker_buy_volume, nan))) AS hash, "
        "toUnixTimestamp64Nano(min(open_time)) AS first_open, "
        "toUnixTimestamp64Nano(max(open_time)) AS last_open "
        "FROM candles FINAL WHERE timeframe = {timeframe:String} AND is_closed "
        "GROUP BY exchange, instrument, segment ORDER BY exchange, instrument, segment",
        {"timeframe": timeframe.value},
    )
    series: dict[Market, Series] = {}
    for row in found.to_pylist():
        market = Market(row["exchange"], row["instrument"])
        its = series.setdefault(market, Series())
        its.segments.append(row["segment"])
        its.opens.append(row["first_open"])
        its.marks.append(f"{row['candles']} {row['hash']:x}")
        its.last_open = row["last_open"]
    return series


def stored_books(store: Store, timeframe: Timeframe) -> dict[tuple[Market, int], str]:
    """Return number and hash of the snapshots by market and segment."""
    found = store.query_arrow(
        "SELECT exchange, instrument, "
        f"{segment_of(timeframe, 'addNanoseconds(as_of, -1)')} AS segment, count() AS books, "
        "groupBitXor(cityHash64(as_of, receive_time, spread_bps, imbalance, microprice, "
        "bid_prices[1], ask_prices[1])) AS hash FROM book_snapshots FINAL "
        "GROUP BY exchange, instrument, segment"
    )
    return {
        (Market(row["exchange"], row["instrument"]), row["segment"]): (
            f"{row['books']} {row['hash']:x}"
        )
        for row in found.to_pylist()
    }


def stored_features(store: Store, timeframe: Timeframe) -> dict[int, int]:
    """Return how many rows of this catalogue are stored, by segment."""
    found = store.query_arrow(
        f"SELECT {segment_of(timeframe, 'open_time')} AS segment, count() AS rows "
        "FROM features WHERE timeframe = {timeframe:String} AND version = {version:String} "
        "GROUP BY segment",
        {"timeframe": timeframe.value, "version": FEATURE_VERSION},
    )
    return {row["segment"]: row["rows"] for row in found.to_pylist()}
