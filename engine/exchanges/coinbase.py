"""Coinbase Exchange's WebSocket feed.

Formats after https://docs.cdp.coinbase.com/exchange/websocket-feed/channels and …/rate-limits as
known on 2026-11-21; trades and books are checked against frames recorded in April 2021. REST is
in `engine.exchanges.coinbase_rest`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime

import msgspec

from engine.domain.market import (
    BookTop,
    BookUpdate,
    Channel,
    Heartbeat,
    Level,
    MarketEvent,
    Side,
)
from engine.errors import FrameError, VenueError
from engine.exchanges.coinbase_rest import CoinbaseRest, TradeFields
from engine.exchanges.wire import (
    REFUSED,
    Amount,
    Id,
    LevelAmount,
    Price,
    blame,
    decode,
    moment_ns,
    shorten,
)

PRODUCTS_PER_MESSAGE = 100

_CHANNELS: dict[Channel, str] = {
    "trades": "matches",
    "book_top": "ticker",
    "book": "level2_batch",
}

_NOT_FOR_US = frozenset({"received", "open", "done", "change", "activate", "status", "auction"})


class _Match(TradeFields, tag_field="type", tag="match", gc=False):
    product_id: str


class _LastMatch(_Match, tag="last_match", gc=False):
    pass


class _Ticker(msgspec.Struct, tag_field="type", tag="ticker", gc=False):
    sequence: Id
    product_id: str
    best_bid: Price
    best_ask: Price
    time: datetime | None = None
    best_bid_size: Amount | None = None
    best_ask_size: Amount | None = None


class _Snapshot(msgspec.Struct, tag_field="type", tag="snapshot"):
    product_id: str
    bids: list[tuple[Price, LevelAmount]]
    asks: list[tuple[Price, LevelAmount]]
    time: datetime | None = None


class _Update(msgspec.Struct, tag_field="type", tag="l2update"):
    product_id: str
    changes: list[tuple[Side, Price, LevelAmount]]
    time: datetime | None = None


class _Heartbeat(msgspec.Struct, tag_field="type", tag="heartbeat"):
    time: datetime


class _Subscriptions(msgspec.Struct, tag_field="type", tag="subscriptions"):
    pass


class _Refusal(msgspec.Struct, tag_field="type", tag="error"):
    message: str = ""
    reason: str = ""


_Message = (
    _Match | _LastMatch | _Ticker | _Snapshot | _Update | _Heartbeat | _Subscriptions | _Refusal
)
_TAGS = frozenset(
    {"match", "last_match", "ticker", "snapshot", "l2update", "heartbeat", "subscriptions", "error"}
)
_PRICES = re.compile(r"price|best_(bid|ask)$|changes\[.*\]\[1\]|(bids|asks)\[.*\]\[0\]")


class _Kind(msgspec.Struct):
    type: str


# Numbers come as strings: strict=False reads them into floats, and the types refuse impossible
# ones, all in one pass.
_MESSAGES: msgspec.json.Decoder[_Message] = msgspec.json.Decoder(_Message, strict=False)
_KIND = msgspec.json.Decoder(_Kind)


class Coinbase(CoinbaseRest):
    """Coinbase Exchange: channels ``matches``, ``ticker``, ``level2_batch`` and ``heartbeat``.

    The venue closes quiet connections after 60 to 90 s, hence ``heartbeat`` (one a second and
    product). Books come whole, with neither a sequence nor a checksum: ``level2`` wants a key,
    ``level2_batch`` is the same every 50 ms without one.
    """

    ws_url = "wss://ws-feed.exchange.coinbase.com"

    def subscribe(self, instruments: Sequence[str], channels: Sequence[Channel]) -> list[str]:
        """Return ``subscribe`` messages, a hundred products each."""
        self.track(instruments)
        names = [*(_CHANNELS[channel] for channel in channels), "heartbeat"]
        products = [self.symbol(instrument) for instrument in instruments]
        return [
            _message("subscribe", products[start : start + PRODUCTS_PER_MESSAGE], names)
            for start in range(0, len(products), PRODUCTS_PER_MESSAGE)
        ]

    def resubscribe_book(self, instrument: str) -> list[str]:
        """Leave the product's ``level2_batch`` and join it again: it begins with a snapshot."""
        products, names = [self.symbol(instrument)], [_CHANNELS["book"]]
        return [_message(kind, products, names) for kind in ("unsubscribe", "subscribe")]

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

        A book, whole and then what changes (size 0 deletes the price; old snapshots have no
        time)::

            {"type":"snapshot","product_id":"BTC-USD","bids":[["10101.10","0.45054140"]],
             "asks":[["10102.55","0.57753524"]],"time":"2019-08-14T20:42:26.916Z"}
            {"type":"l2update","product_id":"BTC-USD","time":"2019-08-14T20:42:27.265Z",
             "changes":[["buy","10101.80000000","0.162567"]]}

        Tickers recorded before 2022 have no sizes and give no event, nor do messages of the
        full channel. ``{"type":"error","message":"Failed to subscribe","reason":"…"}`` is a
        refusal.
        """
        try:
            raw = _MESSAGES.decode(frame)
        except REFUSED:
            return self._unusual(frame)
        # Exact types: `isinstance` is dear for structs, which have a metaclass.
        if type(raw) is _Update:
            return (self._book_change(raw, receive_time),)
        if type(raw) is _Match or type(raw) is _LastMatch:
            return (self.trade(raw, self.instrument_of(raw.product_id), receive_time),)
        if type(raw) is _Ticker:
            return self._book_top(raw, receive_time)
        if type(raw) is _Snapshot:
            return (self._book(raw.product_id, True, raw.bids, raw.asks, raw.time, receive_time),)
        if type(raw) is _Refusal:
            raise VenueError(f"coinbase refused: {raw.message}: {raw.reason}")
        time = moment_ns(raw.time) if type(raw) is _Heartbeat else None
        return (Heartbeat(self.name, time, receive_time),)

    def _unusual(self, frame: bytes) -> tuple[()]:
        """Pass over a message that is not for us, refuse any other that is none of ours."""
        kind = decode(_KIND, frame).type
        if kind in _NOT_FOR_US:
            return ()
        if kind in _TAGS:
            try:
                decode(_MESSAGES, frame)  # says what is wrong with it
            except FrameError as error:
                raise blame(error, _PRICES) from None
        raise FrameError("unknown_message", f"coinbase sent an unknown message: {shorten(frame)}")

    def _book_change(self, raw: _Update, receive_time: int) -> BookUpdate:
        bids: list[Level] = []
        asks: list[Level] = []
        for side, price, amount in raw.changes:
            (bids if side == "buy" else asks).append((price, amount))
        return self._book(raw.product_id, False, bids, asks, raw.time, receive_time)

    def _book(
        self,
        product: str,
        is_snapshot: bool,
        bids: list[Level],
        asks: list[Level],
        time: datetime | None,
        receive_time: int,
    ) -> BookUpdate:
        return BookUpdate(
            self.name,
            self._instruments.get(product) or self.instrument_of(product),
            is_snapshot,
            bids,
            asks,
            None,
            None,
            None,
            None if time is None else moment_ns(time),
            receive_time,
        )

    def _book_top(self, raw: _Ticker, receive_time: int) -> tuple[BookTop, ...]:
        instrument = self.instrument_of(raw.product_id)
        if raw.best_bid_size is None or raw.best_ask_size is None:
            return ()
        top = BookTop(
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
        return (top,)


def _message(kind: str, products: Sequence[str], channels: Sequence[str]) -> str:
    return json.dumps({"type": kind, "product_ids": products, "channels": channels})
