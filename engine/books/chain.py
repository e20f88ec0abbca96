"""How updates of a book follow one another: by the numbers that a venue gives them."""

from __future__ import annotations

from typing import Literal

from engine.clock import NS_PER_S
from engine.domain.market import BookUpdate

CLOCKS_DIFFER_NS = NS_PER_S
"""How far the clocks of one venue's gateways may be apart."""

Link = Literal["next", "stale", "broken"]
"""What an update is to the number that a book stands at: the change that follows, one that it
already holds, or one behind a hole."""


def is_chained(update: BookUpdate) -> bool:
    """Say whether an update's numbers tell which one it follows, so that a lost one shows."""
    if update.last_sequence is None:
        return False
    return update.first_sequence is not None or update.previous_sequence is not None


def link(update: BookUpdate, last: int | None, newest_time: int | None) -> Link:
    """Say whether a change follows the update before it.

    Parameters
    ----------
    update
        The change.
    last
        `last_sequence` of the update before it, None where the venue gives none.
    newest_time
        The venue's clock at the change before it, UTC nanoseconds, where told.

    Returns
    -------
    Link
        Where the venue gives no numbers, order of arrival is all there is: ``next``. Where it
        sends no checksums either, a time that goes back is ``broken``.

    Examples
    --------
    >>> change = BookUpdate("binance", "A-B", False, [], [], 8, 9, None, None, 0)
    >>> link(change, 7, None), link(change, 9, None), link(change, 6, None)
    ('next', 'stale', 'broken')
    """
    if last is None or not is_chained(update):
        return "broken" if _goes_back(update, newest_time) else "next"
    if update.previous_sequence is not None:
        # First of all, for a venue may begin to count anew: OKX, seqId below prevSeqId.
        if update.previous_sequence == last:
            return "next"
        return "stale" if _is_past(update, last, newest_time) else "broken"
    if update.last_sequence is not None and update.last_sequence <= last:
        return "stale" if _is_past(update, last, newest_time) else "broken"
    return "broken" if (update.first_sequence or 0) > last + 1 else "next"


def link_to_answer(update: BookUpdate, last: int | None) -> Link:
    """Say whether a change follows a snapshot that was asked for over REST.

    The snapshot may stand in the middle of what the change covers: what the change says again
    of the snapshot does no harm, for it tells amounts, not differences.

    Parameters
    ----------
    update
        The change.
    last
        The snapshot's number.

    Examples
    --------
    Binance spot drops ``u <= lastUpdateId``, its perpetuals ``u < lastUpdateId``:

    >>> spot = BookUpdate("binance", "A-B", False, [], [], 5, 9, None, None, 0)
    >>> [link_to_answer(spot, last) for last in (3, 4, 8, 9)]
    ['broken', 'next', 'next', 'stale']
    >>> perpetual = BookUpdate("binance_perp", "A-B", False, [], [], 5, 9, 2, None, 0)
    >>> [link_to_answer(perpetual, last) for last in (1, 2, 5, 9, 10)]
    ['broken', 'next', 'next', 'next', 'stale']

    Bitstamp's only number is its clock:

    >>> clocked = BookUpdate("bitstamp", "A-B", False, [], [], None, 9, None, None, 0)
    >>> [link_to_answer(clocked, last) for last in (8, 9, 10)]
    ['next', 'stale', 'stale']
    """
    if last is None or update.last_sequence is None:
        return "next"
    if not is_chained(update):
        return "stale" if update.last_sequence <= last else "next"
    if update.previous_sequence is not None:
        if update.last_sequence < last:
            return "stale"
        return "next" if update.previous_sequence <= last else "broken"
    return link(update, last, None)


def is_reached(first: BookUpdate, last: int | None) -> bool:
    """Say whether a snapshot reaches up to the first of the changes that wait for it.

    Numbers that chain show a hole between the two by themselves (`link_to_answer`). A clock does
    not: there the snapshot must be at least as new as that change, or something may lie between.

    Parameters
    ----------
    first
        The first change that waits.
    last
        The snapshot's number.

    Examples
    --------
    >>> clocked = BookUpdate("bitstamp", "A-B", False, [], [], None, 9, None, None, 0)
    >>> is_reached(clocked, 8), is_reached(clocked, 9)
    (False, True)
    """
    if last is None or first.last_sequence is None or is_chained(first):
        return True
    return first.last_sequence <= last


def _is_past(update: BookUpdate, last: int, newest_time: int | None) -> bool:
    """Say whether a change is one from before, not one of a venue that began to count anew.

    A repeated or late change does not bear a later time than the newest one, but for what two
    gateways of a venue may differ by.
    """
    if update.last_sequence is None or update.last_sequence > last:
        return False
    if update.exchange_time is None or newest_time is None:
        return True
    return update.exchange_time <= newest_time + CLOCKS_DIFFER_NS


def _goes_back(update: BookUpdate, newest_time: int | None) -> bool:
    """Say whether a change that nothing else can be told of is from before the newest one."""
    if update.checksum is not None or update.exchange_time is None or newest_time is None:
        return False
    return update.exchange_time < newest_time
