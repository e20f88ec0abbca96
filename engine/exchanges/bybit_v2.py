"""Bybit, WebSocket API v2 of 2021: what the venue's old recordings speak. It only reads.

The API and its pages are gone; formats after frames recorded in April 2021 from
``wss://stream.bybit.com/realtime_public`` (linear perpetuals in USDT) and
``wss://stream.bybit.com/realtime`` (inverse perpetuals in USD).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from engine.clock import NS_PER_MS
from engine.domain.instrument import Instrument
from engine.domain.market import BookUpdate, Channel, Heartbeat, Level, MarketEvent, Trade
from engine.errors import FrameError, InstrumentError, VenueError
from engine.exchanges.base import canonical
from engine.exchanges.bybit_rest import SIDES, BybitRest, TradeId
from engine.exchanges.wire import (
    LAST_TIME_NS,
    Amount,
    Id,
    Milliseconds,
    Price,
    check_amount,
    check_levels,
    decode,
    shorten,
)

_Microseconds = Annotated[int, msgspec.Meta(gt=0, lt=LAST_TIME_NS // 1000)]

_QUOTES = ("USDT", "USD")
_NOT_FOR_US = frozenset({"instrument_info", "klineV2", "candle", "insurance", "liquidation"})


class _Envelope(msgspec.Struct):
    topic: str = ""
    type: str = ""
    success: bool | None = None
    ret_msg: str = ""


class _Trade(msgspec.Struct, gc=False):
    symbol: str
    trade_id: TradeId
    price: Price
    size: Amount
    side: Literal["Buy", "Sell"]
    trade_time_ms: Milliseconds


class _Trades(msgspec.Struct):
    data: list[_Trade]


class _Deleted(msgspec.Struct, gc=False):
    side: Literal["Buy", "Sell"]
    price: Price


class _Row(msgspec.Struct, gc=False):
    """A level of a book, with its new size."""

    side: Literal["Buy", "Sell"]
    price: Price
    size: Amount


class _Whole(msgspec.Struct):
    order_book: list[_Row]


class _Snapshot(msgspec.Struct):
    topic: str
    data: list[_Row] | _Whole
    timestamp_e6: _Microseconds
    cross_seq: Id


class _Changes(msgspec.Struct):
    delete: list[_Deleted]
    update: list[_Row]
    insert: list[_Row]


class _Delta(msgspec.Struct):
    topic: str
    data: _Changes
    timestamp_e6: _Microseconds
    cross_seq: Id


# Some numbers come as strings: strict=False reads them into floats and integers in one pass.
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_TRADES = msgspec.json.Decoder(_Trades, strict=False)
_SNAPSHOT = msgspec.json.Decoder(_Snapshot, strict=False)
_DELTA = msgspec.json.Decoder(_Delta, strict=False)


class BybitV2(BybitRest):
    """Bybit's version 2: topics ``trade`` and ``orderBookL2_25``.

    Amounts of inverse perpetuals come in contracts of 1 USD; they become ``contracts / price``.
    Trade ids are UUIDs. ``cross_seq`` grows from one update of a book to the next, by any number.
    """

    ws_url = "wss://stream.bybit.com/realtime_public"
    channels = frozenset({"trades", "book"})
    counts_trades = False
    book_levels = 25

    def symbol(self, instrument: str) -> str:
        """Return for example ``BTCUSDT`` (linear) or ``BTCUSD`` (inverse).

        Raises
        ------
        InstrumentError
            Where `instrument` is no perpetual in USDT or USD.
        """
        base, quote, perpetual, *_ = Instrument.parse(instrument)
        if not perpetual or quote not in _QUOTES:
            raise InstrumentError(
                f"{instrument} was not streamed by version 2 of bybit: it had perpetuals in USDT "
                f"and USD, for example {base}-USDT-PERP"
            )
        return base + quote

    def guess_instrument(self, symbol: str) -> str | None:
        """Return the perpetual that the spelling suggests."""
        for quote in _QUOTES:
            base = symbol.removesuffix(quote)
            if base != symbol:
                name = canonical(base, quote)
                return name and f"{name}-PERP"
        return None

    def subscribe(self, instruments: Sequence[str], channels: Sequence[Channel]) -> list[str]:
        """Track `instruments`; a recording is not asked for anything."""
        del channels
        self.track(instruments)
        return []

    def parse(self, frame: bytes, receive_time: int) -> Sequence[MarketEvent]:
        """Decode one frame.

        Trades (of inverse perpetuals with numbers instead of texts)::

            {"topic":"trade.BCHUSDT","data":[{"symbol":"BCHUSDT","tick_direction":"MinusTick",
             "price":"1053.90","size":0.14,"timestamp":"2021-04-17T16:43:05.000Z",
             "trade_time_ms":"1618677785116","side":"Buy",
             "trade_id":"01cacfe9-8d1c-5ee4-995d-d79a43f955a6"}]}

        A book of 25 levels a side (of inverse perpetuals ``data`` is the list itself), then what
        changes::

            {"topic":"orderBookL2_25.BCHUSDT","type":"snapshot","data":{"order_book":[{
             "price":"1053.05","symbol":"BCHUSDT","id":"10530500","side":"Buy","size":2.63}]},
             "cross_seq":"864131773","timestamp_e6":"1618677786389362"}
            {"topic":"orderBookL2_25.EOSUSD","type":"delta","data":{"delete":[{"price":"7.943",
             "symbol":"EOSUSD","id":79430,"side":"Buy"}],"update":[{"price":"7.971",
             "symbol":"EOSUSD","id":79710,"side":"Buy","size":47766}],"insert":[],
             "transactTimeE6":0},"cross_seq":1225777225,"timestamp_e6":1618677786598877}

        ``{"success":true,"ret_msg":"","conn_id":"38cf…","request":{"op":"subscribe",…}}`` says
        that it lives. ``instrument_info``, candles and the like are known and give no event.
        """
        envelope = decode(_ENVELOPE, frame)
        kind, _, symbol = envelope.topic.partition(".")
        if kind == "trade":
            return [self._trade(raw, receive_time) for raw in decode(_TRADES, frame).data]
        if kind == "orderBookL2_25":
            instrument = self.instrument_of(symbol)
            if envelope.type == "snapshot":
                return (self._snapshot(decode(_SNAPSHOT, frame), instrument, receive_time),)
            return (self._delta(decode(_DELTA, frame), instrument, receive_time),)
        if kind in _NOT_FOR_US:
            return ()
        if envelope.success is False:
            raise VenueError(f"bybit refused a message: {envelope.ret_msg}")
        if envelope.success and not kind:
            return (Heartbeat(self.name, None, receive_time),)
        raise FrameError("unknown_message", f"bybit sent an unknown message: {shorten(frame)}")

    def _trade(self, raw: _Trade, receive_time: int) -> Trade:
        instrument = self.instrument_of(raw.symbol)
        amount = raw.size / raw.price if _is_inverse(instrument) else raw.size
        check_amount(amount, "the trade's amount")
        return Trade(
            self.name,
            instrument,
            raw.trade_id,
            0,
            raw.price,
            amount,
            SIDES[raw.side],
            raw.trade_time_ms * NS_PER_MS,
            receive_time,
        )

    def _snapshot(self, raw: _Snapshot, instrument: str, receive_time: int) -> BookUpdate:
        rows = raw.data.order_book if isinstance(raw.data, _Whole) else raw.data
        return self._book(raw, instrument, [], rows, receive_time)

    def _delta(self, raw: _Delta, instrument: str, receive_time: int) -> BookUpdate:
        changes = raw.data
        rows = [*changes.update, *changes.insert]
        return self._book(raw, instrument, changes.delete, rows, receive_time)

    def _book(
        self,
        raw: _Snapshot | _Delta,
        instrument: str,
        deleted: Sequence[_Deleted],
        rows: Sequence[_Row],
        receive_time: int,
    ) -> BookUpdate:
        inverse = _is_inverse(instrument)
        sides: dict[str, list[Level]] = {"Buy": [], "Sell": []}
        for gone in deleted:
            sides[gone.side].append((gone.price, 0.0))
        for row in rows:
            sides[row.side].append((row.price, row.size / row.price if inverse else row.size))
        bids, asks = sides["Buy"], sides["Sell"]
        check_levels(bids)
        check_levels(asks)
        return BookUpdate(
            self.name,
            instrument,
            isinstance(raw, _Snapshot),
            bids,
            asks,
            None,
            raw.cross_seq,
            None,
            raw.timestamp_e6 * 1000,
            receive_time,
        )


def _is_inverse(instrument: str) -> bool:
    return instrument.endswith("-USD-PERP")
