"""One stream's connections to its venue, as one: a loop for each group of channels."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from engine.actors.listing_watch import ListingWatch
from engine.books.keeper import BookKeeper
from engine.domain.instrument import first_generation
from engine.domain.market import Channel, Gap, GapCause, Listing, Trade
from engine.errors import StoreError, VenueError
from engine.exchanges.base import Exchange
from engine.exchanges.listings import has_left
from engine.exchanges.stream import StreamLoop
from engine.log import OncePerKind
from engine.metrics import BROKEN_FEEDS, ERRORS, LIVE_BOOKS

LISTINGS_RETRY_S = 5.0
"""Least pause between two looks at the venue's listings, however many wait for one."""

MOST_TOLD = 100
"""Broken feeds that a report names; all are counted."""

_SUMS = {
    "frames": "frames",
    "bad_frames": "bad",
    "duplicates": "duplicates",
    "out_of_order": "out_of_order",
    "reconnects": "reconnects",
    "rotations": "rotations",
    "repairs_waiting": "repairs_waiting",
    "repaired": "repaired",
    "live_books": "live_books",
    "checksums": "checksums",
}
"""Keys of `Connections.details` that add up -> what they sum of `StreamStatus`."""


def channel_groups(exchange: Exchange, channels: Iterable[Channel]) -> list[tuple[Channel, ...]]:
    """Return the channels of each connection: of those that the venue offers, each group."""
    groups: dict[str, tuple[Channel, ...]] = {}
    for channel in channels:
        if channel in exchange.channels:
            group = exchange.channel_group(channel)
            groups[group] = (*groups.get(group, ()), channel)
    return list(groups.values())


class Connections:
    """Runs a stream's loops and speaks for all of them.

    Parameters
    ----------
    exchange
        Name of the venue.
    loops
        One for each group of channels; none before the stream runs.
    """

    def __init__(self, exchange: str, loops: Sequence[StreamLoop] = ()) -> None:
        self._exchange = exchange
        self._loops = list(loops)
        self._overflowed: dict[StreamLoop, tuple[BookKeeper, int]] = {}
        self._once = OncePerKind(logging.getLogger("engine.connections"))

    async def run(self) -> None:
        """Stream until `stop`, or to the end of every recording.

        Raises
        ------
        Exception
            What a loop raised; all have ended then.
        """
        async with asyncio.TaskGroup() as tasks:
            for loop in self._loops:
                tasks.create_task(loop.run())

    async def stop(self) -> None:
        """Close every connection, and hand on what was received."""
        await asyncio.gather(*(loop.stop() for loop in self._loops))

    def repair(self, gaps: Sequence[Gap]) -> None:
        """Fetch the trades of gaps that an earlier run left open."""
        for loop in self._trading():
            loop.repair(gaps)

    def offer(self, trades: Sequence[Trade]) -> bool:
        """Take trades that a second stream received; False where they are to be kept there."""
        return all(loop.offer(trades) for loop in self._trading())

    def _trading(self) -> list[StreamLoop]:
        return [loop for loop in self._loops if "trades" in loop.channels]

    async def follow(
        self, listings: ListingWatch, instruments: Iterable[str], every_s: float
    ) -> None:
        """Follow delistings and relistings; at once where a delisted instrument trades."""
        following = {name: name for name in instruments}
        while True:
            await self._until_due(every_s)
            try:
                listed = await listings.look()
            except (VenueError, StoreError) as error:
                ERRORS.labels("listings", self._exchange).inc()
                self._once.warn("listings", f"{self._exchange}: not looked at: {error}")
                await asyncio.sleep(LISTINGS_RETRY_S)
                continue
            for first, name in following.items():
                row = listed.get(first_generation(first))
                if row is not None and (row.instrument != name or has_left(row)):
                    is_final = row.instrument == name and row.status == "delisted"
                    self._leaves(name, listings.ended_at(name), is_final=is_final)
                if row is None or row.status == "delisted":
                    self._delist(name)
                elif row.instrument != name or row.status == "trading":
                    self._relist(name, row)
                    following[first] = row.instrument
            # While a delisted instrument trades on, every trade of it asks for a look.
            await asyncio.sleep(LISTINGS_RETRY_S)

    def _leaves(self, name: str, ended_at: int | None, *, is_final: bool) -> None:
        for loop in self._trading():
            loop.leaves(name, ended_at, is_final=is_final)

    def _delist(self, name: str) -> None:
        for loop in self._loops:
            loop.delist(name)

    def _relist(self, name: str, row: Listing) -> None:
        for loop in self._loops:
            loop.relist(name, row.instrument, row.listed_at)

    async def _until_due(self, every_s: float) -> None:
        """Wait until the time has come, or a delisted instrument trades."""
        waits = [asyncio.ensure_future(loop.unlisted.wait()) for loop in self._loops]
        try:
            await asyncio.wait(waits, timeout=every_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for loop in self._loops:
            loop.unlisted.clear()

    # -- telling -------------------------------------------------------------------------

    @property
    def are_up(self) -> bool:
        """Whether there are any, and all are connected."""
        return bool(self._loops) and all(loop.is_up for loop in self._loops)

    @property
    def have_ended(self) -> bool:
        """Whether all came to the end of their recordings."""
        return all(loop.status().ended for loop in self._loops)

    def broken(self) -> dict[tuple[str, Channel], GapCause]:
        """Return the feeds that are down, silent or not whole now, and why."""
        return {feed: cause for loop in self._loops for feed, cause in loop.broken().items()}

    def export(self) -> None:
        """Bring the gauges of what is wrong up to date, and count what books dropped."""
        broken = Counter(channel for _, channel in self.broken())
        for loop in self._loops:
            for channel in loop.channels:
                BROKEN_FEEDS.labels(self._exchange, channel).set(broken[channel])
            if loop.books is not None and "book" in loop.channels:
                LIVE_BOOKS.labels(self._exchange).set(len(loop.books.live))
                self._count_overflow(loop, loop.books)

    def _count_overflow(self, loop: StreamLoop, books: BookKeeper) -> None:
        known, counted = self._overflowed.get(loop, (books, 0))
        new = books.overflowed - (counted if known is books else 0)
        ERRORS.labels("stream", "book_overflow").inc(new)
        self._overflowed[loop] = books, books.overflowed

    def details(self) -> dict[str, Any]:
        """Return what a report tells of them; empty before the stream runs."""
        statuses = [loop.status() for loop in self._loops]
        if not statuses:
            return {}
        broken = sorted(self.broken().items())
        return {
            "connected": all(status.connected for status in statuses),
            "ended": all(status.ended for status in statuses),
            **{key: sum(getattr(each, name) for each in statuses) for key, name in _SUMS.items()},
            "stale": len({name for (name, _), _ in broken}),
            "broken_feeds": [
                {"instrument": name, "channel": channel, "cause": cause}
                for (name, channel), cause in broken[:MOST_TOLD]
            ],
        }
