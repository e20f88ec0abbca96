"""Kraken spot, WebSocket API v1: what the venue's old recordings speak. It only reads.

Formats after https://docs.kraken.com/exchange/api-reference/spot-websocket-v1/book, …/trade,
…/ticker, …/spread and https://docs.kraken.com/exchange/guides/websockets/book-checksum-v1 as
known on 2026-11-21, checked against frames recorded in April 2021.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import msgspec

from engine.domain.market import (
    BookTop,
    BookUpdate,
    Channel,
    Heartbeat,
    MarketEvent,
    Trade,
    TradeRange,
)
from engine.errors import FrameError, VenueError
from engine.exchanges.base import RestRequest
from engine.exchanges.kraken import parse_levels
from engine.exchanges.kraken_rest import OLD_NAMES, SIDES, KrakenRest, seconds_ns
from engine.exchanges.wire import (
    Amount,
    Price,
    blame,
    check_amount,
    check_price,
    decode,
    shorten,
)

_TradeRow = tuple[str, str, str, str, str, str]
"""Price, amount, time (s), side, order type, miscellaneous."""


class _LevelRow(msgspec.Struct, array_like=True, gc=False):
    """A fourth element, ``r``, says that an old level came back into the book's range."""

    price: str
    amount: str
    time: str


class _Side(msgspec.Struct):
    """Part of a book's message: changes (``a``, ``b``) or a snapshot (``as``, ``bs``)."""

    a: list[_LevelRow] = []
    b: list[_LevelRow] = []
    whole_asks: list[_LevelRow] | None = msgspec.field(name="as", default=None)
    whole_bids: list[_LevelRow] | None = msgspec.field(name="bs", default=None)
    c: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] | None = None


class _Ticker(msgspec.Struct):
    """Best prices: price, whole lots, amount."""

    a: tuple[Price, int, Amount]
    b: tuple[Price, int, Amount]


class _Event(msgspec.Struct):
    event: str
    status: str = ""
    pair: str = ""
    error_message: str = msgspec.field(name="errorMessage", default="")


_Spread = tuple[Price, Price, str, Amount, Amount]
"""Bid, ask, time (s), bid's amount, ask's amount."""

_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_EVENT = msgspec.json.Decoder(_Event)
# Numbers come as strings: strict=False reads them into floats, and the types refuse impossible
# ones, all in one pass.
_BOOK = msgspec.json.Decoder(list[int | str | _Side], strict=False)
_TRADES = msgspec.json.Decoder(tuple[int, list[_TradeRow], str, str])
_TICKER = msgspec.json.Decoder(tuple[int, _Ticker, str, str], strict=False)
_SPREAD = msgspec.json.Decoder(tuple[int, _Spread, str, str], strict=False)
_PRICES = re.compile(r"^\$\[1\](\.[ab]\[0\]|\[[01]\])$")

_SIGNS_OF_LIFE = frozenset({"heartbeat", "systemStatus", "subscriptionStatus", "pong"})


