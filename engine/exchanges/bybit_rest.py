"""Bybit's names and REST.

Formats after https://bybit-exchange.github.io/docs/v5/market/instrument, …/market/recent-trade,
…/market/kline and …/rate-limit as known on 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, TypeVar

import msgspec

from engine.clock import NS_PER_MS
from engine.domain.instrument import Instrument
from engine.domain.market import Candle, ListingStatus, Side, SymbolMetadata, Trade, TradeRange
from engine.domain.timeframe import Timeframe
from engine.errors import InstrumentError, VenueError
from engine.exchanges.base import Exchange, Limits, RestRequest, canonical, spans, split_symbol
from engine.exchanges.wire import (
    LAST_TIME_NS,
    Amount,
    Milliseconds,
    Price,
    decode_answer,
    optional_number,
    rest_candle,
)

SIDES: dict[str, Side] = {"Buy": "buy", "Sell": "sell"}

SYMBOLS_PER_PAGE = 1000
_PAST_TRADES = {"spot": 60, "linear": 1000}
"""Most of the latest trades that the venue tells."""

T = TypeVar("T")

_STATUSES: dict[str, ListingStatus] = {"Trading": "trading", "Closed": "delisted"}


TradeId = Annotated[str, msgspec.Meta(min_length=1)]
"""A UUID, or a number."""


class _PriceFilter(msgspec.Struct, rename="camel"):
    tick_size: str = ""


class _LotSizeFilter(msgspec.Struct, rename="camel"):
    qty_step: str = ""
    base_precision: str = ""


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    base_coin: str
    quote_coin: str
    status: str
    contract_type: str = ""
    launch_time: str = ""
    delivery_time: str = ""
    price_filter: _PriceFilter = msgspec.field(default_factory=_PriceFilter)
    lot_size_filter: _LotSizeFilter = msgspec.field(default_factory=_LotSizeFilter)


class _Symbols(msgspec.Struct, rename="camel"):
    category: str = ""
    rows: list[_Symbol] = msgspec.field(name="list", default_factory=list)
    next_page_cursor: str | None = None


class _PastTrade(msgspec.Struct, rename="camel"):
    exec_id: TradeId
    price: Price
    size: Amount
    side: Literal["Buy", "Sell"]
    time: Milliseconds


class _Trades(msgspec.Struct):
    rows: list[_PastTrade] = msgspec.field(name="list", default_factory=list)


_Row = tuple[int, float, float, float, float, float, float]


class _Candles(msgspec.Struct):
    rows: list[_Row] = msgspec.field(name="list", default_factory=list)


class _Answer(msgspec.Struct, rename="camel"):
    ret_code: int
    ret_msg: str = ""
    result: msgspec.Raw = msgspec.Raw(b"{}")


# Numbers come as strings: strict=False reads them into floats and integers in one pass.
_ANSWER = msgspec.json.Decoder(_Answer)
_SYMBOLS = msgspec.json.Decoder(_Symbols)
_TRADES = msgspec.json.Decoder(_Trades, strict=False)
_CANDLES = msgspec.json.Decoder(_Candles, strict=False)


class BybitRest(Exchange):
    """What Bybit answers over REST, and how it names things."""

    name = "bybit"
    ws_url = "wss://stream.bybit.com"
    rest_url = "https://api.bybit.com"
    limits = Limits(
        messages_per_second=20.0,
        # All subscriptions of a connection may be 21,000 characters long, 35 each at most.
        streams_per_connection=600,
        candles_per_request=1000,
        requests_per_second=20.0,
        connects=(250, 300.0),
    )
    intervals: ClassVar[Mapping[Timeframe, str]] = {
        Timeframe.M1: "1",
        Timeframe.M5: "5",
        Timeframe.M15: "15",
        Timeframe.H1: "60",
        Timeframe.H4: "240",
        Timeframe.D1: "D",
    }

    # -- names ---------------------------------------------------------------------------

    def symbol(self, instrument: str) -> str:
        """Return for example ``BTCUSDT`` (spot and perpetual alike) or, in USDC, ``BTCPERP``."""
        base, quote, perpetual, expiry, _ = Instrument.parse(instrument)
        if expiry is not None or (perpetual and quote == "USD"):
            raise InstrumentError(
                f"{instrument} is not streamed from bybit: of derivatives it offers linear "
                f"perpetuals only, for example {base}-USDT-PERP"
            )
        return f"{base}PERP" if perpetual and quote == "USDC" else base + quote

    def group(self, instrument: str) -> str:
        """Return ``linear`` for perpetuals, else ``spot``: the venue's categories."""
        return "linear" if Instrument.parse(instrument).perpetual else "spot"

    def guess_instrument(self, symbol: str) -> str | None:
        """Return what the spelling suggests; spot where both categories have the symbol."""
        base = symbol.removesuffix("PERP")
        if base and base != symbol:
            spot = canonical(base, "USDC")
            return spot and f"{spot}-PERP"
        return split_symbol(symbol)

    # -- REST ----------------------------------------------------------------------------

    def metadata_requests(self) -> list[RestRequest]:
        """Return the requests for spot (which has one page) and linear contracts."""
        return [
            RestRequest("/v5/market/instruments-info", (("category", "spot"),)),
            RestRequest(
                "/v5/market/instruments-info",
                (("category", "linear"), ("limit", str(SYMBOLS_PER_PAGE))),
            ),
        ]

    def next_metadata_request(self, request: RestRequest, body: bytes) -> RestRequest | None:
        """Return the request with the answer's ``nextPageCursor``."""
        cursor = _result(_SYMBOLS, body, "bybit's instruments").next_page_cursor
        if not cursor:
            return None
        others = tuple(pair for pair in request.params if pair[0] != "cursor")
        return RestRequest(request.path, (*others, ("cursor", cursor)))

    def parse_metadata(self, body: bytes) -> list[SymbolMetadata]:
        """Decode ``instruments-info``; futures that expire are left out.

        ``deliveryTime`` of a perpetual is 0, or when it is delisted::

            {"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[{"symbol":"BTCUSDT",
             "contractType":"LinearPerpetual","status":"Trading","baseCoin":"BTC",
             "quoteCoin":"USDT","launchTime":"1585526400000","deliveryTime":"0",
             "priceFilter":{"minPrice":"0.10","maxPrice":"1999999.80","tickSize":"0.10"},
             "lotSizeFilter":{"maxOrderQty":"1190.000","minOrderQty":"0.001","qtyStep":"0.001"}}],
             "nextPageCursor":""}}

        Spot has no times, and ``"lotSizeFilter":{"basePrecision":"0.000001",…}``.
        """
        answer = _result(_SYMBOLS, body, "bybit's instruments")
        linear = answer.category == "linear"
        listed = (self._listed(raw, linear=linear) for raw in answer.rows)
        return [symbol for symbol in listed if symbol is not None]

    def _listed(self, raw: _Symbol, *, linear: bool) -> SymbolMetadata | None:
        spot = canonical(raw.base_coin, raw.quote_coin)
        if spot is None or (linear and raw.contract_type != "LinearPerpetual"):
            return None
        instrument = f"{spot}-PERP" if linear else spot
        if self.symbol(instrument) != raw.symbol:
            return None
        what = f"bybit's instrument {raw.symbol}"
        lots = raw.lot_size_filter
        return SymbolMetadata(
            exchange=self.name,
            instrument=instrument,
            symbol=raw.symbol,
            status=_STATUSES.get(raw.status, "halted"),
            tick_size=optional_number(raw.price_filter.tick_size, what),
            lot_size=optional_number(lots.qty_step or lots.base_precision, what),
            listed_at=_moment(raw.launch_time, what),
            delisted_at=_moment(raw.delivery_time, what),
        )

    def trades_request(
        self, wanted: TradeRange, page: Sequence[Trade] | None
    ) -> RestRequest | None:
        """Return the one request there is: for the latest 60 trades (spot) or 1,000 (linear)."""
        if page is not None:
            return None
        category = self.group(wanted.instrument)
        return RestRequest(
            "/v5/market/recent-trade",
            (
                ("category", category),
                ("symbol", self.symbol(wanted.instrument)),
                ("limit", str(_PAST_TRADES[category])),
            ),
        )

    def parse_trades(self, body: bytes, instrument: str, receive_time: int) -> list[Trade]:
        """Decode ``recent-trade``, which has the newest first.

        ``execId`` is the stream's ``i``::

            {"retCode":0,"retMsg":"OK","result":{"category":"spot","list":[{
             "execId":"2100000000007764263","symbol":"BTCUSDT","price":"16618.49",
             "size":"0.00012","side":"Buy","time":"1672052955758","isBlockTrade":false,
             "isRPITrade":false,"seq":"123456"}]},"retExtInfo":{},"time":1672053054358}
        """
        return [
            Trade(
                self.name,
                instrument,
                raw.exec_id,
                0,
                raw.price,
                raw.size,
                SIDES[raw.side],
                raw.time * NS_PER_MS,
                receive_time,
            )
            for raw in reversed(_result(_TRADES, body, f"bybit's past trades of {instrument}").rows)
        ]

    def candle_requests(
        self, instrument: str, timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> list[RestRequest]:
        """Return requests for ``kline``; both ends of the venue's range are inclusive."""
        if timeframe not in self.intervals:
            return []
        most = self.limits.candles_per_request
        return [
            RestRequest(
                "/v5/market/kline",
                (
                    ("category", self.group(instrument)),
                    ("symbol", self.symbol(instrument)),
                    ("interval", self.intervals[timeframe]),
                    ("start", str(start // NS_PER_MS)),
                    ("end", str(end // NS_PER_MS - 1)),
                    ("limit", str(most)),
                ),
            )
            for start, end in spans(start_ns, end_ns, timeframe, most)
        ]

    def parse_candles(
        self, body: bytes, instrument: str, timeframe: Timeframe, as_of: int
    ) -> list[Candle]:
        """Decode ``kline``, which has the newest first.

        A row is open time (ms), open, high, low, close, volume (base currency) and turnover
        (quote currency)::

            ["1670608800000","17071","17073","17027","17055.5","268.611","4583162.35"]
        """
        rows = _result(_CANDLES, body, f"bybit's {timeframe} klines").rows
        return [
            rest_candle(
                self.name,
                instrument,
                timeframe,
                as_of=as_of,
                open_time=row[0] * NS_PER_MS,
                prices=(row[1], row[2], row[3], row[4]),
                volume=row[5],
                quote_volume=row[6],
                vwap=row[6] / row[5],
            )
            for row in reversed(rows)
            if row[5]
        ]


def _result(decoder: msgspec.json.Decoder[T], body: bytes, what: str) -> T:
    answer = decode_answer(_ANSWER, body, what)
    if answer.ret_code:
        raise VenueError(f"{what} were refused: {answer.ret_msg} (code {answer.ret_code})")
    return decode_answer(decoder, bytes(answer.result), what)


def _moment(milliseconds: str, what: str) -> int | None:
    time_ns = int(optional_number(milliseconds, what) or 0) * NS_PER_MS
    return time_ns if 0 < time_ns < LAST_TIME_NS else None
