"""Snapshots of L2 books on their way to a feature worker: the last of each bar, and no more."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from engine.domain.market import BookSnapshot
from engine.domain.timeframe import Timeframe
from engine.features.books import age
from engine.metrics import ERRORS

KEPT_BOOKS = 20_000
"""Snapshots kept to be told again to a worker that restarted, less than half a kilobyte each."""


class BookQueue:
    """Keeps of each market and bar the last snapshot, for that is all that features look at.

    The bars are those of the finest timeframe: every coarser one ends with one of them. So what
    waits does not grow with the number of snapshots. Where a worker is away for longer than
    `KEPT_BOOKS` last, the oldest are dropped and counted (``engine_errors_total``, kind
    ``book_not_told``): the store has them, and a restarted worker reads it.

    Parameters
    ----------
    instruments
        Whose snapshots are wanted; others' are passed over.
    timeframes
        Those of the features.
    """

    def __init__(self, instruments: Collection[str], timeframes: Collection[str]) -> None:
        self._instruments = instruments
        self._step = min((Timeframe(name).ns for name in timeframes), default=0)
        self._kept: dict[tuple[str, int], BookSnapshot] = {}
        self._waiting: set[tuple[str, int]] = set()

    def put(self, snapshots: Iterable[BookSnapshot]) -> None:
        """Queue snapshots, cut to their best levels."""
        if not self._step:
            return
        for snapshot in snapshots:
            if snapshot.instrument not in self._instruments:
                continue
            key = (snapshot.instrument, (snapshot.as_of - 1) // self._step)
            known = self._kept.get(key)
            if known is None or age(snapshot) >= age(known):
                self._kept[key] = _top(snapshot)
                self._waiting.add(key)
        while len(self._kept) > KEPT_BOOKS:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            if oldest in self._waiting:
                self._waiting.remove(oldest)
                ERRORS.labels("stream", "book_not_told").inc()

    def take(self) -> tuple[BookSnapshot, ...]:
        """Return what waits, ascending in time, and keep it to be told again."""
        waiting, self._waiting = self._waiting, set()
        return _ascending(self._kept[key] for key in waiting)

    def take_all(self) -> tuple[BookSnapshot, ...]:
        """Return all that is kept, what waits among it, ascending in time."""
        self._waiting.clear()
        return _ascending(self._kept.values())


def _top(snapshot: BookSnapshot) -> BookSnapshot:
    return msgspec.structs.replace(
        snapshot,
        bid_prices=snapshot.bid_prices[:1],
        bid_amounts=snapshot.bid_amounts[:1],
        ask_prices=snapshot.ask_prices[:1],
        ask_amounts=snapshot.ask_amounts[:1],
    )


def _ascending(snapshots: Iterable[BookSnapshot]) -> tuple[BookSnapshot, ...]:
    return tuple(sorted(snapshots, key=_time_and_name))


def _time_and_name(snapshot: BookSnapshot) -> tuple[int, str]:
    return snapshot.as_of, snapshot.instrument
