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
from engine.domain.market import Candle, Channel, MarketEvent, SymbolMetadata
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError

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
    """REST requests a second that stay well below the venue's limit."""


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A GET to be sent: data, so that an adapter can describe it without doing it."""

    path: str
    """Path below the venue's REST endpoint, with a leading slash."""
    params: tuple[tuple[str, str], ...] = ()
    """Query parameters in order."""


class Exchange(ABC):
    """One venue's protocol, as pure functions and a map of symbols.

    An instance is cheap and belongs to one connection: it remembers the instruments that it
    was told of by `track` (which `subscribe` and `parse_metadata` call), because a symbol such
    as ``BTCUSDT`` does not say where the base ends.

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
    ping_interval_s: ClassVar[float | None] = None
    """Seconds between application pings; None where WebSocket pings suffice."""

    def __init__(self, *, guess_symbols: bool = False) -> None:
        self._guess_symbols = guess_symbols
        self._instruments: dict[str, str] = {}

    # -- names ---------------------------------------------------------------------------

    @abstractmethod
    def symbol(self, instrument: str) -> str:
        """Return the venue's name of a canonical instrument.

        Raises
        ------
        InstrumentError
            Where `instrument` is not of the form ``BASE-QUOTE``.
        """

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

    # -- REST ----------------------------------------------------------------------------

    @abstractmethod
    def metadata_request(self) -> RestRequest:
        """Return the request for the list of symbols."""

    @abstractmethod
    def parse_metadata(self, body: bytes) -> list[SymbolMetadata]:
        """Decode the answer to `metadata_request` and track what it lists.

        Symbols that have no canonical name (other than capitals and digits) are left out.

        Raises
        ------
        VenueError
            Where the answer is an error or cannot be understood.
        """

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
