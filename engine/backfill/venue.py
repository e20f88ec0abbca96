"""Where history comes from: one small contract, and our own adapters behind it."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from engine.bus.client import Bus
from engine.bus.hold import SharedHold, own_address
from engine.clock import Clock, iso_utc
from engine.domain.market import Candle, Trade, TradeRange
from engine.domain.timeframe import Timeframe
from engine.errors import VenueError
from engine.exchanges.base import Exchange
from engine.exchanges.repair import Fetched, fetch_trades
from engine.exchanges.rest import RestClient

_HOURS_AHEAD = 24 * 14
"""Hours looked through for the first trade from a moment on: a longer silence is an end."""


class Venue(Protocol):
    """A venue that can be asked for its past, at its own pace."""

    name: str
    """As rows name it."""

    async def check(self, instrument: str) -> None:
        """Refuse an instrument that the venue does not list.

        Raises
        ------
        VenueError
            Where it is not listed, or the venue does not answer.
        """
        ...

    async def trades(self, wanted: TradeRange) -> Fetched:
        """Fetch past trades, and say in words what of the range could not be had.

        Raises
        ------
        VenueError
            Where the venue does not answer, or refuses.
        """
        ...

    async def first_id(self, instrument: str, time_ns: int) -> int | None:
        """Return the id of the first trade from a moment on, where ranges must be given by id.

        None where the venue understands times, or has no such trade.
        """
        ...

    def needs_ids(self, instrument: str) -> bool:
        """Say whether trades can only be asked for by id."""
        ...

    async def candles(
        self, instrument: str, timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> list[Candle]:
        """Fetch candles that open in ``[start_ns, end_ns)``, ascending, each once.

        Raises
        ------
        VenueError
            Where the venue does not answer, or has no candles of this length.
        """
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


class OwnVenue:
    """A venue behind one of our adapters.

    Parameters
    ----------
    adapter
        The adapter.
    rest_url
        Endpoint; empty takes the venue's public one.
    clock
        Says when answers came.
    requests_per_second
        Pace; None takes what the venue allows everybody.
    bus
        Of an engine that asks the venue too: a pause that the venue asks one for is kept by both.
        It is closed with the venue.
    """

    def __init__(
        self,
        adapter: Exchange,
        rest_url: str,
        clock: Clock,
        requests_per_second: float | None = None,
        bus: Bus | None = None,
    ) -> None:
        self.name = adapter.name
        self._adapter = adapter
        self._clock = clock
        self._bus = bus
        url = rest_url or adapter.rest_url
        self._rest = RestClient(
            adapter,
            url,
            clock,
            requests_per_second=requests_per_second,
            hold=None if bus is None else SharedHold(bus, url, own_address()),
        )
        self._listed: set[str] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._rest.close()
        if self._bus is not None:
            await self._bus.close()

    async def check(self, instrument: str) -> None:
        """Refuse an instrument that the venue does not list; learn its contract's size."""
        if self._listed is None:
            metadata = await self._rest.metadata()
            self._listed = {symbol.symbol for symbol in metadata}
            for symbol in metadata:
                if symbol.contract_size != 1.0:
                    self._adapter.contract_sizes[symbol.instrument] = symbol.contract_size
        if self._adapter.symbol(instrument) not in self._listed:
            raise VenueError(f"{self.name} does not list {instrument}")
        self._adapter.track([instrument])

    async def trades(self, wanted: TradeRange) -> Fetched:
        """Fetch past trades: by ids, whose number says whether all are there, or by time."""
        if wanted.from_sequence is not None and wanted.to_sequence is not None:
            return await fetch_trades(self._adapter, self._rest.get, wanted, self._clock.now_ns)
        return await self._by_time(wanted)

    async def _by_time(self, wanted: TradeRange) -> Fetched:
        found: dict[str, Trade] = {}
        oldest: list[Trade] = []
        page: list[Trade] | None = None
        while (request := self._adapter.trades_request(wanted, page)) is not None:
            body = await self._rest.get(request)
            last, page = (
                page,
                self._adapter.parse_trades(body, wanted.instrument, self._clock.now_ns()),
            )
            if not page or page == last:
                break
            oldest.append(min(page, key=_place))
            found.update((trade.trade_id, trade) for trade in page if _is_wanted(trade, wanted))
        trades = sorted(found.values(), key=_place)
        return Fetched(trades, self._missing(wanted, oldest))

    def _missing(self, wanted: TradeRange, oldest: Sequence[Trade]) -> str:
        """Say how far back the venue went, where it did not go back all the way.

        Pages that go forward begin at the range's start, whatever is there; pages that go back,
        and a lone page of a venue that tells only its latest trades, must reach it.
        """
        goes_back = len(oldest) > 1 and _place(oldest[-1]) < _place(oldest[0])
        if not goes_back and (self._adapter.counts_trades or not oldest):
            return "" if self._adapter.counts_trades else f"{self.name} keeps no past trades"
        first = min(oldest, key=_place)
        if first.exchange_time <= wanted.from_time or first.sequence == 1:
            return ""
        return (
            f"{self.name}'s REST gives past trades of {wanted.instrument} only from "
            f"{iso_utc(first.exchange_time)} on"
        )

    def needs_ids(self, instrument: str) -> bool:
        """Say whether the adapter finds trades by id only."""
        return self._adapter.first_trade_request(instrument, 0) is not None

    async def first_id(self, instrument: str, time_ns: int) -> int | None:
        """Ask for the first trade of each hour until there is one."""
        now = self._clock.now_ns()
        for hour in range(_HOURS_AHEAD):
            moment = time_ns + hour * Timeframe.H1.ns
            request = self._adapter.first_trade_request(instrument, moment)
            if request is None or moment > now:
                return None
            found = self._adapter.parse_first_trade(await self._rest.get(request))
            if found is not None:
                return found
        return None

    async def candles(
        self, instrument: str, timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> list[Candle]:
        """Fetch candles; see `RestClient.candles`."""
        if timeframe not in self._adapter.intervals:
            raise VenueError(
                f"{self.name} has no candles of {timeframe}; it has "
                f"{', '.join(self._adapter.intervals)}"
            )
        return await self._rest.candles(instrument, timeframe, start_ns, end_ns)


def _place(trade: Trade) -> tuple[int, int, str]:
    return trade.exchange_time, trade.sequence, trade.trade_id


def _is_wanted(trade: Trade, wanted: TradeRange) -> bool:
    if wanted.to_sequence is not None and trade.sequence > wanted.to_sequence:
        return False
    return wanted.from_time <= trade.exchange_time <= wanted.to_time
