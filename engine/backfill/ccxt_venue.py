"""Any other venue that ccxt knows, over its REST.

ccxt (https://docs.ccxt.com, 4.5, as known on 2026-11-21) is optional:
``pip install 'signal-engine[ccxt]'``. It names venues and symbols in its own way (``BTC/USDT``,
``BTC/USDT:USDT`` for a perpetual); rows bear its name of the venue and our names of instruments.
Ids are not taken for consecutive numbers, so whether trades are missing is known from times alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import urlsplit

from engine.clock import NS_PER_MS, Clock, iso_utc
from engine.domain.instrument import Instrument
from engine.domain.market import Candle, Trade, TradeRange
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError, VenueError
from engine.exchanges.repair import Fetched

ATTEMPTS = 5
"""Times that a request is sent before its failure is reported."""
FIRST_PAUSE_S = 1.0
ROWS_PER_PAGE = 1000
"""Asked for; a venue may give fewer."""
WINDOW_MS = 3_600_000
"""How far a page without trades reaches at least: some venues (ccxt's Binance) answer with one hour
from the moment asked for. Where nobody traded in it others may have traded behind it."""

T = TypeVar("T")


class CcxtVenue:
    """A venue behind ccxt, at the pace that ccxt keeps for it.

    Parameters
    ----------
    name
        ccxt's id of the venue, such as ``gemini``.
    clock
        Says when answers came.
    rest_url
        Endpoint instead of the venue's own; the paths stay ccxt's.
    options
        Passed to ccxt's class.

    Raises
    ------
    ConfigError
        Where ccxt is not installed, or knows no such venue.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        *,
        rest_url: str = "",
        options: Mapping[str, object] | None = None,
    ) -> None:
        self.name = name
        self._clock = clock
        self._ccxt, kind = _kind_of(name)
        self._client: Any = kind({"enableRateLimit": True, **(options or {})})
        if rest_url:
            self._client.urls["api"] = _moved(self._client.urls["api"], rest_url)
        self._latest: dict[str, frozenset[str]] = {}

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def check(self, instrument: str) -> None:
        """Refuse an instrument that the venue does not list."""
        if not self._client.markets:
            await self._ask(self._client.load_markets)
        self._market(instrument)

    def needs_ids(self, instrument: str) -> bool:
        """Trades are always asked for by time."""
        del instrument
        return False

    async def first_id(self, instrument: str, time_ns: int) -> int | None:
        """Nothing needs it."""
        del instrument, time_ns
        return None

    async def trades(self, wanted: TradeRange) -> Fetched:
        """Fetch past trades forward from the range's start.

        A venue that answers with its latest trades whatever was asked cannot fill the range; what
        it gave is returned, and said to be all it gives.
        """
        market = self._market(wanted.instrument)
        self._require("fetchTrades", "past trades")
        latest = await self._latest_ids(market)
        found: dict[str, Trade] = {}
        first = since = wanted.from_time // NS_PER_MS
        problem = ""
        while since * NS_PER_MS <= wanted.to_time and not problem:
            page = await self._page(market, wanted.instrument, since)
            if page and since == first and latest == {trade.trade_id for trade in page}:
                problem = self._too_late(page, wanted)
            found.update(
                (trade.trade_id, trade)
                for trade in page
                if wanted.from_time <= trade.exchange_time <= wanted.to_time
            )
            since = _next_since(since, page)
        trades = sorted(found.values(), key=lambda trade: (trade.exchange_time, trade.trade_id))
        return Fetched(trades, problem)

    async def candles(
        self, instrument: str, timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> list[Candle]:
        """Fetch candles that open in ``[start_ns, end_ns)``, ascending, each once."""
        market = self._market(instrument)
        self._require("fetchOHLCV", "candles")
        if timeframe.value not in (self._client.timeframes or {}):
            raise VenueError(f"ccxt has no candles of {timeframe} from {self.name}")
        found: dict[int, Candle] = {}
        since = timeframe.floor(start_ns + timeframe.ns - 1)
        while since < end_ns:
            rows = await self._ask(
                partial(
                    self._client.fetch_ohlcv,
                    market["symbol"],
                    timeframe.value,
                    since=since // NS_PER_MS,
                    limit=ROWS_PER_PAGE,
                )
            )
            now = self._clock.now_ns()
            bars = [self._candle(row, market, instrument, timeframe, now) for row in rows]
            found.update((bar.open_time, bar) for bar in bars if start_ns <= bar.open_time < end_ns)
            newest = max((bar.open_time for bar in bars), default=0)
            # An empty page is a stretch without trades, not the end of all candles.
            since = newest + timeframe.ns if newest >= since else since + 500 * timeframe.ns
        return [found[time] for time in sorted(found) if found[time].volume > 0]

    # -- one page ------------------------------------------------------------------------

    async def _page(
        self, market: Mapping[str, Any], instrument: str, since: int | None
    ) -> list[Trade]:
        rows = await self._ask(
            partial(self._client.fetch_trades, market["symbol"], since=since, limit=ROWS_PER_PAGE)
        )
        now = self._clock.now_ns()
        return [self._trade(row, market, instrument, now) for row in rows]

    async def _latest_ids(self, market: Mapping[str, Any]) -> frozenset[str]:
        """Return the ids that the venue gives where nothing is said of when."""
        symbol = market["symbol"]
        if symbol not in self._latest:
            page = await self._page(market, symbol, None)
            self._latest[symbol] = frozenset(trade.trade_id for trade in page)
        return self._latest[symbol]

    def _too_late(self, page: Sequence[Trade], wanted: TradeRange) -> str:
        first = min(trade.exchange_time for trade in page)
        if first <= wanted.from_time:
            return ""
        return (
            f"{self.name} gives only its latest trades of {wanted.instrument}, "
            f"from {iso_utc(first)} on"
        )

    def _trade(
        self, row: Mapping[str, Any], market: Mapping[str, Any], instrument: str, now: int
    ) -> Trade:
        number, side, time = row.get("id"), row.get("side"), row.get("timestamp")
        if number is None or side not in ("buy", "sell") or time is None:
            raise VenueError(
                f"{self.name} does not tell the id, side or time of its past trades, so they "
                "cannot be stored exactly once; fetch candles instead (--what candles)"
            )
        return Trade(
            self.name,
            instrument,
            str(number),
            0,
            float(row["price"]),
            float(row["amount"]) * _contract_size(market),
            side,
            int(time) * NS_PER_MS,
            now,
        )

    def _candle(
        self,
        row: Sequence[Any],
        market: Mapping[str, Any],
        instrument: str,
        timeframe: Timeframe,
        now: int,
    ) -> Candle:
        open_time = int(row[0]) * NS_PER_MS
        prices = [float(value) for value in row[1:5]]
        return Candle(
            exchange=self.name,
            instrument=instrument,
            timeframe=timeframe.value,
            open_time=open_time,
            close_time=open_time + timeframe.ns,
            open=prices[0],
            high=prices[1],
            low=prices[2],
            close=prices[3],
            volume=float(row[5] or 0.0) * _contract_size(market),
            quote_volume=None,
            trade_count=None,
            vwap=None,
            twap=None,
            taker_buy_volume=None,
            source="rest",
            is_closed=open_time + timeframe.ns <= now,
            version=now,
        )

    # -- names and requests --------------------------------------------------------------

    def _market(self, instrument: str) -> Mapping[str, Any]:
        parsed = Instrument.parse(instrument)
        for market in self._client.markets.values():
            if _is_named(market, parsed):
                found: Mapping[str, Any] = market
                return found
        raise VenueError(f"ccxt lists no {instrument} of {self.name}")

    def _require(self, ability: str, what: str) -> None:
        if not self._client.has.get(ability):
            raise VenueError(f"ccxt cannot fetch {what} from {self.name}")

    async def _ask(self, request: Callable[[], Awaitable[T]]) -> T:
        pause = FIRST_PAUSE_S
        for attempt in range(ATTEMPTS):
            try:
                return await request()
            except self._ccxt.NetworkError as error:  # also: asked too often
                if attempt + 1 == ATTEMPTS:
                    raise VenueError(f"{self.name} does not answer: {error}") from error
                await asyncio.sleep(pause)
                pause *= 2
            except self._ccxt.BaseError as error:
                raise VenueError(f"{self.name} refused a request: {error}") from error
        raise AssertionError("every attempt returns or raises")


def _next_since(since: int, page: Sequence[Trade]) -> int:
    """Return the millisecond to ask from behind a page that was asked for from `since` on."""
    newest = max((trade.exchange_time // NS_PER_MS for trade in page), default=-1)
    if newest > since:
        return newest  # its trades may be cut by the page's end: asked for once more
    return since + 1 if newest == since else since + WINDOW_MS


def _kind_of(name: str) -> tuple[Any, Callable[[dict[str, object]], Any]]:
    try:
        ccxt = import_module("ccxt.async_support")
    except ImportError:
        raise ConfigError(
            f"exchange {name!r} has no adapter here, and ccxt, which knows others, is not "
            "installed: pip install 'signal-engine[ccxt]'"
        ) from None
    if name not in ccxt.exchanges:
        raise ConfigError(f"neither an adapter here nor ccxt knows exchange {name!r}")
    return ccxt, getattr(ccxt, name)


def _is_named(market: Mapping[str, Any], wanted: Instrument) -> bool:
    """Say whether a market of ccxt is what a canonical name means."""
    if (market["base"], market["quote"]) != (wanted.base, wanted.quote):
        return False
    if wanted.expiry is not None:
        return bool(market.get("future")) and _expiry(market) == wanted.expiry
    if wanted.perpetual:
        return bool(market.get("swap")) and market.get("settle") == wanted.quote
    return bool(market.get("spot"))


def _expiry(market: Mapping[str, Any]) -> str | None:
    """Return the day of expiry, YYMMDD."""
    expiry = market.get("expiry")
    return None if expiry is None else iso_utc(int(expiry) * NS_PER_MS)[2:10].replace("-", "")


def _contract_size(market: Mapping[str, Any]) -> float:
    """Return the base currency in one unit of a market's amounts."""
    size = market.get("contractSize")
    return float(size) if market.get("contract") and size else 1.0


def _moved(addresses: Any, rest_url: str) -> Any:
    """Return ccxt's addresses with another scheme and host."""
    if isinstance(addresses, dict):
        return {key: _moved(value, rest_url) for key, value in addresses.items()}
    if not isinstance(addresses, str):
        return addresses
    return rest_url.rstrip("/") + urlsplit(addresses).path
