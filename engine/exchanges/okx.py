"""OKX, API v5: spot and perpetual swaps.

Formats after https://www.okx.com/docs-v5/en/ (sections "Order Book Trading / Market Data", "Public
Data" and "WebSocket") as known on 2026-11-21; trades and books are checked against frames recorded
in May 2022, books down to all of their 290 checksums.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TypeVar

import msgspec

from engine.clock import NS_PER_MS
from engine.domain.instrument import Instrument
from engine.domain.market import (
    BookTop,
    BookUpdate,
    Channel,
    Heartbeat,
    Level,
    LevelText,
    MarketEvent,
    PerpetualTick,
)
from engine.errors import FrameError, VenueError
from engine.exchanges.layouts import Reader
from engine.exchanges.okx_rest import OkxRest, inverse_usd
from engine.exchanges.okx_wire import (
    BOOK_TEXTS,
    BOOKS,
    ENVELOPE,
    FUNDING,
    INDICES,
    MARK_PRICES,
    OPEN_INTEREST,
    TRADES,
    USUAL,
    RawBook,
    RawBookText,
    RawLevel,
)
from engine.exchanges.wire import (
    REFUSED,
    blame,
    check_amount,
    check_levels,
    decode,
    shorten,
)

ARGUMENTS_PER_MESSAGE = 100
"""Subscriptions in one message: well below the 64 KB that the venue reads."""

_STREAMS: dict[Channel, tuple[str, ...]] = {
    "trades": ("trades-all",),
    "book_top": ("bbo-tbt",),
    "book": ("books",),
    "perpetual": ("funding-rate", "mark-price", "open-interest"),
}
_NOT_FOR_US = frozenset({"tickers", "books5", "books-l2-tbt", "books50-l2-tbt", "books-elp"})

NO_PREVIOUS = -1
"""``prevSeqId`` of a snapshot."""

_CHANNEL_AT = b'{"arg":{"channel":"'
"""How every frame with data has begun so far; another order of keys costs a second pass."""

_NO_TEXT = RawBookText([], [])

T = TypeVar("T")

_PRICES = re.compile(r"\.px$|\[0\]$")
"""Paths of prices in trades and books, where any other number with a range is an amount."""


class Okx(OkxRest):
    """OKX: ``trades-all``, ``bbo-tbt``, ``books`` and what it says of perpetual swaps.

    **Trades.** ``trades`` on ``/ws/v5/public`` merges the fills of one taker order at one price;
    ``trades-all`` on ``/ws/v5/business`` gives each by itself, as REST does, with ids that are
    consecutive per instrument. We take the latter: only so do the stream, REST and the gap check
    agree to the trade. Hence trades need a connection of their own (`channel_group`).

    **Contracts.** Amounts of swaps come in contracts. `contract_sizes` turns those of linear swaps
    (``ctVal`` base currency each) into base currency in every event. Inverse swaps and futures
    (quoted in USD) are contracts of 100 USD for BTC and 10 USD for all else; their amounts become
    ``contracts x USD / price``. As one contract is no fixed amount of base currency,
    `SymbolMetadata` cannot describe them and `parse_metadata` leaves them out; recordings that
    hold some can be read.

    **Connections.** An address may open 3 a second, send 480 subscriptions an hour and connection,
    and must say ``ping`` when nothing came for 30 s. The venue announces a restart 60 s ahead with
    ``{"event":"notice","code":"64008"}``, which counts as a sign of life.
    """

    def __init__(self, *, guess_symbols: bool = False) -> None:
        super().__init__(guess_symbols=guess_symbols)
        self._readers: dict[str, Reader] = {
            "trades-all": self._trades,
            "trades": self._trades,
            "bbo-tbt": self._book_tops,
            "books": self._books,
            "funding-rate": self._funding,
            "mark-price": self._mark_prices,
            "open-interest": self._open_interest,
            "index-tickers": self._indices,
        }

    def track(self, instruments: Iterable[str]) -> None:
        """Remember instruments; what a symbol stood for before no longer counts."""
        super().track(instruments)
        self._routes.clear()

    # -- streaming -----------------------------------------------------------------------

    def channel_group(self, channel: Channel) -> str:
        """Return ``business`` for trades and ``public`` for all else: OKX's two addresses."""
        return "business" if channel == "trades" else "public"

    def url(self, base: str, instruments: Sequence[str], channels: Sequence[Channel]) -> str:
        """Return ``BASE/ws/v5/business`` for trades, ``BASE/ws/v5/public`` for all else.

        Raises
        ------
        VenueError
            Where `channels` need both.
        """
        del instruments
        groups = sorted({self.channel_group(channel) for channel in channels})
        if len(groups) != 1:
            raise VenueError(
                "okx sends single trades and everything else from two addresses; "
                f"{', '.join(channels) or 'no channel'} cannot be one connection: "
                "open one for each channel_group"
            )
        return f"{base.rstrip('/')}/ws/v5/{groups[0]}"

    def subscribe(self, instruments: Sequence[str], channels: Sequence[Channel]) -> list[str]:
        """Return ``subscribe`` messages, a hundred channels each."""
        self.track(instruments)
        arguments = [
            argument
            for instrument in instruments
            for channel in channels
            for argument in self._arguments(instrument, channel)
        ]
        return [
            _operation("subscribe", arguments[start : start + ARGUMENTS_PER_MESSAGE])
            for start in range(0, len(arguments), ARGUMENTS_PER_MESSAGE)
        ]

    def _arguments(self, instrument: str, channel: Channel) -> list[dict[str, str]]:
        symbol = self.symbol(instrument)
        if channel != "perpetual":
            return [{"channel": name, "instId": symbol} for name in _STREAMS[channel]]
        index = symbol.removesuffix("-SWAP")
        if index == symbol:
            return []
        return [
            *({"channel": name, "instId": symbol} for name in _STREAMS[channel]),
            {"channel": "index-tickers", "instId": index},
        ]

    def ping(self) -> str:
        """Return the application ping; it is answered with ``pong``, no JSON either."""
        return "ping"

    def parse(self, frame: bytes, receive_time: int) -> Sequence[MarketEvent]:
        """Decode one frame.

        A trade (``side`` is the taker's; ``trades-all`` has one a frame. ``trades``, in recordings,
        looks alike, with a ``count`` of merged fills and the id of the last of them)::

            {"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT",
             "tradeId":"130639474","px":"42219.9","sz":"0.12060306","side":"buy","source":"0",
             "ts":"1630048897897"}]}

        Best bid and ask (a side may be empty: no event)::

            {"arg":{"channel":"bbo-tbt","instId":"BCH-USDT-SWAP"},"data":[{"asks":[["111.06",
             "55154","0","2"]],"bids":[["111.05","57745","0","2"]],"ts":"1670324386802",
             "seqId":363996337}]}

        A book of 400 levels, then its changes every 100 ms. ``prevSeqId`` is the ``seqId`` before;
        -1 in a snapshot. After a minute without a change comes one that is empty. ``checksum`` is
        0 since 2026, which we take for none; recordings of 2022 have it, and no ``seqId``::

            {"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{
             "asks":[["8476.98","415","0","13"]],"bids":[["8476.97","0","0","0"]],
             "ts":"1597026383085","checksum":-855196043,"prevSeqId":123456,"seqId":123457}]}

        Of perpetual swaps (``fundingTime`` is when the current rate is paid; ``oiCcy`` is in base
        currency; an index bears the name of its pair)::

            {"arg":{"channel":"funding-rate","instId":"BTC-USDT-SWAP"},"data":[{"fundingRate":
             "0.0000875","fundingTime":"1700726400000","instId":"BTC-USDT-SWAP","instType":"SWAP",
             "nextFundingRate":"","nextFundingTime":"1700755200000","ts":"1700724675402"}]}
            {"arg":{"channel":"mark-price","instId":"BTC-USDT-SWAP"},"data":[{"instType":"SWAP",
             "instId":"BTC-USDT-SWAP","markPx":"42310.6","ts":"1630049139746"}]}
            {"arg":{"channel":"open-interest","instId":"BTC-USDT-SWAP"},"data":[{"instType":"SWAP",
             "instId":"BTC-USDT-SWAP","oi":"2216113.01","oiCcy":"22161.1301","oiUsd":"1939251795",
             "ts":"1743041250440"}]}
            {"arg":{"channel":"index-tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT",
             "idxPx":"42300.1","high24h":"42500","low24h":"41000","open24h":"41500",
             "sodUtc0":"41900","sodUtc8":"42000","ts":"1597026383085"}]}

        Control: ``{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},
        "connId":"a4d3ae55"}``, ``pong``, and refusals, ``{"event":"error","code":"60018","msg":
        "Wrong URL or channel:trades,instId:FOO-USDT doesn't exist","connId":"a4d3ae55"}``.
        Tickers and other depths of books are known and give no event.
        """
        route = self._routes.get(frame[: frame.find(b"}")])
        if route is not None:
            reader, instrument = route
            events = reader(frame, instrument, receive_time)
            if events:
                return events
        elif frame == b"pong":
            return (Heartbeat(self.name, None, receive_time),)
        return self._parse_slowly(frame, receive_time)

    def _parse_slowly(self, frame: bytes, receive_time: int) -> Sequence[MarketEvent]:
        """Decode the first frame of its kind, one without data, or in another order of keys."""
        envelope = decode(ENVELOPE, frame)
        channel, symbol = envelope.arg.channel, envelope.arg.inst_id
        if envelope.event == "error" or envelope.event.endswith("-error"):
            what = f" {channel} {symbol}" if channel else ""
            raise VenueError(f"okx refused{what}: {envelope.msg} (code {envelope.code})")
        if envelope.event:
            return (Heartbeat(self.name, None, receive_time),)
        reader = self._readers.get(channel)
        if reader is not None:
            # An index bears the name of a pair, and matters to us for the pair's swap.
            traded = f"{symbol}-SWAP" if channel == "index-tickers" else symbol
            instrument = self.instrument_of(traded)
            if frame.startswith(_CHANNEL_AT):
                # Amounts of contracts have yet to be turned into base currency.
                is_sized = instrument in self.contract_sizes
                in_coins = Instrument.parse(instrument).is_spot and not is_sized
                routed = USUAL[channel](reader) if in_coins and channel in USUAL else reader
                self._routes[frame[: frame.find(b"}")]] = (routed, instrument)
            return reader(frame, instrument, receive_time)
        if channel in _NOT_FOR_US:
            return ()
        raise FrameError("unknown_message", f"okx sent an unknown message: {shorten(frame)}")

    def _trades(self, frame: bytes, instrument: str, receive_time: int) -> Sequence[MarketEvent]:
        data = _priced(TRADES, frame).data
        if len(data) == 1:
            return (self.trade(data[0], instrument, receive_time),)
        return [self.trade(raw, instrument, receive_time) for raw in data]

    def _book_tops(self, frame: bytes, instrument: str, receive_time: int) -> Sequence[MarketEvent]:
        return [
            self._book_top(raw, instrument, receive_time)
            for raw in _priced(BOOKS, frame).data
            if raw.bids and raw.asks
        ]

    def _book_top(self, raw: RawBook, instrument: str, receive_time: int) -> BookTop:
        bid, ask = raw.bids[0], raw.asks[0]
        check_amount(bid.amount, "the best bid's amount")
        check_amount(ask.amount, "the best ask's amount")
        return BookTop(
            self.name,
            instrument,
            bid.price,
            self.in_base(instrument, bid.price, bid.amount),
            ask.price,
            self.in_base(instrument, ask.price, ask.amount),
            raw.seq_id or 0,
            raw.ts * NS_PER_MS,
            receive_time,
        )

    def _books(self, frame: bytes, instrument: str, receive_time: int) -> Sequence[MarketEvent]:
        decoded = _priced(BOOKS, frame)
        if decoded.data and decoded.action is None:
            raise FrameError("bad_field", f"a book without an action: {shorten(frame)}")
        is_snapshot, books = decoded.action == "snapshot", decoded.data
        texts: Sequence[RawBookText] = [_NO_TEXT] * len(books)
        # Nothing but a checksum needs the venue's digits, and no frame has one since 2026.
        if any(raw.checksum for raw in books):
            texts = decode(BOOK_TEXTS, frame).data
        return [
            self._book(raw, text, instrument, receive_time, is_snapshot=is_snapshot)
            for raw, text in zip(books, texts, strict=True)
        ]

    def _book(
        self,
        raw: RawBook,
        text: RawBookText,
        instrument: str,
        receive_time: int,
        *,
        is_snapshot: bool,
    ) -> BookUpdate:
        previous, has_sum = raw.prev_seq_id, raw.checksum != 0
        return BookUpdate(
            self.name,
            instrument,
            is_snapshot,
            self._levels(instrument, raw.bids),
            self._levels(instrument, raw.asks),
            None,
            raw.seq_id,
            None if is_snapshot or previous == NO_PREVIOUS else previous,
            raw.ts * NS_PER_MS,
            receive_time,
            raw.checksum & 0xFFFFFFFF if has_sum else None,
            [(level.price, level.amount) for level in text.bids] if has_sum else [],
            [(level.price, level.amount) for level in text.asks] if has_sum else [],
        )

    def _levels(self, instrument: str, levels: list[RawLevel]) -> list[Level]:
        size = self.contract_sizes.get(instrument)
        if size is not None:
            return [(level.price, level.amount * size) for level in levels]
        dollars = inverse_usd(instrument)
        if not dollars:
            return [(level.price, level.amount) for level in levels]
        found = [(level.price, level.amount * dollars / level.price) for level in levels]
        check_levels(found)  # a price close to zero makes any amount too large
        return found

    def _funding(self, frame: bytes, instrument: str, receive_time: int) -> list[MarketEvent]:
        return [
            self._tick(
                instrument,
                raw.ts,
                receive_time,
                funding_rate=raw.funding_rate,
                next_funding_time=raw.funding_time * NS_PER_MS,
            )
            for raw in decode(FUNDING, frame).data
        ]

    def _mark_prices(self, frame: bytes, instrument: str, receive_time: int) -> list[MarketEvent]:
        return [
            self._tick(instrument, raw.ts, receive_time, mark_price=raw.mark_px)
            for raw in decode(MARK_PRICES, frame).data
        ]

    def _open_interest(self, frame: bytes, instrument: str, receive_time: int) -> list[MarketEvent]:
        return [
            self._tick(instrument, raw.ts, receive_time, open_interest=raw.oi_ccy)
            for raw in decode(OPEN_INTEREST, frame).data
        ]

    def _indices(self, frame: bytes, instrument: str, receive_time: int) -> list[MarketEvent]:
        return [
            self._tick(instrument, raw.ts, receive_time, index_price=raw.idx_px)
            for raw in decode(INDICES, frame).data
        ]

    def _tick(
        self,
        instrument: str,
        time_ms: int | None,
        receive_time: int,
        *,
        mark_price: float | None = None,
        index_price: float | None = None,
        funding_rate: float | None = None,
        next_funding_time: int | None = None,
        open_interest: float | None = None,
    ) -> PerpetualTick:
        return PerpetualTick(
            self.name,
            instrument,
            mark_price,
            index_price,
            funding_rate,
            next_funding_time,
            open_interest,
            None if time_ms is None else time_ms * NS_PER_MS,
            receive_time,
        )

    # -- books ---------------------------------------------------------------------------

    def resubscribe_book(self, instrument: str) -> list[str]:
        """Return an ``unsubscribe`` and a ``subscribe``: the latter brings a snapshot."""
        arguments = self._arguments(instrument, "book")
        return [_operation("unsubscribe", arguments), _operation("subscribe", arguments)]

    def checksum(self, bids: Sequence[LevelText], asks: Sequence[LevelText]) -> int:
        """Return the CRC-32 of ``bid:amount:ask:amount:…``, best first, in the venue's digits.

        Where one side has fewer levels, the other's go on alone.

        Examples
        --------
        >>> okx = Okx()
        >>> okx.checksum([("3366.1", "7")], [("3366.8", "9"), ("3368", "8")]) == zlib.crc32(
        ...     b"3366.1:7:3366.8:9:3368:8")
        True
        """
        shorter = min(len(bids), len(asks))
        pairs = chain.from_iterable(zip(bids, asks, strict=False))
        levels = chain(pairs, bids[shorter:], asks[shorter:])
        return zlib.crc32(":".join(chain.from_iterable(levels)).encode())


def _priced(decoder: msgspec.json.Decoder[T], frame: bytes) -> T:
    """Decode a frame of trades or books; a number out of range is a bad price or amount."""
    try:
        return decoder.decode(frame)
    except REFUSED:
        try:
            return decode(decoder, frame)
        except FrameError as error:
            raise blame(error, _PRICES) from None


def _operation(name: str, arguments: list[dict[str, str]]) -> str:
    return json.dumps({"op": name, "args": arguments}, separators=(",", ":"))
