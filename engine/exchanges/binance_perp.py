"""Binance USD-M futures: perpetual swaps, and futures with a date.

Formats after
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams,
its ``Important-WebSocket-Change-Notice`` (streams by address since 2026-04-23) and
https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/REST-API as known
on 2026-11-21; the stream formats are checked against frames recorded in 2021 and 2024.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from engine.clock import NS_PER_MS
from engine.domain.instrument import Instrument
from engine.domain.market import (
    Channel,
    ListingStatus,
    MarketEvent,
    PerpetualTick,
    SymbolMetadata,
    Trade,
)
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, InstrumentError, VenueError
from engine.exchanges.base import Limits, RestRequest, canonical, split_symbol
from engine.exchanges.binance_perp_frames import (
    NAME,
    AggregateTrade,
    read_aggregate_trade,
    read_book,
    read_book_top,
    read_mark_price,
    read_trade,
    trade_of,
)
from engine.exchanges.binance_rest import (
    Milliseconds,
    Remaining,
    SymbolFilter,
    steps_of,
)
from engine.exchanges.binance_wire import BinanceVenue
from engine.exchanges.layouts import Reader
from engine.exchanges.wire import LAST_TIME_NS, decode_answer

_ENDED = frozenset({"PRE_DELIVERING", "DELIVERING", "DELIVERED", "PRE_SETTLE", "SETTLING", "CLOSE"})


class _OpenInterest(msgspec.Struct, rename="camel"):
    symbol: str
    open_interest: Remaining
    time: Milliseconds


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    contract_type: str = ""
    onboard_date: int = 0
    delivery_date: int = 0
    filters: list[SymbolFilter] = []


class _ExchangeInformation(msgspec.Struct):
    symbols: list[_Symbol]


# Numbers come as strings ("61800.30"): strict=False reads them into floats in one pass.
_PAST_TRADES = msgspec.json.Decoder(list[AggregateTrade], strict=False)
_OPEN_INTEREST = msgspec.json.Decoder(_OpenInterest, strict=False)
_INFORMATION = msgspec.json.Decoder(_ExchangeInformation, strict=False)


_READERS: dict[str, Reader] = {
    "aggTrade": read_aggregate_trade,
    "trade": read_trade,
    "bookTicker": read_book_top,
    "depth": read_book,
    "markPrice": read_mark_price,
}


class BinancePerp(BinanceVenue):
    """Binance USD-M futures: ``@aggTrade``, ``@bookTicker``, ``@depth@100ms``, ``@markPrice@1s``.

    Books and best prices come from the address ``/public``, everything else from ``/market``: a
    connection holds the channels of one of them. The venue pings every 3 minutes and wants its
    pong within 10 (the WebSocket library answers), ends connections after 24 h, takes 10
    messages a second and 1,024 streams a connection. REST allows a weight of 2,400 a minute. How
    many connections it lets one address open it does not say: we keep to what spot allows.

    A trade here is one of the venue's *aggregate* trades: fills of one side at one price within
    100 ms. Single trades could be streamed (``@trade``, which is undocumented), but given back
    by id only to who has an API key, and a hole that cannot be filled is worth less than a
    coarser grain. Aggregates have consecutive ids too, and ``aggTrades`` gives any of them back to
    everybody. They leave out what is no market trade: those of the insurance fund and of
    deleveraging, at prices far from the market. Their count is smaller than the trade
    count of the venue's own candles, and their volume can be.

    Recorded ``@trade`` frames are read all the same, with their own ids: replay them into a store
    of their own.

    Amounts are in the base currency: one contract is one coin.
    """

    name = NAME
    ws_url = "wss://fstream.binance.com"
    rest_url = "https://fapi.binance.com"
    limits = Limits(
        messages_per_second=5.0,
        streams_per_connection=1024,
        candles_per_request=1000,
        requests_per_second=20.0,
        connects=(150, 300.0),
    )
    # The venue offers no candles of one second.
    intervals: ClassVar[Mapping[Timeframe, str]] = {
        each: each.value for each in Timeframe if each is not Timeframe.S1
    }
    channels = frozenset({"trades", "book_top", "book", "perpetual"})
    api = "/fapi/v1"
    stream_suffixes: ClassVar[Mapping[Channel, str]] = {
        "trades": "@aggTrade",
        "book_top": "@bookTicker",
        "book": "@depth@100ms",
        "perpetual": "@markPrice@1s",
    }
    unused_kinds = ("kline_", "continuousKline_", "miniTicker", "ticker", "forceOrder")
    trades_path = "aggTrades"
    trades_weight = 20.0
    aggregates_weight = 20.0
    book_weight = 20.0
    klines_weight = 5.0
    counts_fills = False  # ours are aggregates of them

    # -- names ---------------------------------------------------------------------------

    def symbol(self, instrument: str) -> str:
        """Return for example ``BTCUSDT``, or ``BTCUSDT_261225`` of a future with a date."""
        parsed = Instrument.parse(instrument)
        if parsed.expiry:
            return f"{parsed.base}{parsed.quote}_{parsed.expiry}"
        if not parsed.perpetual:
            raise InstrumentError(
                f"{instrument} is not traded on binance_perp: name a BASE-QUOTE-PERP, or take it "
                "from binance"
            )
        return parsed.base + parsed.quote

    def guess_instrument(self, symbol: str) -> str | None:
        """Return the name that a known quote currency at the end suggests."""
        pair, _, expiry = symbol.partition("_")
        name = split_symbol(pair)
        return None if name is None else _with_kind(name, expiry)

    # -- streaming -----------------------------------------------------------------------

    def channel_group(self, channel: Channel) -> str:
        """Return the address that the venue sends a channel from."""
        return "public" if channel in {"book_top", "book"} else "market"

    def url(self, base: str, instruments: Sequence[str], channels: Sequence[Channel]) -> str:
        """Return ``BASE/public/stream?streams=…``, or with ``market``.

        Raises
        ------
        VenueError
            Where `channels` are not of one group: one address would leave out the others'.
        """
        groups = {self.channel_group(channel) for channel in channels}
        if len(groups) > 1:
            raise VenueError(
                f"binance_perp sends {', '.join(channels)} from two addresses: connect once for "
                "each channel_group"
            )
        return super().url("/".join([base.rstrip("/"), *groups]), instruments, channels)

    def reader(self, kind: str) -> Reader | None:
        """Return what reads ``aggTrade``, ``trade``, ``bookTicker``, ``depth…``, ``markPrice…``."""
        return _READERS.get(kind.partition("@")[0])

    # -- REST ----------------------------------------------------------------------------

    def poll_requests(
        self, instruments: Sequence[str], channels: Sequence[Channel]
    ) -> list[RestRequest]:
        """Return the requests for the open interest, which no stream tells."""
        if "perpetual" not in channels:
            return []
        self.track(instruments)
        return [
            RestRequest(f"{self.api}/openInterest", (("symbol", self.symbol(instrument)),))
            for instrument in instruments
        ]

    def parse_poll(
        self, request: RestRequest, body: bytes, receive_time: int
    ) -> Sequence[MarketEvent]:
        """Decode the open interest, in the base currency.

        ::

            {"openInterest":"10659.509","symbol":"BTCUSDT","time":1589437530011}
        """
        symbol = dict(request.params)["symbol"]
        raw = decode_answer(_OPEN_INTEREST, body, f"binance_perp's open interest of {symbol}")
        try:
            instrument = self.instrument_of(raw.symbol)
        except FrameError as error:
            raise VenueError(f"{error}, asked for the open interest of {symbol}") from None
        return (
            PerpetualTick(
                exchange=self.name,
                instrument=instrument,
                mark_price=None,
                index_price=None,
                funding_rate=None,
                next_funding_time=None,
                open_interest=raw.open_interest,
                exchange_time=raw.time * NS_PER_MS,
                receive_time=receive_time,
            ),
        )

    def metadata_requests(self) -> list[RestRequest]:
        """Return the request for ``exchangeInfo``."""
        return [RestRequest(f"{self.api}/exchangeInfo")]

    def parse_metadata(self, body: bytes) -> list[SymbolMetadata]:
        """Decode ``exchangeInfo``.

        Perpetuals of coins and futures with a date are taken; swaps on shares and commodities
        (``TRADIFI_PERPETUAL``) and contracts that were announced without a type are not.
        ``deliveryDate`` of a perpetual lies in 2100 until its end is announced.
        """
        found = []
        for raw in decode_answer(_INFORMATION, body, "binance_perp's exchangeInfo").symbols:
            pair = canonical(raw.base_asset, raw.quote_asset)
            _, _, expiry = raw.symbol.partition("_")
            instrument = _with_kind(pair, expiry) if pair else None
            is_taken = raw.contract_type == "PERPETUAL" or bool(raw.contract_type and expiry)
            if instrument is None or not is_taken:
                continue
            tick_size, lot_size = steps_of(raw.filters)
            found.append(
                SymbolMetadata(
                    exchange=self.name,
                    instrument=instrument,
                    symbol=raw.symbol,
                    status=_status(raw.status),
                    tick_size=tick_size,
                    lot_size=lot_size,
                    listed_at=_date_ns(raw.onboard_date),
                    delisted_at=_date_ns(raw.delivery_date),
                )
            )
        return found

    def parse_first_trade(self, body: bytes) -> int | None:
        """Decode ``aggTrades``: ``a`` is the aggregate's id."""
        rows = decode_answer(_PAST_TRADES, body, "binance_perp's aggTrades")
        return rows[0].a if rows else None

    def parse_trades(self, body: bytes, instrument: str, receive_time: int) -> list[Trade]:
        """Decode ``aggTrades``.

        ::

            [{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,
              "T":1498793709153,"m":true}]
        """
        rows = decode_answer(_PAST_TRADES, body, f"binance_perp's trades of {instrument}")
        return [trade_of(raw, instrument, receive_time) for raw in rows]


def _with_kind(pair: str, expiry: str) -> str | None:
    """Return the canonical name of a pair's perpetual, or of its future with a date."""
    base, _, quote = pair.partition("-")
    name = str(Instrument(base, quote, perpetual=not expiry, expiry=expiry or None))
    try:
        Instrument.parse(name)
    except InstrumentError:
        return None
    return name


def _status(text: str) -> ListingStatus:
    if text == "TRADING":
        return "trading"
    return "delisted" if text in _ENDED else "halted"


def _date_ns(time_ms: int) -> int | None:
    """Return a listing's date, None where the venue writes none (zero, or beyond 2100)."""
    time_ns = time_ms * NS_PER_MS
    return time_ns if 0 < time_ns < LAST_TIME_NS else None
