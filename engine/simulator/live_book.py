"""A book that somebody follows: what was sent of it, and what leads to its next state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine.domain.market import Trade
from engine.simulator.books import BookProcess, BookState, Levels
from engine.simulator.draws import Integers
from engine.simulator.listing import Place

_SIDES = (0, 1)


class BookChange(NamedTuple):
    """What became of a book between two messages."""

    bids: Levels
    """Changed levels, best first; amount 0 deletes."""
    asks: Levels
    first_sequence: int
    last_sequence: int
    previous_sequence: int
    """`last_sequence` of the last message before that was not empty."""
    number: int
    """Counts the messages of this book and depth without a hole."""
    time_ns: int
    """When the new state began, UTC nanoseconds by the market's own clock."""


class LiveBook:
    """A book that somebody follows: its state as last sent, and the way to the next.

    Parameters
    ----------
    place
        Which market.
    process
        Where its states come from.
    last
        Its last trade at or before the start of `step`.
    step
        Number of the step that it begins with.
    """

    def __init__(self, place: Place, process: BookProcess, last: Trade, step: int) -> None:
        self.place = place
        self.instrument = last.instrument
        """Canonical name, generation included."""
        self.step = step
        self._process = process
        self.state = process.state(last, step)
        self.sequence = process.sequence(place, step)
        self._before = self.state
        self._previous = self.sequence
        self._numbers: dict[int, int] = {}
        self._sent: dict[int, int] = {}
        self._changes: dict[int, BookChange] = {}
        self._views: dict[int, tuple[Levels, Levels]] = {}
        self._views_before: dict[int, tuple[Levels, Levels]] = {}

    @property
    def time_ns(self) -> int:
        """When its state began, UTC nanoseconds."""
        return self._process.step_start(self.step)

    def advance(self, last: Trade, step: int) -> None:
        """Move on to a later step."""
        self._before, self._views_before = self.state, self._views
        self._previous = self.sequence
        self.state, self._views, self._changes = self._process.state(last, step), {}, {}
        self.step, self.sequence = step, self._process.sequence(self.place, step)

    def levels(self, depth: int) -> tuple[Levels, Levels]:
        """Return its best `depth` levels a side; 0 returns all."""
        if depth not in self._views:
            self._views[depth] = self.state.levels(depth)
        return self._views[depth]

    def sent(self, depth: int) -> int:
        """Return the sequence number of the last message of a depth."""
        return self._sent.setdefault(depth, self.sequence)

    def number(self, depth: int) -> int:
        """Return how many messages of a depth there were, counted from a number that rises."""
        return self._numbers.setdefault(depth, self.step)

    def change(self, depth: int) -> BookChange:
        """Return what the last `advance` changed within the best `depth` levels; 0 is all."""
        if depth not in self._changes:
            self._changes[depth] = self._compute_change(depth)
        return self._changes[depth]

    def _compute_change(self, depth: int) -> BookChange:
        if depth == 0 or depth >= len(self.state.bid_ticks):
            bids, asks = (_side_change(self._before, self.state, side) for side in _SIDES)
        else:
            before, after = self._views_before, self.levels(depth)
            if depth not in before:
                before[depth] = self._before.levels(depth)
            bids = _difference(before[depth][0], after[0], 0)
            asks = _difference(before[depth][1], after[1], 1)
        number, previous = self.number(depth), self._sent.get(depth, self._previous)
        if bids or asks:
            number = self._numbers[depth] = number + 1
            self._sent[depth] = self.sequence
        return BookChange(bids, asks, previous + 1, self.sequence, previous, number, self.time_ns)


def _side_change(before: BookState, after: BookState, side: int) -> Levels:
    """Compare one side of two whole books, best first."""
    old_ticks, old_lots = before[2 * side : 2 * side + 2]
    ticks, lots = after[2 * side : 2 * side + 2]
    if old_ticks[0] == ticks[0]:
        places = np.flatnonzero(old_lots != lots)
        return list(zip(ticks[places].tolist(), lots[places].tolist(), strict=True))
    sign = -1 if side == 0 else 1
    old_keys, keys = sign * old_ticks, sign * ticks
    changed = np.flatnonzero(_found(old_keys, old_lots, keys) != lots)
    gone = np.flatnonzero((old_lots > 0) & (_found(keys, np.ones_like(keys), old_keys) == 0))
    found = list(zip(ticks[changed].tolist(), lots[changed].tolist(), strict=True))
    found += [(tick, 0) for tick in old_ticks[gone].tolist()]
    return sorted(found, reverse=side == 0)


def _found(keys: Integers, values: Integers, wanted: Integers) -> Integers:
    """Return the values of wanted keys, 0 where they are not among the (ascending) keys."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def _difference(before: Levels, after: Levels, side: int) -> Levels:
    """Return the levels that turn one list into the other, best first."""
    if before == after:
        return []
    old, new = dict(before), dict(after)
    changed = list(new.items() - old.items())
    changed += [(tick, 0) for tick in old.keys() - new.keys()]
    return sorted(changed, reverse=side == 0)
