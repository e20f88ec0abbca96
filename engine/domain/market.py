"""Market events: what a frame of a venue becomes, and the candles built from them.

Times are UTC nanoseconds. `exchange_time` is the venue's clock and orders events;
`receive_time` is ours and measures freshness; the two may disagree by seconds.
Prices are in the quote currency, amounts in the base currency.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Side = Literal["buy", "sell"]
"""Aggressor (taker) side of a trade."""

Channel = Literal["trades", "book_top"]

GapCause = Literal["sequence", "disconnect", "stale", "restart"]
"""Why data is missing: ids skipped, the socket was down, it fell silent, or we were down."""


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade, unique by (exchange, instrument, trade_id)."""

    exchange: str
    instrument: str
    trade_id: str
    """The venue's own id."""
    sequence: int
    """The id as a number where the venue counts its trades (consecutive per market), else 0."""
    price: float
    """Finite and above zero."""
    amount: float
    """Base currency, finite and above zero."""
    side: Side
    exchange_time: int
    receive_time: int


class BookTop(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask of a market."""

    exchange: str
    instrument: str
    bid_price: float
    bid_amount: float
    ask_price: float
    ask_amount: float
    sequence: int
    """The venue's update number, 0 where it gives none."""
    exchange_time: int | None
    """None where the venue sends none (Binance spot's bookTicker)."""
    receive_time: int


class Heartbeat(msgspec.Struct, frozen=True, gc=False):
    """The venue says that it is alive, or acknowledges: no market data."""

    exchange: str
    exchange_time: int | None
    receive_time: int


class Gap(msgspec.Struct, frozen=True):
    """A stretch of a feed that we do not hold. A row of ``feed_gaps``.

    The same gap keeps its `gap_id`; a later version with `repaired_at` closes it.
    """

    gap_id: str
    exchange: str
    instrument: str
    channel: Channel
    cause: GapCause
    from_sequence: int | None
    """First missing id, where the venue counts."""
    to_sequence: int | None
    """Last missing id."""
    from_time: int
    """Last time we know to be complete before it."""
    to_time: int | None
    """First time we know to be complete after it; None while it lasts."""
    opened_at: int
    """When we noticed."""
    repaired_at: int | None = None
    how: str = ""
    """How it was repaired, in a word or two; empty while it is open."""


MarketEvent = Trade | BookTop | Heartbeat


CandleSource = Literal["trades", "rest"]


class Candle(msgspec.Struct, frozen=True, gc=False):
    """Prices and volumes over ``[open_time, close_time)``.

    What a venue's REST candles do not tell is None, never zero.
    """

    exchange: str
    instrument: str
    timeframe: str
    open_time: int
    close_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    """Base currency."""
    quote_volume: float | None
    """Quote currency."""
    trade_count: int | None
    vwap: float | None
    """quote_volume / volume."""
    twap: float | None
    """Mean of the last traded price over time, from the first trade on."""
    taker_buy_volume: float | None
    """Base currency bought by takers."""
    source: CandleSource
    is_closed: bool
    """False while trades of the interval may still come."""
    version: int
    """UTC nanoseconds of when it was computed; the newest version of a candle counts."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A frame that could not be used, kept for whoever wants to know why."""

    exchange: str
    kind: str
    reason: str
    frame: bytes
    """The frame itself, cut at 64 KiB."""
    frame_bytes: int
    """Its whole length."""
    receive_time: int


class SymbolMetadata(msgspec.Struct, frozen=True):
    """What a venue says of one instrument it lists."""

    exchange: str
    instrument: str
    symbol: str
    """The venue's own name for it."""
    status: Literal["trading", "halted"]
    tick_size: float | None
    """Smallest price step, quote currency."""
    lot_size: float | None
    """Smallest amount step, base currency."""
