"""The definition of a candle: trades to one second, candles to the next coarser candle.

Live, batch and rebuild call these two functions and nothing else, so they agree to the bit.
Sums are correctly rounded (`math.fsum`), hence free of order at each level.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import fsum, inf
from operator import attrgetter, mul
from typing import cast

from engine.domain.market import Candle, CandleSource, Trade
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
    fold = CandleFold()
    fold.take(children)
    return fold.candle(timeframe, open_time, is_closed=is_closed, version=version)


class CandleFold:
    """The children of a candle so far, so that it is not made of all of them every time.

    A candle that forms is looked at several times a second: with its closed children taken and
    settled once, only the one that forms is folded anew. Sums are kept exact until they are
    rounded, so the result is that of `fold_candles` to the bit.

    Examples
    --------
    >>> import msgspec
    >>> trade = Trade("kraken", "BTC-USD", "9", 9, 0.1, 2.0, "buy", 5, 5)
    >>> child = fold_trades([trade], 0, is_closed=True, version=7)
    >>> fold = CandleFold()
    >>> fold.take([child])
    >>> fold.settle()
    >>> now = fold.copy()
    >>> now.take([msgspec.structs.replace(child, open_time=10**9, close_time=2 * 10**9)])
    >>> now.candle(Timeframe.M1, 0, is_closed=False, version=8).volume
    4.0
    >>> fold.candle(Timeframe.M1, 0, is_closed=False, version=8).volume
    2.0
    """

    __slots__ = (
        "first",
        "high",
        "last",
        "low",
        "prices",
        "quote_volumes",
        "source",
        "taker_buy_volumes",
        "trade_count",
        "volumes",
    )

    def __init__(self) -> None:
        self.first: Candle | None = None
        self.last: Candle | None = None
        self.high = -inf
        self.low = inf
        self.source: CandleSource = "trades"
        self.trade_count: int | None = 0
        self.volumes: list[float] = []
        self.quote_volumes: list[float] | None = []
        self.taker_buy_volumes: list[float] | None = []
        self.prices: list[float] | None = []
        """Summands of the price over time, in lengths of a child."""

    @property
    def end(self) -> int:
        """Where the last child ends; 0 before the first."""
        return 0 if self.last is None else self.last.close_time

    def copy(self) -> CandleFold:
        """Return one that goes its own way."""
        twin = CandleFold()
        twin.first, twin.last, twin.source = self.first, self.last, self.source
        twin.high, twin.low, twin.trade_count = self.high, self.low, self.trade_count
        twin.volumes = self.volumes[:]
        twin.quote_volumes = self.quote_volumes and self.quote_volumes[:]
        twin.taker_buy_volumes = self.taker_buy_volumes and self.taker_buy_volumes[:]
        twin.prices = self.prices and self.prices[:]
        return twin

    def take(self, children: Sequence[Candle]) -> None:
        """Add children, ascending in time and after those taken before."""
        if not children:
            return
        if self.first is None:
            self.first, self.source = children[0], children[0].source
        if self.source != "rest" and any(child.source != self.source for child in children):
            self.source = "rest"
        self.high = max([self.high, *[child.high for child in children]])
        self.low = min([self.low, *[child.low for child in children]])
        self.volumes += [child.volume for child in children]
        counts = [child.trade_count for child in children]
        self.trade_count = _joined_count(self.trade_count, counts)
        self.quote_volumes = _joined(self.quote_volumes, [c.quote_volume for c in children])
        self.taker_buy_volumes = _joined(
            self.taker_buy_volumes, [child.taker_buy_volume for child in children]
        )
        self.prices = _joined(self.prices, self._price_parts(children))
        self.last = children[-1]

    def settle(self) -> None:
        """Make each sum as few numbers as hold it exactly."""
        self.volumes = exact_parts(self.volumes)
        self.quote_volumes = self.quote_volumes and exact_parts(self.quote_volumes)
        self.taker_buy_volumes = self.taker_buy_volumes and exact_parts(self.taker_buy_volumes)
        self.prices = self.prices and exact_parts(self.prices)

    def candle(
        self, timeframe: Timeframe, open_time: int, *, is_closed: bool, version: int
    ) -> Candle:
        """Return the candle of what was taken, at least one child; see `fold_candles`.

        TWAP counts each child's for its whole length, from the first child on. Intervals without a
        child count at the close before them; so does the rest of an interval that still forms,
        which makes its value the one it will have if nothing more trades.
        """
        first, last = self.first, self.last
        if first is None or last is None:
            raise ValueError("a candle is folded of at least one child")
        volume = fsum(self.volumes)
        quote_volume = _rounded(self.quote_volumes)
        close_time = open_time + timeframe.ns
        length = first.close_time - first.open_time
        twap = None
        if self.prices is not None:
            empty = (close_time - last.close_time) // length
            count = (close_time - first.open_time) // length
            twap = fsum([*self.prices, last.close * empty]) / count
        return Candle(
            exchange=first.exchange,
            instrument=first.instrument,
            timeframe=timeframe.value,
            open_time=open_time,
            close_time=close_time,
            open=first.open,
            high=self.high,
            low=self.low,
            close=last.close,
            volume=volume,
            quote_volume=quote_volume,
            trade_count=self.trade_count,
            vwap=quote_volume / volume if quote_volume is not None and volume > 0 else None,
            twap=twap,
            taker_buy_volume=_rounded(self.taker_buy_volumes),
            source=self.source,
            is_closed=is_closed,
            version=version,
        )

    def _price_parts(self, children: Sequence[Candle]) -> list[float | None]:
        parts: list[float | None] = []
        before = self.last
        for child in children:
            if before is not None:
                empty = (child.open_time - before.close_time) // (
                    child.close_time - child.open_time
                )
                if empty:
                    parts.append(before.close * empty)
            parts.append(child.twap)
            before = child
        return parts


def exact_parts(values: Sequence[float]) -> list[float]:
    """Return few numbers whose sum is that of finite `values`, exactly.

    `math.fsum` of them, and of whatever is added to them, is that of all: they do not overlap.
    Source: J. R. Shewchuk, Adaptive Precision Floating-Point Arithmetic, 1997, grow-expansion, as
    `math.fsum` does it.

    Examples
    --------
    >>> exact_parts([1e16, 1.0, 1.0])
    [1.0000000000000002e+16]
    >>> exact_parts([1e16, 1.0])
    [1.0, 1e+16]
    """
    parts: list[float] = []
    for value in values:
        count, high = 0, value
        for part in parts:
            if abs(high) < abs(part):
                total = part + high
                lost = high - (total - part)
            else:
                total = high + part
                lost = part - (total - high)
            if lost:
                parts[count] = lost
                count += 1
            high = total
        parts[count:] = [high] if high else []
    return parts


def _joined(known: list[float] | None, more: Sequence[float | None]) -> list[float] | None:
    """Join the parts of a sum; None where one of them is not known."""
    if known is None or None in more:
        return None
    return known + cast("list[float]", more)


def _joined_count(known: int | None, more: Sequence[int | None]) -> int | None:
    if known is None or None in more:
        return None
    return known + sum(cast("list[int]", more))


def _rounded(parts: list[float] | None) -> float | None:
    return None if parts is None else fsum(parts)
