"""Market events: what a frame of a venue becomes, and the candles built from them.

Times are UTC nanoseconds. `exchange_time` is the venue's clock and orders events;
`receive_time` is ours and measures freshness; the two may disagree by seconds.
Prices are in the quote currency, amounts in the base currency.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Side = Literal["buy", "sell"]
"""Aggressor (taker) side of a trade."""

Channel = Literal["trades", "book_top", "book", "perpetual"]
"""What can be subscribed to: trades, best bid and ask, the L2 book, and what only perpetuals have
(mark price, funding, open interest)."""

GapCause = Literal[
    "sequence", "disconnect", "stale", "restart", "start", "checksum", "audit", "delisting"
]
"""Why data is missing: ids skipped, the socket was down, it fell silent, we were down, we began in
the middle of an interval, a book did not match the venue's checksum, or the venue's REST knows
trades that its stream did not bring."""


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade, unique by (exchange, instrument, trade_id)."""

    exchange: str
    instrument: str
    trade_id: str
    """The venue's own id."""
    sequence: int
    """The id as a number where the venue counts its trades (consecutive per market), else 0."""
    price: float
    """Finite and above zero."""
    amount: float
    """Base currency, finite and above zero."""
    side: Side
    exchange_time: int
    receive_time: int


class BookTop(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask of a market."""

    exchange: str
    instrument: str
    bid_price: float
    bid_amount: float
    ask_price: float
    ask_amount: float
    sequence: int
    """The venue's update number, 0 where it gives none."""
    exchange_time: int | None
    """None where the venue sends none (Binance spot's bookTicker)."""
    receive_time: int


Level = tuple[float, float]
"""Price in quote currency, amount in base currency; amount 0 deletes the price."""

LevelText = tuple[str, str]
"""A level in the venue's own digits."""


class BookUpdate(msgspec.Struct, frozen=True, gc=False):
    """A snapshot of an L2 book, or a change to it.

    The three sequence numbers say how updates chain: with `previous_sequence` an update follows
    the one whose `last_sequence` that is; else with `first_sequence` it covers the numbers
    ``first..last`` and follows the one that ends at ``first - 1`` (or, after a snapshot, covers
    the number behind it); without both, updates are only ordered by their arrival, and
    `last_sequence`, where there is one, tells which of them a snapshot asked for holds already.
    """

    exchange: str
    instrument: str
    is_snapshot: bool
    """It replaces all that was known."""
    bids: list[Level]
    """In the venue's order."""
    asks: list[Level]
    first_sequence: int | None
    last_sequence: int | None
    previous_sequence: int | None
    exchange_time: int | None
    receive_time: int
    checksum: int | None = None
    """The venue's checksum of the book after this update, unsigned 32 bits."""
    bid_texts: list[LevelText] = []
    """`bids` in the venue's own digits where its checksum needs them, else empty."""
    ask_texts: list[LevelText] = []


class BookSnapshot(msgspec.Struct, frozen=True):
    """The best levels of a verified L2 book at one moment. A row of ``book_snapshots``."""

    exchange: str
    instrument: str
    bid_prices: tuple[float, ...]
    """Best first; as long as `bid_amounts`."""
    bid_amounts: tuple[float, ...]
    ask_prices: tuple[float, ...]
    ask_amounts: tuple[float, ...]
    spread_bps: float
    """(ask - bid) / mid, in hundredths of a percent."""
    imbalance: float
    """(bid amount - ask amount) / (their sum) over the levels given, -1 to 1."""
    microprice: float
    """Best prices, each weighted by the other side's amount; quote currency."""
    sequence: int
    """The venue's update number, 0 where it gives none."""
    epoch: int
    """Grows with every snapshot that this book was started anew from; in one epoch updates
    chain."""
    exchange_time: int | None
    """Of the newest update in it."""
    receive_time: int
    """Of the newest update in it."""
    as_of: int
    """The moment it was taken, UTC nanoseconds: when it became available."""


class BookDelta(msgspec.Struct, frozen=True):
    """One applied book update, kept on request. A row of ``book_deltas``."""

    exchange: str
    instrument: str
    is_snapshot: bool
    bid_prices: tuple[float, ...]
    """In the venue's order; amount 0 deletes."""
    bid_amounts: tuple[float, ...]
    ask_prices: tuple[float, ...]
    ask_amounts: tuple[float, ...]
    sequence: int
    """`BookUpdate.last_sequence`, 0 where the venue gives none."""
    epoch: int
    exchange_time: int | None
    receive_time: int


class PerpetualTick(msgspec.Struct, frozen=True, gc=False):
    """What a venue says of a perpetual swap; what one message does not tell is None.

    A row of ``perpetuals``.
    """

    exchange: str
    instrument: str
    mark_price: float | None
    """Quote currency."""
    index_price: float | None
    """Quote currency."""
    funding_rate: float | None
    """Of the current interval, as a fraction: 0.0001 is one hundredth of a percent."""
    next_funding_time: int | None
    """UTC nanoseconds."""
    open_interest: float | None
    """Base currency."""
    exchange_time: int | None
    receive_time: int


class Heartbeat(msgspec.Struct, frozen=True, gc=False):
    """The venue says that it is alive, or acknowledges: no market data."""

    exchange: str
    exchange_time: int | None
    receive_time: int


UNUSED_IDS = "the venue has no such ids"
"""`Gap.how` of a gap whose ids the venue never gave to a trade."""


class Gap(msgspec.Struct, frozen=True):
    """A stretch of a feed that we do not hold. A row of ``feed_gaps``.

    The same gap keeps its `gap_id`; a later version with `repaired_at` closes it.
    """

    gap_id: str
    exchange: str
    instrument: str
    channel: Channel
    cause: GapCause
    from_sequence: int | None
    """First missing id, where the venue counts."""
    to_sequence: int | None
    """Last missing id."""
    from_time: int
    """Last time we know to be complete before it."""
    to_time: int | None
    """First time we know to be complete after it; None while it lasts."""
    opened_at: int
    """When we noticed."""
    repaired_at: int | None = None
    how: str = ""
    """How it was repaired, in a word or two; empty while it is open."""
    problem: str = ""
    """Why it could not be repaired, in a sentence; empty where nobody tried in vain."""


MarketEvent = Trade | BookTop | BookUpdate | PerpetualTick | Heartbeat


class TradeRange(msgspec.Struct, frozen=True):
    """Trades wanted from a venue's REST: by ids where it counts them, else by time."""

    instrument: str
    from_sequence: int | None
    """First id wanted; None where the venue does not count."""
    to_sequence: int | None
    """Last id wanted."""
    from_time: int
    """Trades before this are not wanted, UTC nanoseconds."""
    to_time: int
    """Trades after this are not wanted."""
    to_end: bool = False
    """Trading ended in it: there may be no trade to show that the venue told of all before."""


CandleSource = Literal["trades", "rest", "import"]
"""Built here from trades, told by the venue's REST, or read from a file. The last two are somebody
else's candles: they hold until ours are whole."""


class Candle(msgspec.Struct, frozen=True, gc=False):
    """Prices and volumes over ``[open_time, close_time)``.

    What a venue's REST candles do not tell is None, never zero.
    """

    exchange: str
    instrument: str
    timeframe: str
    open_time: int
    close_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    """Base currency."""
    quote_volume: float | None
    """Quote currency."""
    trade_count: int | None
    vwap: float | None
    """quote_volume / volume."""
    twap: float | None
    """Mean of the last traded price over time, from the first trade on."""
    taker_buy_volume: float | None
    """Base currency bought by takers."""
    source: CandleSource
    is_closed: bool
    """False while trades of the interval may still come."""
    version: int
    """UTC nanoseconds of when it was computed; the newest version of a candle counts."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A frame that could not be used, kept for whoever wants to know why."""

    exchange: str
    kind: str
    reason: str
    frame: bytes
    """The frame itself, cut at 64 KiB."""
    frame_bytes: int
    """Its whole length."""
    receive_time: int


ListingStatus = Literal["trading", "halted", "delisted"]


class SymbolMetadata(msgspec.Struct, frozen=True):
    """What a venue says of one instrument it lists."""

    exchange: str
    instrument: str
    """Canonical name of the symbol's first generation (`engine.domain.instrument`)."""
    symbol: str
    """The venue's own name for it."""
    status: ListingStatus
    tick_size: float | None
    """Smallest price step, quote currency."""
    lot_size: float | None
    """Smallest amount step, base currency."""
    listed_at: int | None = None
    """When trading began, UTC nanoseconds; None where the venue does not tell."""
    delisted_at: int | None = None
    """When trading ends or ended; None where the venue does not tell."""
    contract_size: float = 1.0
    """Base currency in one unit of the amounts that the venue sends."""


class Listing(msgspec.Struct, frozen=True):
    """A dated entry of the instrument registry. A row of ``instruments``.

    What a venue lists under one symbol at one time. A symbol that was delisted and is listed
    again names another instrument: the next generation, ``BASE~2-QUOTE``.
    """

    exchange: str
    instrument: str
    """Canonical name, generation included."""
    symbol: str
    status: ListingStatus
    tick_size: float | None
    lot_size: float | None
    contract_size: float
    listed_at: int | None
    """When trading began: the venue's word, else None."""
    delisted_at: int | None
    """When trading ended: the venue's word, else when we first missed it; None while listed."""
    valid_from: int
    """From when on this is known, UTC nanoseconds: the version. The row with the largest
    `valid_from` not after a moment is what was known at that moment."""
