"""Binance spot.

Formats after https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and
https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints as known
on 2026-11-21; the stream formats are checked against frames recorded in August 2024.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from engine.clock import NS_PER_MS
from engine.domain.instrument import Instrument
from engine.domain.market import (
    BookTop,
    Candle,
    Channel,
    Heartbeat,
    MarketEvent,
    SymbolMetadata,
    Trade,
)
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, VenueError
from engine.exchanges.base import Exchange, Limits, RestRequest, canonical, spans, split_symbol
from engine.exchanges.wire import (
    check_amount,
    check_id,
    check_price,
    decode,
    decode_answer,
    milliseconds_ns,
    rest_candle,
    shorten,
)

STREAMS_IN_URL = 100
"""Streams asked for in the address, so that it stays short; further ones by message."""
STREAMS_PER_MESSAGE = 200

_STREAM_SUFFIX: dict[Channel, str] = {"trades": "@trade", "book_top": "@bookTicker"}


class _Refusal(msgspec.Struct):
    code: int = 0
    msg: str = ""


class _Envelope(msgspec.Struct):
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: _Refusal | None = None
    lastUpdateId: int = 0  # noqa: N815 - the venue's spelling


class _Trade(msgspec.Struct):
    s: str
    t: int
    p: float
    q: float
    T: int
    m: bool
    X: str = ""


class _BookTicker(msgspec.Struct):
    u: int
    s: str
    b: float
    B: float
    a: float
    A: float
    e: str = ""


class _Filter(msgspec.Struct, rename="camel"):
    filter_type: str
    tick_size: float | None = None
    step_size: float | None = None


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[_Filter] = []


class _ExchangeInformation(msgspec.Struct):
    symbols: list[_Symbol]


_Kline = tuple[int, float, float, float, float, float, int, float, int, float, float, msgspec.Raw]

# Numbers come as strings ("61837.63000000"): strict=False reads them into floats in one pass.
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_TRADE = msgspec.json.Decoder(_Trade, strict=False)
_BOOK_TICKER = msgspec.json.Decoder(_BookTicker, strict=False)
_INFORMATION = msgspec.json.Decoder(_ExchangeInformation, strict=False)
_KLINES = msgspec.json.Decoder(list[_Kline], strict=False)


class Binance(Exchange):
    """Binance spot: combined streams ``@trade`` and ``@bookTicker``.

    The venue pings every 20 s and wants its pong within 60 s (the WebSocket library answers),
    ends connections after 24 h, takes 5 messages a second and 1,024 streams a connection.
    Trade ids are consecutive per symbol.
    """

    name = "binance"
    ws_url = "wss://stream.binance.com:9443"
    rest_url = "https://api.binance.com"
    limits = Limits(
        messages_per_second=4.0,
        streams_per_connection=1024,
        candles_per_request=1000,
        requests_per_second=10.0,
    )
    intervals = {timeframe: timeframe.value for timeframe in Timeframe}  # noqa: RUF012

    def symbol(self, instrument: str) -> str:
        """Return for example ``BTCUSDT``."""
        base, quote, *_ = Instrument.parse(instrument)
        return base + quote

    def guess_instrument(self, symbol: str) -> str | None:
        """Return the name that a known quote currency at the end suggests."""
        return split_symbol(symbol)

    def _streams(self, instruments: Sequence[str], channels: Sequence[Channel]) -> list[str]:
        return [
            self.symbol(instrument).lower() + _STREAM_SUFFIX[channel]
            for instrument in instruments
            for channel in channels
        ]

    def url(self, base: str, instruments: Sequence[str], channels: Sequence[Channel]) -> str:
        """Return ``BASE/stream?streams=…`` with the first hundred streams."""
        streams = self._streams(instruments, channels)[:STREAMS_IN_URL]
        return f"{base.rstrip('/')}/stream?streams={'/'.join(streams)}"

    def subscribe(self, instruments: Sequence[str], channels: Sequence[Channel]) -> list[str]:
        """Return ``SUBSCRIBE`` messages for the streams beyond those in the address."""
        self.track(instruments)
        streams = self._streams(instruments, channels)[STREAMS_IN_URL:]
        return [
            json.dumps(
                {
                    "method": "SUBSCRIBE",
                    "params": streams[start : start + STREAMS_PER_MESSAGE],
                    "id": number,
                }
            )
            for number, start in enumerate(range(0, len(streams), STREAMS_PER_MESSAGE), 1)
        ]

    def parse(self, frame: bytes, receive_time: int) -> Sequence[MarketEvent]:
        """Decode one frame.

        A trade (``m``: the buyer was the maker, so the seller was the aggressor)::

            {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT",
             "t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,
             "M":true}}

        Best bid and ask (without a time)::

            {"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT",
             "b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}}

        Answers to messages: ``{"result":null,"id":1}``,
        ``{"error":{"code":2,"msg":"Invalid request"},"id":1}``.
        Depth updates and book snapshots are known and give no event.
        """
        envelope = decode(_ENVELOPE, frame)
        stream = envelope.stream
        if stream.endswith("@trade"):
            return (self._trade(decode(_TRADE, envelope.data), receive_time),)
        if stream.endswith("@bookTicker"):
            return (self._book_top(decode(_BOOK_TICKER, envelope.data), receive_time),)
        if "@depth" in stream or envelope.lastUpdateId:
            return ()
        if envelope.error is not None:
            raise VenueError(
                f"binance refused message {envelope.id}: "
                f"{envelope.error.msg} (code {envelope.error.code})"
            )
        if not stream and bytes(envelope.result):
            return (Heartbeat(self.name, None, receive_time),)
        raise FrameError("unknown_message", f"binance sent an unknown message: {shorten(frame)}")

    def _trade(self, raw: _Trade, receive_time: int) -> Trade:
        if raw.X:
            raise FrameError("unknown_message", "a trade of Binance futures, not of spot")
        check_price(raw.p, "the trade's price")
        check_amount(raw.q, "the trade's amount")
        check_id(raw.t, "the trade's id")
        return Trade(
            self.name,
            self.instrument_of(raw.s),
            str(raw.t),
            raw.t,
            raw.p,
            raw.q,
            "sell" if raw.m else "buy",
            milliseconds_ns(raw.T),
            receive_time,
        )

    def _book_top(self, raw: _BookTicker, receive_time: int) -> BookTop:
        if raw.e:
            raise FrameError("unknown_message", "a book ticker of Binance futures, not of spot")
        check_price(raw.b, "the best bid")
        check_price(raw.a, "the best ask")
        check_amount(raw.B, "the best bid's amount")
        check_amount(raw.A, "the best ask's amount")
        check_id(raw.u, "the update's id")
        instrument = self.instrument_of(raw.s)
        return BookTop(self.name, instrument, raw.b, raw.B, raw.a, raw.A, raw.u, None, receive_time)

    def metadata_requests(self) -> list[RestRequest]:
        """Return the request for ``exchangeInfo``."""
        return [RestRequest("/api/v3/exchangeInfo")]

    def parse_metadata(self, body: bytes) -> list[SymbolMetadata]:
        """Decode ``exchangeInfo``: ``PRICE_FILTER.tickSize`` and ``LOT_SIZE.stepSize``."""
        found = []
        for raw in decode_answer(_INFORMATION, body, "binance's exchangeInfo").symbols:
            instrument = canonical(raw.base_asset, raw.quote_asset)
            if instrument is None:
                continue
            filters = {part.filter_type: part for part in raw.filters}
            price, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
            found.append(
                SymbolMetadata(
                    exchange=self.name,
                    instrument=instrument,
                    symbol=raw.symbol,
                    status="trading" if raw.status == "TRADING" else "halted",
                    tick_size=price.tick_size if price else None,
                    lot_size=lot.step_size if lot else None,
                )
            )
        return found

    def candle_requests(
        self, instrument: str, timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> list[RestRequest]:
        """Return requests for ``klines``; both ends of the venue's range are inclusive."""
        most = self.limits.candles_per_request
        return [
            RestRequest(
                "/api/v3/klines",
                (
                    ("symbol", self.symbol(instrument)),
                    ("interval", self.intervals[timeframe]),
                    ("startTime", str(start // NS_PER_MS)),
                    ("endTime", str(end // NS_PER_MS - 1)),
                    ("limit", str(most)),
                ),
            )
            for start, end in spans(start_ns, end_ns, timeframe, most)
        ]

    def parse_candles(
        self, body: bytes, instrument: str, timeframe: Timeframe, as_of: int
    ) -> list[Candle]:
        """Decode ``klines``.

        A row is open time (ms), open, high, low, close, volume, close time, quote volume,
        trade count, taker buy volume, taker buy quote volume, unused::

            [1723161240000,"61837.63","61840.00","61830.00","61839.99","12.5",1723161299999,
             "772999.1",345,"6.1","377216.2","0"]
        """
        return [
            rest_candle(
                self.name,
                instrument,
                timeframe,
                as_of=as_of,
                open_time=row[0] * NS_PER_MS,
                prices=(row[1], row[2], row[3], row[4]),
                volume=row[5],
                quote_volume=row[7],
                trade_count=row[8],
                vwap=row[7] / row[5],
                taker_buy_volume=row[9],
            )
            for row in decode_answer(_KLINES, body, f"binance's {timeframe} klines")
            if row[8] and row[5]
        ]
