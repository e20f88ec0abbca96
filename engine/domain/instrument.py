"""Instruments and markets: what is traded, and where."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, Self

from engine.errors import InstrumentError

ExchangeName = Literal["binance", "binance_perp", "coinbase", "kraken", "bybit", "okx"]
"""Venues by our name for them."""

_NAME = re.compile(r"^(?P<base>[A-Z0-9]{1,20})-(?P<quote>[A-Z0-9]{1,10})(?P<perp>-PERP)?$")


class Instrument(NamedTuple):
    """What is traded: ``BASE-QUOTE``, or ``BASE-QUOTE-PERP`` for a perpetual swap.

    Everywhere else instruments travel as their canonical text; this splits one.

    Examples
    --------
    >>> Instrument.parse("BTC-USDT").base
    'BTC'
    >>> str(Instrument("ETH", "USDT", perpetual=True))
    'ETH-USDT-PERP'
    """

    base: str
    quote: str
    perpetual: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Split a canonical name.

        Raises
        ------
        InstrumentError
            Where `text` is not ``BASE-QUOTE`` or ``BASE-QUOTE-PERP`` in capitals.
        """
        match = _NAME.match(text)
        if match is None:
            raise InstrumentError(
                f"instrument {text!r} is not of the form BASE-QUOTE or BASE-QUOTE-PERP, "
                "for example BTC-USDT"
            )
        return cls(match["base"], match["quote"], match["perp"] is not None)

    def __str__(self) -> str:
        return f"{self.base}-{self.quote}" + ("-PERP" if self.perpetual else "")


class Market(NamedTuple):
    """An instrument on one exchange: the key of every feed, candle and feature."""

    exchange: str
    instrument: str

    def __str__(self) -> str:
        return f"{self.exchange}:{self.instrument}"
