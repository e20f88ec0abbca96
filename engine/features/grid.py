"""The regular grid: one bar per interval, also where nothing traded.

An interval without trades has no candle. Features need every interval, so here, and only
here, it gets a flat bar: open, high, low, close, vwap and twap are the previous close, volume
and taker volume are 0. The grid of a market begins at its first candle; nothing is before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe
from engine.indicators.base import MISSING, Array

BAR_FIELDS = ("open", "high", "low", "close", "volume", "vwap", "twap", "taker_buy_volume")
"""Columns of `Bars.table`, in order."""

_CLOSE = BAR_FIELDS.index("close")


class Bar(NamedTuple):
    """One bar of the grid. Prices in quote currency, volumes in base currency; NaN is missing."""

    open_time: int
    """UTC nanoseconds."""
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float
    twap: float
    taker_buy_volume: float
    filled: bool = False
    """Whether it is the flat bar of an interval without trades."""

    @classmethod
    def from_candle(cls, candle: Candle) -> Self:
        """Take what features need of a candle; what it does not tell (None) is NaN."""
        return cls(
            candle.open_time,
            candle.open,
            candle.high,
            candle.low,
            candle.close,
            candle.volume,
            MISSING if candle.vwap is None else candle.vwap,
            MISSING if candle.twap is None else candle.twap,
            MISSING if candle.taker_buy_volume is None else candle.taker_buy_volume,
        )

    @classmethod
    def flat(cls, open_time: int, close: float) -> Self:
        """Make the bar of an interval without trades, at the previous close."""
        return cls(open_time, close, close, close, close, 0.0, close, close, 0.0, filled=True)

    @property
    def fields(self) -> tuple[float, ...]:
        """Its row of `Bars.table`."""
        return self[1:-1]


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """Bars of one market without a hole, oldest first."""

    open_time: NDArray[np.int64]
    """UTC nanoseconds, shape (n,)."""
    table: Array
    """Values, shape (n, 8), columns `BAR_FIELDS`."""
    filled: NDArray[np.bool_]
    """Which bars are flat bars of intervals without trades, shape (n,)."""

    @classmethod
    def of(cls, bars: Iterable[Bar]) -> Self:
        """Gather bars; the caller has them in order and without a hole."""
        rows = list(bars)
        return cls(
            np.array([bar.open_time for bar in rows], dtype=np.int64),
            np.array([bar.fields for bar in rows], dtype=np.float64).reshape(-1, len(BAR_FIELDS)),
            np.array([bar.filled for bar in rows], dtype=np.bool_),
        )

    def __len__(self) -> int:
        return len(self.open_time)

    def __getitem__(self, which: slice) -> Bars:
        return Bars(self.open_time[which], self.table[which], self.filled[which])

    def column(self, name: str) -> Array:
        """One of `BAR_FIELDS`, shape (n,)."""
        return self.table[:, BAR_FIELDS.index(name)]

    def bar(self, index: int) -> Bar:
        """One bar, with Python's own numbers."""
        values = self.table[index].tolist()
        return Bar._make([int(self.open_time[index]), *values, bool(self.filled[index])])

    def position(self, open_time: int) -> int:
        """Index of the first bar that opens at `open_time` or later; n where none does."""
        return int(np.searchsorted(self.open_time, open_time))


def regular_grid(candles: Sequence[Candle], start_ns: int, end_ns: int) -> Bars:
    """Lay candles of one market and timeframe on the grid of ``[start_ns, end_ns)``.

    Parameters
    ----------
    candles
        In order of time, each interval once. Give the last candle before `start_ns` too where
        there is one: intervals at the start without trades take its close.
    start_ns, end_ns
        UTC nanoseconds. Intervals that open in ``[start_ns, end_ns)`` are laid; those before
        the first candle are not.

    Returns
    -------
    Bars
        Without a hole; empty where no candle opens before `end_ns`.

    Raises
    ------
    ValueError
        Where candles are out of order, doubled, of several markets or timeframes, or off
        the grid.
    """
    _refuse_misplaced(candles)
    bars: list[Bar] = []
    for candle in candles:
        if candle.open_time >= end_ns:
            break
        if bars:
            bars.extend(_flat_until(bars[-1], candle.open_time, Timeframe(candle.timeframe).ns))
        bars.append(Bar.from_candle(candle))
    if bars:
        bars.extend(_flat_until(bars[-1], end_ns, Timeframe(candles[0].timeframe).ns))
    grid = Bars.of(bars)
    return grid[grid.position(start_ns) :]


