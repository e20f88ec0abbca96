"""The definition of a candle: trades to one second, candles to the next coarser candle.

Live, batch and rebuild call these two functions and nothing else, so they agree to the bit.
Sums are correctly rounded (`math.fsum`), hence free of order at each level.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import fsum
from operator import attrgetter, mul

from engine.domain.market import Candle, Trade
from engine.domain.timeframe import Timeframe

SMALLEST = 1e-30
LARGEST = 1e30
"""Prices, amounts and their products outside are no trades of this world; inside, no sum of
any number of them that memory holds can overflow or vanish."""

trade_order = attrgetter("exchange_time", "sequence", "trade_id")
"""Order of trades within a market: the venue's time, then its count, then its id."""


def is_usable(trade: Trade) -> bool:
    """Say whether a trade may enter a candle.

    Price, amount and their product must be finite and in ``[1e-30, 1e30]``, which leaves out
    NaN, infinities, zero and negative values; its time must lie after 1970.

    Examples
    --------
    >>> good = Trade("binance", "BTC-USDT", "1", 1, 60_000.0, 0.5, "buy", 1, 1)
    >>> is_usable(good)
    True
    >>> import msgspec
    >>> is_usable(msgspec.structs.replace(good, price=float("nan")))
    False
    """
    price, amount = trade.price, trade.amount
    return (
        SMALLEST <= price <= LARGEST
        and SMALLEST <= amount <= LARGEST
        and SMALLEST <= price * amount <= LARGEST
        and trade.exchange_time >= 0
    )


def fold_trades(
    trades: Sequence[Trade], open_time: int, *, is_closed: bool, version: int
) -> Candle:
    """Make the one-second candle of all trades of that second.

    Parameters
    ----------
    trades
        At least one, of one market, all usable and all within the second, sorted by
        `trade_order`, no trade id twice.
    open_time
        Start of the second, UTC nanoseconds.
    is_closed, version
        As in `Candle`.

    Notes
    -----
    TWAP is the mean of the last traded price over time from the first trade to the end of the
    second: ``fsum(price_i x (time_{i+1} - time_i)) / (close_time - time_0)``.
    """
    first = trades[0]
    close_time = open_time + Timeframe.S1.ns
    prices = [trade.price for trade in trades]
    amounts = [trade.amount for trade in trades]
    volume = fsum(amounts)
    quote_volume = fsum(map(mul, prices, amounts))
    times = [trade.exchange_time for trade in trades]
    times.append(close_time)
    held = [later - earlier for earlier, later in pairwise(times)]
    return Candle(
        exchange=first.exchange,
        instrument=first.instrument,
        timeframe=Timeframe.S1.value,
        open_time=open_time,
        close_time=close_time,
        open=prices[0],
        high=max(prices),
        low=min(prices),
        close=prices[-1],
        volume=volume,
        quote_volume=quote_volume,
        trade_count=len(prices),
        vwap=quote_volume / volume,
        twap=fsum(map(mul, prices, held)) / (close_time - times[0]),
        taker_buy_volume=fsum([trade.amount for trade in trades if trade.side == "buy"]),
        source="trades",
        is_closed=is_closed,
        version=version,
    )


def fold_candles(
    children: Sequence[Candle],
    timeframe: Timeframe,
    open_time: int,
    *,
    is_closed: bool,
    version: int,
) -> Candle:
    """Make a candle from those of its parent timeframe (the next finer one) inside it.

    What one child does not tell (None, from REST) the result does not tell either. Its source
    is theirs where they agree, else ``rest``: not all of it is ours.

    Parameters
    ----------
    children
        At least one, of one market and of ``timeframe.parent``, ascending in time.
    timeframe
        Of the result.
    open_time
        Start of the result's interval, UTC nanoseconds.
    is_closed, version
        As in `Candle`.
    """
    first, last = children[0], children[-1]
    volume = fsum([child.volume for child in children])
    quote_volume = _sum_known([child.quote_volume for child in children])
    counts = [child.trade_count for child in children]
    known_counts = [count for count in counts if count is not None]
    close_time = open_time + timeframe.ns
    return Candle(
        exchange=first.exchange,
        instrument=first.instrument,
        timeframe=timeframe.value,
        open_time=open_time,
        close_time=close_time,
        open=first.open,
        high=max([child.high for child in children]),
        low=min([child.low for child in children]),
        close=last.close,
        volume=volume,
        quote_volume=quote_volume,
        trade_count=sum(known_counts) if len(known_counts) == len(counts) else None,
        vwap=quote_volume / volume if quote_volume is not None and volume > 0 else None,
        twap=_twap(children, close_time),
        taker_buy_volume=_sum_known([child.taker_buy_volume for child in children]),
        source=first.source if all(c.source == first.source for c in children) else "rest",
        is_closed=is_closed,
        version=version,
    )


def _sum_known(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return fsum(known) if len(known) == len(parts) else None


def _twap(children: Sequence[Candle], close_time: int) -> float | None:
    """Average the children's TWAP, each for its whole length, from the first child on.

    Intervals without a child count at the close before them; so does the rest of an interval
    that still forms, which makes its value the one it will have if nothing more trades.
    """
    length = children[0].close_time - children[0].open_time
    ends = [child.open_time for child in children[1:]]
    ends.append(close_time)
    parts: list[float] = []
    for child, end in zip(children, ends, strict=True):
        if child.twap is None:
            return None
        parts.append(child.twap)
        empty = (end - child.close_time) // length
        if empty:
            parts.append(child.close * empty)
    return fsum(parts) / ((close_time - children[0].open_time) // length)
