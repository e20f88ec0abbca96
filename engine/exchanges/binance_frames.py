"""Frames of Binance spot, each kind read in one pass.

Formats after https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams as known
on 2026-11-21, checked against frames recorded in 2021 and 2024. Every `read_…` here is an
`engine.exchanges.layouts.Reader`.
"""

from __future__ import annotations

import msgspec

from engine.clock import NS_PER_MS
from engine.domain.market import BookTop, BookUpdate, Trade
from engine.errors import FrameError
from engine.exchanges.binance_rest import Amount, Milliseconds, Number, Price, Remaining
from engine.exchanges.layouts import usual_layout

NAME = "binance"


class _Trade(msgspec.Struct, gc=False):
    t: Number
    p: Price
    q: Amount
    T: Milliseconds
    m: bool
    X: str = ""


class _BookTicker(msgspec.Struct, gc=False):
    u: Number
    b: Price
    B: Amount
    a: Price
    A: Amount
    e: str = ""


class _Depth(msgspec.Struct, gc=False):
    E: Milliseconds
    U: Number
    u: Number
    b: list[tuple[Price, Remaining]]
    a: list[tuple[Price, Remaining]]
    pu: int | None = None


class _TradeFrame(msgspec.Struct, gc=False):
    data: _Trade


class _BookTickerFrame(msgspec.Struct, gc=False):
    data: _BookTicker


class _DepthFrame(msgspec.Struct, gc=False):
    data: _Depth


# Numbers come as strings ("61837.63000000"): strict=False reads them into floats in one pass.
_TRADE = msgspec.json.Decoder(_TradeFrame, strict=False)
_BOOK_TICKER = msgspec.json.Decoder(_BookTickerFrame, strict=False)
_DEPTH = msgspec.json.Decoder(_DepthFrame, strict=False)


@usual_layout(
    Trade,
    '{"stream":"<:text>","data":{"e":"trade","E":<:digits>,"s":"<:text>",'
    '"t":<trade_id=sequence:id>,"p":"<price:price>","q":"<amount:amount>","T":<exchange_time:time>,'
    '"m":<side:true=sell|false=buy>,"M":<:true|false>}}',
    exchange=NAME,
)
def read_trade(frame: bytes, instrument: str, receive_time: int) -> tuple[Trade]:
    """Decode a trade (``m``: the buyer was the maker, so the seller was the aggressor).

    ::

        {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT",
         "t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,
         "M":true}}
    """
    raw = _TRADE.decode(frame).data
    if raw.X:
        raise FrameError("unknown_message", "a trade of Binance futures, not of spot")
    number = raw.t
    return (
        Trade(
            NAME,
            instrument,
            str(number),
            number,
            raw.p,
            raw.q,
            "sell" if raw.m else "buy",
            raw.T * NS_PER_MS,
            receive_time,
        ),
    )


@usual_layout(
    BookTop,
    '{"stream":"<:text>","data":{"u":<sequence:id>,"s":"<:text>","b":"<bid_price:price>",'
    '"B":"<bid_amount:amount>","a":"<ask_price:price>","A":"<ask_amount:amount>"}}',
    exchange=NAME,
    exchange_time=None,
)
def read_book_top(frame: bytes, instrument: str, receive_time: int) -> tuple[BookTop]:
    """Decode the best bid and ask, which have no time.

    ::

        {"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT",
         "b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}}
    """
    raw = _BOOK_TICKER.decode(frame).data
    if raw.e:
        raise FrameError("unknown_message", "a book ticker of Binance futures, not of spot")
    return (BookTop(NAME, instrument, raw.b, raw.B, raw.a, raw.A, raw.u, None, receive_time),)


@usual_layout(
    BookUpdate,
    '{"stream":"<:text>","data":{"e":"depthUpdate","E":<exchange_time:time>,"s":"<:text>",'
    '"U":<first_sequence:id>,"u":<last_sequence:id>,"b":<bids:levels>,"a":<asks:levels>}}',
    exchange=NAME,
    is_snapshot=False,
    previous_sequence=None,
)
def read_book(frame: bytes, instrument: str, receive_time: int) -> tuple[BookUpdate]:
    """Decode changes of a book.

    They cover the update numbers ``U`` to ``u`` and follow the message that ended at
    ``U - 1``::

        {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,
         "s":"BTCUSDT","U":50093239189,"u":50093239202,
         "b":[["61737.63000000","0.00000000"]],"a":[["61837.64000000","1.54698000"]]}}
    """
    raw = _DEPTH.decode(frame).data
    if raw.pu is not None:
        raise FrameError("unknown_message", "a book of Binance futures, not of spot")
    return (
        BookUpdate(
            NAME,
            instrument,
            False,
            raw.b,
            raw.a,
            raw.U,
            raw.u,
            None,
            raw.E * NS_PER_MS,
            receive_time,
        ),
    )
