"""``build_candles``."""

from __future__ import annotations

from engine.settings.span import MarketsSection


class BuildCandlesSection(MarketsSection):
    """Candles of the stored trades, of every timeframe of ``candles.timeframes``."""
