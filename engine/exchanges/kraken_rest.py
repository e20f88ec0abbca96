"""Kraken spot's REST, and what both versions of its WebSocket share.

Formats after https://docs.kraken.com/api-reference/market-data/get-recent-trades,
…/get-tradable-asset-pairs, …/get-ohlc-data and
https://docs.kraken.com/exchange/guides/websockets/book-checksum-v2 as known on 2026-11-21.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from engine.clock import NS_PER_S
from engine.domain.instrument import Instrument
from engine.domain.market import (
    Candle,
    LevelText,
    Side,
    SymbolMetadata,
    Trade,
    TradeRange,
)
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, InstrumentError, VenueError
from engine.exchanges.base import Exchange, Limits, RestRequest, canonical
from engine.exchanges.wire import (
    LAST_TIME_NS,
    check_amount,
    check_id,
    check_price,
    decode_answer,
    rest_candle,
)

TRADES_PER_REQUEST = 1000
MARGIN_NS = 5 * NS_PER_S
"""Trades wanted by id are sought from so long before the time given with them: clocks differ."""

OLD_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
"""REST and version 1 keep Kraken's old names for two currencies; version 2 does not."""
_COMMON_NAMES = {old: new for new, old in OLD_NAMES.items()}

_TRADING = frozenset({"online", "limit_only", "reduce_only"})
"""Statuses in which orders are matched."""

SIDES: dict[str, Side] = {"b": "buy", "s": "sell"}

_TradeRow = tuple[float, float, object, Literal["b", "s"], str, str, int]
"""Price, amount, time (s), side, order type, miscellaneous, id."""


class _Pair(msgspec.Struct):
    wsname: str = ""
    status: str = "online"
    tick_size: float | None = None
    pair_decimals: int | None = None
    lot_decimals: int | None = None


class _Pairs(msgspec.Struct):
    error: list[str]
    result: dict[str, _Pair] = {}


class _Rows(msgspec.Struct):
    error: list[str]
    result: dict[str, msgspec.Raw] = {}


_PAIRS = msgspec.json.Decoder(_Pairs, strict=False)
_ROWS = msgspec.json.Decoder(_Rows)
# `float_hook` keeps the digits of a number whose type is left open: a float has too few for them.
_TRADES = msgspec.json.Decoder(list[_TradeRow], strict=False, float_hook=str)
_CANDLES = msgspec.json.Decoder(
    list[tuple[int, float, float, float, float, float, float, int]], strict=False
)


