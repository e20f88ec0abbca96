"""Keeps a venue's books from its updates: buffer, snapshot, drop stale, apply, verify."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Literal

from engine.books.book import OrderBook
from engine.books.chain import Link, is_reached, link, link_to_answer
from engine.books.fault import BookFault, hole
from engine.books.verifier import BookVerifier, Checksum
from engine.domain.market import BookUpdate
from engine.errors import FrameError

MOST_BUFFERED = 10_000
"""Changes of one book that may wait for its snapshot: more than a quarter of an hour of the
busiest venues' ten a second, and some megabytes."""


class BookKeeper:
    """The books of one connection, each with its own life: one's fault touches no other.

    A book is *live* from a snapshot that fits until an update does not follow, a checksum does
    not match, or the connection ends. What cannot be shown to be whole is never given out.

    Parameters
    ----------
    exchange
        The venue.
    instruments
        Whose books these are.
    levels
        Levels kept a side, 0 for all (`Exchange.book_levels`).
    checksum
        The venue's checksum of the best levels, None where it sends none.
    checksum_levels
        Levels a side that it covers.
    snapshots
        ``stream``: the venue sends a snapshot when subscribed to, and changes follow it.
        ``rest``: changes come by stream; a snapshot is asked for beside it, and is given to
        `take` like any other update.
    most_buffered
        Changes of one book that may wait for a snapshot asked for.
    epochs
        Instrument -> the epoch that a keeper before this one ended in; counting goes on there.

    Examples
    --------
    >>> keeper = BookKeeper(
    ...     "binance", ["BTC-USDT"], levels=0, checksum=None, checksum_levels=0, snapshots="rest")
    >>> change = BookUpdate(
    ...     "binance", "BTC-USDT", False, [(9.0, 0.0)], [], 8, 9, None, None, 0)
    >>> keeper.take(change), keeper.wanted(), keeper.wanted()
    ([], ['BTC-USDT'], [])
    >>> answer = BookUpdate(
    ...     "binance", "BTC-USDT", True, [(9.0, 1.0), (8.0, 5.0)], [(10.0, 2.0)],
    ...     None, 7, None, None, 0)
    >>> keeper.take(answer) == [answer, change]
    True
    >>> keeper.book("BTC-USDT").bids()
    [(8.0, 5.0)]
    """

    def __init__(
        self,
        exchange: str,
        instruments: Iterable[str],
        *,
        levels: int,
        checksum: Checksum | None,
        checksum_levels: int,
        snapshots: Literal["stream", "rest"],
        most_buffered: int = MOST_BUFFERED,
        epochs: Mapping[str, int] | None = None,
    ) -> None:
        self.exchange = exchange
        self._verifier = BookVerifier(checksum, checksum_levels)
        self._is_asked = snapshots == "rest"
        self._most_buffered = most_buffered
        self._levels = levels
        self._kept: dict[str, _Kept] = {}
        for name in instruments:
            self.add(name, (epochs or {}).get(name, 0))
        self._live: set[str] = set()
        self._wanted: dict[str, None] = {}
        self._faults: list[BookFault] = []
        self.stale = 0
        """Updates dropped because a book already held them or could not use them, ever."""
        self.overflowed = 0
        """Changes dropped because too many waited for a snapshot, ever."""

    def add(self, instrument: str, epoch: int = 0) -> None:
        """Keep one more book; nothing happens where it is kept already.

        Parameters
        ----------
        instrument
            Whose it is.
        epoch
            Where counting epochs goes on from.
        """
        if instrument not in self._kept:
            self._kept[instrument] = _Kept(OrderBook(self._levels, epoch))

    # -- what it knows -------------------------------------------------------------------------

    @property
    def live(self) -> AbstractSet[str]:
        """Instruments with a verified book."""
        return self._live

    @property
    def checked(self) -> int:
        """Checksums that matched, ever."""
        return self._verifier.checked

    @property
    def buffered(self) -> int:
        """Changes that wait for a snapshot now."""
        return sum(len(kept.waiting) for kept in self._kept.values())

    def book(self, instrument: str) -> OrderBook | None:
        """Return a live book, to be looked at until the next `take`; None while it is not live."""
        return self._kept[instrument].book if instrument in self._live else None

    def epoch(self, instrument: str) -> int:
        """Return the epoch of the updates that the last `take` of this book applied."""
        return self._kept[instrument].book.epoch

    def faults(self) -> list[BookFault]:
        """Return what went wrong since the last call, oldest first."""
        faults, self._faults = self._faults, []
        return faults

    def wanted(self) -> list[str]:
        """Return whose snapshot to ask for now; each is named once, until `retry` names it again.

        Asked for over REST where snapshots come that way, else by subscribing again.
        """
        wanted = list(self._wanted)
        self._wanted.clear()
        return wanted

    def retry(self, instrument: str) -> None:
        """Name an instrument again: what was asked for its snapshot failed.

        Nothing happens where its book is live, or has nothing to be made of yet.
        """
        if instrument not in self._live and (not self._is_asked or self._kept[instrument].waiting):
            self._wanted[instrument] = None

    def want_missing(self, but: Container[str] = ()) -> None:
        """Name the books whose first snapshot is overdue, where the venue sends it by itself.

        Over REST a snapshot is asked for with the first change, so none is overdue there.

        Parameters
        ----------
        but
            Instruments of which nothing is expected.
        """
        for instrument in self._kept if not self._is_asked else ():
            if instrument not in but:
                self.retry(instrument)

    def disconnected(self) -> None:
        """Void every book: what the socket carried until the next snapshot is lost."""
        for kept in self._kept.values():
            kept.book.clear()
            kept.waiting.clear()
        self._live.clear()
        self._wanted.clear()

    # -- updates -------------------------------------------------------------------------------

    def take(self, update: BookUpdate) -> list[BookUpdate]:
        """Take an update in the order of arrival.

        Parameters
        ----------
        update
            From the stream, or the snapshot that was asked for.

        Returns
        -------
        list of BookUpdate
            What is applied now, in order: the update, a snapshot and what waited for it, or
            nothing.

        Raises
        ------
        FrameError
            Kind ``unknown_symbol`` where this is none of the keeper's instruments.
        """
        kept = self._kept.get(update.instrument)
        if kept is None:
            raise FrameError(
                "unknown_symbol",
                f"{self.exchange} sent a book of {update.instrument}, which is not kept here",
            )
        is_live = update.instrument in self._live
        if update.is_snapshot:
            if is_live and (self._is_asked or _is_repeated(kept, update)):
                self.stale += 1
                return []
            return self._answer(kept, update) if self._is_asked else self._begin(kept, update)
        if is_live:
            return self._change(kept, update)
        if self._is_asked:
            self._wait(kept, update)
        else:
            self.stale += 1
        return []

    def _begin(self, kept: _Kept, snapshot: BookUpdate) -> list[BookUpdate]:
        """Start a book anew from a snapshot that fits."""
        kept.book.apply(snapshot)
        kept.is_answer = self._is_asked
        kept.changed_at = None
        self._wanted.pop(snapshot.instrument, None)
        self._live.add(snapshot.instrument)
        return [snapshot] if self._is_verified(kept, snapshot, was_ordinary=False) else []

    def _answer(self, kept: _Kept, snapshot: BookUpdate) -> list[BookUpdate]:
        """Take a snapshot that was asked for: it must reach up to what was buffered.

        One that is older is refused and wanted anew: between it and the buffer is a hole. One
        that nothing waits for was asked for on a connection that has ended since.
        """
        waiting = kept.waiting
        if not waiting:
            self.stale += 1
            return []
        links = [link_to_answer(change, snapshot.last_sequence) for change in waiting]
        first = next((n for n, how in enumerate(links) if how != "stale"), len(waiting))
        is_broken = first < len(waiting) and links[first] == "broken"
        if is_broken or not is_reached(waiting[0], snapshot.last_sequence):
            self._wanted[snapshot.instrument] = None
            return []
        self.stale += first
        kept.waiting = []
        applied = self._begin(kept, snapshot)
        for change in waiting[first:]:
            applied += self.take(change)
        return applied

    def _wait(self, kept: _Kept, change: BookUpdate) -> None:
        """Keep a change until the snapshot is there; only an unbroken chain is of use."""
        waiting = kept.waiting
        if not waiting:
            self._wanted[change.instrument] = None
        else:
            how = link(change, waiting[-1].last_sequence, waiting[-1].exchange_time)
            if how == "stale":
                self.stale += 1
                return
            if how == "broken":
                self.stale += len(waiting)
                waiting.clear()
        if len(waiting) == self._most_buffered:
            self._overflow(kept, change)
        waiting.append(change)

    def _overflow(self, kept: _Kept, change: BookUpdate) -> None:
        self.overflowed += len(kept.waiting)
        detail = f"{len(kept.waiting)} changes waited for a snapshot that did not come"
        kept.waiting.clear()
        self._wanted[change.instrument] = None
        self._faults.append(BookFault.at_update(change, "sequence", detail))

    def _change(self, kept: _Kept, change: BookUpdate) -> list[BookUpdate]:
        book = kept.book
        how = kept.link(change)
        if how == "stale":
            self.stale += 1
            return []
        if how == "broken":
            detail = hole(change, book, kept.changed_at)
            self._void(kept, BookFault.at_update(change, "sequence", detail))
            if self._is_asked:
                kept.waiting.append(change)
            return []
        was_ordinary = book.is_ordinary
        book.apply(change)
        kept.is_answer = False
        kept.changed_at = change.exchange_time
        return [change] if self._is_verified(kept, change, was_ordinary=was_ordinary) else []

    def _is_verified(self, kept: _Kept, update: BookUpdate, *, was_ordinary: bool) -> bool:
        fault = self._verifier.fault_of(kept.book, update, was_ordinary=was_ordinary)
        if fault is not None:
            self._void(kept, fault)
        return fault is None

    def _void(self, kept: _Kept, fault: BookFault) -> None:
        kept.book.clear()
        self._live.discard(fault.instrument)
        self._wanted[fault.instrument] = None
        self._faults.append(fault)


class _Kept:
    """One book, and the changes that wait for its snapshot: an unbroken chain."""

    __slots__ = ("book", "changed_at", "is_answer", "waiting")

    def __init__(self, book: OrderBook) -> None:
        self.book = book
        self.waiting: list[BookUpdate] = []
        self.is_answer = False
        """Whether it still stands at a snapshot that was asked for."""
        self.changed_at: int | None = None
        """The venue's clock at the newest change since its snapshot, where told."""

    def link(self, change: BookUpdate) -> Link:
        if self.is_answer:
            return link_to_answer(change, self.book.sequence)
        return link(change, self.book.sequence, self.changed_at)


def _is_repeated(kept: _Kept, snapshot: BookUpdate) -> bool:
    """Say whether a snapshot on top of a live book is one from before its newest change."""
    if snapshot.exchange_time is None or kept.changed_at is None:
        return False
    return snapshot.exchange_time < kept.changed_at
