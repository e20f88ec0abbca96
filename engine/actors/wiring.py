"""Where the parts find one another, and which markets belong to whom."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from engine.config import Config
from engine.domain.instrument import Instrument, Market
from engine.errors import ConfigError
from engine.exchanges.base import Exchange
from engine.simulator.listing import LISTINGS
from engine.store.endpoint import StoreEndpoint

SIMULATED_REST_PER_SECOND = 1000.0


@dataclass(frozen=True, slots=True)
class VenueEndpoint:
    """Where a venue is reached.

    `ws_url` and `rest_url` empty take the venue's own public ones.
    """

    ws_url: str = ""
    rest_url: str = ""
    has_rest: bool = True
    """False for a replay: a recording cannot be asked for more."""
    replayed: bool = False
    """Frames come stamped with the time they were recorded at."""
    adapter: Exchange | None = None
    """What understands a recording: an old dialect, or one that knows its contracts' sizes."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """Addresses that every actor knows, fixed for the life of the engine."""

    store: StoreEndpoint
    bus_url: str
    starts_at: int | None = None
    """First moment of a replay, UTC nanoseconds; None where the system's clock rules."""


def resolve(config: Config) -> Config:
    """Fill in what a configuration leaves to the simulator: which instruments its venues list."""
    if not config.simulator.enabled:
        return config
    exchanges = {}
    for name, venue in config.exchanges.items():
        listed = LISTINGS.get(name)
        if listed is None:
            known = ", ".join(LISTINGS)
            raise ConfigError(
                f"exchanges.{name}: the simulator speaks only {known}; "
                "remove it, or set simulator.enabled to false"
            )
        filled = {
            "instruments": venue.instruments or listed,
            # Our own servers on loopback need no mercy.
            "rest_per_second": venue.rest_per_second or SIMULATED_REST_PER_SECOND,
        }
        exchanges[name] = venue.model_copy(update=filled)
    return config.model_copy(update={"exchanges": exchanges})


def markets_of(config: Config) -> list[Market]:
    """Return every configured market, in the order of the configuration."""
    return [
        Market(exchange, instrument)
        for exchange, venue in config.exchanges.items()
        if venue.enabled
        for instrument in venue.instruments
    ]


def ranked_markets(markets: list[Market]) -> list[Market]:
    """Return the universe: for each base currency, the first market that trades it.

    Examples
    --------
    >>> ranked_markets([Market("binance", "BTC-USDT"), Market("kraken", "BTC-USD")])
    [Market(exchange='binance', instrument='BTC-USDT')]
    """
    first: dict[str, Market] = {}
    for market in markets:
        first.setdefault(Instrument.parse(market.instrument).base, market)
    return list(first.values())


def reference_market(universe: list[Market], base: str) -> Market | None:
    """Return the market that correlation and beta are measured against, if it is there."""
    for market in universe:
        if Instrument.parse(market.instrument).base == base:
            return market
    return None


def shard_of(market: Market, shards: int) -> int:
    """Return which of `shards` actors a market belongs to: stable across runs and machines."""
    return zlib.crc32(str(market).encode()) % shards


def shares(
    instruments: tuple[str, ...], shards: int, group: Callable[[str], str]
) -> list[tuple[str, ...]]:
    """Return the instruments of each connection: those of one group, dealt to `shards`.

    Examples
    --------
    >>> shares(("A-B", "C-B-PERP", "E-B"), 1, lambda name: name.rpartition("-")[2])
    [('A-B', 'E-B'), ('C-B-PERP',)]
    """
    groups: dict[str, tuple[str, ...]] = {}
    for instrument in instruments:
        key = group(instrument)
        groups[key] = (*groups.get(key, ()), instrument)
    return [share for mine in groups.values() for share in split(mine, shards)]


def split(instruments: tuple[str, ...], shards: int) -> list[tuple[str, ...]]:
    """Deal instruments to `shards` connections, round robin; never an empty hand.

    Examples
    --------
    >>> split(("A-B", "C-D", "E-F"), 2)
    [('A-B', 'E-F'), ('C-D',)]
    """
    hands = [instruments[start::shards] for start in range(shards)]
    return [hand for hand in hands if hand]
