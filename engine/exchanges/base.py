"""What the engine asks of a venue: an adapter without I/O, clock or Ray.

An adapter turns instruments into subscriptions and frames into events. The stream loop
(`engine.exchanges.stream`) owns the socket, `engine.exchanges.rest.RestClient` owns HTTP;
neither knows a venue by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from engine.domain.instrument import Instrument
from engine.domain.market import (
    BookUpdate,
    Candle,
    Channel,
    LevelText,
    MarketEvent,
    SymbolMetadata,
    Trade,
    TradeRange,
)
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, VenueError
from engine.exchanges.layouts import Reader

QUOTES = ("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USD", "EUR", "GBP", "TRY", "BRL", "BTC", "ETH")
"""Quote currencies that a symbol without a separator is guessed to end in, longest first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a venue allows a client that has no account."""

    messages_per_second: float
    """Messages that we may send on one connection."""
    streams_per_connection: int
    """Instrument x channel pairs on one connection."""
    candles_per_request: int
    """Most candles in one REST answer."""
    requests_per_second: float
    """Ordinary REST requests (of weight 1) a second that stay well below the venue's limit, from
    one address."""
    connects: tuple[int, float] = (60, 60.0)
    """Connections that one address may open, and in how many seconds: half of what the venue
    allows, so that its own clock and other programs find room."""


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A GET to be sent: data, so that an adapter can describe it without doing it."""

    path: str
    """Path below the venue's REST endpoint, with a leading slash."""
    params: tuple[tuple[str, str], ...] = ()
    """Query parameters in order."""
    weight: float = 1.0
    """How much of the venue's limit it takes, in ordinary requests."""


