"""What a book says at one moment: spread, imbalance, microprice."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from engine.books.book import OrderBook
from engine.domain.market import BookSnapshot, Level

BPS = 10_000.0


def spread_bps(bid: float, ask: float) -> float:
    """Return the distance of the best prices over their middle, in hundredths of a percent.

    Parameters
    ----------
    bid, ask
        Best prices, quote currency, above zero.

    Examples
    --------
    >>> spread_bps(99.0, 101.0)
    200.0
    """
    return (ask - bid) / middle(bid, ask) * BPS


def middle(bid: float, ask: float) -> float:
    """Return the price halfway between two, without leaving what a float can hold.

    Examples
    --------
    >>> middle(99.0, 102.0)
    100.5
    """
    return bid + (ask - bid) / 2.0


def imbalance(bids: Sequence[Level], asks: Sequence[Level]) -> float:
    """Return how much more is bid than asked: bid less ask amount over their sum, -1 to 1.

    The sums are correctly rounded, so that they do not depend on the order of the levels.

    Parameters
    ----------
    bids, asks
        The levels that count, together at least one.

    Examples
    --------
    >>> imbalance([(99.0, 3.0)], [(101.0, 0.5), (102.0, 0.5)])
    0.5
    """
    bid = fsum(amount for _, amount in bids)
    ask = fsum(amount for _, amount in asks)
    return (bid - ask) / (bid + ask)


def microprice(bid: Level, ask: Level) -> float:
    """Return the best prices, each weighted with the amount on the other side; quote currency.

    Where little is asked and much is bid, the next trade is likelier at the ask, and the
    microprice is near it. It never leaves the two.

    Examples
    --------
    >>> microprice((99.0, 3.0), (101.0, 1.0))
    100.5
    """
    (bid_price, bid_amount), (ask_price, ask_amount) = bid, ask
    share = bid_amount / (bid_amount + ask_amount)
    return min(bid_price + (ask_price - bid_price) * share, ask_price)


def microprice_gap_bps(bid: float, ask: float, micro: float) -> float:
    """Return how far the microprice is above the middle, in hundredths of a percent of it.

    Examples
    --------
    >>> microprice_gap_bps(99.0, 101.0, 100.5)
    50.0
    """
    mid = middle(bid, ask)
    return (micro - mid) / mid * BPS


def snapshot_of(
    book: OrderBook, exchange: str, instrument: str, levels: int, as_of: int
) -> BookSnapshot | None:
    """Make the row of a verified book at one moment.

    Parameters
    ----------
    book
        To be looked at.
    exchange, instrument
        Whose it is.
    levels
        Levels a side to keep, at least 1; the imbalance is that of these.
    as_of
        This moment, UTC nanoseconds.

    Returns
    -------
    BookSnapshot or None
        None where a side is empty or the best prices touch or cross: there is nothing to measure.
    """
    if not book.is_ordinary:
        return None
    bids, asks = book.bids(levels), book.asks(levels)
    return BookSnapshot(
        exchange=exchange,
        instrument=instrument,
        bid_prices=tuple(price for price, _ in bids),
        bid_amounts=tuple(amount for _, amount in bids),
        ask_prices=tuple(price for price, _ in asks),
        ask_amounts=tuple(amount for _, amount in asks),
        spread_bps=spread_bps(bids[0][0], asks[0][0]),
        imbalance=imbalance(bids, asks),
        microprice=microprice(bids[0], asks[0]),
        sequence=book.sequence or 0,
        epoch=book.epoch,
        exchange_time=book.exchange_time,
        receive_time=book.receive_time,
        as_of=as_of,
    )
