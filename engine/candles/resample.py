"""Candles in batch: from a set of trades, from finer candles, and rebuilt after late trades.

Pure functions over the same folds that `engine.candles.builder` uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from engine.candles.fold import fold_candles, fold_trades, is_usable, trade_order
from engine.domain.market import Candle, Trade
from engine.domain.timeframe import Timeframe

_Key = tuple[str, str, int]


def candles_from_trades(trades: Iterable[Trade]) -> list[Candle]:
    """Make the one-second candles of any trades, in any order.

    Unusable trades (`fold.is_usable`) are left out; of several with one id in a market the
    first is taken. A second without trades has no candle.

    Returns
    -------
    list of Candle
        By (exchange, instrument, open time), all closed; `version` is the newest receive time
        of the trades within.
    """
    seconds: dict[_Key, list[Trade]] = {}
    seen: set[tuple[str, str, str]] = set()
    for trade in trades:
        identity = (trade.exchange, trade.instrument, trade.trade_id)
        if identity in seen or not is_usable(trade):
            continue
        seen.add(identity)
        open_time = Timeframe.S1.floor(trade.exchange_time)
        seconds.setdefault((trade.exchange, trade.instrument, open_time), []).append(trade)
    return [
        fold_trades(
            sorted(seconds[key], key=trade_order),
            key[2],
            is_closed=True,
            version=max(trade.receive_time for trade in seconds[key]),
        )
        for key in sorted(seconds)
    ]


def resample(candles: Iterable[Candle], to: Timeframe) -> list[Candle]:
    """Make coarser candles, step by step through every timeframe in between.

    Parameters
    ----------
    candles
        Of one timeframe, any markets, any order; of several versions the newest counts.
    to
        The timeframe wanted, as long as theirs or longer.

    Returns
    -------
    list of Candle
        By (exchange, instrument, open time), all closed; `version` is the children's newest.

    Raises
    ------
    ValueError
        Where the candles are of several timeframes, or longer than `to`.
    """
    newest = _newest(candles)
    found = {candle.timeframe for candle in newest}
    if not found:
        return []
    if len(found) > 1:
        raise ValueError(f"candles of several timeframes: {', '.join(sorted(found))}")
    here = Timeframe(found.pop())
    if here.ns > to.ns:
        raise ValueError(f"candles of {here} cannot be resampled to the shorter {to}")
    ladder = [step for step in Timeframe if here.ns < step.ns <= to.ns]
    for step in ladder:
        newest = _coarsen(newest, step)
    return newest


def rebuild(
    trades: Iterable[Trade],
    held: Mapping[Timeframe, Sequence[Candle]],
    timeframes: Sequence[Timeframe],
    *,
    closed_through: int,
    version: int,
) -> list[Candle]:
    """Fold a second again after trades that came later than memory, and what it is part of.

    Parameters
    ----------
    trades
        **Every** stored trade of one whole second of one market, the late ones included.
    held
        For each timeframe, the stored candles that lie in the same interval of the next
        coarser one, closed; its own outdated candle may be among them.
    timeframes
        Which to return.
    closed_through
        The builder's: intervals that end later still form and are left to it; it learns of
        this second by ``absorb``.
    version
        Of the new candles: the time of this computation, UTC nanoseconds.

    Returns
    -------
    list of Candle
        New versions, finest first, of every interval that holds the second and is closed.

    Raises
    ------
    ValueError
        Where the trades are of more than one second or market.
    """
    seconds = candles_from_trades(trades)
    if len(seconds) != 1:
        raise ValueError(f"trades of one second of one market are needed, not {len(seconds)}")
    candle = msgspec.structs.replace(seconds[0], version=version)
    rebuilt = [candle]
    for step in list(Timeframe)[1:]:
        child = Timeframe(candle.timeframe)
        open_time = step.floor(candle.open_time)
        if open_time + step.ns > closed_through:
            break
        siblings = {old.open_time: old for old in _newest(held.get(child, ()))}
        siblings[candle.open_time] = candle
        inside = [siblings[time] for time in sorted(siblings) if step.floor(time) == open_time]
        candle = fold_candles(inside, step, open_time, is_closed=True, version=version)
        rebuilt.append(candle)
    return [candle for candle in rebuilt if Timeframe(candle.timeframe) in timeframes]


def _newest(candles: Iterable[Candle]) -> list[Candle]:
    """Return the newest version of each, by market and time."""
    newest: dict[tuple[str, str, str, int], Candle] = {}
    for candle in candles:
        key = (candle.exchange, candle.instrument, candle.timeframe, candle.open_time)
        known = newest.get(key)
        if known is None or candle.version >= known.version:
            newest[key] = candle
    return [newest[key] for key in sorted(newest)]


def _coarsen(candles: Sequence[Candle], step: Timeframe) -> list[Candle]:
    groups: dict[_Key, list[Candle]] = {}
    for candle in candles:
        key = (candle.exchange, candle.instrument, step.floor(candle.open_time))
        groups.setdefault(key, []).append(candle)
    return [
        fold_candles(
            inside,
            step,
            key[2],
            is_closed=True,
            version=max(candle.version for candle in inside),
        )
        for key, inside in groups.items()
    ]