class Exchange(ABC):
    """One venue's protocol, as pure functions and a map of symbols.

    An instance is cheap and belongs to one connection: it remembers the instruments that it
    was told of by `track` (which `subscribe` calls), because a symbol such as ``BTCUSDT`` does not
    say where the base ends.

    Parameters
    ----------
    guess_symbols
        Name instruments that nobody told us of by their spelling. For looking into
        recordings; a live stream refuses unknown symbols.
    """

    name: ClassVar[str]
    """Our name for the venue (`engine.domain.instrument.ExchangeName`)."""
    ws_url: ClassVar[str]
    """Public WebSocket endpoint."""
    rest_url: ClassVar[str]
    """Public REST endpoint, without a trailing slash."""
    limits: ClassVar[Limits]
    intervals: ClassVar[Mapping[Timeframe, str]]
    """Timeframes whose candles the venue offers -> its own name for them."""
    channels: ClassVar[frozenset[Channel]] = frozenset({"trades", "book_top"})
    """What it offers."""
    ping_interval_s: ClassVar[float | None] = None
    """Seconds between application pings; None where WebSocket pings suffice."""
    quiet_s: ClassVar[float] = 0.0
    """Silence of a healthy connection whose markets are quiet, s: where nothing but the answer to
    our ping is sure to come, half as long again as `ping_interval_s`."""
    rotate_after_s: ClassVar[float | None] = None
    """Age at which a connection is replaced, safely before the venue ends it; None where it
    never does."""
    counts_trades: ClassVar[bool] = True
    """Whether trade ids are consecutive per market, so that a skipped id is a missing trade."""
    pages_forward: ClassVar[bool] = False
    """Whether past trades are asked for from a moment on, oldest first: the first page begins
    where the range does, though no trade of before it shows that."""
    book_levels: ClassVar[int] = 0
    """Levels a side of the subscribed L2 book, beyond which levels are cut off; 0 keeps all."""
    checksum_levels: ClassVar[int] = 0
    """Levels a side that the venue's book checksum covers; 0 where it sends none."""
    poll_every_s: ClassVar[float] = 15.0
    """Seconds between two rounds of `poll_requests`."""

    def __init__(self, *, guess_symbols: bool = False) -> None:
        self._guess_symbols = guess_symbols
        self._instruments: dict[str, str] = {}
        self.contract_sizes: dict[str, float] = {}
        """Instrument -> base currency in one unit of the venue's amounts, where that is not 1.
        The owner fills it in from the metadata; a recording keeps it in its header."""
        self._routes: dict[bytes, tuple[Reader, str]] = {}
        """What frames of a stream begin with -> what reads them, their instrument; where a venue's
        frames tell it so."""

    def __getstate__(self) -> dict[str, object]:
        """Leave the routes out of a copy, which finds them anew: compiled readers stay here."""
        return {**self.__dict__, "_routes": {}}

    # -- names ---------------------------------------------------------------------------

    @abstractmethod
    def symbol(self, instrument: str) -> str:
        """Return the venue's name of a canonical instrument.

        Raises
        ------
        InstrumentError
            Where `instrument` is no canonical name, or of a kind that the venue does not trade.
        """

    def group(self, instrument: str) -> str:
        """Return which instruments can share a connection with this one: those of one group.

        Bybit has an address for spot and one for linear perpetuals, with equal symbols.
        """
        del instrument
        return ""

    def channel_group(self, channel: Channel) -> str:
        """Return which channels can share a connection with this one: those of one group.

        OKX sends single trades from another address than books and tickers.
        """
        del channel
        return ""

    @abstractmethod
    def guess_instrument(self, symbol: str) -> str | None:
        """Return the canonical name that a symbol's spelling suggests, None where it does not."""

    def track(self, instruments: Iterable[str]) -> None:
        """Remember instruments, so that their symbols in frames are known."""
        for instrument in instruments:
            self._instruments[self.symbol(instrument)] = instrument

    def instrument_of(self, symbol: str) -> str:
        """Return the canonical name of a symbol of a tracked instrument.

        Raises
        ------
        FrameError
            Kind ``unknown_symbol`` where nobody told us of it.
        """
        known = self._instruments.get(symbol)
        if known is not None:
            return known
        guessed = self.guess_instrument(symbol) if self._guess_symbols else None
        if guessed is None:
            raise FrameError(
                "unknown_symbol",
                f"{self.name} sent symbol {symbol[:40]!r}, which nobody subscribed to",
            )
        self._instruments[symbol] = guessed
        return guessed

    # -- streaming -----------------------------------------------------------------------

    def url(self, base: str, instruments: Sequence[str], channels: Sequence[Channel]) -> str:
        """Return the address to connect to, below the endpoint `base`."""
        del instruments, channels
        return base

    @abstractmethod
    def subscribe(self, instruments: Sequence[str], channels: Sequence[Channel]) -> list[str]:
        """Track `instruments` and return the messages that subscribe to them.

        What `url` already subscribes to is not among them. The caller sends at most
        ``limits.messages_per_second`` of them a second.
        """

    @abstractmethod
    def parse(self, frame: bytes, receive_time: int) -> Sequence[MarketEvent]:
        """Decode one frame.

        Parameters
        ----------
        frame
            The message as received, text in UTF-8.
        receive_time
            When it reached us, UTC nanoseconds.

        Returns
        -------
        Sequence of MarketEvent
            In the venue's order. Empty for a known message that carries nothing for us.

        Raises
        ------
        FrameError
            The frame cannot be used; nothing of it is. No other error but the next is raised,
            whatever the bytes.
        VenueError
            The venue refuses a subscription.
        """

    def ping(self) -> str | None:
        """Return the application ping to send every `ping_interval_s`, None where there is none."""
        return None

    # -- books ---------------------------------------------------------------------------

    def book_request(self, instrument: str) -> RestRequest | None:
        """Return the REST request for a book's snapshot, None where the stream sends one.

        Where it is None, `resubscribe_book` brings a new snapshot.
        """
        del instrument
        return None

    def parse_book(self, body: bytes, instrument: str, receive_time: int) -> BookUpdate:
        """Decode the answer to `book_request`.

        Raises
        ------
        VenueError
            Where the answer is an error or cannot be understood.
        """
        raise VenueError(f"{self.name} has no books over REST ({instrument}: {body[:120]!r})")

    def resubscribe_book(self, instrument: str) -> list[str]:
        """Return the messages that make the venue send a new snapshot of one book."""
        del instrument
        return []

    def checksum(self, bids: Sequence[LevelText], asks: Sequence[LevelText]) -> int:
        """Return the venue's checksum of a book, unsigned 32 bits.

        Parameters
        ----------
        bids, asks
            The best `checksum_levels` levels (or as many as there are), best first, in the
            venue's own digits.
        """
        del bids, asks
        return 0

    # -- REST ----------------------------------------------------------------------------

    @abstractmethod
    def metadata_requests(self) -> list[RestRequest]:
        """Return the requests for the lists of symbols."""

    def next_metadata_request(self, request: RestRequest, body: bytes) -> RestRequest | None:
        """Return the request for the page behind the one answered, None behind the last."""
        del request, body
        return None

    @abstractmethod
    def parse_metadata(self, body: bytes) -> list[SymbolMetadata]:
        """Decode one answer to `metadata_requests`.

        Symbols that have no canonical name (other than capitals and digits) are left out.

        Raises
        ------
        VenueError
            Where the answer is an error or cannot be understood.
        """

    def first_trade_request(self, instrument: str, time_ns: int) -> RestRequest | None:
        """Return the request that finds the first trade within an hour from a moment on.

        None where `trades_request` itself understands times. Where it is not, a range without
        `TradeRange.from_sequence` must be given the id that `parse_first_trade` finds.
        """
        del instrument, time_ns
        return None

    def parse_first_trade(self, body: bytes) -> int | None:
        """Decode the answer to `first_trade_request`: the trade's id.

        None where that hour has no trade: ask for the next one.

        Raises
        ------
        VenueError
            Where the answer is an error or cannot be understood.
        """
        raise VenueError(f"{self.name} finds trades by their time without help: {body[:120]!r}")

    def trades_request(
        self, wanted: TradeRange, page: Sequence[Trade] | None
    ) -> RestRequest | None:
        """Return the request for the next page of past trades.

        Parameters
        ----------
        wanted
            What is wanted. A page may hold more; the caller leaves it out.
        page
            The trades of the page before, None for the first.

        Returns
        -------
        RestRequest or None
            None where all of `wanted` was covered, or the venue has no more to give.
        """
        del wanted, page
        return None

    def parse_trades(self, body: bytes, instrument: str, receive_time: int) -> list[Trade]:
        """Decode the answer to `trades_request`, ascending in venue order.

        Every trade is, field by field but for `receive_time`, what the stream says of it: so it
        is stored once, whoever brings it. Where one of the two is coarser, cut the other.

        Raises
        ------
        VenueError
            Where the answer is an error or cannot be understood.
        """
        del receive_time
        raise VenueError(f"{self.name} has no past trades ({instrument}: {body[:120]!r})")

    def poll_requests(
        self, instruments: Sequence[str], channels: Sequence[Channel]
    ) -> list[RestRequest]:
        """Return requests for what the stream does not tell, sent every `poll_every_s`."""
        del instruments, channels
        return []

    def parse_poll(
        self, request: RestRequest, body: bytes, receive_time: int
    ) -> Sequence[MarketEvent]:
        """Decode the answer to one of `poll_requests`.

        Raises
        ------
        VenueError
            Where the answer is an error or cannot be understood.
        """
        del request, receive_time
        raise VenueError(f"{self.name} is not polled: {body[:120]!r}")

    @abstractmethod
    def candle_requests(
        self, instrument: str, timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> list[RestRequest]:
        """Return the requests for candles that open in ``[start_ns, end_ns)``, oldest first.

        Empty where `timeframe` is not among `intervals`: the venue has none, so build them
        from a finer one or do without.
        """

    @abstractmethod
    def parse_candles(
        self, body: bytes, instrument: str, timeframe: Timeframe, as_of: int
    ) -> list[Candle]:
        """Decode the answer to one of `candle_requests`, ascending in time.

        Intervals without trades are left out. What the venue does not tell is None.

        Parameters
        ----------
        body
            The answer.
        instrument
            Canonical name asked for.
        timeframe
            Length asked for.
        as_of
            When the answer came, UTC nanoseconds: later intervals are still open, and it
            becomes the candles' version.

        Raises
        ------
        VenueError
            Where the answer is an error or cannot be understood.
        """


def split_symbol(symbol: str) -> str | None:
    """Guess the canonical name of a symbol without a separator by known quote currencies.

    Examples
    --------
    >>> split_symbol("ETHUSDT")
    'ETH-USDT'
    >>> split_symbol("SOMETHING") is None
    True
    """
    for quote in QUOTES:
        base = symbol.removesuffix(quote)
        if base and base != symbol:
            return canonical(base, quote)
    return None


def canonical(base: str, quote: str) -> str | None:
    """Return ``BASE-QUOTE``, None where the two do not make a canonical name."""
    name = f"{base}-{quote}"
    try:
        Instrument.parse(name)
    except ValueError:
        return None
    return name


def spans(start_ns: int, end_ns: int, timeframe: Timeframe, most: int) -> list[tuple[int, int]]:
    """Cut ``[start_ns, end_ns)`` into stretches of at most `most` candles.

    Examples
    --------
    >>> spans(0, Timeframe.H1.ns * 3, Timeframe.H1, 2) == [
    ...     (0, Timeframe.H1.ns * 2), (Timeframe.H1.ns * 2, Timeframe.H1.ns * 3)]
    True
    """
    step = timeframe.ns * most
    first = timeframe.floor(start_ns + timeframe.ns - 1)
    return [(start, min(start + step, end_ns)) for start in range(first, end_ns, step)]