class KrakenV1(KrakenRest):
    """Kraken's version 1: channels ``trade``, ``ticker``, ``spread`` and ``book-1000``.

    Its trades have no ids. We make one of all that is said of a trade, ``time/price/amount/side
    and order type/n``, where ``n`` counts the trades of the same frame that are equal in all of
    it: the same frame always gives the same ids, and two frames never share one, as fills of
    one order at one price and microsecond come in one frame. They have no order, hence sequence 0.
    """

    ws_url = "wss://ws.kraken.com"
    counts_trades = False
    book_levels = 1000
    _book_channel = f"book-{book_levels}".encode()

    def symbol(self, instrument: str) -> str:
        """Return for example ``XBT/USD``."""
        base, _, quote = super().symbol(instrument).partition("/")
        return f"{OLD_NAMES.get(base, base)}/{OLD_NAMES.get(quote, quote)}"

    def subscribe(self, instruments: Sequence[str], channels: Sequence[Channel]) -> list[str]:
        """Track `instruments`; a recording is not asked for anything."""
        del channels
        self.track(instruments)
        return []

    def trades_request(
        self, wanted: TradeRange, page: Sequence[Trade] | None
    ) -> RestRequest | None:
        """Return None: what REST would give bears ids that these trades have not."""
        del wanted, page
        return None

    def parse(self, frame: bytes, receive_time: int) -> Sequence[MarketEvent]:
        """Decode one frame.

        Trades, tickers (price, whole lots, amount) and spreads (bid, ask, time, amounts)::

            [993,[["354.11000000","0.89594024","1618678142.557535","s","l",""]],"trade","XMR/USD"]
            [996,{"a":["355.24",27,"27.19106411"],"b":["354.32",6,"6.87748868"],…},
             "ticker","XMR/USD"]
            [0,["5698.40","5700.00","1542057299.545897","1.01","0.98"],"spread","XBT/USD"]

        A book: whole, then what changes (amount 0 deletes the price), in one part or in two.
        Whoever applies one cuts the book to 1000 levels before the checksum ``c`` is compared::

            [1920,{"as":[["0.042990","364630.28","1618678145.920470"]],"bs":[…]},
             "book-1000","SC/EUR"]
            [1920,{"a":[["0.042990","364630.28","1618678145.920470"]]},
             {"b":[["0.042990","0.00000000","1618678145.920708"]],"c":"4105471083"},
             "book-1000","SC/EUR"]

        ``{"event":"heartbeat"}``, ``systemStatus``, ``pong`` and ``subscriptionStatus`` say that
        it lives, unless the last is an ``error``: a refusal.
        """
        # A list ends in its channel's name and a symbol; the name says how to read it, in one go.
        tail = frame.rsplit(b'"', 4)
        channel = tail[1] if len(tail) == 5 else b""
        try:
            if channel == self._book_channel:
                return (self._book(decode(_BOOK, frame), receive_time),)
            if channel == b"trade":
                return self._trades(decode(_TRADES, frame), receive_time)
            if channel == b"ticker":
                return (self._ticker(decode(_TICKER, frame), receive_time),)
            if channel == b"spread":
                return (self._spread(decode(_SPREAD, frame), receive_time),)
        except FrameError as error:
            raise blame(error, _PRICES) from None
        return self._unusual(frame, channel, receive_time)

    def _unusual(self, frame: bytes, channel: bytes, receive_time: int) -> tuple[Heartbeat, ...]:
        """Read what is no list, pass over what is not for us, refuse the rest."""
        if not frame.lstrip().startswith(b"["):
            return self._event(frame, receive_time)
        decode(_LIST, frame)
        if channel.startswith(b"ohlc-"):
            return ()
        raise FrameError("unknown_message", f"kraken sent an unknown list: {shorten(frame)}")

    def _event(self, frame: bytes, receive_time: int) -> tuple[Heartbeat]:
        raw = decode(_EVENT, frame)
        if raw.status == "error":
            raise VenueError(f"kraken refused {raw.pair or raw.event}: {raw.error_message}")
        if raw.event not in _SIGNS_OF_LIFE:
            raise FrameError("unknown_message", f"kraken sent an unknown event: {shorten(frame)}")
        return (Heartbeat(self.name, None, receive_time),)

    def _trades(self, raw: tuple[int, list[_TradeRow], str, str], receive_time: int) -> list[Trade]:
        _, rows, _, symbol = raw
        instrument = self.instrument_of(symbol)
        seen: Counter[_TradeRow] = Counter()
        trades = []
        for row in rows:
            trades.append(self._trade(row, seen[row], instrument, receive_time))
            seen[row] += 1
        return trades

    def _trade(self, row: _TradeRow, count: int, instrument: str, receive_time: int) -> Trade:
        price_text, amount_text, time, side, order_type, _ = row
        if side not in SIDES:
            raise FrameError("bad_field", f"the trade's side is {side[:20]!r}")
        price, amount = _number(price_text), _number(amount_text)
        check_price(price, "the trade's price")
        check_amount(amount, "the trade's amount")
        return Trade(
            self.name,
            instrument,
            f"{time}/{price_text}/{amount_text}/{side}{order_type}/{count}",
            0,
            price,
            amount,
            SIDES[side],
            seconds_ns(time),
            receive_time,
        )

    def _book(self, raw: list[int | str | _Side], receive_time: int) -> BookUpdate:
        if len(raw) < 4:
            raise FrameError("bad_field", f"a book's list has {len(raw)} elements, not 4 or 5")
        asks: list[_LevelRow] = []
        bids: list[_LevelRow] = []
        is_snapshot, checksum = False, None
        for side in raw[1:-2]:
            if type(side) is not _Side:
                raise FrameError("bad_field", f"{side!r} stands where a side of a book is due")
            if side.whole_asks is not None or side.whole_bids is not None:
                is_snapshot = True
                asks += side.whole_asks or []
                bids += side.whole_bids or []
            asks += side.a
            bids += side.b
            checksum = side.c if side.c is not None else checksum
        ask_texts = [(row.price, row.amount) for row in asks]
        bid_texts = [(row.price, row.amount) for row in bids]
        # Texts of ten digits and a fraction sort like the times that they name.
        newest = max([row.time for row in asks + bids], default=None)
        return BookUpdate(
            self.name,
            self.instrument_of(str(raw[-1])),
            is_snapshot,
            parse_levels(bid_texts) if bid_texts else [],
            parse_levels(ask_texts) if ask_texts else [],
            None,
            None,
            None,
            None if newest is None else seconds_ns(newest),
            receive_time,
            checksum,
            bid_texts,
            ask_texts,
        )

    def _ticker(self, raw: tuple[int, _Ticker, str, str], receive_time: int) -> BookTop:
        _, best, _, symbol = raw
        bid, _, bid_amount = best.b
        ask, _, ask_amount = best.a
        instrument = self.instrument_of(symbol)
        return BookTop(
            self.name, instrument, bid, bid_amount, ask, ask_amount, 0, None, receive_time
        )

    def _spread(self, raw: tuple[int, _Spread, str, str], receive_time: int) -> BookTop:
        _, (bid, ask, time, bid_amount, ask_amount), _, symbol = raw
        return BookTop(
            self.name,
            self.instrument_of(symbol),
            bid,
            bid_amount,
            ask,
            ask_amount,
            0,
            seconds_ns(time),
            receive_time,
        )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise FrameError("bad_field", f"{text[:40]!r} is no number") from None