class KrakenRest(Exchange):
    """Kraken without its WebSocket: symbols, checksum, metadata, past trades and candles.

    It has no candles of 1s, and only the latest 720 of any length; trades go back to the first.
    One address may connect some 150 times in ten minutes.
    """

    name = "kraken"
    rest_url = "https://api.kraken.com"
    limits = Limits(
        messages_per_second=5.0,
        streams_per_connection=1000,
        candles_per_request=720,
        requests_per_second=1.0,
        connects=(75, 600.0),
    )
    intervals = {  # noqa: RUF012
        Timeframe.M1: "1",
        Timeframe.M5: "5",
        Timeframe.M15: "15",
        Timeframe.H1: "60",
        Timeframe.H4: "240",
        Timeframe.D1: "1440",
    }
    channels = frozenset({"trades", "book_top", "book"})
    checksum_levels = 10

    def symbol(self, instrument: str) -> str:
        """Return for example ``BTC/USD``: the canonical name without its generation."""
        return "/".join(_spot(instrument))

    def guess_instrument(self, symbol: str) -> str | None:
        """Return the name with a dash and without old names, where that is canonical."""
        base, _, quote = symbol.partition("/")
        return canonical(_COMMON_NAMES.get(base, base), _COMMON_NAMES.get(quote, quote))

    def checksum(self, bids: Sequence[LevelText], asks: Sequence[LevelText]) -> int:
        """Return the CRC32 of the ten best asks and then the ten best bids.

        Of each level the price and the amount, without their point and leading zeros.

        Examples
        --------
        The one that the venue's guide for version 1 works out:

        >>> from engine.exchanges.kraken import Kraken
        >>> asks = [(f"0.05{level:03}", "0.00000500") for level in range(5, 55, 5)]
        >>> bids = [(f"0.0{level}", "0.00000500") for level in
        ...         (5000, 4995, 4990, 4980, 4975, 4970, 4965, 4960, 4955, 4950)]
        >>> Kraken().checksum(bids, asks)
        974947235
        """
        digits = [
            text.replace(".", "").lstrip("0")
            for side in (asks, bids)
            for level in side[: self.checksum_levels]
            for text in level
        ]
        return zlib.crc32("".join(digits).encode())

    def metadata_requests(self) -> list[RestRequest]:
        """Return the request for ``AssetPairs``."""
        return [RestRequest("/0/public/AssetPairs")]

    def parse_metadata(self, body: bytes) -> list[SymbolMetadata]:
        """Decode ``AssetPairs``; steps come from ``tick_size`` or the counts of decimals.

        What was delisted is no longer in it::

            {"error":[],"result":{"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD",
             "pair_decimals":1,"lot_decimals":8,"tick_size":"0.1","status":"online",…}}}

        ``status`` is online, cancel_only, post_only, limit_only or reduce_only.
        """
        answer = decode_answer(_PAIRS, body, "kraken's AssetPairs")
        if answer.error:
            raise VenueError(f"kraken refused AssetPairs: {', '.join(answer.error)}")
        found = []
        for raw in answer.result.values():
            instrument = self.guess_instrument(raw.wsname)
            if instrument is None:
                continue
            found.append(
                SymbolMetadata(
                    exchange=self.name,
                    instrument=instrument,
                    symbol=self.symbol(instrument),
                    status="trading" if raw.status in _TRADING else "halted",
                    tick_size=raw.tick_size or _step(raw.pair_decimals),
                    lot_size=_step(raw.lot_decimals),
                )
            )
        return found

    def trades_request(
        self, wanted: TradeRange, page: Sequence[Trade] | None
    ) -> RestRequest | None:
        """Return the request for ``Trades`` behind a time, oldest first.

        The venue pages by time and not by id, and sends what came after ``since``. Several
        trades can bear one time, so a page begins once more with the last microsecond of the
        page before, lest one be cut off; the page that brings nothing newer is the last.
        """
        if page is None:
            early = 0 if wanted.from_sequence is None else MARGIN_NS
            return self._trades_since(wanted.instrument, wanted.from_time - early - 1)
        if not page or _covers(page[-1], wanted):
            return None
        last = page[-1].exchange_time
        if page[0].exchange_time < last:
            return self._trades_since(wanted.instrument, last - 1)
        if len(page) < TRADES_PER_REQUEST:
            return None
        return self._trades_since(wanted.instrument, last + 999)  # a page of one microsecond

    def _trades_since(self, instrument: str, time_ns: int) -> RestRequest:
        return RestRequest(
            "/0/public/Trades",
            (
                ("pair", _pair(instrument)),
                ("since", str(max(0, time_ns))),
                ("count", str(TRADES_PER_REQUEST)),
            ),
        )

    def parse_trades(self, body: bytes, instrument: str, receive_time: int) -> list[Trade]:
        """Decode ``Trades``: rows of price, amount, time (s), side, order type, misc and id.

        ::

            {"error":[],"result":{"XXBTZUSD":[["30243.40000","0.34507674",1688669597.8277369,
             "b","m","",61044952]],"last":"1688671969993150842"}}

        Times have more digits here than in the stream, which says microseconds: they are cut off.
        """
        what = f"kraken's past trades of {instrument}"
        rows = decode_answer(_TRADES, _rows_of(body, what), what)
        try:
            trades = [self._past_trade(row, instrument, receive_time) for row in rows]
        except FrameError as error:
            raise VenueError(f"{what}: {error}") from None
        return sorted(trades, key=sequence_of)

    def _past_trade(self, row: _TradeRow, instrument: str, receive_time: int) -> Trade:
        price, amount, time, side, _, _, trade_id = row
        check_price(price, "the trade's price")
        check_amount(amount, "the trade's amount")
        check_id(trade_id, "the trade's id")
        return Trade(
            self.name,
            instrument,
            str(trade_id),
            trade_id,
            price,
            amount,
            SIDES[side],
            seconds_ns(str(time)),
            receive_time,
        )

    def candle_requests(
        self, instrument: str, timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> list[RestRequest]:
        """Return the one request for ``OHLC`` that the venue knows: the latest 720 since a time.

        Candles at or after `end_ns` come along and are the caller's to leave out; older ones
        than the latest 720 cannot be had.
        """
        if timeframe not in self.intervals or start_ns >= end_ns:
            return []
        return [
            RestRequest(
                "/0/public/OHLC",
                (
                    ("pair", _pair(instrument)),
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
        what = f"kraken's {timeframe} candles of {instrument}"
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
                _CANDLES, _rows_of(body, what), what
            )
            if volume and count
        ]


def seconds_ns(text: str) -> int:
    """Turn Kraken's seconds since 1970 into nanoseconds, cut to whole microseconds.

    Raises
    ------
    FrameError
        Kind ``bad_field`` where it is no decimal number, or lies outside 1970 to 2100.

    Examples
    --------
    >>> seconds_ns("1688669597.8277369")
    1688669597827736000
    """
    whole, _, fraction = text.partition(".")
    digits = whole + (fraction if len(fraction) == 6 else fraction[:6].ljust(6, "0"))
    if not (digits.isdigit() and digits.isascii() and 0 < len(whole) <= 11):
        raise FrameError("bad_field", f"time {text[:40]!r} is no number of seconds")
    time_ns = int(digits) * 1000
    if not 0 < time_ns < LAST_TIME_NS:
        raise FrameError("bad_field", f"time {text} s lies outside 1970 to 2100")
    return time_ns


def sequence_of(trade: Trade) -> int:
    """Return what trades are sorted by."""
    return trade.sequence


def _spot(instrument: str) -> tuple[str, str]:
    parsed = Instrument.parse(instrument)
    if not parsed.is_spot:
        raise InstrumentError(f"kraken has spot markets only, and {instrument} is none")
    return parsed.base, parsed.quote


def _pair(instrument: str) -> str:
    """Return for example ``XBTUSD``, as REST names a market."""
    return "".join(OLD_NAMES.get(currency, currency) for currency in _spot(instrument))


def _rows_of(body: bytes, what: str) -> bytes:
    """Return the rows of an answer that holds one market's, under a name of the venue's own."""
    answer = decode_answer(_ROWS, body, what)
    if answer.error:
        raise VenueError(f"kraken refused {what}: {', '.join(answer.error)}")
    for name, rows in answer.result.items():
        if name != "last":
            return bytes(rows)
    raise VenueError(f"{what} hold no rows")


def _covers(newest: Trade, wanted: TradeRange) -> bool:
    """Whether what is wanted holds no trade newer than `newest`."""
    if wanted.to_sequence is not None:
        return newest.sequence >= wanted.to_sequence
    return newest.exchange_time > wanted.to_time


def _step(decimals: int | None) -> float | None:
    return None if decimals is None or not 0 <= decimals <= 30 else float(f"1e-{decimals}")
