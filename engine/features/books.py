"""The L2 book in features: each bar has what its last snapshot says, and nothing older.

The bar ``[open_time, close_time)`` has the last snapshot with ``open_time < as_of <=
close_time``: what was known when it closed. A bar without one has no values, neither zero nor
those of the bar before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from engine.books.measures import microprice_gap_bps
from engine.domain.market import BookSnapshot
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import FEATURES
from engine.indicators.base import Array

_BOOK_FEATURES = tuple((index, f) for index, f in enumerate(FEATURES) if f.kind == "book")

BOOK_FEATURE_NAMES = tuple(feature.name for _, feature in _BOOK_FEATURES)
"""The catalogue's measures of the book, in its order."""


class BarBook(NamedTuple):
    """What the last snapshot of a bar says."""

    as_of: int
    """When it was taken, UTC nanoseconds."""
    receive_time: int
    """Of the newest update in it: of two of one moment (redundant streams), the fresher counts."""
    spread_bps: float
    imbalance: float
    microprice_gap_bps: float

    @classmethod
    def of(cls, snapshot: BookSnapshot) -> Self:
        """Take what features need of a snapshot."""
        gap = microprice_gap_bps(
            snapshot.bid_prices[0], snapshot.ask_prices[0], snapshot.microprice
        )
        return cls(
            snapshot.as_of, snapshot.receive_time, snapshot.spread_bps, snapshot.imbalance, gap
        )

    @classmethod
    def of_features(cls, values: Iterable[float], as_of: int) -> Self:
        """Take what a stored row told, in the order of `BOOK_FEATURE_NAMES`."""
        measures = (feature.measure for _, feature in _BOOK_FEATURES)
        return cls(as_of=as_of, receive_time=0, **dict(zip(measures, values, strict=True)))

    @property
    def features(self) -> tuple[float, ...]:
        """Its values, in the order of `BOOK_FEATURE_NAMES`."""
        return tuple(getattr(self, feature.measure) for _, feature in _BOOK_FEATURES)


def bar_of(as_of: int, timeframe: Timeframe) -> int:
    """Return the open time of the bar that a snapshot belongs to.

    Examples
    --------
    >>> minute = Timeframe.M1.ns
    >>> [bar_of(moment, Timeframe.M1) // minute for moment in (5 * minute, 5 * minute + 1)]
    [4, 5]
    """
    return timeframe.floor(as_of - 1)


def age(book: BookSnapshot | BarBook) -> tuple[int, int]:
    """Return what orders snapshots of one market: the largest is the last."""
    return book.as_of, book.receive_time


def last_books(snapshots: Iterable[BookSnapshot], timeframe: Timeframe) -> dict[int, BarBook]:
    """Return the last book of each bar, by its open time.

    Parameters
    ----------
    snapshots
        Of one market, in any order.
    timeframe
        Of the bars.
    """
    last: dict[int, BookSnapshot] = {}
    for snapshot in snapshots:
        open_time = bar_of(snapshot.as_of, timeframe)
        known = last.get(open_time)
        if known is None or age(snapshot) >= age(known):
            last[open_time] = snapshot
    return {open_time: BarBook.of(snapshot) for open_time, snapshot in last.items()}


def fill_books(rows: Array, open_time: NDArray[np.int64], books: Mapping[int, BarBook]) -> None:
    """Write the books' values into rows of features.

    Parameters
    ----------
    rows
        Shape (n, number of features); changed in place where a bar has a book.
    open_time
        Of each row, UTC nanoseconds, shape (n,).
    books
        Of `last_books`.
    """
    for row, time in enumerate(open_time.tolist()):
        book = books.get(time)
        if book is not None:
            for (index, _), value in zip(_BOOK_FEATURES, book.features, strict=True):
                rows[row, index] = value


class LiveBooks:
    """The last book of each bar of one market and timeframe, as snapshots come.

    In whatever order they come, once all are there it holds what `last_books` answers.

    Parameters
    ----------
    timeframe
        Of the bars.
    """

    def __init__(self, timeframe: Timeframe) -> None:
        self._timeframe = timeframe
        self._books: dict[int, BarBook] = {}

    def __len__(self) -> int:
        return len(self._books)

    def load(self, books: Mapping[int, BarBook]) -> None:
        """Start from what is stored, by open time, whatever was kept before."""
        self._books = dict(books)

    def take(self, snapshot: BookSnapshot) -> int | None:
        """Take a snapshot; answers the open time of its bar if that bar's values changed."""
        open_time = bar_of(snapshot.as_of, self._timeframe)
        known = self._books.get(open_time)
        if known is not None and age(snapshot) < age(known):
            return None
        book = self._books[open_time] = BarBook.of(snapshot)
        return open_time if known is None or known.features != book.features else None

    def fill(self, open_time: int, values: tuple[float, ...]) -> tuple[float, ...]:
        """Return a bar's values, in the catalogue's order, with those of its book."""
        book = self._books.get(open_time)
        if book is None:
            return values
        filled = list(values)
        for (index, _), value in zip(_BOOK_FEATURES, book.features, strict=True):
            filled[index] = value
        return tuple(filled)

    def forget_before(self, open_time: int) -> None:
        """Forget the books of bars that open before a time."""
        while (first := next(iter(self._books), open_time)) < open_time:
            del self._books[first]
