"""Candles as venues answer them over REST, equal to what their trades make."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine.domain.market import Trade
from engine.simulator.draws import Floats
from engine.simulator.listing import ASSETS, asset_of, place_of
from engine.simulator.market import MINUTE_NS, DayBars, MarketProcess
from engine.simulator.paths import MINUTES


class Bar(NamedTuple):
    """One candle of a market; prices in ticks, amounts in lots."""

    open_time: int
    """UTC nanoseconds."""
    open: int
    high: int
    low: int
    close: int
    trade_count: int
    """Trades; 0 repeats the previous close in all four prices."""
    lots: int
    buy_lots: int
    quote: float
    """Quote amount traded, in ticks times lots."""
    buy_quote: float
    """Of it bought by takers."""


def bars(
    market: MarketProcess,
    exchange: str,
    instrument: str,
    interval_ns: int,
    span: tuple[int, int],
    as_of: int,
    since: int = 0,
) -> list[Bar]:
    """Return a market's candles that open in a span, as known at a time.

    Bars of whole past minutes carry a quote amount from each minute's typical price, (open +
    high + low + close) / 4; everything else in them is exactly what the trades make. Bars
    shorter than a minute, and the minutes that `since` and `as_of` fall into, come from the trades
    themselves.

    Parameters
    ----------
    market
        The market process.
    exchange, instrument
        Which market.
    interval_ns
        Length of a candle: whole seconds below a minute, else whole minutes.
    span
        First and last (exclusive) time of opening, UTC nanoseconds.
    as_of
        Only trades at or before this time count.
    since
        Only trades at or after this time count; candles that end before it are left out.
    """
    since = max(since, market.epoch_ns)
    first = max(_ceil(span[0], interval_ns), since - since % interval_ns)
    last = min(span[1], as_of + 1)
    starts = range(first, last, interval_ns)
    if not starts:
        return []
    end_ns = starts[-1] + interval_ns
    known = (since, as_of)
    if interval_ns < MINUTE_NS:
        return _from_trades(market, exchange, instrument, starts, known)
    columns = _minutes(market, exchange, instrument, (first, end_ns), known)
    return _group(columns, starts, interval_ns // MINUTE_NS)


def _ceil(time_ns: int, interval_ns: int) -> int:
    return -(-time_ns // interval_ns) * interval_ns


def _minutes(
    market: MarketProcess,
    exchange: str,
    instrument: str,
    span: tuple[int, int],
    known: tuple[int, int],
) -> tuple[DayBars, Floats, Floats]:
    """Return the span's minute bars with their quote amounts; empty outside `known`."""
    place = place_of(exchange, instrument)
    first, last = market.minute_of(span[0]), market.minute_of(span[1])
    days = [
        market.day_bars(place, day) for day in range(first // MINUTES, (last - 1) // MINUTES + 1)
    ]
    skip = first // MINUTES * MINUTES
    cut = slice(first - skip, last - skip)
    table = DayBars(*(np.concatenate(c)[cut].copy() for c in zip(*days, strict=True)))
    typical = (table.open + table.high + table.low + table.close) / 4.0
    columns = table, typical * table.lots, typical * table.buy_lots
    begun, running = (market.minute_of(time_ns) - first for time_ns in known)
    _empty(columns, slice(0, max(begun, 0)))
    _empty(columns, slice(max(running + 1, 0), None))
    cut_minutes = {running, begun} if known[0] % MINUTE_NS else {running}
    for row in cut_minutes & set(range(last - first)):
        start = market.minute_start(first + row)
        inside = max(start, known[0]), min(start + MINUTE_NS, known[1] + 1)
        _fill(columns, row, start, market.trades(exchange, instrument, *inside))
    return columns


def _empty(columns: tuple[DayBars, Floats, Floats], rows: slice) -> None:
    """Make it that nothing was traded in some minutes."""
    table, quote, buy_quote = columns
    for column in (table.trade_count, table.lots, table.buy_lots):
        column[rows] = 0
    quote[rows] = buy_quote[rows] = 0.0


def _fill(
    columns: tuple[DayBars, Floats, Floats], row: int, start: int, trades: list[Trade]
) -> None:
    """Make a minute what only these of its trades make."""
    if not trades:
        _empty(columns, slice(row, row + 1))
        return
    table, quote, buy_quote = columns
    bar = _summary(start, trades)
    table.trade_count[row], table.lots[row], table.buy_lots[row] = (
        bar.trade_count,
        bar.lots,
        bar.buy_lots,
    )
    table.open[row], table.high[row], table.low[row], table.close[row] = bar[1:5]
    quote[row], buy_quote[row] = bar.quote, bar.buy_quote


def _group(columns: tuple[DayBars, Floats, Floats], starts: range, size: int) -> list[Bar]:
    """Put every `size` minutes into one bar."""
    table, quote, buy_quote = columns
    shape = (len(starts), size)
    traded = table.trade_count.reshape(shape) > 0
    rows = np.arange(len(starts))
    first = traded.argmax(axis=1)
    last = size - 1 - traded[:, ::-1].argmax(axis=1)
    sums = [table.trade_count, table.lots, table.buy_lots]
    count, lots, buys = (column.reshape(shape).sum(axis=1).tolist() for column in sums)
    amounts, buy_amounts = (
        column.reshape(shape).sum(axis=1).tolist() for column in (quote, buy_quote)
    )
    opens = table.open.reshape(shape)[rows, first].tolist()
    closes = table.close.reshape(shape)[rows, last].tolist()
    highs = np.where(traded, table.high.reshape(shape), 0).max(axis=1).tolist()
    top = np.iinfo(np.int64).max
    lows = np.where(traded, table.low.reshape(shape), top).min(axis=1).tolist()
    found: list[Bar] = []
    for i, start in enumerate(starts):
        if count[i]:
            prices = (opens[i], highs[i], lows[i], closes[i])
        else:
            # Before the first trade there is no close to repeat: the open node stands for it.
            prices = (found[-1].close if found else opens[i],) * 4
        found.append(Bar(start, *prices, count[i], lots[i], buys[i], amounts[i], buy_amounts[i]))
    return found


def _from_trades(
    market: MarketProcess, exchange: str, instrument: str, starts: range, known: tuple[int, int]
) -> list[Bar]:
    span_end = min(starts[-1] + starts.step, known[1] + 1)
    trades = market.trades(exchange, instrument, max(starts[0], known[0]), span_end)
    found: list[Bar] = []
    place = 0
    before = _minutes(market, exchange, instrument, _minute_span(starts[0]), known)[0]
    for start in starts:
        begin = place
        while place < len(trades) and trades[place].exchange_time < start + starts.step:
            place += 1
        if begin < place:
            found.append(_summary(start, trades[begin:place]))
        else:
            close = found[-1].close if found else int(before.open[0])
            found.append(Bar(start, close, close, close, close, 0, 0, 0, 0.0, 0.0))
    return found


def _minute_span(time_ns: int) -> tuple[int, int]:
    start = time_ns - time_ns % MINUTE_NS
    return start, start + MINUTE_NS


def _summary(start: int, trades: list[Trade]) -> Bar:
    """Return the bar that trades make."""
    asset = ASSETS[asset_of(trades[0].exchange, trades[0].instrument)]
    price_scale, amount_scale = 10**asset.price_decimals, 10**asset.amount_decimals
    ticks = [round(trade.price * price_scale) for trade in trades]
    lots = [round(trade.amount * amount_scale) for trade in trades]
    bought = [trade.side == "buy" for trade in trades]
    amounts = [tick * lot for tick, lot in zip(ticks, lots, strict=True)]
    return Bar(
        start,
        ticks[0],
        max(ticks),
        min(ticks),
        ticks[-1],
        len(trades),
        sum(lots),
        sum(lot for lot, buy in zip(lots, bought, strict=True) if buy),
        float(sum(amounts)),
        float(sum(amount for amount, buy in zip(amounts, bought, strict=True) if buy)),
    )
