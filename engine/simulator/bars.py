"""Candles as venues answer them over REST, equal to what their trades make."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine.domain.market import Trade
from engine.simulator.draws import Floats
from engine.simulator.listing import ASSETS, asset_of
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
) -> list[Bar]:
    """Return a market's candles that open in a span, as known at a time.

    Bars of whole past minutes carry a quote amount from each minute's typical price, (open +
    high + low + close) / 4; everything else in them is exactly what the trades make. Bars
    shorter than a minute, and the minute that `as_of` falls into, come from the trades themselves.

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
    """
    first = max(_ceil(span[0], interval_ns), _ceil(market.epoch_ns, interval_ns))
    last = min(span[1], as_of + 1)
    starts = range(first, last, interval_ns)
    if not starts:
        return []
    end_ns = starts[-1] + interval_ns
    if interval_ns < MINUTE_NS:
        return _from_trades(market, exchange, instrument, starts, as_of)
    columns = _minutes(market, exchange, instrument, (first, end_ns), as_of)
    return _group(columns, starts, interval_ns // MINUTE_NS)


def _ceil(time_ns: int, interval_ns: int) -> int:
    return -(-time_ns // interval_ns) * interval_ns


def _minutes(
    market: MarketProcess, exchange: str, instrument: str, span: tuple[int, int], as_of: int
) -> tuple[DayBars, Floats, Floats]:
    """Return the span's minute bars with their quote amounts; later ones than `as_of` empty."""
    asset = asset_of(exchange, instrument)
    first, last = market.minute_of(span[0]), market.minute_of(span[1])
    days = [
        market.day_bars(exchange, asset, day)
        for day in range(first // MINUTES, (last - 1) // MINUTES + 1)
    ]
    skip = first // MINUTES * MINUTES
    cut = slice(first - skip, last - skip)
    table = DayBars(*(np.concatenate(c)[cut].copy() for c in zip(*days, strict=True)))
    typical = (table.open + table.high + table.low + table.close) / 4.0
    quote, buy_quote = typical * table.lots, typical * table.buy_lots
    running = market.minute_of(as_of) - first
    if running < last - first:
        table.trade_count[running:] = 0
        table.lots[running:] = 0
        table.buy_lots[running:] = 0
        quote[running:] = buy_quote[running:] = 0.0
        start = market.minute_start(first + running)
        trades = market.trades(exchange, instrument, start, as_of + 1)
        if trades:
            bar = _summary(start, trades, exchange, instrument)
            row = (
                0,
                bar.trade_count,
                bar.open,
                bar.high,
                bar.low,
                bar.close,
                bar.lots,
                bar.buy_lots,
            )
            for column, value in zip(table, row, strict=True):
                column[running] = value
            quote[running], buy_quote[running] = bar.quote, bar.buy_quote
    return table, quote, buy_quote


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
    market: MarketProcess, exchange: str, instrument: str, starts: range, as_of: int
) -> list[Bar]:
    span_end = min(starts[-1] + starts.step, as_of + 1)
    trades = market.trades(exchange, instrument, starts[0], span_end)
    found: list[Bar] = []
    place = 0
    before = _minutes(market, exchange, instrument, _minute_span(starts[0]), as_of)[0]
    for start in starts:
        begin = place
        while place < len(trades) and trades[place].exchange_time < start + starts.step:
            place += 1
        if begin < place:
            found.append(_summary(start, trades[begin:place], exchange, instrument))
        else:
            close = found[-1].close if found else int(before.open[0])
            found.append(Bar(start, close, close, close, close, 0, 0, 0, 0.0, 0.0))
    return found


def _minute_span(time_ns: int) -> tuple[int, int]:
    start = time_ns - time_ns % MINUTE_NS
    return start, start + MINUTE_NS


def _summary(start: int, trades: list[Trade], exchange: str, instrument: str) -> Bar:
    """Return the bar that trades make."""
    asset = ASSETS[asset_of(exchange, instrument)]
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
