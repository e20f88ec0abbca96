"""Checks a book after an update, as well as its venue allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.books.book import OrderBook
from engine.books.chain import is_chained
from engine.books.fault import BookFault, disorder
from engine.domain.market import BookUpdate, LevelText

Checksum = Callable[[Sequence[LevelText], Sequence[LevelText]], int]
"""The best bids and asks in the venue's digits -> unsigned 32 bits."""


class BookVerifier:
    """Compares books with their venue's checksums; where there are none, looks for disorder.

    Parameters
    ----------
    checksum
        The venue's, None where it sends none.
    levels
        Levels a side that it covers.
    """

    def __init__(self, checksum: Checksum | None, levels: int) -> None:
        self._checksum = checksum
        self._levels = levels
        self.checked = 0
        """Checksums that matched, ever."""

    def fault_of(
        self, book: OrderBook, update: BookUpdate, *, was_ordinary: bool
    ) -> BookFault | None:
        """Return what is wrong with a book; None where nothing shows.

        Parameters
        ----------
        book
            After the update.
        update
            The last one applied.
        was_ordinary
            Whether the book was neither crossed nor empty on a side before it. One that a
            snapshot began so (an auction, an empty market) is the venue's own word.
        """
        ours = None if update.checksum is None else self._of(book)
        if ours is not None:
            if ours != update.checksum:
                detail = f"the venue's checksum is {update.checksum}, that of our book {ours}"
                return BookFault.at_update(update, "checksum", detail)
            self.checked += 1
        elif was_ordinary and not is_chained(update) and not book.is_ordinary:
            # Without numbers and checksums this is all that shows a lost update.
            return BookFault.at_update(update, "sequence", disorder(book))
        return None

    def _of(self, book: OrderBook) -> int | None:
        """Return the checksum of a book; None where the venue's digits of a level are not known."""
        if self._checksum is None:
            return None
        try:
            bids, asks = book.bid_texts(self._levels), book.ask_texts(self._levels)
        except KeyError:
            return None
        return self._checksum(bids, asks)
