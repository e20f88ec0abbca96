"""What is wrong with a book, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from engine.books.book import OrderBook
from engine.domain.market import BookUpdate

FaultCause = Literal["sequence", "checksum"]
"""As `engine.domain.market.GapCause`: an update is missing, or the book is not the venue's."""


@dataclass(frozen=True, slots=True)
class BookFault:
    """Why a book is not to be trusted any more. It is void until its next snapshot."""

    instrument: str
    cause: FaultCause
    detail: str
    """What was seen, in a sentence."""
    at: int
    """The venue's clock at the update that showed it, else ours; UTC nanoseconds."""
    receive_time: int
    """When that update reached us."""

    @classmethod
    def at_update(cls, update: BookUpdate, cause: FaultCause, detail: str) -> Self:
        """Make the fault that an update showed."""
        at = update.receive_time if update.exchange_time is None else update.exchange_time
        return cls(update.instrument, cause, detail, at, update.receive_time)


def hole(change: BookUpdate, book: OrderBook, changed_at: int | None) -> str:
    """Say how a change does not follow the book, whose newest change is of `changed_at`."""
    if change.previous_sequence is not None:
        return (
            f"a change follows update {change.previous_sequence}, "
            f"the book stands at {book.sequence}"
        )
    if change.first_sequence is not None:
        return (
            f"a change begins at update {change.first_sequence}, the book stands at {book.sequence}"
        )
    return f"a change of {change.exchange_time} came behind one of {changed_at}"


def disorder(book: OrderBook) -> str:
    """Say what is wrong with a book that is empty on a side, or crossed."""
    bids, asks = book.bids(1), book.asks(1)
    if not bids or not asks:
        return f"a change left the book without {'asks' if bids else 'bids'}"
    return f"a change left the book crossed: bid {bids[0][0]!r}, ask {asks[0][0]!r}"
