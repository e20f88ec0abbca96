"""What the REST of Binance's spot and futures venues shares: books, candles, trades by id.

After https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints and
https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/REST-API as known
on 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec

from engine.clock import NS_PER_MS
from engine.domain.market import BookUpdate, Candle, Trade, TradeRange
from engine.domain.timeframe import Timeframe
from engine.errors import VenueError
from engine.exchanges.base import Exchange, RestRequest, spans
from engine.exchanges.wire import LARGEST, LAST_ID, LAST_TIME_NS, decode_answer, rest_candle

BOOK_LEVELS = 1000
"""Levels a side of a book's snapshot. Deeper ones become known when they change."""

TRADES_PER_REQUEST = 1000

Price = Annotated[float, msgspec.Meta(gt=0.0, lt=LARGEST)]
Amount = Annotated[float, msgspec.Meta(gt=0.0, lt=LARGEST)]
Remaining = Annotated[float, msgspec.Meta(ge=0.0, lt=LARGEST)]
"""Amount left at a price; zero deletes it."""
Milliseconds = Annotated[int, msgspec.Meta(gt=0, lt=LAST_TIME_NS // NS_PER_MS)]
Number = Annotated[int, msgspec.Meta(ge=0, le=LAST_ID)]
"""An id, or a count."""

_HOUR_MS = 3_600_000


class SymbolFilter(msgspec.Struct, rename="camel"):
    """One of the rules for orders of a symbol; only the steps matter here."""

    filter_type: str
    tick_size: float | None = None
    step_size: float | None = None


class Book(msgspec.Struct, rename={"last_update_id": "lastUpdateId"}):
    """A book's snapshot; the futures venue tells its time."""

    last_update_id: Number
    bids: list[tuple[Price, Remaining]]
    asks: list[tuple[Price, Remaining]]
    T: Milliseconds | None = None


_Kline = tuple[
    Number, float, float, float, float, float, int, float, Number, float, float, msgspec.Raw
]

# Numbers come as strings ("61837.63000000"): strict=False reads them into floats in one pass.
BOOK = msgspec.json.Decoder(Book, strict=False)
_KLINES = msgspec.json.Decoder(list[_Kline], strict=False)


def steps_of(filters: Sequence[SymbolFilter]) -> tuple[float | None, float | None]:
    """Return ``PRICE_FILTER.tickSize`` and ``LOT_SIZE.stepSize``, None where there is none."""
    by_type = {part.filter_type: part for part in filters}
    price, lot = by_type.get("PRICE_FILTER"), by_type.get("LOT_SIZE")
    return (price.tick_size if price else None, lot.step_size if lot else None)


class BinanceRest(Exchange):
    """The REST half of a venue that speaks Binance's protocol; subclasses say what differs."""

    api: ClassVar[str]
    """Beginning of its REST paths, for example ``/api/v3``."""
    trades_path: ClassVar[str]
    """Endpoint below `api` that gives past trades by their ids, ``fromId`` upwards."""
    trades_weight: ClassVar[float]
    aggregates_weight: ClassVar[float]
    """Weight of ``aggTrades``."""
    book_weight: ClassVar[float]
    """Weight of a book's snapshot."""
    klines_weight: ClassVar[float]
    counts_fills: ClassVar[bool] = True
    """Whether the trades that we take are the single fills that its candles count."""

    # -- books ---------------------------------------------------------------------------

    def book_request(self, instrument: str) -> RestRequest:
        """Return the request for a book's snapshot of `BOOK_LEVELS` levels a side."""
        params = (("symbol", self.symbol(instrument)), ("limit", str(BOOK_LEVELS)))
        return RestRequest(f"{self.api}/depth", params, self.book_weight)

    def parse_book(self, body: bytes, instrument: str, receive_time: int) -> BookUpdate:
        """Decode ``depth``; ``T`` is there on the futures venue only.

        ::

            {"lastUpdateId":50093239218,"T":1723161256493,
             "bids":[["61837.63000000","3.78826000"]],"asks":[["61837.64000000","1.54698000"]]}
        """
        raw = decode_answer(BOOK, body, f"{self.name}'s book of {instrument}")
        return self.snapshot(raw, instrument, receive_time)

    def snapshot(self, raw: Book, instrument: str, receive_time: int) -> BookUpdate:
        """Return the book that a decoded snapshot holds."""
        return BookUpdate(
            self.name,
            instrument,
            True,
            raw.bids,
            raw.asks,
            None,
            raw.last_update_id,
            None,
            None if raw.T is None else raw.T * NS_PER_MS,
            receive_time,
        )

    # -- trades --------------------------------------------------------------------------

    def first_trade_request(self, instrument: str, time_ns: int) -> RestRequest:
        """Return the request for the first ``aggTrades`` row within an hour from a moment on.

        The venue refuses to look further than an hour ahead.
        """
        start_ms = -(-time_ns // NS_PER_MS)
        params = (
            ("symbol", self.symbol(instrument)),
            ("startTime", str(start_ms)),
            ("endTime", str(start_ms + _HOUR_MS - 1)),
            ("limit", "1"),
        )
        return RestRequest(f"{self.api}/aggTrades", params, self.aggregates_weight)

    def trades_request(
        self, wanted: TradeRange, page: Sequence[Trade] | None
    ) -> RestRequest | None:
        """Return the request for the next ids of a range, None behind the last.

        Its ids decide where they are known; its end in time only where no last id is.

        Raises
        ------
        VenueError
            Where the range has no first id; `first_trade_request` finds one.
        """
        if wanted.from_sequence is None:
            raise VenueError(
                f"{self.name}'s trades of {wanted.instrument} are fetched by id: find the first "
                "one with first_trade_request"
            )
        first = wanted.from_sequence
        missing = TRADES_PER_REQUEST
        if page is not None:
            if not page or (wanted.to_sequence is None and page[-1].exchange_time > wanted.to_time):
                return None
            first = page[-1].sequence + 1
        if wanted.to_sequence is not None:
            missing = min(missing, wanted.to_sequence - first + 1)
        if missing < 1:
            return None
        params = (
            ("symbol", self.symbol(wanted.instrument)),
            ("fromId", str(first)),
            ("limit", str(missing)),
        )
        return RestRequest(f"{self.api}/{self.trades_path}", params, self.trades_weight)

    # -- candles -------------------------------------------------------------------------

    def candle_requests(
        self, instrument: str, timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> list[RestRequest]:
        """Return requests for ``klines``; both ends of the venue's range are inclusive."""
        interval = self.intervals.get(timeframe)
        if interval is None:
            return []
        most = self.limits.candles_per_request
        return [
            RestRequest(
                f"{self.api}/klines",
                (
                    ("symbol", self.symbol(instrument)),
                    ("interval", interval),
                    ("startTime", str(start // NS_PER_MS)),
                    ("endTime", str(end // NS_PER_MS - 1)),
                    ("limit", str(most)),
                ),
                self.klines_weight,
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
                trade_count=row[8] if self.counts_fills else None,
                vwap=row[7] / row[5],
                taker_buy_volume=row[9],
            )
            for row in decode_answer(_KLINES, body, f"{self.name}'s {timeframe} klines")
            if row[8] and row[5]
        ]
