"""Bitstamp's REST, and what its WebSocket shares with it.

Formats after https://www.bitstamp.net/api/ (Markets, Order book, Transactions, OHLC data, Rate
limits) as known on 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from engine.clock import NS_PER_S
from engine.domain.instrument import Instrument
from engine.domain.market import (
    BookUpdate,
    Candle,
    Level,
    Side,
    SymbolMetadata,
    Trade,
    TradeRange,
)
from engine.domain.timeframe import Timeframe
from engine.errors import InstrumentError
from engine.exchanges.base import Exchange, Limits, RestRequest, canonical, spans, split_symbol
from engine.exchanges.wire import (
    LAST_TIME_NS,
    Amount,
    Id,
    LevelAmount,
    Price,
    decode_answer,
    rest_candle,
)

NS_PER_US = 1_000

SIDES: tuple[Side, Side] = ("buy", "sell")
"""The aggressor's, as the venue numbers them."""

WINDOWS = (("minute", 60), ("hour", 3_600), ("day", 86_400))
"""How far back past trades can be asked for: the venue's word for it, seconds."""

MARGIN_S = 10
"""A window is asked for that reaches so much further back than needed: it ends when the venue
answers."""

Microseconds = Annotated[int, msgspec.Meta(gt=0, lt=LAST_TIME_NS // NS_PER_US)]
"""A field that a decoder refuses unless it is a time between 1970 and 2100."""

SideNumber = Annotated[int, msgspec.Meta(ge=0, le=1)]
"""A field that a decoder refuses unless it is an index of `SIDES`."""

_Seconds = Annotated[int, msgspec.Meta(gt=0, lt=LAST_TIME_NS // NS_PER_S)]
_Decimals = Annotated[int, msgspec.Meta(ge=0, le=30)]


class Book(msgspec.Struct):
    """A book, or changes of one."""

    microtimestamp: Microseconds
    # Some markets' REST books have levels of price 0, hence no `Price`.
    bids: list[tuple[LevelAmount, LevelAmount]]
    asks: list[tuple[LevelAmount, LevelAmount]]


class _Market(msgspec.Struct):
    market_symbol: str
    base_currency: str
    counter_currency: str
    base_decimals: _Decimals
    counter_decimals: _Decimals
    trading: str
    market_type: str = "SPOT"


class _PastTrade(msgspec.Struct, gc=False):
    tid: Id
    date: _Seconds
    price: Price
    amount: Amount
    type: SideNumber


class _Candle(msgspec.Struct, gc=False):
    timestamp: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class _Candles(msgspec.Struct):
    ohlc: list[_Candle]


class _CandleAnswer(msgspec.Struct):
    data: _Candles


# Numbers come as strings: strict=False reads them into floats and integers in one pass.
_MARKETS = msgspec.json.Decoder(list[_Market], strict=False)
_BOOK = msgspec.json.Decoder(Book, strict=False)
_TRADES = msgspec.json.Decoder(list[_PastTrade], strict=False)
_CANDLES = msgspec.json.Decoder(_CandleAnswer, strict=False)


class BitstampRest(Exchange):
    """Bitstamp without its WebSocket: symbols, metadata, books, past trades and candles.

    Trade ids are shared by all markets, so no id tells whether one is missing. Past trades go
    back one day, with times in whole seconds: so every trade's time is cut to that, lest one trade
    be told of with two. Within a second, ids give the order.
    """

    name = "bitstamp"
    rest_url = "https://www.bitstamp.net"
    limits = Limits(
        # Neither of these two is published.
        messages_per_second=20.0,
        connects=(60, 60.0),
        # The 1,025th subscription ends a connection.
        streams_per_connection=1000,
        candles_per_request=1000,
        # 10,000 in ten minutes.
        requests_per_second=8.0,
    )
    intervals = {  # noqa: RUF012
        Timeframe.M1: "60",
        Timeframe.M5: "300",
        Timeframe.M15: "900",
        Timeframe.H1: "3600",
        Timeframe.H4: "14400",
        Timeframe.D1: "86400",
    }
    channels = frozenset({"trades", "book_top", "book"})
    counts_trades = False

    def __init__(self, *, guess_symbols: bool = False) -> None:
        super().__init__(guess_symbols=guess_symbols)
        self.newest_frame = 0
        """When the newest frame came, UTC nanoseconds; 0 before the first."""

    # -- names ---------------------------------------------------------------------------

    def symbol(self, instrument: str) -> str:
        """Return for example ``btcusd``."""
        parsed = Instrument.parse(instrument)
        if not parsed.is_spot:
            raise InstrumentError(
                f"{instrument} is not streamed from bitstamp: only its spot markets are, for "
                f"example {parsed.base}-USD"
            )
        return f"{parsed.base}{parsed.quote}".lower()

    def guess_instrument(self, symbol: str) -> str | None:
        """Return what a lower-case symbol that ends in a known quote currency suggests."""
        return split_symbol(symbol.upper()) if symbol.islower() else None

    # -- books ---------------------------------------------------------------------------

    def book_request(self, instrument: str) -> RestRequest:
        """Return the request for the whole book, its orders added up by price."""
        path = f"/api/v2/order_book/{self.symbol(instrument)}/"
        return RestRequest(path, (("group", "1"),))

    def parse_book(self, body: bytes, instrument: str, receive_time: int) -> BookUpdate:
        """Decode ``order_book``; its time is that of the book's last change.

        ::

            {"timestamp":"1643643584","microtimestamp":"1643643584684047",
             "bids":[["9484.34","1.00000000"]],"asks":[["9485.00","1.00000000"]]}
        """
        raw = decode_answer(_BOOK, body, f"bitstamp's book of {instrument}")
        return self.book(raw, instrument, receive_time, is_snapshot=True)

    def book(
        self, raw: Book, instrument: str, receive_time: int, *, is_snapshot: bool
    ) -> BookUpdate:
        """Return the update that a decoded book holds; the venue's clock is all its number."""
        return BookUpdate(
            self.name,
            instrument,
            is_snapshot,
            _priced(raw.bids),
            _priced(raw.asks),
            None,
            raw.microtimestamp,
            None,
            raw.microtimestamp * NS_PER_US,
            receive_time,
        )

    # -- REST ----------------------------------------------------------------------------

    def metadata_requests(self) -> list[RestRequest]:
        """Return the request for ``markets``."""
        return [RestRequest("/api/v2/markets/")]

    def parse_metadata(self, body: bytes) -> list[SymbolMetadata]:
        """Decode ``markets``; perpetuals are left out, and what was delisted is not in it.

        ::

            [{"name":"BTC/USD","market_symbol":"btcusd","base_currency":"BTC",
              "base_decimals":8,"counter_currency":"USD","counter_decimals":2,
              "minimum_order_value":"10","trading":"Enabled","market_type":"SPOT",…}]
        """
        found = []
        for raw in decode_answer(_MARKETS, body, "bitstamp's markets"):
            instrument = canonical(raw.base_currency, raw.counter_currency)
            if raw.market_type != "SPOT" or instrument is None:
                continue
            if self.symbol(instrument) != raw.market_symbol:
                continue
            found.append(
                SymbolMetadata(
                    exchange=self.name,
                    instrument=instrument,
                    symbol=raw.market_symbol,
                    status="trading" if raw.trading == "Enabled" else "halted",
                    tick_size=float(f"1e-{raw.counter_decimals}"),
                    lot_size=float(f"1e-{raw.base_decimals}"),
                )
            )
        return found

    def trades_request(
        self, wanted: TradeRange, page: Sequence[Trade] | None
    ) -> RestRequest | None:
        """Return the one request there is: for the last minute, hour or day.

        The shortest that reaches back to the range's start, as of the newest frame; the day
        where no frame tells what time it is, or the start lies too far back.
        """
        if page is not None:
            return None
        window = WINDOWS[-1][0]
        if self.newest_frame:
            age_s = (self.newest_frame - wanted.from_time) / NS_PER_S + MARGIN_S
            window = next((name for name, reach_s in WINDOWS if age_s <= reach_s), window)
        path = f"/api/v2/transactions/{self.symbol(wanted.instrument)}/"
        return RestRequest(path, (("time", window),))

    def parse_trades(self, body: bytes, instrument: str, receive_time: int) -> list[Trade]:
        """Decode ``transactions``, newest first; ``type`` is 0 (buy) or 1 (sell), the taker's.

        ::

            [{"date":"1643643584","tid":"212337562","amount":"0.00280000","type":"0",
              "price":"38416"}]
        """
        rows = decode_answer(_TRADES, body, f"bitstamp's past trades of {instrument}")
        return [
            self.trade(instrument, raw.tid, raw.price, raw.amount, raw.type, raw.date, receive_time)
            for raw in reversed(rows)
        ]

    def trade(
        self,
        instrument: str,
        trade_id: int,
        price: float,
        amount: float,
        side: int,
        time_s: int,
        receive_time: int,
    ) -> Trade:
        """Return the trade that the stream and REST tell of alike."""
        return Trade(
            self.name,
            instrument,
            str(trade_id),
            0,
            price,
            amount,
            SIDES[side],
            time_s * NS_PER_S,
            receive_time,
        )

    def candle_requests(
        self, instrument: str, timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> list[RestRequest]:
        """Return requests for ``ohlc``; it takes a start or an end, not both."""
        if timeframe not in self.intervals:
            return []
        path = f"/api/v2/ohlc/{self.symbol(instrument)}/"
        return [
            RestRequest(
                path,
                (
                    ("step", self.intervals[timeframe]),
                    ("limit", str(-(-(end - start) // timeframe.ns))),
                    ("start", str(start // NS_PER_S)),
                ),
            )
            for start, end in spans(start_ns, end_ns, timeframe, self.limits.candles_per_request)
        ]

    def parse_candles(
        self, body: bytes, instrument: str, timeframe: Timeframe, as_of: int
    ) -> list[Candle]:
        """Decode ``ohlc``, oldest first; an interval without trades has volume 0.

        ::

            {"data":{"pair":"BTC/USD","ohlc":[{"timestamp":"1643643540","open":"38409",
             "high":"38416","low":"38401","close":"38416","volume":"1.25000000"}]}}
        """
        what = f"bitstamp's {timeframe} candles of {instrument}"
        return [
            rest_candle(
                self.name,
                instrument,
                timeframe,
                as_of=as_of,
                open_time=raw.timestamp * NS_PER_S,
                prices=(raw.open, raw.high, raw.low, raw.close),
                volume=raw.volume,
            )
            for raw in decode_answer(_CANDLES, body, what).data.ohlc
            if raw.volume
        ]


def _priced(levels: list[tuple[float, float]]) -> list[Level]:
    """Return the levels without those of price 0, which nobody can trade at."""
    return [level for level in levels if level[0]]
