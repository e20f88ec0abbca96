"""The end of a market's trading, and since when it is known."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)


class Delisting(NamedTuple):
    """The end of a market's trading."""

    ended: int
    """UTC nanoseconds."""
    known_at: int
    """Since when it is known; later where only a silence told of it."""


def newest_delistings(told: Iterable[tuple[K, int | None, int]]) -> dict[K, Delisting]:
    """Return the end of every market that is delisted by the newest entry of the registry.

    It is known since the first entry that told of this end: not since an earlier delisting that was
    taken back, and not only since the last entry that repeats it.

    Parameters
    ----------
    told
        Market, end (None where it was listed then) and moment of each entry, those of one market
        ascending in time; UTC nanoseconds.

    Examples
    --------
    >>> newest_delistings([("A-B", None, 1), ("A-B", 5, 7), ("A-B", 5, 9), ("C-D", 5, 7)])["A-B"]
    Delisting(ended=5, known_at=7)
    """
    known: dict[K, Delisting] = {}
    for market, ended, told_at in told:
        if ended is None:
            known.pop(market, None)
        elif market not in known or known[market].ended != ended:
            known[market] = Delisting(ended, told_at)
    return known
