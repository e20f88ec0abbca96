"""Every venue that the engine knows, by name. A further one is a line here."""

from __future__ import annotations

from engine.errors import VenueError
from engine.exchanges.base import Exchange
from engine.exchanges.binance import Binance
from engine.exchanges.coinbase import Coinbase
from engine.exchanges.kraken import Kraken

EXCHANGES: dict[str, type[Exchange]] = {venue.name: venue for venue in (Binance, Coinbase, Kraken)}
"""Our name of a venue -> its adapter."""


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
