"""``import_candles``."""

from __future__ import annotations

import difflib
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import PositiveFloat

from engine.domain.instrument import ExchangeName, Instrument
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError, InstrumentError
from engine.settings.section import FilePath
from engine.settings.span import SpanSection

FILE_COLUMNS = (
    "symbol", "open_time", "open", "high", "low", "close", "volume", "quote_volume", "trade_count",
    "vwap", "twap", "taker_buy_volume",
)  # fmt: skip
"""What a file may tell of a candle, by our names."""


class ImportCandlesSection(SpanSection):
    """Candles from files, or from a venue's REST, into the store."""

    path: FilePath = ""
    """A Parquet, CSV or Feather file, a folder of them, or a pattern (``candles/*.parquet``)."""
    exchange: ExchangeName = "binance"
    """The venue that they are of."""
    instruments: tuple[str, ...] = ()
    """Only these; all that the files hold where none are given. Without `path`: what to ask the
    venue's REST for."""
    timeframe: Timeframe | None = None
    """Of the candles; told from the times between them where it is not given, and
    ``ranking.timeframe`` from REST."""
    columns: dict[str, str] = {}
    """Our column -> the files' column, where it is not one of the usual names."""
    symbols: dict[str, str] = {}
    """The files' symbol -> our instrument, where the spelling does not tell."""
    naive_timezone: str = ""
    """Time zone of times that name none: ``UTC``, ``Asia/Tokyo``; empty refuses such files."""
    reused_after_days: PositiveFloat = 7.0
    """A symbol that is silent for longer is taken as another instrument's from there on
    (``LUNA~2-USDT``): its ticker was used again."""
    skip_bad: bool = False
    """Import what is sound, and put the other rows into ``quarantine``; else nothing is written
    where anything is wrong."""

    def require(self) -> None:
        """Refuse an import of nothing, and names that are none."""
        super().require()
        if not self.path and not (self.instruments and self.begin):
            raise ConfigError(
                "path is missing: name a file with --set path=…, or ask the venue's REST with "
                "--set instruments=[BTC-USDT] --set begin=2026-01-01"
            )
        for ours in self.columns:
            _check_column(ours)
        for name in (*self.instruments, *self.symbols.values()):
            try:
                Instrument.parse(name)
            except InstrumentError as error:
                raise ConfigError(str(error)) from None
        if self.naive_timezone:
            _check_zone(self.naive_timezone)


def _check_column(ours: str) -> None:
    if ours in FILE_COLUMNS:
        return
    close = difflib.get_close_matches(ours, FILE_COLUMNS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(FILE_COLUMNS)}"
    raise ConfigError(f"columns.{ours} is no column of candles; {hint}")


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"naive_timezone {name!r} is no time zone; write UTC, or one such as Asia/Tokyo"
        ) from None
