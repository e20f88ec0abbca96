"""Kraken spot, WebSocket API v2.

Formats after https://docs.kraken.com/api/docs/websocket-v2/trade, …/ticker and
https://docs.kraken.com/api/docs/rest-api/get-ohlc-data as known on 2026-11-21.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import msgspec

from engine.clock import NS_PER_S
from engine.domain.instrument import Instrument
from engine.domain.market import (
    BookTop,
    Candle,
    Channel,
    Heartbeat,
    MarketEvent,
    Side,
    SymbolMetadata,
    Trade,
)
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, VenueError
from engine.exchanges.base import Exchange, Limits, RestRequest, canonical
from engine.exchanges.wire import (
    check_amount,
    check_id,
    check_price,
    decode,
    decode_answer,
    moment_ns,
    rest_candle,
    shorten,
)

SYMBOLS_PER_MESSAGE = 100

_REST_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
"""REST keeps Kraken's old names for two currencies; WebSocket v2 does not."""
_COMMON_NAMES = {old: new for new, old in _REST_NAMES.items()}

_NOT_FOR_US = frozenset({"book", "ohlc", "instrument", "level3"})


class _Envelope(msgspec.Struct):
    channel: str = ""
    method: str = ""
    data: msgspec.Raw = msgspec.Raw()
    success: bool | None = None
    error: str | None = None
    symbol: str = ""


class _Trade(msgspec.Struct):
    symbol: str
    side: Side
    price: float
    qty: float
    trade_id: int
    timestamp: datetime


class _Ticker(msgspec.Struct):
    symbol: str
    bid: float
    bid_qty: float
    ask: float
    ask_qty: float
    timestamp: datetime | None = None


class _Pair(msgspec.Struct):
    wsname: str = ""
    status: str = "online"
    tick_size: float | None = None
    pair_decimals: int | None = None
    lot_decimals: int | None = None


class _Pairs(msgspec.Struct):
    error: list[str]
    result: dict[str, _Pair] = {}


class _Ohlc(msgspec.Struct):
    error: list[str]
    result: dict[str, msgspec.Raw] = {}


_ENVELOPE = msgspec.json.Decoder(_Envelope)
# Prices come as JSON numbers; the float nearest to those digits is what we keep.
_TRADES = msgspec.json.Decoder(list[_Trade])
_TICKERS = msgspec.json.Decoder(list[_Ticker])
_PAIRS = msgspec.json.Decoder(_Pairs, strict=False)
_OHLC = msgspec.json.Decoder(_Ohlc)
_ROWS = msgspec.json.Decoder(
    list[tuple[int, float, float, float, float, float, float, int]], strict=False
)


