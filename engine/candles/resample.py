"""Candles in batch: from a set of trades, from finer candles, and rebuilt after late trades.

Pure functions over the same folds that `engine.candles.builder` uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from engine.candles.fold import fold_candles, fold_trades, is_usable, trade_order
from engine.candles.memory import is_whole
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
    held: Callable[[Timeframe, int, int], Sequence[Candle]],
    timeframes: Sequence[Timeframe],
    *,
    closed_through: int,
    version: int,
) -> list[Candle]:
    """Fold a stretch of time again after trades that came later than memory, and its parents.

    Parameters
    ----------
    trades
        **Every** stored trade of one market over whole intervals of the finest of
        `timeframes`, the late ones included.
    held
        Gives the stored closed candles of the market: of a timeframe, that open in
        ``[start, end)``.
    timeframes
        Which are stored. Coarser ones are made from the finer of them.
    closed_through
        The builder's: intervals that end later still form and are left to it; it learns of
        this stretch by ``absorb``.
    version
        Of the new candles, or one above the version that they replace where that is larger.

    Returns
    -------
    list of Candle
        New versions, finest first, of every closed interval that the trades change. A venue's own
        candle stays where ours would lack trades of it.
    """
    ladder = sorted(timeframes, key=list(Timeframe).index)
    changed = resample(candles_from_trades(trades), ladder[0]) if ladder else []
    rebuilt: list[Candle] = []
    for step, coarser in zip(ladder, [*ladder[1:], None], strict=True):
        changed = _replacing(changed, held, step, closed_through, version)
        rebuilt += changed
        if coarser is None or not changed:
            break
        opens = {coarser.floor(candle.open_time) for candle in changed}
        children = held(step, min(opens), max(opens) + coarser.ns)
        family = [c for c in children if coarser.floor(c.open_time) in opens]
        newest = {c.open_time: c for c in [*family, *changed]}
        changed = resample(newest.values(), coarser)
    return rebuilt


def _replacing(
    candles: Sequence[Candle],
    held: Callable[[Timeframe, int, int], Sequence[Candle]],
    step: Timeframe,
    closed_through: int,
    version: int,
) -> list[Candle]:
    """Leave out what still forms, would lack trades or changes nothing; number the rest."""
    if not candles:
        return []
    last = candles[-1].open_time + step.ns
    old = {candle.open_time: candle for candle in held(step, candles[0].open_time, last)}
    kept = []
    for candle in candles:
        before = old.get(candle.open_time)
        if candle.close_time > closed_through:
            continue
        if before is not None and before.source != "trades" and not is_whole(candle, before):
            continue
        if before is not None and before == msgspec.structs.replace(candle, version=before.version):
            continue
        above = version if before is None else max(version, before.version + 1)
        kept.append(msgspec.structs.replace(candle, version=above))
    return kept


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
