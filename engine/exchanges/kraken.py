"""Kraken spot, WebSocket API v2.

Formats after https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/trade, …/ticker,
…/book and https://docs.kraken.com/exchange/guides/websockets/book-checksum-v2 as known on
2026-11-21. REST is in `engine.exchanges.kraken_rest`, version 1 in `engine.exchanges.kraken_v1`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from engine.domain.market import (
    BookTop,
    BookUpdate,
    Channel,
    Heartbeat,
    Level,
    LevelText,
    MarketEvent,
    Side,
    Trade,
)
from engine.errors import FrameError, VenueError
from engine.exchanges.kraken_rest import KrakenRest, sequence_of
from engine.exchanges.wire import (
    LARGEST,
    REFUSED,
    Amount,
    Id,
    Price,
    blame,
    check_levels,
    decode,
    moment_ns,
    shorten,
)

SYMBOLS_PER_MESSAGE = 100

_NOT_FOR_US = frozenset({"ohlc", "instrument", "level3"})


class _Trade(msgspec.Struct, gc=False):
    symbol: str
    side: Side
    price: Price
    qty: Amount
    trade_id: Id
    timestamp: datetime


class _Ticker(msgspec.Struct, gc=False):
    symbol: str
    bid: Price
    bid_qty: Amount
    ask: Price
    ask_qty: Amount
    timestamp: datetime | None = None


class _Level(msgspec.Struct, gc=False):
    # Open types, so that the decoder's `float_hook` hands over the digits as they were sent.
    price: object
    qty: object


class _Book(msgspec.Struct):
    symbol: str
    checksum: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    bids: list[_Level] = []
    asks: list[_Level] = []
    timestamp: datetime | None = None


class _Trades(msgspec.Struct, tag_field="channel", tag="trade"):
    data: list[_Trade]


class _Tickers(msgspec.Struct, tag_field="channel", tag="ticker"):
    data: list[_Ticker]


class _Books(msgspec.Struct, tag_field="channel", tag="book"):
    type: Literal["snapshot", "update"]
    data: list[_Book]


class _Heartbeat(msgspec.Struct, tag_field="channel", tag="heartbeat"):
    pass


class _Status(msgspec.Struct, tag_field="channel", tag="status"):
    pass


_Message = _Trades | _Tickers | _Books | _Heartbeat | _Status
_TAGS = frozenset({"trade", "ticker", "book", "heartbeat", "status"})
_PRICES = re.compile(r"\.(price|bid|ask)$")


class _Envelope(msgspec.Struct):
    channel: str = ""
    method: str = ""
    success: bool | None = None
    error: str | None = None
    symbol: str = ""


# Prices come as JSON numbers; the float nearest to those digits is what we keep.
_MESSAGES: msgspec.json.Decoder[_Message] = msgspec.json.Decoder(_Message, float_hook=str)
_ENVELOPE = msgspec.json.Decoder(_Envelope)


class Kraken(KrakenRest):
    """Kraken: channels ``trade``, ``ticker`` (on every change of the best bid or ask), ``book``.

    The venue sends a heartbeat a second while any channel is subscribed, and wants a message
    from us once a minute. ``trade_id`` is a sequence number per book. A ``trade`` subscription
    begins with the latest 50 trades, which fill short absences. Books have no sequence; after
    each update the CRC32 of the ten best levels a side must be what the venue says.
    """

    ws_url = "wss://ws.kraken.com/v2"
    ping_interval_s = 30.0
    pages_forward = True
    book_levels = 100
    """Of the 10, 25, 100, 500 and 1000 that can be had: deeper ones multiply the traffic, and
    whatever we make of a book looks at far fewer."""

    def subscribe(self, instruments: Sequence[str], channels: Sequence[Channel]) -> list[str]:
        """Return ``subscribe`` messages, a hundred symbols of one channel each."""
        self.track(instruments)
        symbols = [self.symbol(instrument) for instrument in instruments]
        return [
            self._request("subscribe", channel, symbols[start : start + SYMBOLS_PER_MESSAGE])
            for start in range(0, len(symbols), SYMBOLS_PER_MESSAGE)
            for channel in channels
        ]

    def resubscribe_book(self, instrument: str) -> list[str]:
        """Leave the symbol's ``book`` and join it again: it begins with a snapshot."""
        symbols = [self.symbol(instrument)]
        return [self._request(method, "book", symbols) for method in ("unsubscribe", "subscribe")]

    def _request(self, method: str, channel: Channel, symbols: Sequence[str]) -> str:
        params: dict[str, object] = {"channel": "trade", "symbol": symbols}
        if channel == "book_top":
            params |= {"channel": "ticker", "event_trigger": "bbo"}
        elif channel == "book":
            params |= {"channel": "book", "depth": self.book_levels}
        if method == "subscribe":
            params["snapshot"] = True
        return json.dumps({"method": method, "params": params})

    def ping(self) -> str:
        """Return the application ping; it is answered with ``pong``."""
        return '{"method":"ping"}'

    def parse(self, frame: bytes, receive_time: int) -> Sequence[MarketEvent]:
        """Decode one frame.

        Trades (``side`` is the taker's; ``snapshot`` and ``update`` look alike)::

            {"channel":"trade","type":"update","data":[{"symbol":"MATIC/USD","side":"sell",
             "price":0.5117,"qty":40.0,"ord_type":"market","trade_id":4665906,
             "timestamp":"2023-09-25T07:49:37.708706Z"}]}

        Best bid and ask (older versions send no ``timestamp``)::

            {"channel":"ticker","type":"update","data":[{"symbol":"ALGO/USD","bid":0.10025,
             "bid_qty":740.0,"ask":0.10036,"ask_qty":1361.44813783,"last":0.10035,
             "volume":997038.98383185,"vwap":0.10148,"low":0.09979,"high":0.10285,
             "change":-0.00017,"change_pct":-0.17,"timestamp":"2023-09-25T09:04:31.742648Z"}]}

        A book: ``snapshot``, then ``update`` (``qty`` 0 deletes the price). Whoever applies one
        cuts the book to the subscribed depth before the checksum is compared::

            {"channel":"book","type":"update","data":[{"symbol":"MATIC/USD",
             "bids":[{"price":0.5657,"qty":1098.3947558}],"asks":[],"checksum":2114181697,
             "timestamp":"2023-10-06T17:35:55.440295Z"}]}

        ``{"channel":"heartbeat"}``, ``status``, ``pong`` and acknowledgements say that it lives;
        ``{"error":"Currency pair not supported FOO/USD","method":"subscribe","success":false,…}``
        is a refusal. Version 1's frames are lists and are refused as ``bad_field``.
        """
        try:
            raw = _MESSAGES.decode(frame)
        except REFUSED:
            return self._unusual(frame, receive_time)
        # Exact types: `isinstance` is dear for structs, which have a metaclass.
        if type(raw) is _Books:
            is_snapshot = raw.type == "snapshot"
            return [self._book(book, is_snapshot, receive_time) for book in raw.data]
        if type(raw) is _Trades:
            trades = [self._trade(trade, receive_time) for trade in raw.data]
            if len(trades) > 1:
                trades.sort(key=sequence_of)
            return trades
        if type(raw) is _Tickers:
            return [self._book_top(ticker, receive_time) for ticker in raw.data]
        return (Heartbeat(self.name, None, receive_time),)

    def _unusual(self, frame: bytes, receive_time: int) -> tuple[Heartbeat, ...]:
        """Read answers to our requests, pass over what is not for us, refuse the rest."""
        envelope = decode(_ENVELOPE, frame)
        if envelope.channel in _TAGS:
            try:
                decode(_MESSAGES, frame)  # says what is wrong with it
            except FrameError as error:
                raise blame(error, _PRICES) from None
        if envelope.channel in _NOT_FOR_US:
            return ()
        if envelope.success is False or envelope.error is not None:
            about = envelope.symbol or envelope.method or "a message"
            raise VenueError(f"kraken refused {about}: {envelope.error}")
        if envelope.method:
            return (Heartbeat(self.name, None, receive_time),)
        raise FrameError("unknown_message", f"kraken sent an unknown message: {shorten(frame)}")

    def _trade(self, raw: _Trade, receive_time: int) -> Trade:
        return Trade(
            self.name,
            self._instruments.get(raw.symbol) or self.instrument_of(raw.symbol),
            str(raw.trade_id),
            raw.trade_id,
            raw.price,
            raw.qty,
            raw.side,
            moment_ns(raw.timestamp),
            receive_time,
        )

    def _book(self, raw: _Book, is_snapshot: bool, receive_time: int) -> BookUpdate:
        bids, bid_texts = _levels(raw.bids) if raw.bids else ([], [])
        asks, ask_texts = _levels(raw.asks) if raw.asks else ([], [])
        return BookUpdate(
            self.name,
            self._instruments.get(raw.symbol) or self.instrument_of(raw.symbol),
            is_snapshot,
            bids,
            asks,
            None,
            None,
            None,
            None if raw.timestamp is None else moment_ns(raw.timestamp),
            receive_time,
            raw.checksum,
            bid_texts,
            ask_texts,
        )

    def _book_top(self, raw: _Ticker, receive_time: int) -> BookTop:
        return BookTop(
            self.name,
            self._instruments.get(raw.symbol) or self.instrument_of(raw.symbol),
            raw.bid,
            raw.bid_qty,
            raw.ask,
            raw.ask_qty,
            0,
            None if raw.timestamp is None else moment_ns(raw.timestamp),
            receive_time,
        )


def _levels(raw: list[_Level]) -> tuple[list[Level], list[LevelText]]:
    """Return levels as numbers and in the venue's own digits (an integer comes as an int)."""
    texts = [(str(level.price), str(level.qty)) for level in raw]
    return parse_levels(texts), texts


def parse_levels(texts: Sequence[LevelText]) -> list[Level]:
    """Turn levels in the venue's digits into numbers.

    Raises
    ------
    FrameError
        Kind ``bad_field`` where one is no number, ``bad_price`` or ``bad_amount`` where no book
        holds it.
    """
    levels: list[Level] = []
    try:
        for price_text, amount_text in texts:
            level = float(price_text), float(amount_text)
            if not (0.0 < level[0] < LARGEST and 0.0 <= level[1] < LARGEST):
                check_levels([level])  # says what is wrong with it
            levels.append(level)
    except ValueError as error:
        raise FrameError("bad_field", f"a level of the book is no number: {error}") from None
    return levels
