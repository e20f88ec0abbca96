"""``backfill``."""

from __future__ import annotations

from typing import Literal

from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.settings.span import SpanSection


class BackfillSection(SpanSection):
    """What is missing of the past, over REST."""

    exchange: str = ""
    """Our name of a venue, else ccxt's id of one."""
    instruments: tuple[str, ...] = ()
    """Such as ``BTC-USDT``."""
    what: Literal["trades", "candles"] = "trades"
    """What to fetch."""
    timeframe: Timeframe = Timeframe.M1
    """Of the candles."""
    rest_url: str = ""
    """Instead of the venue's own endpoint."""

    def require(self) -> None:
        """Refuse a backfill of nothing."""
        super().require()
        for name in ("exchange", "instruments", "begin"):
            if not getattr(self, name):
                raise ConfigError(
                    f"{name} is missing: backfill needs --set exchange=binance "
                    "--set instruments=[BTC-USDT] --set begin=2026-11-01"
                )