def grid_of_columns(
    open_time: NDArray[np.int64],
    table: Array,
    timeframe: Timeframe,
    start_ns: int,
    end_ns: int,
) -> Bars:
    """Lay the candles of one market on the grid as `regular_grid` does, without an object each.

    Parameters
    ----------
    open_time
        Of the candles, UTC nanoseconds, strictly ascending, shape (n,). As with `regular_grid`,
        give the last candle before `start_ns` too where there is one.
    table
        Their values, shape (n, 8), columns `BAR_FIELDS`.
    timeframe
        Of the candles.
    start_ns, end_ns
        See `regular_grid`.

    Raises
    ------
    ValueError
        Where candles are out of order, doubled or off the grid.
    """
    step = timeframe.ns
    if (np.diff(open_time) <= 0).any() or (open_time % step != 0).any():
        raise ValueError(
            f"candles of {timeframe} are out of order, doubled or off the grid: sort them by "
            "open_time and give each interval once"
        )
    if len(open_time) == 0:
        return Bars.of([])
    first = max(int(open_time[0]), -(-start_ns // step) * step)
    times = np.arange(first, max(first, end_ns), step, dtype=np.int64)
    last = np.searchsorted(open_time, times, side="right") - 1
    filled = open_time[last] != times
    rows = table[last]
    rows[filled] = rows[filled, _CLOSE, np.newaxis]
    for traded in ("volume", "taker_buy_volume"):
        rows[filled, BAR_FIELDS.index(traded)] = 0.0
    return Bars(times, rows, filled)


def align_close(reference: Bars | None, open_time: NDArray[np.int64]) -> Array:
    """Close of the reference's bar at each time, NaN where it has none.

    Parameters
    ----------
    reference
        Bars of the reference market; None where there is no reference.
    open_time
        Times of the market's bars, UTC nanoseconds, shape (n,).
    """
    aligned = np.full(len(open_time), MISSING)
    if reference is None or len(reference) == 0:
        return aligned
    found = np.searchsorted(reference.open_time, open_time)
    found[found == len(reference)] = 0
    same = reference.open_time[found] == open_time
    aligned[same] = reference.column("close")[found[same]]
    return aligned


def refill(bars: Bars, changed: int) -> None:
    """Let the flat bars that follow a changed bar take its close.

    Parameters
    ----------
    bars
        Bars whose arrays may be written.
    changed
        Index of the bar whose close is new.
    """
    last = changed + 1
    while last < len(bars) and bars.filled[last]:
        bars.table[last] = Bar.flat(0, float(bars.table[changed, _CLOSE])).fields
        last += 1


def _flat_until(last: Bar, end_ns: int, step_ns: int) -> Iterable[Bar]:
    """Flat bars after `last`, up to `end_ns` excluded."""
    return (Bar.flat(time, last.close) for time in range(last.open_time + step_ns, end_ns, step_ns))


def _refuse_misplaced(candles: Sequence[Candle]) -> None:
    previous: Candle | None = None
    for candle in candles:
        key = (candle.exchange, candle.instrument, candle.timeframe)
        if candle.open_time != Timeframe(candle.timeframe).floor(candle.open_time):
            raise ValueError(f"candle of {key} at {candle.open_time} is off its timeframe's grid")
        if previous is not None:
            if key != (previous.exchange, previous.instrument, previous.timeframe):
                raise ValueError(f"candles of {key} among those of another market or timeframe")
            if candle.open_time <= previous.open_time:
                raise ValueError(
                    f"candle of {key} at {candle.open_time} follows one at {previous.open_time}: "
                    "sort them by open_time and give each interval once"
                )
        previous = candle
