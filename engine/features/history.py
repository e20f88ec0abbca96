"""The bars that a live market keeps: the warm-up and the segment, and no more."""

from __future__ import annotations

import numpy as np

from engine.features.grid import BAR_FIELDS, Bar, Bars, refill
from engine.indicators.base import MISSING, Array

_FIRST_CAPACITY = 512


class History:
    """Bars of a market beside those of its reference, in arrays that grow by doubling."""

    def __init__(self) -> None:
        self._size = 0
        self._bars = _room(_FIRST_CAPACITY)
        self._reference = _room(_FIRST_CAPACITY)

    def __len__(self) -> int:
        return self._size

    @property
    def last_open_time(self) -> int | None:
        """Open time of the last bar, None where there is none; cheap, for it is asked often."""
        return int(self._bars.open_time[self._size - 1]) if self._size else None

    @property
    def bars(self) -> Bars:
        """The bars kept: a view, not to be written."""
        return self._bars[: self._size]

    @property
    def reference_close(self) -> Array:
        """Close of the reference at each bar, NaN where it has none: a view."""
        return self._reference[: self._size].column("close")

    def replace_all(self, bars: Bars, reference: Bars | None) -> None:
        """Keep these bars only."""
        self._size = 0
        self._bars, self._reference = _room(len(bars)), _room(len(bars))
        self._size = len(bars)
        _write(self._bars, slice(0, len(bars)), bars)
        self._reference.open_time[: len(bars)] = bars.open_time
        self._reference.table[:] = MISSING
        if reference is None or len(reference) == 0:
            return
        _, here, there = np.intersect1d(
            bars.open_time, reference.open_time, assume_unique=True, return_indices=True
        )
        self._reference.table[here] = reference.table[there]
        self._reference.filled[here] = reference.filled[there]

    def append(self, bar: Bar, reference: Bar | None) -> None:
        """Add the next bar."""
        if self._size == len(self._bars):
            self._bars, self._reference = _grown(self._bars), _grown(self._reference)
        self._size += 1
        self._put(self._bars, self._size - 1, bar)
        self._put(self._reference, self._size - 1, reference or _absent(bar.open_time))

    def replace(self, bar: Bar) -> int | None:
        """Put a rebuilt bar in its place, and its close into the flat bars after it.

        Returns
        -------
        int or None
            Its index, None where its time is not kept.
        """
        return self._replace(self._bars, bar)

    def replace_reference(self, bar: Bar) -> int | None:
        """Put a rebuilt (or late) bar of the reference in its place; see `replace`."""
        return self._replace(self._reference, bar)

    def keep_last(self, count: int) -> None:
        """Forget all but the last `count` bars."""
        first = max(0, self._size - count)
        bars, reference = self._bars[first : self._size], self._reference[first : self._size]
        self._bars, self._reference = _room(len(bars)), _room(len(bars))
        _write(self._bars, slice(0, len(bars)), bars)
        _write(self._reference, slice(0, len(bars)), reference)
        self._size = len(bars)

    def _replace(self, kept: Bars, bar: Bar) -> int | None:
        index = int(np.searchsorted(self._bars.open_time[: self._size], bar.open_time))
        if index == self._size or self._bars.open_time[index] != bar.open_time:
            return None
        self._put(kept, index, bar)
        refill(kept[: self._size], index)
        return index

    @staticmethod
    def _put(kept: Bars, index: int, bar: Bar) -> None:
        kept.open_time[index] = bar.open_time
        kept.table[index] = bar.fields
        kept.filled[index] = bar.filled


def _absent(open_time: int) -> Bar:
    """Stands for a bar that the reference does not have."""
    return Bar._make([open_time, *[MISSING] * len(BAR_FIELDS), False])


def _room(bars: int) -> Bars:
    capacity = max(_FIRST_CAPACITY, 2 * bars)
    return Bars(
        np.zeros(capacity, dtype=np.int64),
        np.full((capacity, len(BAR_FIELDS)), MISSING),
        np.zeros(capacity, dtype=np.bool_),
    )


def _grown(kept: Bars) -> Bars:
    wider = _room(len(kept))
    _write(wider, slice(0, len(kept)), kept)
    return wider


def _write(target: Bars, where: slice, source: Bars) -> None:
    target.open_time[where] = source.open_time
    target.table[where] = source.table
    target.filled[where] = source.filled
