"""OKX's names and REST, which its WebSocket shares trades with.

Formats after https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history,
…-get-candlesticks-history and …/#public-data-rest-api-get-instruments as known on 2026-11-21;
instruments are checked against answers recorded in May 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from engine.clock import NS_PER_MS
from engine.domain.instrument import Instrument
from engine.domain.market import Candle, ListingStatus, Side, SymbolMetadata, Trade, TradeRange
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, InstrumentError, VenueError
from engine.exchanges.base import Exchange, Limits, RestRequest, spans
from engine.exchanges.wire import (
    Amount,
    Id,
    Milliseconds,
    Price,
    check_amount,
    decode_answer,
    optional_number,
    rest_candle,
)

TRADES_PER_PAGE = 100

_IN_DOLLARS = "-USD-"
"""What no canonical name has but of swaps and futures quoted in USD."""

_STATES: dict[str, ListingStatus] = {"live": "trading", "expired": "delisted"}


class RawTrade(msgspec.Struct, rename="camel", gc=False):
    """A trade as REST and the stream send it."""

    trade_id: Id
    px: Price
    sz: Amount
    side: Side
    ts: Milliseconds


class _Symbol(msgspec.Struct, rename="camel"):
    inst_id: str
    inst_type: str
    state: str
    tick_sz: str = ""
    lot_sz: str = ""
    list_time: str = ""
    exp_time: str = ""
    ct_type: str = ""
    ct_val: str = ""
    ct_mult: str = ""


_Row = tuple[int, float, float, float, float, float, float, float, str]


class _Symbols(msgspec.Struct):
    code: str
    msg: str = ""
    data: list[_Symbol] = []


class _PastTrades(msgspec.Struct):
    code: str
    msg: str = ""
    data: list[RawTrade] = []


class _Candles(msgspec.Struct):
    code: str
    msg: str = ""
    data: list[_Row] = []


# Numbers come as strings: strict=False reads them into floats and integers in one pass.
_SYMBOLS = msgspec.json.Decoder(_Symbols)
_PAST_TRADES = msgspec.json.Decoder(_PastTrades, strict=False)
_CANDLES = msgspec.json.Decoder(_Candles, strict=False)


class OkxRest(Exchange):
    """What OKX answers over REST, and how it names and measures things."""

    name = "okx"
    ws_url = "wss://ws.okx.com:8443"
    rest_url = "https://www.okx.com"
    limits = Limits(
        messages_per_second=2.0,
        streams_per_connection=240,
        candles_per_request=300,
        requests_per_second=5.0,
        connects=(3, 2.0),
    )
    intervals: ClassVar[Mapping[Timeframe, str]] = {
        Timeframe.S1: "1s",
        Timeframe.M1: "1m",
        Timeframe.M5: "5m",
        Timeframe.M15: "15m",
        Timeframe.H1: "1H",
        # Four hours divide the eight between UTC and Hong Kong, whose days "4H" counts from.
        Timeframe.H4: "4H",
        Timeframe.D1: "1Dutc",
    }
    channels = frozenset({"trades", "book_top", "book", "perpetual"})
    ping_interval_s = 20.0
    quiet_s = 1.5 * ping_interval_s
    book_levels = 400
    checksum_levels = 25

    # -- names ---------------------------------------------------------------------------

    def symbol(self, instrument: str) -> str:
        """Return for example ``BTC-USDT``, ``BTC-USDT-SWAP`` or ``BTC-USD-220527``."""
        base, quote, perpetual, expiry, _ = Instrument.parse(instrument)
        tail = "-SWAP" if perpetual else f"-{expiry}" if expiry else ""
        return f"{base}-{quote}{tail}"

    def guess_instrument(self, symbol: str) -> str | None:
        """Return the canonical name: OKX's symbols say all."""
        name = symbol.removesuffix("-SWAP")
        text = f"{name}-PERP" if name != symbol else symbol
        try:
            return str(Instrument.parse(text))
        except InstrumentError:
            return None

    def trade(self, raw: RawTrade, instrument: str, receive_time: int) -> Trade:
        """Make a trade of what the stream or REST says.

        Raises
        ------
        FrameError
            Where its amount is none in base currency.
        """
        number, price = raw.trade_id, raw.px
        return Trade(
            self.name,
            instrument,
            str(number),
            number,
            price,
            self.in_base(instrument, price, raw.sz),
            raw.side,
            raw.ts * NS_PER_MS,
            receive_time,
        )

    def in_base(self, instrument: str, price: float, amount: float) -> float:
        """Turn an amount above zero in the venue's unit, at such a price, into base currency.

        Raises
        ------
        FrameError
            Kind ``bad_amount`` where it becomes zero or too large.
        """
        size = self.contract_sizes.get(instrument)
        if size is not None:
            amount *= size
        elif _IN_DOLLARS in instrument:
            amount *= inverse_usd(instrument) / price
        else:
            return amount
        check_amount(amount, "the amount in base currency")
        return amount

    # -- REST ----------------------------------------------------------------------------

    def metadata_requests(self) -> list[RestRequest]:
        """Return the requests for spot and for swaps."""
        return [
            RestRequest("/api/v5/public/instruments", (("instType", kind),))
            for kind in ("SPOT", "SWAP")
        ]

    def parse_metadata(self, body: bytes) -> list[SymbolMetadata]:
        """Decode ``instruments``; inverse swaps are left out (see the class).

        A swap::

            {"instId":"BTC-USDT-SWAP","instType":"SWAP","ctType":"linear","ctVal":"0.01",
             "ctMult":"1","ctValCcy":"BTC","listTime":"1573557408000","expTime":"","lotSz":"0.01",
             "tickSz":"0.1","state":"live","settleCcy":"USDT","uly":"BTC-USDT"}
        """
        answer = decode_answer(_SYMBOLS, body, "okx's instruments")
        _refused(answer.code, answer.msg, "instruments")
        listed = (self._listed(raw) for raw in answer.data)
        return [symbol for symbol in listed if symbol is not None]

    def _listed(self, raw: _Symbol) -> SymbolMetadata | None:
        swap = raw.inst_type == "SWAP"
        instrument = self.guess_instrument(raw.inst_id)
        if instrument is None or raw.state == "test" or (swap and raw.ct_type != "linear"):
            return None
        what = f"okx's instrument {raw.inst_id}"
        size = 1.0
        if swap:
            value = optional_number(raw.ct_val, what)
            multiplier = optional_number(raw.ct_mult, what)
            if not value or value < 0:
                raise VenueError(f"{what} has contracts of {raw.ct_val!r} base currency")
            size = value * (multiplier or 1.0)
        lot = optional_number(raw.lot_sz, what)
        return SymbolMetadata(
            exchange=self.name,
            instrument=instrument,
            symbol=raw.inst_id,
            status=_STATES.get(raw.state, "halted"),
            tick_size=optional_number(raw.tick_sz, what),
            lot_size=None if lot is None else lot * size,
            listed_at=_moment(raw.list_time, what),
            delisted_at=_moment(raw.exp_time, what),
            contract_size=size,
        )

    def trades_request(
        self, wanted: TradeRange, page: Sequence[Trade] | None
    ) -> RestRequest | None:
        """Return the request for the hundred trades before those known, backwards by id.

        The venue keeps three months. Where no ids are wanted it begins at the time.
        """
        if page is None:
            if wanted.to_sequence is not None:
                return self._trades_before(wanted.instrument, str(wanted.to_sequence + 1))
            after = wanted.to_time // NS_PER_MS + 1
            return self._trades_before(wanted.instrument, str(after), by_time=True)
        if not page:
            return None
        oldest = page[0]
        if wanted.from_sequence is not None:
            covered = oldest.sequence <= wanted.from_sequence
        else:
            covered = oldest.exchange_time < wanted.from_time
        return None if covered else self._trades_before(wanted.instrument, str(oldest.sequence))

    def _trades_before(self, instrument: str, after: str, *, by_time: bool = False) -> RestRequest:
        return RestRequest(
            "/api/v5/market/history-trades",
            (
                ("instId", self.symbol(instrument)),
                ("type", "2" if by_time else "1"),
                ("after", after),
                ("limit", str(TRADES_PER_PAGE)),
            ),
        )

    def parse_trades(self, body: bytes, instrument: str, receive_time: int) -> list[Trade]:
        """Decode ``history-trades``, which has the newest first.

        ::

            {"code":"0","msg":"","data":[{"instId":"BTC-USDT","side":"sell","sz":"0.00001",
             "source":"0","px":"29963.2","tradeId":"242720720","ts":"1654161646974"}]}
        """
        answer = decode_answer(_PAST_TRADES, body, "okx's history-trades")
        _refused(answer.code, answer.msg, f"past trades of {instrument}")
        try:
            found = [self.trade(raw, instrument, receive_time) for raw in answer.data]
        except FrameError as error:
            problem = f"okx sent an impossible past trade of {instrument}: {error}"
            raise VenueError(problem) from None
        return sorted(found, key=lambda trade: trade.sequence)

    def candle_requests(
        self, instrument: str, timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> list[RestRequest]:
        """Return requests for ``history-candles``, and one for the newest.

        Both ends of the venue's range are exclusive. ``history-candles`` goes back for years but
        need not hold the latest candles yet; ``candles`` has the latest 1,440, but not of 1s.
        """
        most = self.limits.candles_per_request
        requests = [
            self._candles("history-candles", instrument, timeframe, start, end)
            for start, end in spans(start_ns, end_ns, timeframe, most)
        ]
        if requests and timeframe is not Timeframe.S1:
            start, end = spans(start_ns, end_ns, timeframe, most)[-1]
            requests.append(self._candles("candles", instrument, timeframe, start, end))
        return requests

    def _candles(
        self, which: str, instrument: str, timeframe: Timeframe, start: int, end: int
    ) -> RestRequest:
        return RestRequest(
            f"/api/v5/market/{which}",
            (
                ("instId", self.symbol(instrument)),
                ("bar", self.intervals[timeframe]),
                ("before", str(start // NS_PER_MS - 1)),
                ("after", str(end // NS_PER_MS)),
                ("limit", str(self.limits.candles_per_request)),
            ),
        )

    def parse_candles(
        self, body: bytes, instrument: str, timeframe: Timeframe, as_of: int
    ) -> list[Candle]:
        """Decode candles, which come newest first.

        A row is open time (ms), open, high, low, close, volume (base currency; contracts of a
        swap), volume (quote currency; base of a swap), quote volume, and 1 where it is closed::

            ["1597026360000","3.721","3.743","3.677","3.708","8422410","22698348.04828491",
             "22698348.04828491","1"]
        """
        answer = decode_answer(_CANDLES, body, f"okx's {timeframe} candles")
        _refused(answer.code, answer.msg, f"candles of {instrument}")
        column = 6 if self.symbol(instrument).endswith("-SWAP") else 5
        return [
            self._candle(row, float(row[column]), instrument, timeframe, as_of)
            for row in reversed(answer.data)
            if row[column]
        ]

    def _candle(
        self, row: _Row, volume: float, instrument: str, timeframe: Timeframe, as_of: int
    ) -> Candle:
        candle = rest_candle(
            self.name,
            instrument,
            timeframe,
            as_of=as_of,
            open_time=row[0] * NS_PER_MS,
            prices=(row[1], row[2], row[3], row[4]),
            volume=volume,
            quote_volume=row[7],
            vwap=row[7] / volume,
        )
        # Its clock decides: to ours the candle may look closed.
        return candle if row[8] == "1" else msgspec.structs.replace(candle, is_closed=False)


def _refused(code: str, message: str, what: str) -> None:
    if code != "0":
        raise VenueError(f"okx refused {what}: {message} (code {code})")


def _moment(milliseconds: str, what: str) -> int | None:
    number = optional_number(milliseconds, what)
    return int(number) * NS_PER_MS if number else None


def inverse_usd(instrument: str) -> float:
    """Return how many USD a contract of an inverse swap or future is; 0 for all else.

    Examples
    --------
    >>> inverse_usd("BTC-USD-PERP"), inverse_usd("ETH-USD-220527"), inverse_usd("BTC-USD")
    (100.0, 10.0, 0.0)
    """
    if _IN_DOLLARS not in instrument:
        return 0.0
    return 100.0 if Instrument.parse(instrument).base == "BTC" else 10.0
