"""Features bar by bar: one market, one timeframe, the batch run's bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import COMPUTED_INDEX, FEATURES, PROGRAM
from engine.features.grid import Bar, Bars
from engine.features.history import History
from engine.features.segment import (
    full_rows,
    price_unit,
    program_input,
    program_inputs,
    refuse_holes,
    with_warm_up,
)
from engine.features.warm_up import WARM_UP_BARS
from engine.indicators.base import MISSING, Array
from engine.indicators.program import RunningProgram

Values = tuple[float, ...]
"""Every feature of one bar in the catalogue's order; what has no formula still NaN."""


class LiveFeatures:
    """The features of one market and timeframe, carried forward bar by bar.

    It keeps the bars of the current segment and the `WARM_UP_BARS` before it, so it can start
    again from them: where a segment ends, where a late trade rebuilt a bar, and after a
    restart, from the store. Every value equals `compute_segment`'s, bit for bit. The book's are
    `engine.features.books.LiveBooks`' to fill in.

    Not safe for threads; it cannot be pickled (TA-Lib's handles cannot): re-open it instead.

    Parameters
    ----------
    market
        Whose bars these are; named in errors.
    timeframe
        Of the bars.
    is_reference
        Whether this market is the reference itself: its own bars are then its reference, and
        reference bars given are not looked at.
    """

    def __init__(self, market: Market, timeframe: Timeframe, is_reference: bool = False) -> None:
        self.market = market
        self.timeframe = timeframe
        self.is_reference = is_reference
        self._history = History()
        self._running: RunningProgram | None = None
        self._running_segment = -1
        self._unit = 1.0

    @property
    def next_open_time(self) -> int | None:
        """Open time of the bar to push next, UTC nanoseconds; None where any may be."""
        last = self._history.last_open_time
        return None if last is None else last + self.timeframe.ns

    @property
    def last_bar(self) -> Bar | None:
        """The last bar pushed, or opened from."""
        return self._history.bars.bar(len(self._history) - 1) if len(self._history) else None

    @property
    def bars(self) -> Bars:
        """The bars kept: a view that the next push may change."""
        return self._history.bars

    def flat_bar(self) -> Bar:
        """Make the next bar for an interval that passed without a trade.

        Raises
        ------
        ValueError
            Where there is no bar yet: nothing is before a market's first candle.
        """
        last = self.last_bar
        if last is None:
            raise ValueError(f"{self._name} has no bar yet: an interval before it has none either")
        return Bar.flat(last.open_time + self.timeframe.ns, last.close)

    def open(self, bars: Bars, reference_bars: Bars | None = None) -> Array:
        """Start from stored bars, whatever was kept before.

        Parameters
        ----------
        bars
            The grid from `WARM_UP_BARS` bars before the last bar's segment (or the market's
            first bar, where that is later); more is left out. May be empty.
        reference_bars
            Bars of the reference over the same time.

        Returns
        -------
        Array
            Values of the last bar's segment so far, shape (bars of it given, features).

        Raises
        ------
        ValueError
            Where the bars have a hole.
        """
        refuse_holes(bars, self.timeframe)
        self._running = None
        if len(bars) == 0:
            self._history.replace_all(bars, None)
            return np.empty((0, len(FEATURES)))
        start = self.timeframe.segment_start(int(bars.open_time[-1]))
        kept = with_warm_up(bars, start)
        self._history.replace_all(kept, kept if self.is_reference else reference_bars)
        return full_rows(self._reopen(start)[kept.position(start) :])

    def push(self, bar: Bar, reference_bar: Bar | None = None) -> Values:
        """Take the next closed bar and answer its features.

        Parameters
        ----------
        bar
            Opens at `next_open_time`. For an interval without trades push `flat_bar()`.
        reference_bar
            The reference's bar of the same time; None where it has none: what depends on it
            is NaN at this bar, and its windows skip the bar. Should it come later, `revise`.

        Returns
        -------
        tuple of float
            Every feature, in the catalogue's order.

        Raises
        ------
        ValueError
            Where the bar is not the next one, or the reference's bar is of another time.
        """
        running = self._running_at(bar, reference_bar)
        if running is None:
            self._history.append(bar, bar if self.is_reference else reference_bar)
            start = self.timeframe.segment_start(bar.open_time)
            return _full(self._reopen(start)[-1].tolist())
        if self.timeframe.segment_start(self._last_open_time) != self._running_segment:
            self._history.keep_last(WARM_UP_BARS)
        self._history.append(bar, bar if self.is_reference else reference_bar)
        return _full(running.update(self._input(bar, reference_bar)))

    def preview(self, forming_bar: Bar, reference_bar: Bar | None = None) -> Values:
        """Answer the features as they would be if the next bar closed like this.

        It commits nothing: push, preview and revise answer afterwards as if it had not been.

        Parameters
        ----------
        forming_bar
            Opens at `next_open_time`.
        reference_bar
            The reference's bar of the same time, forming too; None where it has none.

        Raises
        ------
        ValueError
            As `push`.
        """
        running = self._running_at(forming_bar, reference_bar)
        if running is None:
            scratch = LiveFeatures(self.market, self.timeframe, self.is_reference)
            return scratch.push(forming_bar, reference_bar)
        return _full(running.peek(self._input(forming_bar, reference_bar)))

    def revise(
        self, bar: Bar | None = None, reference_bar: Bar | None = None
    ) -> list[tuple[int, Values]]:
        """Take a bar that was rebuilt after it was pushed, and answer the rows it changed.

        Flat bars that follow take the new close, as the grid would have laid them.

        Parameters
        ----------
        bar
            The rebuilt bar of this market.
        reference_bar
            A rebuilt, or late, bar of the reference.

        Returns
        -------
        list of (int, tuple of float)
            Open time and values of each bar of the current segment whose values changed,
            oldest first. Empty where the bar is older than what is kept. Rows of an earlier
            segment that it changed are the batch run's to compute again.
        """
        if len(self._history) == 0:
            return []
        start = self.timeframe.segment_start(self._last_open_time)
        before = self._computed()
        changed = [] if bar is None else [self._history.replace(bar)]
        reference = bar if self.is_reference else reference_bar
        if reference is not None:
            changed.append(self._history.replace_reference(reference))
        if all(index is None for index in changed):
            return []
        after = self._reopen(start)
        same = (before == after) | (np.isnan(before) & np.isnan(after))
        times = self._history.bars.open_time
        rows = np.flatnonzero(~same.all(axis=1) & (times >= start))
        return [(int(times[row]), _full(after[row].tolist())) for row in rows]

    def values_at(self, open_time: int) -> Values | None:
        """Return the values of a bar as they stand, None where the current segment lacks it."""
        bars = self._history.bars
        row = bars.position(open_time)
        if row == len(bars) or bars.open_time[row] != open_time:
            return None
        if open_time < self.timeframe.segment_start(self._last_open_time):
            return None
        return _full(self._computed()[row].tolist())

    @property
    def _name(self) -> str:
        return f"{self.market} {self.timeframe}"

    @property
    def _last_open_time(self) -> int:
        return int(self._history.bars.open_time[-1])

    def _running_at(self, bar: Bar, reference_bar: Bar | None) -> RunningProgram | None:
        """Program of the bar's segment, standing before the bar; None where there is no bar."""
        expected = self.next_open_time
        if expected is None:
            expected = self.timeframe.floor(bar.open_time)
        if bar.open_time != expected:
            raise ValueError(
                f"{self._name}: the next bar opens at {expected}, not {bar.open_time}; push flat "
                "bars for intervals without trades, revise bars that were pushed"
            )
        if reference_bar is not None and reference_bar.open_time != bar.open_time:
            raise ValueError(
                f"{self._name}: the reference's bar opens at {reference_bar.open_time}, "
                f"the market's at {bar.open_time}"
            )
        if len(self._history) == 0:
            return None
        start = self.timeframe.segment_start(bar.open_time)
        if self._running is None or self._running_segment != start:
            self._reopen(start)
        return self._running

    def _reopen(self, segment_start_ns: int) -> Array:
        """Open the program for a segment from the bars kept; values of all those bars."""
        inputs = self._inputs(segment_start_ns)
        self._unit = float(inputs["price_unit"][0])
        self._running, computed = PROGRAM.open(inputs)
        self._running_segment = segment_start_ns
        return computed

    def _computed(self) -> Array:
        """Values of all the bars kept, as they stand."""
        return PROGRAM.compute(self._inputs(self.timeframe.segment_start(self._last_open_time)))

    def _inputs(self, segment_start_ns: int) -> dict[str, Array]:
        first = max(0, self._history.bars.position(segment_start_ns) - WARM_UP_BARS)
        bars = self._history.bars[first:]
        unit = price_unit(float(bars.column("close")[0]))
        return program_inputs(bars, self._history.reference_close[first:], unit)

    def _input(self, bar: Bar, reference_bar: Bar | None) -> Sequence[float]:
        reference = bar if self.is_reference else reference_bar
        return program_input(bar, MISSING if reference is None else reference.close, self._unit)


def _full(computed: Sequence[float]) -> Values:
    row = [MISSING] * len(FEATURES)
    for index, value in zip(COMPUTED_INDEX, computed, strict=True):
        row[index] = value
    return tuple(row)
