"""What a report holds.

Nothing in it depends on when it was made: the same store, asked for the same moment, gives the
same report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from engine.domain.market import Gap
from engine.domain.signal import Direction, Signal
from engine.domain.text import MarketMood

Source = Literal["signals", "features"]


class PriceChart(msgspec.Struct, frozen=True):
    """Closes of the bars up to a ranking."""

    bar_ns: int
    """Length of a bar, nanoseconds."""
    times: tuple[int, ...]
    """When each bar ended, ascending, UTC nanoseconds; a bar without trades is not there."""
    closes: tuple[float, ...]
    """Quote currency; as many as `times`."""


class PastSignal(msgspec.Struct, frozen=True):
    """An earlier signal whose horizon was over when the report's ranking was made."""

    as_of: int
    rank: int
    score: float
    direction: Direction
    forward_return: float
    """Of the price over the horizon, as a fraction."""
    net_return: float | None
    """The same for who took its side, less costs; None for a neutral one, which takes none."""


class TrackRecord(msgspec.Struct, frozen=True):
    """How earlier signals of one instrument turned out."""

    signals: tuple[PastSignal, ...]
    """Oldest first; their horizons do not overlap."""

    @property
    def sided(self) -> tuple[PastSignal, ...]:
        """Those that took a side."""
        return tuple(one for one in self.signals if one.net_return is not None)

    @property
    def hits(self) -> int:
        """How many of these had the price go their way."""
        return sum(
            one.forward_return > 0 if one.direction == "bullish" else one.forward_return < 0
            for one in self.sided
        )

    @property
    def mean_net_return(self) -> float | None:
        """Mean of their net returns; None where none took a side."""
        known = [one.net_return for one in self.sided if one.net_return is not None]
        return sum(known) / len(known) if known else None


class ReportedSignal(msgspec.Struct, frozen=True):
    """A signal of the report, and what is told beside it."""

    signal: Signal
    chart: PriceChart
    """Without bars where no candles are stored."""
    record: TrackRecord | None
    """None where nothing is stored of how any signal turned out."""


class Report(msgspec.Struct, frozen=True):
    """The best of one ranking."""

    as_of: int
    timeframe: str
    horizon: str
    """What its signals speak about: the return over this long."""
    source: Source
    """Stored ``signals``, or ranked for this report from stored ``features``."""
    model: str
    feature_version: str
    universe: tuple[str, ...]
    """Every instrument that was compared."""
    ranked: int
    """How many of them got a signal."""
    directions: dict[Direction, int]
    """How many of these are on each side."""
    absent: tuple[str, ...]
    """Markets whose bars reach to within a day of the ranking, and that have none of its bar;
    empty where the report is of stored signals."""
    incomplete: int
    """Ranked instruments whose feed was not whole."""
    gaps: tuple[Gap, ...]
    """Gaps of the feeds that were open at `as_of`, oldest first."""
    mood: tuple[MarketMood, ...]
    """The newest value of each index of the market's mood that was known at `as_of`."""
    signals: tuple[ReportedSignal, ...]
    """The best, from the top."""


def count_directions(signals: Sequence[Signal]) -> dict[Direction, int]:
    """Count the signals of each side, sides without one included."""
    counts: dict[Direction, int] = {"bullish": 0, "neutral": 0, "bearish": 0}
    for signal in signals:
        counts[signal.direction] += 1
    return counts


def steps(signal: Signal) -> list[tuple[str, float, float]]:
    """Return each contribution as a step: factor, where it starts and where it ends.

    The first starts at 0, each next one where the one before it ended, the last ends at the
    score; the largest come first, and factors without a value are left out.

    Notes
    -----
    Added in this order the last bit may differ from the score's, which is their sum in the order
    of the model: the last step ends at the score itself.
    """
    moving = [part for part in signal.contributions if part.z is not None]
    moving.sort(key=lambda part: (-abs(part.contribution), part.factor))
    found = []
    level = 0.0
    for number, part in enumerate(moving, 1):
        end = signal.score if number == len(moving) else level + part.contribution
        found.append((part.factor, level, end))
        level = end
    return found
