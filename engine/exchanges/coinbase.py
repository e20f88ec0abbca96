"""Coinbase Exchange.

Formats after https://docs.cdp.coinbase.com/exchange/websocket-feed/channels and
https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproductcandles as known on
2026-11-21; ``matches`` is checked against frames recorded in April 2021.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import msgspec

from engine.clock import NS_PER_S, iso_utc
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
from engine.exchanges.base import Exchange, Limits, RestRequest, canonical, spans
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

PRODUCTS_PER_MESSAGE = 100

_CHANNELS: dict[Channel, str] = {"trades": "matches", "book_top": "ticker"}

_NOT_FOR_US = frozenset(
    {"snapshot", "l2update", "received", "open", "done", "change", "activate", "status"}
)


class _Kind(msgspec.Struct):
    type: str
    message: str = ""
    reason: str = ""


class _Match(msgspec.Struct):
    trade_id: int
    side: str
    size: float
    price: float
    product_id: str
    time: datetime


class _Ticker(msgspec.Struct):
    sequence: int
    product_id: str
    best_bid: float
    best_ask: float
    time: datetime | None = None
    best_bid_size: float | None = None
    best_ask_size: float | None = None


class _Heartbeat(msgspec.Struct):
    time: datetime


class _Product(msgspec.Struct):
    id: str
    base_currency: str
    quote_currency: str
    status: str
    quote_increment: float | None = None
    base_increment: float | None = None
    trading_disabled: bool = False


# Numbers come as strings: strict=False reads them into floats in one pass.
_KIND = msgspec.json.Decoder(_Kind)
_MATCH = msgspec.json.Decoder(_Match, strict=False)
_TICKER = msgspec.json.Decoder(_Ticker, strict=False)
_BEAT = msgspec.json.Decoder(_Heartbeat)
_PRODUCTS = msgspec.json.Decoder(list[_Product], strict=False)
_CANDLES = msgspec.json.Decoder(list[tuple[int, float, float, float, float, float]], strict=False)


class Coinbase(Exchange):
    """Coinbase Exchange: channels ``matches``, ``ticker`` and ``heartbeat``.

    The venue closes quiet connections after 60 to 90 s, hence ``heartbeat`` (one a second and
    product). Trade ids are consecutive per product. It has no candles of 1s and 4h.
    """

    name = "coinbase"
    ws_url = "wss://ws-feed.exchange.coinbase.com"
    rest_url = "https://api.exchange.coinbase.com"
    limits = Limits(
        messages_per_second=5.0,
        streams_per_connection=1000,
        candles_per_request=300,
        requests_per_second=5.0,
    )
    intervals = {  # noqa: RUF012
        Timeframe.M1: "60",
        Timeframe.M5: "300",
        Timeframe.M15: "900",
        Timeframe.H1: "3600",
        Timeframe.D1: "86400",
    }

    def symbol(self, instrument: str) -> str:
        """Return for example ``BTC-USD``: the canonical name itself."""
        Instrument.parse(instrument)
        return instrument

    def guess_instrument(self, symbol: str) -> str | None:
        """Return the symbol itself where it is a canonical name."""
        base, _, quote = symbol.partition("-")
        return canonical(base, quote)

    def subscribe(self, instruments: Sequence[str], channels: Sequence[Channel]) -> list[str]:
        """Return ``subscribe`` messages, a hundred products each."""
        self.track(instruments)
        names = [*(_CHANNELS[channel] for channel in channels), "heartbeat"]
        products = [self.symbol(instrument) for instrument in instruments]
        return [
            json.dumps(
                {
                    "type": "subscribe",
                    "product_ids": products[start : start + PRODUCTS_PER_MESSAGE],
                    "channels": names,
                }
            )
            for start in range(0, len(products), PRODUCTS_PER_MESSAGE)
        ]

    def parse(self, frame: bytes, receive_time: int) -> Sequence[MarketEvent]:
        """Decode one frame.

        A trade (``side`` is the maker's, so the aggressor's is the other)::

            {"type":"match","trade_id":280232,"maker_order_id":"2a0d…","taker_order_id":"3c82…",
             "side":"sell","size":"985","price":"0.00001305","product_id":"SKL-BTC",
             "sequence":177100030,"time":"2021-04-17T16:43:37.089723Z"}

        ``last_match``, sent once on subscribing, is the latest trade before it: a trade like
        any other with its own id. The stream loop drops it where it is known and where
        it is old news; where it was missed while we were away, it is data.

        Best bid and ask::

            {"type":"ticker","sequence":37475248783,"product_id":"ETH-USD","price":"1285.22",
             "best_bid":"1285.04","best_bid_size":"0.46688654","best_ask":"1285.27",
             "best_ask_size":"1.56637040","side":"buy","time":"2022-10-19T23:28:22.061769Z",
             "trade_id":370843401,"last_size":"11.4396987"}

        Tickers recorded before 2022 have no sizes and give no event, nor do book messages.
        ``{"type":"error","message":"Failed to subscribe","reason":"…"}`` is a refusal.
        """
        kind = decode(_KIND, frame)
        if kind.type in {"match", "last_match"}:
            return (self._trade(decode(_MATCH, frame), receive_time),)
        if kind.type == "ticker":
            top = self._book_top(decode(_TICKER, frame), receive_time)
            return () if top is None else (top,)
        if kind.type == "heartbeat":
            beat = decode(_BEAT, frame)
            return (Heartbeat(self.name, moment_ns(beat.time), receive_time),)
        if kind.type == "subscriptions":
            return (Heartbeat(self.name, None, receive_time),)
        if kind.type in _NOT_FOR_US:
            return ()
        if kind.type == "error":
            raise VenueError(f"coinbase refused: {kind.message}: {kind.reason}")
        raise FrameError("unknown_message", f"coinbase sent an unknown message: {shorten(frame)}")

    def _trade(self, raw: _Match, receive_time: int) -> Trade:
        check_price(raw.price, "the trade's price")
        check_amount(raw.size, "the trade's amount")
        check_id(raw.trade_id, "the trade's id")
        if raw.side not in {"buy", "sell"}:
            raise FrameError("bad_field", f"the trade's side is {raw.side[:20]!r}")
        return Trade(
            self.name,
            self.instrument_of(raw.product_id),
            str(raw.trade_id),
            raw.trade_id,
            raw.price,
            raw.size,
            "buy" if raw.side == "sell" else "sell",
            moment_ns(raw.time),
            receive_time,
        )

    def _book_top(self, raw: _Ticker, receive_time: int) -> BookTop | None:
        instrument = self.instrument_of(raw.product_id)
        if raw.best_bid_size is None or raw.best_ask_size is None:
            return None
        check_price(raw.best_bid, "the best bid")
        check_price(raw.best_ask, "the best ask")
        check_amount(raw.best_bid_size, "the best bid's amount")
        check_amount(raw.best_ask_size, "the best ask's amount")
        check_id(raw.sequence, "the ticker's sequence")
        return BookTop(
            self.name,
            instrument,
            raw.best_bid,
            raw.best_bid_size,
            raw.best_ask,
            raw.best_ask_size,
            raw.sequence,
            None if raw.time is None else moment_ns(raw.time),
            receive_time,
        )

    def metadata_requests(self) -> list[RestRequest]:
        """Return the request for ``products``."""
        return [RestRequest("/products")]

    def parse_metadata(self, body: bytes) -> list[SymbolMetadata]:
        """Decode ``products``."""
        found = []
        for raw in decode_answer(_PRODUCTS, body, "coinbase's products"):
            instrument = canonical(raw.base_currency, raw.quote_currency)
            if instrument is None or instrument != raw.id:
                continue
            trading = raw.status == "online" and not raw.trading_disabled
            found.append(
                SymbolMetadata(
                    exchange=self.name,
                    instrument=instrument,
                    symbol=raw.id,
                    status="trading" if trading else "halted",
                    tick_size=raw.quote_increment,
                    lot_size=raw.base_increment,
                )
            )
        return found

    def candle_requests(
        self, instrument: str, timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> list[RestRequest]:
        """Return requests for ``candles``; the last candle asked for opens at the range's end."""
        if timeframe not in self.intervals:
            return []
        path = f"/products/{self.symbol(instrument)}/candles"
        return [
            RestRequest(
                path,
                (
                    ("granularity", self.intervals[timeframe]),
                    ("start", iso_utc(start)),
                    ("end", iso_utc(timeframe.floor(end - 1))),
                ),
            )
            for start, end in spans(start_ns, end_ns, timeframe, self.limits.candles_per_request)
        ]

    def parse_candles(
        self, body: bytes, instrument: str, timeframe: Timeframe, as_of: int
    ) -> list[Candle]:
        """Decode ``candles``: rows of time (s), low, high, open, close, volume, newest first."""
        rows = decode_answer(_CANDLES, body, f"coinbase's {timeframe} candles")
        return [
            rest_candle(
                self.name,
                instrument,
                timeframe,
                as_of=as_of,
                open_time=time_s * NS_PER_S,
                prices=(first, high, low, last),
                volume=volume,
            )
            for time_s, low, high, first, last, volume in reversed(rows)
            if volume
        ]
