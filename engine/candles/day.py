"""A market's candles of one day from its trades, beside what is stored: what is new, and no more.

Intervals of every timeframe lie within a day (UTC), so days can be made in any order, at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from engine.candles.memory import is_whole
from engine.candles.resample import resample
from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe


def day_candles(
    seconds: Sequence[Candle],
    held: Mapping[Timeframe, Sequence[Candle]],
    timeframes: Sequence[Timeframe],
    *,
    closed_through: int,
) -> list[Candle]:
    """Return the candles that the trades make and that are not stored as they make them.

    What `engine.candles.builder.CandleBuilder` makes of the same trades, to the bit: every
    timeframe is folded from the next finer one, and a venue's own candle (REST) stays, also as a
    part of coarser ones, until ours holds all its trades.

    Parameters
    ----------
    seconds
        One-second candles of **all** stored trades of a market and day, ascending.
    held
        The stored closed candles of that market and day, by timeframe.
    timeframes
        Which are stored. Coarser ones are made from the finer of them.
    closed_through
        Intervals that end later still form: they are left to the live run.

    Returns
    -------
    list of Candle
        Finest first. A candle that is stored equal is not among them; nor is one that would hold
        fewer trades than what is stored, as where the first trades of a day have expired. The
        version is the interval's end, or one above that of the candle replaced: one that a live
        run made later, of more trades, wins.
    """
    ladder = sorted(timeframes, key=list(Timeframe).index)
    if not seconds or not ladder:
        return []
    fresh: list[Candle] = []
    made = resample(seconds, ladder[0])
    for step, coarser in zip(ladder, [*ladder[1:], None], strict=True):
        stored = {candle.open_time: candle for candle in held.get(step, ())}
        changed = _not_stored(made, stored, closed_through)
        fresh += changed
        if coarser is None:
            break
        traded = {coarser.floor(candle.open_time) for candle in made}
        newest = stored | {candle.open_time: candle for candle in changed}
        family = [c for c in newest.values() if coarser.floor(c.open_time) in traded]
        made = resample(family, coarser)
    return fresh


def _not_stored(
    made: Sequence[Candle], stored: Mapping[int, Candle], closed_through: int
) -> list[Candle]:
    """Leave out what still forms, would lack trades or changes nothing; number the rest."""
    kept = []
    for candle in made:
        if candle.close_time > closed_through:
            continue
        before = stored.get(candle.open_time)
        if before is not None:
            same = before == msgspec.structs.replace(candle, version=before.version)
            if same or not is_whole(candle, before):
                continue
        above = 0 if before is None else before.version + 1
        kept.append(msgspec.structs.replace(candle, version=max(candle.close_time, above)))
    return kept
