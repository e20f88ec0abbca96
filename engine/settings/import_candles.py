"""``import_candles``."""

from __future__ import annotations

from pydantic import PositiveFloat

from engine.domain.instrument import ExchangeName
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.settings.span import SpanSection


class ImportCandlesSection(SpanSection):
    """Candles from files, or from a venue's REST, into the store."""

    path: str = ""
    """A Parquet, CSV or Feather file, a folder of them, or a pattern (``candles/*.parquet``)."""
    exchange: ExchangeName = "binance"
    """The venue that they are of."""
    instruments: tuple[str, ...] = ()
    """Only these; all that the files hold where none are given. Without `path`: what to ask the
    venue's REST for."""
    timeframe: Timeframe | None = None
    """Of the candles; told from the times between them where it is not given."""
    columns: dict[str, str] = {}
    """Our column -> the files' column, where it is not one of the usual names."""
    symbols: dict[str, str] = {}
    """The files' symbol -> our instrument, where the spelling does not tell."""
    reused_after_days: PositiveFloat = 7.0
    """A symbol that is silent for longer is taken as another instrument's from there on
    (``LUNA~2-USDT``): its ticker was used again."""
    skip_bad: bool = False
    """Import what is sound, and put the other rows into ``quarantine``; else nothing is written
    where anything is wrong."""

    def require(self) -> None:
        """Refuse an import of nothing."""
        super().require()
        if not self.path and not (self.instruments and self.begin):
            raise ConfigError(
                "path is missing: name a file with --set path=…, or ask the venue's REST with "
                "--set instruments=[BTC-USDT] --set begin=2026-01-01"
            )
