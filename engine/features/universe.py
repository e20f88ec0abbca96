"""Who belongs to the universe at a bar, as of then: nothing known later decides it.

A market belongs from its first candle on, for as long as it trades: at every bar with a candle, and
at the bars without one (flat bars) until it has been silent for too long or is delisted. That it
traded again later, or was delisted later, changes nothing before. Of the markets of one coin the
first in order counts: those of the configuration as they stand there, then all others by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.domain.instrument import Instrument, Market

Times = NDArray[np.int64]
Marks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Member:
    """A market that has candles."""

    market: Market
    first_open: int
    """Open time of its first candle, UTC nanoseconds."""
    delisted_at: int | None = None
    """When its trading ended; None while it is listed, or where nobody knows."""
    known_at: int = 0
    """Since when that is known, UTC nanoseconds."""


def in_order(markets: Iterable[Market], configured: Sequence[Market]) -> list[Market]:
    """Return markets in the universe's order: the configured ones first, then by name.

    Examples
    --------
    >>> a, b, c = Market("kraken", "BTC-USD"), Market("binance", "ETH-USDT"), Market("okx", "A-B")
    >>> in_order([a, b, c], [c]) == [c, b, a]
    True
    """
    found = set(markets)
    first = [market for market in dict.fromkeys(configured) if market in found]
    return first + sorted(found - set(first))


def reference_at(
    members: Sequence[Member], base: str, segment_start_ns: int, configured: Sequence[Market]
) -> Market | None:
    """Return the market that correlation and beta are measured against in a segment.

    Parameters
    ----------
    members
        In the universe's order.
    base
        Base currency of the reference.
    segment_start_ns
        UTC nanoseconds.
    configured
        Of those the first of that base is the reference of a live run, and so it is here.

    Returns
    -------
    Market or None
        Else the first that had a candle before the segment, else the one whose first candle in
        it is the earliest: one that begins later changes nothing before.
    """
    of_base = [m for m in members if _coin(m.market)[0] == base]
    stored = {member.market for member in of_base}
    for market in configured:
        if _coin(market)[0] == base:
            if market in stored:
                return market
            break
    if not of_base:
        return None
    return min(of_base, key=lambda m: max(m.first_open, segment_start_ns)).market


def belongs(
    member: Member, open_time: Times, candle_times: Times, silence_ns: int, bar_ns: int
) -> Marks:
    """Say at which bars of its grid a market belongs to the universe, as known at their close.

    A delisting that became known later, such as one found in an imported history by the silence
    that followed, ends nothing before.

    Parameters
    ----------
    member
        The market.
    open_time
        Of the bars, UTC nanoseconds, shape (n,); none before the first of `candle_times`.
    candle_times
        Open times of its candles, ascending, the last before the first bar among them.
    silence_ns
        After how long without a candle it belongs no more, until it trades again.
    bar_ns
        Length of a bar.

    Returns
    -------
    Marks
        Shape (n,).

    Examples
    --------
    >>> bars = np.arange(6)
    >>> belongs(Member(Market("binance", "A-B"), 0), bars, np.array([0, 5]), 2, 1).tolist()
    [True, True, True, False, False, True]
    """
    last = candle_times[np.searchsorted(candle_times, open_time, side="right") - 1]
    quiet = open_time - last
    listed = np.full(len(open_time), True)
    if member.delisted_at is not None:
        listed = (open_time < member.delisted_at) | (open_time + bar_ns < member.known_at)
    marks: Marks = (quiet == 0) | (listed & (quiet <= silence_ns))
    return marks


def first_of_each_coin(markets: Sequence[Market], present: Sequence[Times]) -> list[Marks]:
    """Say which bars of each market count in the universe: of one coin's, the first market's.

    A reused ticker is another coin: ``LUNA~2`` stands beside ``LUNA``.

    Parameters
    ----------
    markets
        In the universe's order.
    present
        Of each, the open times of the bars at which it belongs, ascending.

    Returns
    -------
    list of Marks
        Of each market, over its open times.
    """
    taken: dict[tuple[str, int], Times] = {}
    marks: list[Marks] = []
    for market, times in zip(markets, present, strict=True):
        coin = _coin(market)
        before = taken.get(coin)
        if before is None:
            taken[coin] = times
            marks.append(np.full(len(times), True))
        else:
            marks.append(~np.isin(times, before))
            taken[coin] = np.union1d(before, times)
    return marks


def _coin(market: Market) -> tuple[str, int]:
    instrument = Instrument.parse(market.instrument)
    return instrument.base, instrument.generation
