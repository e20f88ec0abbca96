"""The shapes of OKX's frames, and their decoders: samples are at `engine.exchanges.okx.Okx`.

Of trades and changes of books, as spot has them, the usual layouts too.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from engine.domain.market import BookUpdate, Trade
from engine.exchanges.layouts import usual_layout
from engine.exchanges.okx_rest import OkxRest, RawTrade
from engine.exchanges.wire import LAST_ID, Id, LevelAmount, Milliseconds, Price, Rate

T = TypeVar("T")

_Previous = Annotated[int, msgspec.Meta(ge=-1, le=LAST_ID)]


class Argument(msgspec.Struct, rename="camel", frozen=True):
    """What a frame is about."""

    channel: str = ""
    inst_id: str = ""


class Envelope(msgspec.Struct):
    """What every frame may have."""

    event: str = ""
    arg: Argument = Argument()
    code: str = ""
    msg: str = ""


class Data(msgspec.Struct, Generic[T], gc=False):
    """A frame of any channel but books; without data it is an answer or a notice."""

    data: list[T] = []


class RawLevel(msgspec.Struct, array_like=True, gc=False):
    """Price, amount; then a field out of use and the number of orders, which we leave."""

    price: Price
    amount: LevelAmount


class RawLevelText(msgspec.Struct, array_like=True, gc=False):
    """A level in the venue's own digits."""

    price: str
    amount: str


class RawBook(msgspec.Struct, rename="camel", gc=False):
    """A book, a change of it, or its best levels."""

    asks: list[RawLevel]
    bids: list[RawLevel]
    ts: Milliseconds
    checksum: int = 0
    seq_id: Id | None = None
    prev_seq_id: _Previous | None = None


class RawBookText(msgspec.Struct, gc=False):
    """A book in the venue's own digits."""

    asks: list[RawLevelText]
    bids: list[RawLevelText]


class RawBooks(msgspec.Struct, gc=False):
    """A frame of ``books`` or, without `action`, ``bbo-tbt``."""

    action: Literal["snapshot", "update"] | None = None
    data: list[RawBook] = []


class RawFunding(msgspec.Struct, rename="camel"):
    """The rate of the current interval, and when it is paid."""

    funding_rate: Rate
    funding_time: Milliseconds
    ts: Milliseconds | None = None


class RawMarkPrice(msgspec.Struct, rename="camel"):
    """A mark price."""

    mark_px: Price
    ts: Milliseconds


class RawOpenInterest(msgspec.Struct, rename="camel"):
    """Open interest in base currency."""

    oi_ccy: LevelAmount
    ts: Milliseconds


class RawIndex(msgspec.Struct, rename="camel"):
    """An index' price."""

    idx_px: Price
    ts: Milliseconds


# Numbers come as strings: strict=False reads them into floats and integers in one pass.
ENVELOPE = msgspec.json.Decoder(Envelope)
TRADES = msgspec.json.Decoder(Data[RawTrade], strict=False)
BOOKS = msgspec.json.Decoder(RawBooks, strict=False)
BOOK_TEXTS = msgspec.json.Decoder(Data[RawBookText])
FUNDING = msgspec.json.Decoder(Data[RawFunding], strict=False)
MARK_PRICES = msgspec.json.Decoder(Data[RawMarkPrice], strict=False)
OPEN_INTEREST = msgspec.json.Decoder(Data[RawOpenInterest], strict=False)
INDICES = msgspec.json.Decoder(Data[RawIndex], strict=False)

_USUAL_TRADE = (
    '{"arg":{"channel":"<:text>","instId":"<:text>"},"data":[{"instId":"<:text>",'
    '"tradeId":"<trade_id=sequence:id>","px":"<price:price>","sz":"<amount:amount>",'
    '"side":"<side:buy|sell>",'
)
usual_trade = usual_layout(
    Trade,
    _USUAL_TRADE + '"source":"<:digits>","ts":"<exchange_time:time>"}]}',
    _USUAL_TRADE + '"ts":"<exchange_time:time>","count":"<:digits>"}]}',
    _USUAL_TRADE + '"ts":"<exchange_time:time>"}]}',
    exchange=OkxRest.name,
)
"""Trades as the documentation has them, merged ones, and those recorded in 2022."""

_USUAL_BOOK = '{"arg":{"channel":"books","instId":"<:text>"},"action":"update","data":[{'
_TIME = '"ts":"<exchange_time:time>","checksum":'
_SUM = "<checksum:checksum>"
usual_book = usual_layout(
    BookUpdate,
    *(
        _USUAL_BOOK + levels + _TIME + checksum + numbers + "}]}"
        for levels, checksum in (
            ('"asks":<asks:levels+>,"bids":<bids:levels+>,', "0"),
            ('"asks":<asks=ask_texts:levels+>,"bids":<bids=bid_texts:levels+>,', _SUM),
        )
        for numbers in (
            ',"prevSeqId":<previous_sequence:id>,"seqId":<last_sequence:id>',
            ',"seqId":<last_sequence:id>,"prevSeqId":<previous_sequence:id>',
            "",
        )
    ),
    exchange=OkxRest.name,
    is_snapshot=False,
    first_sequence=None,
    last_sequence=None,
    previous_sequence=None,
)
"""Changes of books, without and with a checksum; their numbers in either order, or none (2022)."""

USUAL = {"trades-all": usual_trade, "trades": usual_trade, "books": usual_book}
"""Channel -> what puts the compiled reader ahead of its reader, where amounts are in coins."""
