"""Bitstamp's WebSocket API v2, spot markets.

Formats after https://www.bitstamp.net/websocket/v2/ as known on 2026-11-21. REST is in
`engine.exchanges.bitstamp_rest`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import msgspec

from engine.domain.market import BookTop, Channel, Heartbeat, MarketEvent
from engine.errors import FrameError, VenueError
from engine.exchanges.bitstamp_rest import (
    NS_PER_US,
    BitstampRest,
    Book,
    Microseconds,
    SideNumber,
)
from engine.exchanges.wire import (
    REFUSED,
    Amount,
    Id,
    Price,
    blame,
    check_amount,
    check_price,
    decode,
    shorten,
)

US_PER_S = 1_000_000

_TRADES = "live_trades_"
_TOPS = "order_book_"
_BOOKS = "diff_order_book_"
_CHANNELS: dict[Channel, str] = {"trades": _TRADES, "book_top": _TOPS, "book": _BOOKS}

_NOT_FOR_US = frozenset({"order_created", "order_changed", "order_deleted", "funding_rate_saved"})


class _TradeData(msgspec.Struct, gc=False):
    id: Id
    # The venue's own digits; `price` and `amount` are the same as JSON numbers.
    price_str: Price
    amount_str: Amount
    type: SideNumber
    microtimestamp: Microseconds


class _RefusalData(msgspec.Struct):
    message: str = ""
    code: int | str | None = None


class _Trade(msgspec.Struct, tag_field="event", tag="trade"):
    channel: str
    data: _TradeData


class _Book(msgspec.Struct, tag_field="event", tag="data"):
    channel: str
    data: Book


class _Alive(msgspec.Struct, tag_field="event", tag="bts:heartbeat"):
    pass


class _Joined(msgspec.Struct, tag_field="event", tag="bts:subscription_succeeded"):
    pass


class _Left(msgspec.Struct, tag_field="event", tag="bts:unsubscription_succeeded"):
    pass


class _Reconnect(msgspec.Struct, tag_field="event", tag="bts:request_reconnect"):
    pass


class _Refusal(msgspec.Struct, tag_field="event", tag="bts:error"):
    data: _RefusalData


_Message = _Trade | _Book | _Alive | _Joined | _Left | _Reconnect | _Refusal
_TAGS = frozenset(
    {
        *("trade", "data", "bts:heartbeat", "bts:request_reconnect", "bts:error"),
        *("bts:subscription_succeeded", "bts:unsubscription_succeeded"),
    }
)
_PRICES = re.compile(r"price_str$|\[0\]$")
"""Paths of prices, where any other number with a range is an amount or a time."""


class _Kind(msgspec.Struct):
    event: str


# Numbers come as strings: strict=False reads them into floats and integers in one pass.
_MESSAGES: msgspec.json.Decoder[_Message] = msgspec.json.Decoder(_Message, strict=False)
_KIND = msgspec.json.Decoder(_Kind)


class Bitstamp(BitstampRest):
    """Bitstamp: channels ``live_trades``, ``order_book`` and ``diff_order_book``.

    The venue has no channel of best bid and ask: they are the first levels of ``order_book``,
    which is the best hundred, whole, some ten times a second. ``diff_order_book`` tells what
    changed anywhere in the book; the book itself comes over REST. Neither has numbers or a
    checksum: the matching engine's microseconds say what a snapshot holds already. A connection
    lives for 90 days. ``bts:request_reconnect`` says that it ends in a few seconds.
    """

    ws_url = "wss://ws.bitstamp.net"
    ping_interval_s = 10.0
    rotate_after_s = 80 * 86_400.0

    def subscribe(self, instruments: Sequence[str], channels: Sequence[Channel]) -> list[str]:
        """Return one ``bts:subscribe`` message a channel and market: the venue takes no lists."""
        self.track(instruments)
        return [
            json.dumps(
                {
                    "event": "bts:subscribe",
                    "data": {"channel": _CHANNELS[channel] + self.symbol(instrument)},
                }
            )
            for instrument in instruments
            for channel in channels
        ]

    def ping(self) -> str:
        """Return the application ping; the venue answers with the same event."""
        return '{"event":"bts:heartbeat"}'

    def parse(self, frame: bytes, receive_time: int) -> Sequence[MarketEvent]:
        """Decode one frame.

        A trade (``type`` is the taker's side: 0 buys, 1 sells). Its time is cut to the whole
        second, for REST tells no more of it::

            {"data":{"id":629344156,"timestamp":"1788481329","amount":0.07375969,
             "amount_str":"0.07375969","price":81263.98,"price_str":"81263.98","type":0,
             "microtimestamp":"1788481329090000","buy_order_id":2046551593062406,
             "sell_order_id":2046551592386274},"channel":"live_trades_btcusd","event":"trade"}

        The best hundred levels a side, of which the first are the best bid and ask::

            {"data":{"timestamp":"1788481325","microtimestamp":"1788481325406795",
             "bids":[["81254.37","0.56250000"],["81254.07","0.07500000"]],
             "asks":[["81263.98","0.68285797"],["81264.00","1.20000000"]]},
             "channel":"order_book_btcusd","event":"data"}

        What changed in a book (amount 0, in as many digits as the market has, deletes)::

            {"data":{"timestamp":"1622520011","microtimestamp":"1622520011989838",
             "bids":[["36653.62","0.75000000"]],
             "asks":[["36665.20","0.00000000"],["36669.76","0.75000000"]]},
             "channel":"diff_order_book_btcusd","event":"data"}

        Acknowledgements, ``{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}``
        and ``{"event":"bts:request_reconnect","channel":"","data":null}`` say that it lives;
        ``{"event":"bts:error","channel":"","data":{"code":null,"message":"…"}}`` is a refusal.
        """
        self.newest_frame = receive_time
        try:
            raw = _MESSAGES.decode(frame)
        except REFUSED:
            return self._unusual(frame)
        # Exact types: `isinstance` is dear for structs, which have a metaclass.
        if type(raw) is _Book:
            return self._book_frame(raw, receive_time)
        if type(raw) is _Trade:
            told = raw.data
            trade = self.trade(
                self._instrument(raw.channel, _TRADES),
                told.id,
                told.price_str,
                told.amount_str,
                told.type,
                told.microtimestamp // US_PER_S,
                receive_time,
            )
            return (trade,)
        if type(raw) is _Refusal:
            raise VenueError(f"bitstamp refused: {raw.data.message} (code {raw.data.code})")
        return (Heartbeat(self.name, None, receive_time),)

    def _unusual(self, frame: bytes) -> tuple[()]:
        """Pass over a message that is not for us, refuse any other that is none of ours."""
        kind = decode(_KIND, frame).event
        if kind in _NOT_FOR_US:
            return ()
        if kind in _TAGS:
            try:
                decode(_MESSAGES, frame)  # says what is wrong with it
            except FrameError as error:
                raise blame(error, _PRICES) from None
        raise FrameError("unknown_message", f"bitstamp sent an unknown message: {shorten(frame)}")

    def _book_frame(self, raw: _Book, receive_time: int) -> tuple[MarketEvent, ...]:
        if raw.channel.startswith(_BOOKS):
            instrument = self._instrument(raw.channel, _BOOKS)
            return (self.book(raw.data, instrument, receive_time, is_snapshot=False),)
        instrument = self._instrument(raw.channel, _TOPS)
        if not raw.data.bids or not raw.data.asks:
            return ()  # an empty side has no best price
        (bid, bid_amount), (ask, ask_amount) = raw.data.bids[0], raw.data.asks[0]
        for price, amount in ((bid, bid_amount), (ask, ask_amount)):
            check_price(price, "the best price")
            check_amount(amount, "the amount at the best price")
        time_ns = raw.data.microtimestamp * NS_PER_US
        return (
            BookTop(
                self.name, instrument, bid, bid_amount, ask, ask_amount, 0, time_ns, receive_time
            ),
        )

    def _instrument(self, channel: str, prefix: str) -> str:
        symbol = channel.removeprefix(prefix)
        return self._instruments.get(symbol) or self.instrument_of(symbol)