class Kraken(Exchange):
    """Kraken: channels ``trade`` and ``ticker`` (on every change of the best bid or ask).

    The venue sends a heartbeat a second while any channel is subscribed, and wants a message
    from us now and then. ``trade_id`` is a sequence number per book. A ``trade`` subscription
    begins with the latest 50 trades, which fill short absences. It has no candles of 1s, and
    only the latest 720 of any length.
    """

    name = "kraken"
    ws_url = "wss://ws.kraken.com/v2"
    rest_url = "https://api.kraken.com"
    limits = Limits(
        messages_per_second=5.0,
        streams_per_connection=1000,
        candles_per_request=720,
        requests_per_second=1.0,
    )
    intervals = {  # noqa: RUF012
        Timeframe.M1: "1",
        Timeframe.M5: "5",
        Timeframe.M15: "15",
        Timeframe.H1: "60",
        Timeframe.H4: "240",
        Timeframe.D1: "1440",
    }
    ping_interval_s = 30.0

    def symbol(self, instrument: str) -> str:
        """Return for example ``BTC/USD``."""
        base, quote, *_ = Instrument.parse(instrument)
        return f"{base}/{quote}"

    def guess_instrument(self, symbol: str) -> str | None:
        """Return the name with a dash, where that is canonical."""
        base, _, quote = symbol.partition("/")
        return canonical(base, quote)

    def subscribe(self, instruments: Sequence[str], channels: Sequence[Channel]) -> list[str]:
        """Return ``subscribe`` messages, a hundred symbols of one channel each."""
        self.track(instruments)
        symbols = [self.symbol(instrument) for instrument in instruments]
        messages = []
        for start in range(0, len(symbols), SYMBOLS_PER_MESSAGE):
            hand = symbols[start : start + SYMBOLS_PER_MESSAGE]
            for channel in channels:
                params: dict[str, object] = {"channel": "trade", "symbol": hand, "snapshot": True}
                if channel == "book_top":
                    params |= {"channel": "ticker", "event_trigger": "bbo"}
                messages.append(json.dumps({"method": "subscribe", "params": params}))
        return messages

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

        ``{"channel":"heartbeat"}``, ``status``, ``pong`` and acknowledgements say that it lives;
        ``{"error":"Currency pair not supported FOO/USD","method":"subscribe","success":false,…}``
        is a refusal. Version 1's frames are lists and are refused as ``bad_field``.
        """
        envelope = decode(_ENVELOPE, frame)
        channel = envelope.channel
        if channel == "trade":
            raw_trades = decode(_TRADES, envelope.data)
            return sorted((self._trade(raw, receive_time) for raw in raw_trades), key=_sequence_of)
        if channel == "ticker":
            return [self._book_top(raw, receive_time) for raw in decode(_TICKERS, envelope.data)]
        if channel in {"heartbeat", "status"}:
            return (Heartbeat(self.name, None, receive_time),)
        if channel in _NOT_FOR_US:
            return ()
        if envelope.success is False or envelope.error is not None:
            about = envelope.symbol or envelope.method or "a message"
            raise VenueError(f"kraken refused {about}: {envelope.error}")
        if envelope.method:
            return (Heartbeat(self.name, None, receive_time),)
        raise FrameError("unknown_message", f"kraken sent an unknown message: {shorten(frame)}")

    def _trade(self, raw: _Trade, receive_time: int) -> Trade:
        check_price(raw.price, "the trade's price")
        check_amount(raw.qty, "the trade's amount")
        check_id(raw.trade_id, "the trade's id")
        return Trade(
            self.name,
            self.instrument_of(raw.symbol),
            str(raw.trade_id),
            raw.trade_id,
            raw.price,
            raw.qty,
            raw.side,
            moment_ns(raw.timestamp),
            receive_time,
        )

    def _book_top(self, raw: _Ticker, receive_time: int) -> BookTop:
        check_price(raw.bid, "the best bid")
        check_price(raw.ask, "the best ask")
        check_amount(raw.bid_qty, "the best bid's amount")
        check_amount(raw.ask_qty, "the best ask's amount")
        return BookTop(
            self.name,
            self.instrument_of(raw.symbol),
            raw.bid,
            raw.bid_qty,
            raw.ask,
            raw.ask_qty,
            0,
            None if raw.timestamp is None else moment_ns(raw.timestamp),
            receive_time,
        )

    def metadata_requests(self) -> list[RestRequest]:
        """Return the request for ``AssetPairs``."""
        return [RestRequest("/0/public/AssetPairs")]

    def parse_metadata(self, body: bytes) -> list[SymbolMetadata]:
        """Decode ``AssetPairs``; steps come from ``tick_size`` or the counts of decimals."""
        answer = decode_answer(_PAIRS, body, "kraken's AssetPairs")
        if answer.error:
            raise VenueError(f"kraken refused AssetPairs: {', '.join(answer.error)}")
        found = []
        for raw in answer.result.values():
            base, _, quote = raw.wsname.partition("/")
            instrument = canonical(_COMMON_NAMES.get(base, base), _COMMON_NAMES.get(quote, quote))
            if instrument is None:
                continue
            found.append(
                SymbolMetadata(
                    exchange=self.name,
                    instrument=instrument,
                    symbol=self.symbol(instrument),
                    status="trading" if raw.status == "online" else "halted",
                    tick_size=raw.tick_size or _step(raw.pair_decimals),
                    lot_size=_step(raw.lot_decimals),
                )
            )
        return found

    def candle_requests(
        self, instrument: str, timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> list[RestRequest]:
        """Return the one request for ``OHLC`` that the venue knows: the latest 720 since a time.

        Candles at or after `end_ns` come along and are the caller's to leave out; older ones
        than the latest 720 cannot be had.
        """
        if timeframe not in self.intervals or start_ns >= end_ns:
            return []
        base, quote, *_ = Instrument.parse(instrument)
        pair = _REST_NAMES.get(base, base) + _REST_NAMES.get(quote, quote)
        return [
            RestRequest(
                "/0/public/OHLC",
                (
                    ("pair", pair),
                    ("interval", self.intervals[timeframe]),
                    # The venue sends what opens after `since`.
                    ("since", str(max(0, start_ns // NS_PER_S - 1))),
                ),
            )
        ]

    def parse_candles(
        self, body: bytes, instrument: str, timeframe: Timeframe, as_of: int
    ) -> list[Candle]:
        """Decode ``OHLC``: rows of time (s), open, high, low, close, vwap, volume, count."""
        answer = decode_answer(_OHLC, body, f"kraken's {timeframe} candles")
        if answer.error:
            raise VenueError(f"kraken refused candles of {instrument}: {', '.join(answer.error)}")
        rows = next((raw for name, raw in answer.result.items() if name != "last"), None)
        if rows is None:
            raise VenueError(f"kraken's candles of {instrument} hold no rows")
        return [
            rest_candle(
                self.name,
                instrument,
                timeframe,
                as_of=as_of,
                open_time=time_s * NS_PER_S,
                prices=(first, high, low, last),
                volume=volume,
                trade_count=count,
                vwap=vwap,
            )
            for time_s, first, high, low, last, vwap, volume, count in decode_answer(
                _ROWS, bytes(rows), f"kraken's {timeframe} candles"
            )
            if volume and count
        ]


def _sequence_of(trade: Trade) -> int:
    return trade.sequence


def _step(decimals: int | None) -> float | None:
    return None if decimals is None or not 0 <= decimals <= 30 else float(f"1e-{decimals}")
