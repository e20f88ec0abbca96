"""Coinbase Exchange's REST, and what its WebSocket shares with it.

Formats after https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products,
…/get-product-trades, …/get-product-candles and
https://docs.cdp.coinbase.com/exchange/rest-api/pagination as known on 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from engine.clock import NS_PER_S, iso_utc
from engine.domain.instrument import Instrument
from engine.domain.market import (
    Candle,
    ListingStatus,
    Side,
    SymbolMetadata,
    Trade,
    TradeRange,
)
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, InstrumentError, VenueError
from engine.exchanges.base import Exchange, Limits, RestRequest, canonical, spans
from engine.exchanges.wire import (
    Amount,
    Id,
    Price,
    decode_answer,
    moment_ns,
    rest_candle,
)

TRADES_PER_REQUEST = 1000

_AGGRESSOR: dict[Side, Side] = {"buy": "sell", "sell": "buy"}
"""The venue names the maker's side; the aggressor's is the other."""


class TradeFields(msgspec.Struct, gc=False):
    """What REST and the stream both say of a trade."""

    trade_id: Id
    side: Side
    size: Amount
    price: Price
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
_PRODUCTS = msgspec.json.Decoder(list[_Product], strict=False)
_TRADES = msgspec.json.Decoder(list[TradeFields], strict=False)
_CANDLES = msgspec.json.Decoder(list[tuple[int, float, float, float, float, float]], strict=False)


class CoinbaseRest(Exchange):
    """Coinbase without its WebSocket: symbols, metadata, past trades and candles.

    Trade ids are consecutive per product. It has no candles of 1s and 4h. One address may
    connect 8 times a second.
    """

    name = "coinbase"
    rest_url = "https://api.exchange.coinbase.com"
    limits = Limits(
        messages_per_second=5.0,
        streams_per_connection=1000,
        candles_per_request=300,
        requests_per_second=5.0,
        connects=(4, 1.0),
    )
    intervals = {  # noqa: RUF012
        Timeframe.M1: "60",
        Timeframe.M5: "300",
        Timeframe.M15: "900",
        Timeframe.H1: "3600",
        Timeframe.D1: "86400",
    }
    channels = frozenset({"trades", "book_top", "book"})

    def symbol(self, instrument: str) -> str:
        """Return for example ``BTC-USD``: the canonical name without its generation."""
        parsed = Instrument.parse(instrument)
        if not parsed.is_spot:
            raise InstrumentError(f"coinbase has spot markets only, and {instrument} is none")
        return f"{parsed.base}-{parsed.quote}"

    def guess_instrument(self, symbol: str) -> str | None:
        """Return the symbol itself where it is a canonical name."""
        base, _, quote = symbol.partition("-")
        return canonical(base, quote)

    def metadata_requests(self) -> list[RestRequest]:
        """Return the request for ``products``."""
        return [RestRequest("/products")]

    def parse_metadata(self, body: bytes) -> list[SymbolMetadata]:
        """Decode ``products``: what is and what was listed.

        ::

            [{"id":"BTC-GBP","base_currency":"BTC","quote_currency":"GBP",
              "quote_increment":"0.01","base_increment":"0.00000001","status":"online",
              "trading_disabled":false,…}]

        ``status`` is online, offline, internal or delisted.
        """
        found = []
        for raw in decode_answer(_PRODUCTS, body, "coinbase's products"):
            instrument = canonical(raw.base_currency, raw.quote_currency)
            if instrument is None or instrument != raw.id:
                continue
            found.append(
                SymbolMetadata(
                    exchange=self.name,
                    instrument=instrument,
                    symbol=raw.id,
                    status=_status(raw),
                    tick_size=raw.quote_increment,
                    lot_size=raw.base_increment,
                )
            )
        return found

    def trades_request(
        self, wanted: TradeRange, page: Sequence[Trade] | None
    ) -> RestRequest | None:
        """Return the request for trades older than those of `page`; the first asks for the newest.

        ``after`` names a trade id: the answer begins below it and goes back in time.
        """
        after = None if wanted.to_sequence is None else wanted.to_sequence + 1
        if page is not None:
            if not page or _reaches(page[0], wanted):
                return None
            after = page[0].sequence
        most = TRADES_PER_REQUEST
        if after is not None and wanted.from_sequence is not None:
            most = max(1, min(most, after - wanted.from_sequence))
        cursor = () if after is None else (("after", str(after)),)
        path = f"/products/{self.symbol(wanted.instrument)}/trades"
        return RestRequest(path, (("limit", str(most)), *cursor))

    def parse_trades(self, body: bytes, instrument: str, receive_time: int) -> list[Trade]:
        """Decode ``trades``, newest first; ``side`` is the maker's, as in the stream.

        ::

            [{"time":"2014-11-07T22:19:28.578544Z","trade_id":74,"price":"10.00000000",
              "size":"0.01000000","side":"buy"}]
        """
        rows = decode_answer(_TRADES, body, f"coinbase's past trades of {instrument}")
        try:
            return [self.trade(raw, instrument, receive_time) for raw in reversed(rows)]
        except FrameError as error:
            raise VenueError(f"coinbase's past trades of {instrument}: {error}") from None

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

    def trade(self, raw: TradeFields, instrument: str, receive_time: int) -> Trade:
        """Make a trade of what either says of it.

        Raises
        ------
        FrameError
            Where its time has no zone or is impossible.
        """
        return Trade(
            self.name,
            instrument,
            str(raw.trade_id),
            raw.trade_id,
            raw.price,
            raw.size,
            _AGGRESSOR[raw.side],
            moment_ns(raw.time),
            receive_time,
        )


def _reaches(oldest: Trade, wanted: TradeRange) -> bool:
    """Whether what is wanted holds no trade older than `oldest`."""
    if oldest.sequence <= 1:
        return True
    if wanted.from_sequence is not None:
        return oldest.sequence <= wanted.from_sequence
    return oldest.exchange_time < wanted.from_time


def _status(raw: _Product) -> ListingStatus:
    if raw.status == "delisted":
        return "delisted"
    return "trading" if raw.status == "online" and not raw.trading_disabled else "halted"
