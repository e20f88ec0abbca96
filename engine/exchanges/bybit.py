"""Bybit, API v5: spot and linear perpetuals.

Formats after https://bybit-exchange.github.io/docs/v5/ws/connect, …/v5/websocket/public/trade,
…/public/orderbook and …/public/ticker as known on 2026-11-21.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec

from engine.clock import NS_PER_MS
from engine.domain.market import (
    BookTop,
    BookUpdate,
    Channel,
    Heartbeat,
    Level,
    MarketEvent,
    PerpetualTick,
    Trade,
)
from engine.errors import FrameError, VenueError
from engine.exchanges.bybit_rest import SIDES, BybitRest, TradeId
from engine.exchanges.layouts import Reader
from engine.exchanges.wire import (
    Amount,
    Id,
    LevelAmount,
    Milliseconds,
    Price,
    Rate,
    blame,
    decode,
    shorten,
)

BOOK_LEVELS = 200
_TOPICS: dict[Channel, str] = {
    "trades": "publicTrade",
    "book_top": "orderbook.1",
    "book": f"orderbook.{BOOK_LEVELS}",
    "perpetual": "tickers",
}
_NOT_FOR_US = frozenset({"kline", "liquidation", "allLiquidation", "priceLimit", "adlAlert"})

_TOPIC_AT = b'{"topic":"'
"""How every frame with data begins; another order of keys costs a second pass."""

_Empty = Literal[""]
"""What a contract before its listing has for a number."""

T = TypeVar("T")


class _Envelope(msgspec.Struct):
    topic: str = ""
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""


class _Trade(msgspec.Struct, gc=False):
    i: TradeId
    p: Price
    v: Amount
    S: Literal["Buy", "Sell"]
    T: Milliseconds


class _Trades(msgspec.Struct):
    data: list[_Trade]


class _Book(msgspec.Struct):
    b: list[tuple[Price, LevelAmount]]
    a: list[tuple[Price, LevelAmount]]
    u: Id


class _BookFrame(msgspec.Struct):
    type: Literal["snapshot", "delta"]
    ts: Milliseconds
    data: _Book
    cts: Milliseconds | None = None


class _Ticker(msgspec.Struct, rename="camel"):
    mark_price: Price | _Empty | None = None
    index_price: Price | _Empty | None = None
    funding_rate: Rate | _Empty | None = None
    next_funding_time: Milliseconds | Literal["", "0"] | None = None
    open_interest: LevelAmount | _Empty | None = None


class _TickerFrame(msgspec.Struct):
    data: _Ticker
    ts: Milliseconds


# Numbers come as strings: strict=False reads them into floats in one pass.
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_TRADES = msgspec.json.Decoder(_Trades, strict=False)
_BOOKS = msgspec.json.Decoder(_BookFrame, strict=False)
_TICKERS = msgspec.json.Decoder(_TickerFrame, strict=False)

_NOTHING = (None,) * 5

_PRICES = re.compile(r"\.p$|\[0\]$")
"""Paths of prices in trades and books, where any other number with a range is an amount."""


@dataclass(slots=True)
class _Top:
    """Best bid and ask as of the last frame: a change tells only the side that changed."""

    bid: Level | None = None
    ask: Level | None = None


class Bybit(BybitRest):
    """Bybit: ``publicTrade``, ``orderbook.1``, ``orderbook.200`` and linear ``tickers``.

    **Two addresses.** Spot and linear perpetuals have an address each, and equal symbols on both
    (``BTCUSDT``): `group` keeps them on connections of their own.

    **Trades.** Ids are UUIDs (linear) or numbers shared by all markets (spot): no id tells whether
    one is missing. REST has only the latest 60 trades of a spot market and 1,000 of a linear one.
    Block trades (``BT``) and those against retail price improvement orders (``RPI``) are trades
    like any other, on the stream and over REST.

    **Books.** Update numbers (``u``) of one depth count by one. 1 is a snapshot whatever it says:
    the service was restarted. Amounts are in base currency everywhere.

    **Connections.** An address may open 500 in five minutes; we say ``ping`` every 20 s, as asked.
    """

    channels = frozenset({"trades", "book_top", "book", "perpetual"})
    ping_interval_s = 20.0
    quiet_s = 1.5 * ping_interval_s
    counts_trades = False
    book_levels = BOOK_LEVELS

    def __init__(self, *, guess_symbols: bool = False) -> None:
        super().__init__(guess_symbols=guess_symbols)
        self._tops: dict[str, _Top] = {}
        self._readers: dict[str, Reader] = {
            "publicTrade": self._trades,
            "orderbook": self._books,
            "tickers": self._tickers,
        }

    def track(self, instruments: Iterable[str]) -> None:
        """Remember instruments; what a symbol stood for before no longer counts."""
        super().track(instruments)
        self._routes.clear()

    # -- streaming -----------------------------------------------------------------------

    def url(self, base: str, instruments: Sequence[str], channels: Sequence[Channel]) -> str:
        """Return ``BASE/v5/public/spot`` or ``BASE/v5/public/linear``.

        Raises
        ------
        VenueError
            Where `instruments` need both.
        """
        del channels
        return f"{base.rstrip('/')}/v5/public/{self._category(instruments)}"

    def _category(self, instruments: Sequence[str]) -> str:
        categories = {self.group(instrument) for instrument in instruments}
        if len(categories) != 1:
            raise VenueError(
                "bybit streams spot and perpetuals from two addresses with equal symbols; "
                f"{', '.join(instruments[:5]) or 'no instrument'} cannot be one connection: "
                "open one for each group"
            )
        return categories.pop()

    def subscribe(self, instruments: Sequence[str], channels: Sequence[Channel]) -> list[str]:
        """Return a ``subscribe`` message for each instrument.

        One topic that does not exist makes the venue refuse its whole message: so a symbol that
        was delisted takes no other with it. Of spot it reads ten topics a message at most.
        """
        category = self._category(instruments)
        self.track(instruments)
        told = [channel for channel in channels if channel != "perpetual" or category == "linear"]
        if not told:
            return []
        return [
            _operation(
                "subscribe", [f"{_TOPICS[channel]}.{self.symbol(instrument)}" for channel in told]
            )
            for instrument in instruments
        ]

    def resubscribe_book(self, instrument: str) -> list[str]:
        """Return an ``unsubscribe`` and a ``subscribe``: the latter brings a snapshot."""
        topics = [f"{_TOPICS['book']}.{self.symbol(instrument)}"]
        return [_operation("unsubscribe", topics), _operation("subscribe", topics)]

    def ping(self) -> str:
        """Return the application ping."""
        return '{"op":"ping"}'

    def parse(self, frame: bytes, receive_time: int) -> Sequence[MarketEvent]:
        """Decode one frame.

        Trades, up to 1,024 (``S`` is the taker's side)::

            {"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{
             "T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick",
             "i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"seq":1783284617}]}

        Books: a snapshot, then deltas (amount 0 deletes). ``orderbook.1``, the best bid and ask,
        has snapshots only, again after three seconds without a change; older recordings have
        deltas of it too. ``cts`` is the matching engine's clock, as in trades::

            {"topic":"orderbook.200.BTCUSDT","type":"delta","ts":1687940967466,"data":{
             "s":"BTCUSDT","b":[["30247.20","30.028"],["30245.40","0"]],"a":[],"u":177400507,
             "seq":66544703342},"cts":1687940967464}

        Tickers of linear contracts: a snapshot, then what changed. What is empty, or not said,
        becomes None; a frame that changes nothing of ours gives no event::

            {"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT",
             "markPrice":"17217.33","indexPrice":"17227.36","openInterest":"68744.761",
             "nextFundingTime":"1673280000000","fundingRate":"-0.000212"},"cs":24987956059,
             "ts":1673272861686}

        Control: ``{"success":true,"ret_msg":"pong","conn_id":"465772b1","req_id":"",
        "op":"ping"}``, ``{"success":true,"ret_msg":"","conn_id":"2324d924","op":"subscribe"}``, and
        refusals, ``{"success":false,"ret_msg":"error:handler not found,topic:publicTrade.FOO",
        "conn_id":"2324d924","req_id":"","op":"subscribe"}``.
        """
        route = self._routes.get(frame[: frame.find(b",")])
        if route is not None:
            reader, instrument = route
            return reader(frame, instrument, receive_time)
        envelope = decode(_ENVELOPE, frame)
        kind, _, rest = envelope.topic.partition(".")
        known = self._reader(kind, rest)
        if known is not None:
            instrument = self.instrument_of(rest.rpartition(".")[2])
            if frame.startswith(_TOPIC_AT):
                self._routes[frame[: frame.find(b",")]] = (known, instrument)
            return known(frame, instrument, receive_time)
        if kind in _NOT_FOR_US:
            return ()
        if envelope.success is False:
            raise VenueError(f"bybit refused a message: {envelope.ret_msg}")
        if envelope.op and not kind:
            return (Heartbeat(self.name, None, receive_time),)
        raise FrameError("unknown_message", f"bybit sent an unknown message: {shorten(frame)}")

    def _reader(self, kind: str, rest: str) -> Reader | None:
        """Return what reads a topic's frames, given its first word and what follows it."""
        if kind == "orderbook" and rest.startswith("1."):
            return self._book_tops
        return self._readers.get(kind)

    def _trades(self, frame: bytes, instrument: str, receive_time: int) -> Sequence[MarketEvent]:
        data = _priced(_TRADES, frame).data
        if len(data) == 1:
            return (_trade(data[0], instrument, receive_time),)
        return [_trade(raw, instrument, receive_time) for raw in data]

    def _books(self, frame: bytes, instrument: str, receive_time: int) -> Sequence[MarketEvent]:
        decoded = _priced(_BOOKS, frame)
        raw = decoded.data
        return (
            BookUpdate(
                self.name,
                instrument,
                decoded.type == "snapshot" or raw.u == 1,
                raw.b,
                raw.a,
                raw.u,
                raw.u,
                None,
                (decoded.cts or decoded.ts) * NS_PER_MS,
                receive_time,
            ),
        )

    def _book_tops(self, frame: bytes, instrument: str, receive_time: int) -> Sequence[MarketEvent]:
        decoded = _priced(_BOOKS, frame)
        raw = decoded.data
        known = self._tops.get(instrument)
        if known is None or decoded.type == "snapshot" or raw.u == 1:
            known = self._tops[instrument] = _Top()
        known.bid = _best(known.bid, raw.b)
        known.ask = _best(known.ask, raw.a)
        if known.bid is None or known.ask is None:
            return ()  # one side is empty, or was not told since we came
        time = (decoded.cts or decoded.ts) * NS_PER_MS
        return (BookTop(self.name, instrument, *known.bid, *known.ask, raw.u, time, receive_time),)

    def _tickers(self, frame: bytes, instrument: str, receive_time: int) -> Sequence[MarketEvent]:
        decoded = decode(_TICKERS, frame)
        raw = decoded.data
        next_time = raw.next_funding_time
        told = (
            _told(raw.mark_price),
            _told(raw.index_price),
            _told(raw.funding_rate),
            next_time * NS_PER_MS if isinstance(next_time, int) else None,
            _told(raw.open_interest),
        )
        if told == _NOTHING:
            return ()
        time = decoded.ts * NS_PER_MS
        return (PerpetualTick(self.name, instrument, *told, time, receive_time),)


def _trade(raw: _Trade, instrument: str, receive_time: int) -> Trade:
    return Trade(
        Bybit.name,
        instrument,
        raw.i,
        0,
        raw.p,
        raw.v,
        SIDES[raw.S],
        raw.T * NS_PER_MS,
        receive_time,
    )


def _told(number: float | _Empty | None) -> float | None:
    return None if number == "" else number


def _priced(decoder: msgspec.json.Decoder[T], frame: bytes) -> T:
    """Decode a frame of trades or books; a number out of range is a bad price or amount."""
    try:
        return decode(decoder, frame)
    except FrameError as error:
        raise blame(error, _PRICES) from None


def _best(known: Level | None, changes: Sequence[Level]) -> Level | None:
    """Return the best level of one side after changes to a book that has one level a side."""
    for level in changes:
        if level[1]:
            return level
    return None if any(known is not None and level[0] == known[0] for level in changes) else known


def _operation(name: str, topics: Sequence[str]) -> str:
    return json.dumps({"op": name, "args": topics}, separators=(",", ":"))
