"""Every venue that the engine knows, by name. A further one is a line here."""

from __future__ import annotations

from engine.errors import VenueError
from engine.exchanges.base import Exchange
from engine.exchanges.binance import Binance
from engine.exchanges.binance_perp import BinancePerp
from engine.exchanges.bitstamp import Bitstamp
from engine.exchanges.bybit import Bybit
from engine.exchanges.bybit_v2 import BybitV2
from engine.exchanges.coinbase import Coinbase
from engine.exchanges.kraken import Kraken
from engine.exchanges.kraken_v1 import KrakenV1
from engine.exchanges.okx import Okx

EXCHANGES: dict[str, type[Exchange]] = {
    venue.name: venue for venue in (Binance, BinancePerp, Coinbase, Kraken, Bybit, Okx, Bitstamp)
}
"""Our name of a venue -> its adapter."""

DIALECTS: tuple[type[Exchange], ...] = (KrakenV1, BybitV2)
"""Parse-only adapters of what venues spoke in the past: for replaying old recordings."""


def exchange(name: str, *, guess_symbols: bool = False) -> Exchange:
    """Return a new adapter; each connection takes its own.

    Parameters
    ----------
    name
        Our name of the venue.
    guess_symbols
        See `Exchange`.

    Raises
    ------
    VenueError
        Where no adapter has this name.
    """
    venue = EXCHANGES.get(name)
    if venue is None:
        raise VenueError(
            f"there is no adapter for exchange {name!r}; known are {', '.join(EXCHANGES)}"
        )
    return venue(guess_symbols=guess_symbols)
