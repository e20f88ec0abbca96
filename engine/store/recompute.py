"""Candles made again from the stored trades, a bounded stretch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, repeat

import pyarrow as pa

from engine.candles.fold import fold_trades, is_usable
from engine.candles.resample import resample
from engine.clock import NS_PER_S
from engine.domain.instrument import Market
from engine.domain.market import Candle, Trade
from engine.domain.timeframe import Timeframe
from engine.store.client import Store
from engine.store.columns import python_values

TRADES_AT_ONCE = 100_000
"""Trades read at once; a single minute with more is still read whole."""

_COARSE = tuple(step for step in Timeframe if step.ns > Timeframe.M1.ns)


@dataclass(frozen=True, slots=True)
class Stretch:
    """All candles of one timeframe that open within a stretch of time."""

    timeframe: Timeframe
    start: int
    """UTC nanoseconds; an interval that began before it is not among the candles."""
    end: int
    candles: list[Candle]
    """As the trades make them, ascending. Their `version` means nothing."""
    trades: int
    """Trades read for it; 0 where it was made from finer candles."""


def recompute(store: Store, market: Market, start: int, end: int) -> Iterator[Stretch]:
    """Yield a market's candles of every timeframe as its stored trades make them.

    Parameters
    ----------
    store
        Where the trades are.
    market
        Whose.
    start, end
        Range, widened to whole minutes. Of an interval that lies in it only in part the candle
        holds only the trades within: leave such candles out.

    Yields
    ------
    Stretch
        Of ``1s`` and ``1m`` many, ascending; of each coarser timeframe one a day, behind the finer
        ones of that day. Days without trades are left out.
    """
    start = Timeframe.M1.floor(start)
    end = -(-end // Timeframe.M1.ns) * Timeframe.M1.ns
    minutes: list[Candle] = []
    day = Timeframe.D1.floor(start)
    for span_start, span_end in _spans(store, market, start, end):
        if Timeframe.D1.floor(span_start) != day:
            yield from _coarser(minutes, day, start, end)
            minutes, day = [], Timeframe.D1.floor(span_start)
        trades = _read(store, market, span_start, span_end)
        seconds = _fold_seconds(trades)
        yield Stretch(Timeframe.S1, span_start, span_end, seconds, len(trades))
        whole = resample(seconds, Timeframe.M1)
        yield Stretch(Timeframe.M1, span_start, span_end, whole, 0)
        minutes += whole
    yield from _coarser(minutes, day, start, end)


def _fold_seconds(trades: Sequence[Trade]) -> list[Candle]:
    """Make the one-second candles of a market's trades, which are in `trade_order`.

    What `engine.candles.resample.candles_from_trades` does for trades in any order, at twice
    its speed; of several trades with one id in a second the first counts.
    """
    candles = []
    for second, inside in groupby(trades, key=_second_of):
        usable = [trade for trade in inside if is_usable(trade)]
        if len({trade.trade_id for trade in usable}) < len(usable):
            usable = [*{trade.trade_id: trade for trade in reversed(usable)}.values()][::-1]
        if usable:
            candles.append(fold_trades(usable, second * NS_PER_S, is_closed=True, version=0))
    return candles


def _second_of(trade: Trade) -> int:
    return trade.exchange_time // NS_PER_S


def _coarser(minutes: list[Candle], day: int, start: int, end: int) -> Iterator[Stretch]:
    if not minutes:
        return
    low, high = max(start, day), min(end, day + Timeframe.D1.ns)
    finer = minutes
    for step in _COARSE:
        finer = resample(finer, step)
        yield Stretch(step, low, high, finer, 0)


def _spans(store: Store, market: Market, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a range into stretches of whole minutes, within days, of about `TRADES_AT_ONCE`."""
    found = store.query_arrow(
        "SELECT toUnixTimestamp(toStartOfMinute(exchange_time)) AS minute, count() AS trades "
        "FROM trades WHERE exchange = {exchange:String} AND instrument = {instrument:String} "
        "AND exchange_time >= fromUnixTimestamp64Nano({start:Int64}) "
        "AND exchange_time < fromUnixTimestamp64Nano({end:Int64}) GROUP BY minute ORDER BY minute",
        {**market._asdict(), "start": start, "end": end},
    )
    minute_ns, day_ns = Timeframe.M1.ns, Timeframe.D1.ns
    begin, held, last = -1, 0, -1
    columns = (python_values(found.column(name)) for name in ("minute", "trades"))
    for second, trades in zip(*columns, strict=True):
        minute = second * NS_PER_S
        if begin >= 0 and minute // day_ns != begin // day_ns:
            yield begin, Timeframe.D1.floor(begin) + day_ns
            begin = -1
        elif begin >= 0 and held + trades > TRADES_AT_ONCE:
            yield begin, last
            begin = -1
        if begin < 0:
            # Silence belongs to the stretch behind it, so that a whole day is covered.
            begin = max(start, last, Timeframe.D1.floor(minute))
            held = 0
        held += trades
        last = minute + minute_ns
    if begin >= 0:
        yield begin, min(end, Timeframe.D1.floor(begin) + day_ns)


def _read(store: Store, market: Market, start: int, end: int) -> list[Trade]:
    found: pa.Table = store.query_arrow(
        "SELECT trade_id, sequence, price, amount, side, exchange_time FROM trades "
        "WHERE exchange = {exchange:String} AND instrument = {instrument:String} "
        "AND exchange_time >= fromUnixTimestamp64Nano({start:Int64}) "
        "AND exchange_time < fromUnixTimestamp64Nano({end:Int64}) "
        "ORDER BY exchange_time, sequence, trade_id",
        {**market._asdict(), "start": start, "end": end},
    )
    ids, sequences, prices, amounts, sides, times = (
        python_values(found.column(name)) for name in found.column_names
    )
    # Candles do not depend on when trades reached us, so that column is not read.
    names = repeat(market.exchange), repeat(market.instrument)
    return list(map(Trade, *names, ids, sequences, prices, amounts, sides, times, times))
