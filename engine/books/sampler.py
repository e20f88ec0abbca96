"""When books are looked at, and what is kept of them."""

from __future__ import annotations

from engine.books.keeper import BookKeeper
from engine.books.measures import snapshot_of
from engine.domain.market import BookDelta, BookSnapshot, BookUpdate


class BookSampler:
    """Takes a snapshot of every book at the end of each interval of our time in which it changed.

    A snapshot holds every update received before the interval's end and none after, and its
    `as_of` is that end: whenever it is asked for, live or in a replay, it is the same.

    Parameters
    ----------
    every_ns
        Length of an interval, nanoseconds, at least 1.
    levels
        Levels a side in a snapshot, at least 1.
    """

    def __init__(self, every_ns: int, levels: int) -> None:
        self._every_ns = every_ns
        self._levels = levels
        self._changed: dict[str, int] = {}

    def before(self, keeper: BookKeeper, update: BookUpdate) -> list[BookSnapshot]:
        """Return the snapshot of the interval that an update, not applied yet, shows to be over."""
        interval = self._changed.get(update.instrument)
        if interval is None or update.receive_time // self._every_ns <= interval:
            return []
        return self._take(keeper, update.instrument)

    def applied(self, update: BookUpdate) -> None:
        """Take note that an update was applied."""
        self._changed[update.instrument] = update.receive_time // self._every_ns

    def due(self, keeper: BookKeeper, now: int) -> list[BookSnapshot]:
        """Return the snapshots of books whose interval is over though nothing came after it.

        Parameters
        ----------
        keeper
            The books.
        now
            UTC nanoseconds, by the clock that stamps receive times.
        """
        current = now // self._every_ns
        over = sorted(name for name, interval in self._changed.items() if interval < current)
        return [snapshot for name in over for snapshot in self._take(keeper, name)]

    def _take(self, keeper: BookKeeper, instrument: str) -> list[BookSnapshot]:
        as_of = (self._changed.pop(instrument) + 1) * self._every_ns
        book = keeper.book(instrument)
        if book is None:
            return []  # void since: what it held then cannot be told any more
        snapshot = snapshot_of(book, keeper.exchange, instrument, self._levels, as_of)
        return [] if snapshot is None else [snapshot]


def delta_of(update: BookUpdate, epoch: int) -> BookDelta:
    """Make the row of one applied update.

    Parameters
    ----------
    update
        As `BookKeeper.take` returned it.
    epoch
        `OrderBook.epoch` of the book that it was applied to.
    """
    return BookDelta(
        exchange=update.exchange,
        instrument=update.instrument,
        is_snapshot=update.is_snapshot,
        bid_prices=tuple(price for price, _ in update.bids),
        bid_amounts=tuple(amount for _, amount in update.bids),
        ask_prices=tuple(price for price, _ in update.asks),
        ask_amounts=tuple(amount for _, amount in update.asks),
        sequence=update.last_sequence or 0,
        epoch=epoch,
        exchange_time=update.exchange_time,
        receive_time=update.receive_time,
    )
