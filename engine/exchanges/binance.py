"""Binance spot.

Formats after https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and
https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints as known
on 2026-11-21; the stream formats are checked against frames recorded in 2021 and 2024.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from engine.clock import NS_PER_MS
from engine.domain.instrument import Instrument
from engine.domain.market import Channel, SymbolMetadata, Trade
from engine.domain.timeframe import Timeframe
from engine.errors import InstrumentError
from engine.exchanges.base import Limits, RestRequest, canonical, split_symbol
from engine.exchanges.binance_frames import NAME, read_book, read_book_top, read_trade
from engine.exchanges.binance_rest import (
    Amount,
    Milliseconds,
    Number,
    Price,
    SymbolFilter,
    steps_of,
)
from engine.exchanges.binance_wire import BinanceVenue
from engine.exchanges.layouts import Reader
from engine.exchanges.wire import decode_answer

_INFORMATION_WEIGHT = 20.0


class _PastTrade(msgspec.Struct, rename="camel"):
    id: Number
    price: Price
    qty: Amount
    time: Milliseconds
    is_buyer_maker: bool


class _Aggregate(msgspec.Struct):
    f: Number


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[SymbolFilter] = []


class _ExchangeInformation(msgspec.Struct):
    symbols: list[_Symbol]


# Numbers come as strings ("61837.63000000"): strict=False reads them into floats in one pass.
_PAST_TRADES = msgspec.json.Decoder(list[_PastTrade], strict=False)
_AGGREGATES = msgspec.json.Decoder(list[_Aggregate], strict=False)
_INFORMATION = msgspec.json.Decoder(_ExchangeInformation, strict=False)


_READERS: dict[str, Reader] = {
    "trade": read_trade,
    "bookTicker": read_book_top,
    "depth": read_book,
}


class Binance(BinanceVenue):
    """Binance spot: combined streams ``@trade``, ``@bookTicker`` and ``@depth@100ms``.

    The venue pings every 20 s and wants its pong within 60 s (the WebSocket library answers),
    ends connections after 24 h, takes 5 messages a second, 1,024 streams a connection and 300
    new connections in 5 minutes from one address. REST allows a weight of 6,000 a minute.

    Trade ids are consecutive per symbol. Past trades come one by one from ``historicalTrades``,
    by id and without a key, so that any hole in the stream can be filled exactly.
    """

    name = NAME
    ws_url = "wss://stream.binance.com:9443"
    rest_url = "https://api.binance.com"
    limits = Limits(
        messages_per_second=4.0,
        streams_per_connection=1024,
        candles_per_request=1000,
        requests_per_second=50.0,
        connects=(150, 300.0),
    )
    intervals: ClassVar[Mapping[Timeframe, str]] = {each: each.value for each in Timeframe}
    channels = frozenset({"trades", "book_top", "book"})
    api = "/api/v3"
    stream_suffixes: ClassVar[Mapping[Channel, str]] = {
        "trades": "@trade",
        "book_top": "@bookTicker",
        "book": "@depth@100ms",
    }
    unused_kinds = ("aggTrade", "kline_", "miniTicker", "ticker", "avgPrice")
    trades_path = "historicalTrades"
    trades_weight = 25.0
    aggregates_weight = 4.0
    book_weight = 50.0
    klines_weight = 2.0

    def symbol(self, instrument: str) -> str:
        """Return for example ``BTCUSDT``."""
        parsed = Instrument.parse(instrument)
        if not parsed.is_spot:
            raise InstrumentError(
                f"{instrument} is not traded on binance, which is spot: name a BASE-QUOTE, or "
                "take it from binance_perp"
            )
        return parsed.base + parsed.quote

    def guess_instrument(self, symbol: str) -> str | None:
        """Return the name that a known quote currency at the end suggests."""
        return split_symbol(symbol)

    def reader(self, kind: str) -> Reader | None:
        """Return what reads ``trade``, ``bookTicker`` and ``depth…``."""
        return _READERS.get(kind.partition("@")[0])

    def metadata_requests(self) -> list[RestRequest]:
        """Return the request for ``exchangeInfo``."""
        return [RestRequest(f"{self.api}/exchangeInfo", weight=_INFORMATION_WEIGHT)]

    def parse_metadata(self, body: bytes) -> list[SymbolMetadata]:
        """Decode ``exchangeInfo``: ``PRICE_FILTER.tickSize`` and ``LOT_SIZE.stepSize``.

        The venue gives no dates, and ``BREAK`` both to symbols that it gave up years ago and to
        all while it maintains its machines: every status but ``TRADING`` counts as halted.
        """
        found = []
        for raw in decode_answer(_INFORMATION, body, "binance's exchangeInfo").symbols:
            instrument = canonical(raw.base_asset, raw.quote_asset)
            if instrument is None:
                continue
            tick_size, lot_size = steps_of(raw.filters)
            found.append(
                SymbolMetadata(
                    exchange=self.name,
                    instrument=instrument,
                    symbol=raw.symbol,
                    status="trading" if raw.status == "TRADING" else "halted",
                    tick_size=tick_size,
                    lot_size=lot_size,
                )
            )
        return found

    def parse_first_trade(self, body: bytes) -> int | None:
        """Decode ``aggTrades``: ``f`` is the first single trade in an aggregate.

        ::

            [{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,
              "T":1498793709153,"m":true,"M":true}]
        """
        rows = decode_answer(_AGGREGATES, body, "binance's aggTrades")
        return rows[0].f if rows else None

    def parse_trades(self, body: bytes, instrument: str, receive_time: int) -> list[Trade]:
        """Decode ``historicalTrades``.

        ::

            [{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012",
              "time":1499865549590,"isBuyerMaker":true,"isBestMatch":true}]
        """
        return [
            Trade(
                self.name,
                instrument,
                str(raw.id),
                raw.id,
                raw.price,
                raw.qty,
                "sell" if raw.is_buyer_maker else "buy",
                raw.time * NS_PER_MS,
                receive_time,
            )
            for raw in decode_answer(_PAST_TRADES, body, f"binance's trades of {instrument}")
        ]
