"""Cost of keeping an L2 book: an update applied, verified, and looked at.

``python -m benchmarks.books [--levels N] [--updates N] [--rounds N] [FILE ...]``

Without files the updates are made up: each changes `CHANGES` prices, most of them near the best.
A file is a recording of one market of Binance. The reference is the same book kept in two
dictionaries and sorted whenever it is looked at. One thread, no I/O; the best of the rounds.
"""

from __future__ import annotations

import argparse
import heapq
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.machine import describe_machine
from engine.books.book import OrderBook
from engine.books.keeper import BookKeeper
from engine.domain.market import BookUpdate, Level
from engine.exchanges.recorded import inspect_recordings
from engine.exchanges.recording import read_frames

CHANGES = 30
"""Prices that a made-up update changes: what Binance spot's BTC-USDT has in 100 ms."""
INSTRUMENT = "BTC-USDT"


class SortedWhenAsked:
    """The reference: nothing is in order until somebody asks."""

    def __init__(self) -> None:
        self._sides: tuple[dict[float, float], dict[float, float]] = ({}, {})

    def apply(self, update: BookUpdate) -> None:
        """Change the book."""
        if update.is_snapshot:
            self._sides = ({}, {})
        for side, levels in zip(self._sides, (update.bids, update.asks), strict=True):
            for price, amount in levels:
                if amount:
                    side[price] = amount
                else:
                    side.pop(price, None)

    def best(self) -> tuple[list[Level], list[Level]]:
        """Return the ten best levels of both sides."""
        bids, asks = self._sides
        return heapq.nlargest(10, bids.items()), heapq.nsmallest(10, asks.items())


def made_up(levels: int, count: int) -> list[BookUpdate]:
    """Make a snapshot and `count` changes of a book that keeps about `levels` a side."""
    draw = random.Random(1)
    bids = [(50_000.0 - tick / 100, 1.0) for tick in range(levels)]
    asks = [(50_000.01 + tick / 100, 1.0) for tick in range(levels)]
    updates = [BookUpdate("made_up", INSTRUMENT, True, bids, asks, None, 1, None, None, 0)]
    for number in range(2, count + 2):
        sides: tuple[list[Level], list[Level]] = ([], [])
        for _ in range(CHANGES):
            side = draw.randrange(2)
            tick = min(int(draw.expovariate(8 / levels)), levels - 1)
            amount = draw.choice((0.0, draw.uniform(0.001, 5.0)))
            sides[side].append(((bids, asks)[side][tick][0], amount))
        updates.append(
            BookUpdate("made_up", INSTRUMENT, False, *sides, number, number, None, None, 0)
        )
    return updates


def recorded(path: Path) -> list[BookUpdate]:
    """Read the updates of a recording, as a keeper applies them."""
    (recording,) = inspect_recordings([path])
    adapter = recording.reader()
    kept = keeper(recording.exchange, recording.instruments[0])
    applied = []
    for receive_time, frame in read_frames(path):
        for event in adapter.parse(frame, receive_time):
            if isinstance(event, BookUpdate):
                applied += kept.take(event)
    return applied


def keeper(exchange: str, instrument: str) -> BookKeeper:
    """Make a keeper of Binance's kind: numbered changes, a snapshot beside them."""
    return BookKeeper(
        exchange, [instrument], levels=0, checksum=None, checksum_levels=0, snapshots="rest"
    )


def microseconds(updates: Sequence[BookUpdate], rounds: int, task: Callable[[], object]) -> float:
    """Return the best of the rounds, a mean per update."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        task()
        best = min(best, time.perf_counter() - start)
    return best / len(updates) * 1e6


def measure(name: str, updates: Sequence[BookUpdate], rounds: int) -> None:
    """Print one line of figures."""
    book = OrderBook()

    def apply() -> None:
        for update in updates:
            book.apply(update)

    def look() -> None:
        for update in updates:
            book.apply(update)
            book.bids(10), book.asks(10)

    def keep() -> None:
        kept = keeper(updates[0].exchange, updates[0].instrument)
        snapshot, first, *others = updates
        for update in (first, snapshot, *others):
            kept.take(update)
        if kept.stale or not kept.live:
            raise RuntimeError(f"the keeper did not take every update of {name}")

    def sort_when_asked() -> None:
        reference = SortedWhenAsked()
        for update in updates:
            reference.apply(update)
            reference.best()

    changes = sum(len(update.bids) + len(update.asks) for update in updates[1:])
    plain, looked, kept, sorting = (
        microseconds(updates, rounds, task) for task in (apply, look, keep, sort_when_asked)
    )
    depth = "+".join(map(str, book.depth))
    print(
        f"{name}: {len(updates)} updates of {changes / max(len(updates) - 1, 1):.0f} levels, depth "
        f"{depth}; apply {plain:.1f} us, verified by a keeper {kept:.1f} us, apply and ten best "
        f"{looked:.1f} us, sorted when asked {sorting:.1f} us: {sorting / looked:.1f} x"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--levels", type=int, default=1000)
    parser.add_argument("--updates", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(describe_machine())
    if not asked.files:
        measure(
            f"{asked.levels} levels made up", made_up(asked.levels, asked.updates), asked.rounds
        )
    for path in asked.files:
        measure(path.name, recorded(path), asked.rounds)


if __name__ == "__main__":
    main()
