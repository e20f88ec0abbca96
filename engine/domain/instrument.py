"""Instruments and markets: what is traded, and where."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple, Self

from engine.errors import InstrumentError

ExchangeName = Literal["binance", "binance_perp", "coinbase", "kraken", "bybit", "okx", "bitstamp"]
"""Venues by our name for them."""

_NAME = re.compile(
    r"^(?P<base>[A-Z0-9]{1,20})(?:~(?P<generation>[2-9]|[1-9][0-9]))?-(?P<quote>[A-Z0-9]{1,10})"
    r"(?:(?P<perp>-PERP)|-(?P<expiry>[0-9]{6}))?$"
)


class Instrument(NamedTuple):
    """What is traded.

    ``BASE-QUOTE``, ``BASE-QUOTE-PERP`` for a perpetual swap, or ``BASE-QUOTE-YYMMDD`` for a
    future that expires.

    A symbol that a venue delists and later lists again is another instrument, though it bears
    the old name: its `generation` is 2, written ``BASE~2-QUOTE``.

    Everywhere else instruments travel as their canonical text; this splits one.

    Examples
    --------
    >>> Instrument.parse("BTC-USDT").base
    'BTC'
    >>> str(Instrument("ETH", "USDT", perpetual=True))
    'ETH-USDT-PERP'
    >>> Instrument.parse("LUNA~2-USDT").generation
    2
    """

    base: str
    quote: str
    perpetual: bool = False
    expiry: str | None = None
    """Day of expiry, YYMMDD; None where there is none."""
    generation: int = 1
    """Counts the instruments that bore this name on their venue."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Split a canonical name.

        Raises
        ------
        InstrumentError
            Where `text` is of none of the three forms, in capitals.
        """
        match = _NAME.match(text)
        if match is None:
            raise InstrumentError(
                f"instrument {text!r} is not of the form BASE-QUOTE or BASE-QUOTE-PERP, "
                "for example BTC-USDT"
            )
        return cls(
            match["base"],
            match["quote"],
            match["perp"] is not None,
            match["expiry"],
            int(match["generation"] or 1),
        )

    @property
    def is_spot(self) -> bool:
        """Whether it is the coin itself, neither a perpetual swap nor a future with a date."""
        return not self.perpetual and self.expiry is None

    def __str__(self) -> str:
        again = f"~{self.generation}" if self.generation > 1 else ""
        tail = "-PERP" if self.perpetual else f"-{self.expiry}" if self.expiry else ""
        return f"{self.base}{again}-{self.quote}{tail}"


@lru_cache(65_536)
def first_generation(instrument: str) -> str:
    """Return the canonical name that an instrument's ticker had at its first use.

    Examples
    --------
    >>> first_generation("LUNA~2-USDT")
    'LUNA-USDT'
    """
    return str(Instrument.parse(instrument)._replace(generation=1))


class Market(NamedTuple):
    """An instrument on one exchange: the key of every feed, candle and feature."""

    exchange: str
    instrument: str

    def __str__(self) -> str:
        return f"{self.exchange}:{self.instrument}"
