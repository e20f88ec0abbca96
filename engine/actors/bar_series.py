"""One market's bars on their way to features: pending candles, flat bars, revisions. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from engine.domain.delisting import Delisting
from engine.domain.instrument import Market
from engine.domain.market import BookSnapshot, Candle
from engine.domain.timeframe import Timeframe
from engine.features.books import BarBook, LiveBooks
from engine.features.grid import Bar, regular_grid
from engine.features.live import LiveFeatures, Values

MADE_BARS = 8
"""Bars whose values are at hand when a snapshot of their book comes late: it does where our clock
is behind the venue's. For older ones they are computed again."""

NEVER = 2**62
"""Nanoseconds."""


@dataclass(frozen=True, slots=True)
class NewRow:
    """Features of one bar, not yet a row."""

    market: Market
    timeframe: Timeframe
    open_time: int
    close: float
    values: Values
    is_closed: bool


@dataclass(slots=True)
class BarSeries:
    """Feeds one market's candles of one timeframe into its features, in order of time.

    An interval becomes a bar once the stream says that it is over: the candle that came for
    it, or a flat bar where none did. A market that is delisted, or was silent for too long, has no
    rows until it trades again, as in a batch run (`engine.features.universe.belongs`).
    """

    live: LiveFeatures
    silence_ns: int = NEVER
    """After how long without a candle it has no rows."""
    delisting: Delisting | None = None
    pending: dict[int, Candle] = field(default_factory=dict)
    """Open time -> candle that is closed and not yet a bar."""
    forming: Candle | None = None
    """Newest state of the bar that forms."""
    is_previewed: bool = True
    """Whether its features were made since it changed."""
    books: LiveBooks = field(init=False)
    """What the L2 book said at the end of each bar of the segment, and of the one that forms."""
    made: dict[int, NewRow] = field(default_factory=dict)
    """Open time -> the rows made last."""
    _traded: int = 0
    """Open time of the newest bar with trades."""
    _absent: tuple[int, int] = (0, -1)
    """Open times of the first and last bar of the newest stretch without rows."""

    def __post_init__(self) -> None:
        self.books = LiveBooks(self.live.timeframe)

    @property
    def market(self) -> Market:
        """Whose bars these are."""
        return self.live.market

    @property
    def is_gone(self) -> bool:
        """Whether there is no row of it to rank: none for its newest bar, and no bar that forms."""
        next_open = self.live.next_open_time
        if next_open is None:
            return True
        if self.forming is not None and self.forming.open_time == next_open:
            return False
        return self._absent[1] + self.live.timeframe.ns == next_open

    @property
    def next_close(self) -> int | None:
        """End of the bar to come next; None where no candle is known at all."""
        next_open = self.live.next_open_time
        if next_open is None:
            next_open = min(self.pending, default=None)
        return None if next_open is None else next_open + self.live.timeframe.ns

    def load(
        self,
        candles: list[Candle],
        start: int,
        reference: BarSeries | None,
        books: Mapping[int, BarBook] | None = None,
        segment: int = 0,
    ) -> NewRow | None:
        """Start from stored candles; return the newest bar's features, if it is of the segment.

        Parameters
        ----------
        candles
            Of this market and timeframe, ascending; from before `start`, so that intervals
            without trades at `start` have a close to take.
        start
            Where the warm-up of the segment begins, UTC nanoseconds.
        reference
            The reference's series, loaded; None where there is no reference.
        books
            By open time, what is stored of the L2 book at the end of bars, and of the one that
            forms.
        segment
            Where it begins. Bars before are its warm-up, with or without trades: too few were read
            to make rows of them.
        """
        self.books.load(books or {})
        self.made.clear()
        if not candles:
            return None
        self._traded = candles[-1].open_time
        grid = regular_grid(candles, start, max(candles[-1].close_time, segment))
        if len(grid) == 0:
            return None
        beside = None if reference is None or self.live.is_reference else reference.live.bars
        values = self.live.open(grid, beside)
        last = grid.bar(len(grid) - 1)
        if last.open_time < segment:
            return None
        row = self._row(last, tuple(values[-1].tolist()), is_closed=True)
        self._keep(row)
        return row

    def take(self, candle: Candle) -> list[NewRow]:
        """Take a closed candle: it waits for its turn, or corrects a bar that had it.

        Returns
        -------
        list of NewRow
            Bars whose features the correction changed.
        """
        next_open = self.live.next_open_time
        if next_open is None or candle.open_time >= next_open:
            self.pending[candle.open_time] = candle
            return []
        bar = Bar.from_candle(candle)
        if _is_same(self.bar_at(bar.open_time), bar):
            return []
        self._traded = max(self._traded, bar.open_time)
        return self._revised(self.live.revise(bar))

    def take_reference(self, bar: Bar) -> list[NewRow]:
        """Take a bar of the reference that came, or changed, after ours was made."""
        next_open = self.live.next_open_time
        if next_open is None or bar.open_time >= next_open:
            return []
        return self._revised(self.live.revise(reference_bar=bar))

    def advance(self, through: int, reference: BarSeries | None) -> list[NewRow]:
        """Make bars of every interval that ends at or before `through`."""
        rows = []
        while (close := self.next_close) is not None and close <= through:
            open_time = close - self.live.timeframe.ns
            candle = self.pending.pop(open_time, None)
            bar = self.live.flat_bar() if candle is None else Bar.from_candle(candle)
            beside = None if reference is None else reference.bar_at(open_time)
            values = self.live.push(bar, beside)
            if candle is not None:
                self._traded = open_time
            elif self._is_over(open_time, self._traded):
                self._leave_out(open_time)
                continue
            rows.append(self._row(bar, values, is_closed=True))
            self._keep(rows[-1])
        return rows

    def _is_over(self, open_time: int, traded: int) -> bool:
        """Say whether it has no row for a flat bar, which follows one that `traded`."""
        its = self.delisting
        is_delisted = its is not None and (
            its.ended <= open_time and its.known_at <= open_time + self.live.timeframe.ns
        )
        return is_delisted or open_time - traded > self.silence_ns

    def _leave_out(self, open_time: int) -> None:
        first, last = self._absent
        follows = last + self.live.timeframe.ns == open_time
        self._absent = (first if follows else open_time, open_time)
        self.books.forget_before(self.live.timeframe.segment_start(open_time))

    def _is_left_out(self, bar: Bar) -> bool:
        """Say whether a kept bar has no row; a candle that came late may have changed that."""
        if not bar.filled:
            return False
        bars = self.live.bars
        before = np.flatnonzero(~bars.filled[: bars.position(bar.open_time)])
        if len(before):
            return self._is_over(bar.open_time, int(bars.open_time[before[-1]]))
        # It traded last before the bars that are kept: as it was when the bar was made.
        first, last = self._absent
        return first <= bar.open_time <= last

    def take_books(self, snapshots: Iterable[BookSnapshot]) -> list[NewRow]:
        """Take snapshots of the L2 book: each belongs to the bar that it was taken in.

        Returns
        -------
        list of NewRow
            Bars that were made before and have other values now. Of those of an earlier segment
            only the last few: the others are the batch run's to compute again.
        """
        took = map(self.books.take, snapshots)
        changed = {open_time for open_time in took if open_time is not None}
        if changed and self.live.next_open_time is None:
            # A market that has not traded yet: no bar will come to clear up.
            self.books.forget_before(self.live.timeframe.segment_start(max(changed)))
        if self.forming is not None and self.forming.open_time in changed:
            self.is_previewed = False
        rows = []
        for open_time in sorted(changed):
            row = self.made.get(open_time) or self._made_again(open_time)
            if row is not None:
                rows.append(replace(row, values=self.books.fill(open_time, row.values)))
        return rows

    def _made_again(self, open_time: int) -> NewRow | None:
        bar, values = self.bar_at(open_time), self.live.values_at(open_time)
        if bar is None or values is None or self._is_left_out(bar):
            return None
        return self._row(bar, values, is_closed=True)

    def _keep(self, row: NewRow) -> None:
        """Keep a row that was made, and no more books than the segment's and the rows' kept."""
        self.made[row.open_time] = row
        if len(self.made) > MADE_BARS:
            del self.made[min(self.made)]
        segment = self.live.timeframe.segment_start(row.open_time)
        self.books.forget_before(min(segment, *self.made))

    def preview(self, reference: BarSeries | None) -> NewRow | None:
        """Return the features as they would be if the forming bar closed now."""
        candle = self.forming
        if candle is None or self.is_previewed or candle.open_time != self.live.next_open_time:
            return None
        self.is_previewed = True
        bar = Bar.from_candle(candle)
        beside = None if reference is None else reference.forming_bar(bar.open_time)
        return self._row(bar, self.live.preview(bar, beside), is_closed=False)

    def bar_at(self, open_time: int) -> Bar | None:
        """Return the bar of an interval, if it is kept."""
        bars = self.live.bars
        index = bars.position(open_time)
        if index == len(bars) or int(bars.open_time[index]) != open_time:
            return None
        return bars.bar(index)

    def forming_bar(self, open_time: int) -> Bar | None:
        """Return the bar of an interval that is over or forms."""
        if self.forming is not None and self.forming.open_time == open_time:
            return Bar.from_candle(self.forming)
        return self.bar_at(open_time)

    def form(self, candle: Candle) -> None:
        """Take a newer state of the bar that forms."""
        self.forming, self.is_previewed = candle, False

    def _revised(self, changed: list[tuple[int, Values]]) -> list[NewRow]:
        rows = []
        for open_time, values in changed:
            bar = self.bar_at(open_time)
            if bar is not None and not self._is_left_out(bar):
                rows.append(self._row(bar, values, is_closed=True))
                if open_time in self.made:
                    self.made[open_time] = rows[-1]
        return rows

    def _row(self, bar: Bar, values: Values, *, is_closed: bool) -> NewRow:
        filled = self.books.fill(bar.open_time, values)
        return NewRow(self.market, self.live.timeframe, bar.open_time, bar.close, filled, is_closed)


def _is_same(known: Bar | None, bar: Bar) -> bool:
    """Say whether two bars hold the same numbers; missing equals missing."""
    return known is not None and repr(known) == repr(bar)
