"""Frames of Binance USD-M futures, each kind read in one pass.

Formats after
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams as
known on 2026-11-21, checked against frames recorded in 2021 and 2024. Every `read_…` here is an
`engine.exchanges.layouts.Reader`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.clock import NS_PER_MS
from engine.domain.market import BookTop, BookUpdate, PerpetualTick, Trade
from engine.errors import FrameError
from engine.exchanges.binance_rest import Amount, Milliseconds, Number, Price, Remaining
from engine.exchanges.layouts import usual_layout
from engine.exchanges.wire import check_amount, check_price, milliseconds_ns

NAME = "binance_perp"

_MARKET = "MARKET"


class _Trade(msgspec.Struct, gc=False):
    t: Number
    X: str
    p: float
    q: float
    T: Milliseconds
    m: bool


class AggregateTrade(msgspec.Struct, gc=False):
    """Fills of one side at one price within 100 ms, streamed and over REST alike."""

    a: Number
    p: Price
    q: Amount
    T: Milliseconds
    m: bool


class _BookTicker(msgspec.Struct, gc=False):
    u: Number
    b: Price
    B: Amount
    a: Price
    A: Amount
    T: Milliseconds


class _Depth(msgspec.Struct, gc=False):
    T: Milliseconds
    U: Number
    u: Number
    pu: Number
    b: list[tuple[Price, Remaining]]
    a: list[tuple[Price, Remaining]]


class _MarkPrice(msgspec.Struct, gc=False):
    E: Milliseconds
    p: Price
    i: str = ""
    r: str = ""
    T: int = 0


class _TradeFrame(msgspec.Struct, gc=False):
    data: _Trade


class _AggregateTradeFrame(msgspec.Struct, gc=False):
    data: AggregateTrade


class _BookTickerFrame(msgspec.Struct, gc=False):
    data: _BookTicker


class _DepthFrame(msgspec.Struct, gc=False):
    data: _Depth


class _MarkPriceFrame(msgspec.Struct, gc=False):
    data: _MarkPrice


# Numbers come as strings ("61800.30"): strict=False reads them into floats in one pass.
_TRADE = msgspec.json.Decoder(_TradeFrame, strict=False)
_AGGREGATE_TRADE = msgspec.json.Decoder(_AggregateTradeFrame, strict=False)
_BOOK_TICKER = msgspec.json.Decoder(_BookTickerFrame, strict=False)
_DEPTH = msgspec.json.Decoder(_DepthFrame, strict=False)
_MARK_PRICE = msgspec.json.Decoder(_MarkPriceFrame, strict=False)


@usual_layout(
    Trade,
    '{"stream":"<:text>","data":{"e":"aggTrade","E":<:digits>,"a":<trade_id=sequence:id>,'
    '"s":"<:text>","p":"<price:price>","q":"<amount:amount>","f":<:digits>,"l":<:digits>,'
    '"T":<exchange_time:time>,"m":<side:true=sell|false=buy>}}',
    exchange=NAME,
)
def read_aggregate_trade(frame: bytes, instrument: str, receive_time: int) -> tuple[Trade]:
    """Decode an aggregate trade (``m``: the buyer was the maker, so a seller took).

    ::

        {"stream":"ctkusdt@aggTrade","data":{"e":"aggTrade","E":1626992741575,"a":16599292,
         "s":"CTKUSDT","p":"1.01100","q":"10","f":23961322,"l":23961322,"T":1626992741421,
         "m":false}}
    """
    raw = _AGGREGATE_TRADE.decode(frame).data
    return (trade_of(raw, instrument, receive_time),)


@usual_layout(
    Trade,
    '{"stream":"<:text>","data":{"e":"trade","E":<:digits>,"T":<exchange_time:time>,'
    '"s":"<:text>","t":<trade_id=sequence:id>,"p":"<price:price>","q":"<amount:amount>",'
    '"X":"MARKET","m":<side:true=sell|false=buy>}}',
    exchange=NAME,
)
def read_trade(frame: bytes, instrument: str, receive_time: int) -> Sequence[Trade]:
    """Decode a single trade of a recording.

    Where ``X`` is not ``MARKET`` it is one of the insurance fund (``INSURANCE_FUND``), of
    deleveraging (``ADL``), or none (``NA``), and gives no event::

        {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256322,
         "s":"BTCUSDT","t":5266583935,"p":"61800.30","q":"0.006","X":"MARKET","m":false}}
    """
    raw = _TRADE.decode(frame).data
    if raw.X != _MARKET:
        return ()
    check_price(raw.p, "the trade's price")
    check_amount(raw.q, "the trade's amount")
    return (
        Trade(
            NAME,
            instrument,
            str(raw.t),
            raw.t,
            raw.p,
            raw.q,
            "sell" if raw.m else "buy",
            raw.T * NS_PER_MS,
            receive_time,
        ),
    )


@usual_layout(
    BookTop,
    '{"stream":"<:text>","data":{"e":"bookTicker","u":<sequence:id>,"s":"<:text>",'
    '"b":"<bid_price:price>","B":"<bid_amount:amount>","a":"<ask_price:price>",'
    '"A":"<ask_amount:amount>","T":<exchange_time:time>,"E":<:digits>}}',
    exchange=NAME,
)
def read_book_top(frame: bytes, instrument: str, receive_time: int) -> tuple[BookTop]:
    """Decode the best bid and ask; ``T`` is when the book changed, ``E`` when it was sent.

    ::

        {"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5123107839020,
         "s":"BTCUSDT","b":"61800.20","B":"2.507","a":"61800.30","A":"2.510",
         "T":1723161256313,"E":1723161256313}}
    """
    raw = _BOOK_TICKER.decode(frame).data
    return (
        BookTop(
            NAME,
            instrument,
            raw.b,
            raw.B,
            raw.a,
            raw.A,
            raw.u,
            raw.T * NS_PER_MS,
            receive_time,
        ),
    )


@usual_layout(
    BookUpdate,
    '{"stream":"<:text>","data":{"e":"depthUpdate","E":<:digits>,"T":<exchange_time:time>,'
    '"s":"<:text>","U":<first_sequence:id>,"u":<last_sequence:id>,"pu":<previous_sequence:id>,'
    '"b":<bids:levels>,"a":<asks:levels>}}',
    exchange=NAME,
    is_snapshot=False,
)
def read_book(frame: bytes, instrument: str, receive_time: int) -> tuple[BookUpdate]:
    """Decode changes of a book.

    ``pu`` is the ``u`` of the message before; ``U`` only places the first one after a
    snapshot, which has ``U <= lastUpdateId <= u``::

        {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161256299,
         "T":1723161256298,"s":"BTCUSDT","U":5123107832006,"u":5123107837557,
         "pu":5123107831937,"b":[["58710.20","0.014"]],"a":[["61800.30","0.000"]]}}
    """
    raw = _DEPTH.decode(frame).data
    return (
        BookUpdate(
            NAME,
            instrument,
            False,
            raw.b,
            raw.a,
            raw.U,
            raw.u,
            raw.pu,
            raw.T * NS_PER_MS,
            receive_time,
        ),
    )


def read_mark_price(frame: bytes, instrument: str, receive_time: int) -> tuple[PerpetualTick]:
    """Decode mark price (``p``), index price (``i``), funding rate (``r``) and its time (``T``).

    A future with a date has no funding: its rate is empty and its time zero::

        {"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":1562305380000,
         "s":"BTCUSDT","p":"11794.15000000","i":"11784.62659091","P":"11784.25641265",
         "r":"0.00038167","T":1562306400000}}
    """
    raw = _MARK_PRICE.decode(frame).data
    return (
        PerpetualTick(
            exchange=NAME,
            instrument=instrument,
            mark_price=raw.p,
            index_price=_price(raw.i),
            funding_rate=_rate(raw.r),
            next_funding_time=milliseconds_ns(raw.T) if raw.T else None,
            open_interest=None,
            exchange_time=raw.E * NS_PER_MS,
            receive_time=receive_time,
        ),
    )


def trade_of(raw: AggregateTrade, instrument: str, receive_time: int) -> Trade:
    """Return the trade that an aggregate is for us: its id is the aggregate's."""
    number = raw.a
    return Trade(
        NAME,
        instrument,
        str(number),
        number,
        raw.p,
        raw.q,
        "sell" if raw.m else "buy",
        raw.T * NS_PER_MS,
        receive_time,
    )


def _price(text: str) -> float | None:
    """Return a price, None where the venue has none (empty, or zero)."""
    price = _number(text)
    if not price:
        return None
    check_price(price, "the index price")
    return price


def _rate(text: str) -> float | None:
    """Return a funding rate, None where there is none (empty)."""
    rate = _number(text)
    if rate is not None and not -1.0 < rate < 1.0:
        raise FrameError("bad_field", f"the funding rate is {text!r}, not a fraction")
    return rate


def _number(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise FrameError("bad_field", f"{text[:40]!r} is not a number") from None
