"""Whose candles: files' symbols as our instruments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Protocol

from engine.domain.instrument import first_generation
from engine.errors import InstrumentError

_FILE_NAME = re.compile(
    r"^(?P<symbol>[A-Za-z0-9]+(?:[-_][A-Z]+){0,2}?)(?:[-_][0-9]+[smhdw](?:[-_][0-9-]+)?)?$"
)


class Spelling(Protocol):
    """How a venue spells instruments; its adapter in `engine.exchanges` is one."""

    def guess_instrument(self, symbol: str) -> str | None:
        """Return the canonical name that a symbol suggests."""
        ...

    def symbol(self, instrument: str) -> str:
        """Return the venue's own name; raises `InstrumentError` where it trades no such thing."""
        ...


@dataclass(slots=True)
class SymbolNames:
    """Names instruments by symbols, each looked up once.

    Parameters
    ----------
    spelling
        The venue's.
    given
        Symbol -> instrument, as the configuration says; goes before every guess.
    """

    spelling: Spelling
    given: Mapping[str, str]
    _known: dict[str, str | None] = field(default_factory=dict)

    def instrument(self, symbol: str) -> str | None:
        """Return the canonical name, first generation; None where the spelling does not tell.

        Separators and capitals do not matter where the venue's own spelling has none:
        ``btc/usdt``, ``BTC-USDT`` and ``BTCUSDT`` are the same to Binance.
        """
        if symbol not in self._known:
            self._known[symbol] = self._look_up(symbol.strip())
        return self._known[symbol]

    def of_file(self, name: str) -> str | None:
        """Return what a file's name says, with or without a timeframe and dates behind it.

        ``BTCUSDT.csv``, ``BTC-USDT.parquet``, ``BTCUSDT-1h-2023-01.csv``.
        """
        found = _FILE_NAME.match(PurePath(name).name.split(".")[0])
        return self.instrument(found["symbol"]) if found else None

    def _look_up(self, symbol: str) -> str | None:
        if symbol in self.given:
            return first_generation(self.given[symbol])
        bare = symbol.upper().replace("/", "").replace("-", "").replace("_", "").replace(" ", "")
        dashed = symbol.upper().replace("/", "-").replace("_", "-")
        for guess, spelt in (
            (self.spelling.guess_instrument, symbol),
            (self.spelling.guess_instrument, bare),
            (self.spelling.guess_instrument, bare.lower()),
            (first_generation, dashed),
        ):
            try:
                name = guess(spelt)
                if name is not None:
                    self.spelling.symbol(name)
                    return name
            except InstrumentError:
                continue
        return None
