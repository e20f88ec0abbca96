"""How sound the rows of a source were on a day."""

from __future__ import annotations

from typing import Literal

import msgspec

QualityTable = Literal["candles", "texts"]


class QualityScore(msgspec.Struct, frozen=True):
    """One measure of one source over one day. Versioned by `checked_at`: the newest counts."""

    table_name: QualityTable
    source: str
    """A market and timeframe (``binance BTC-USDT 1h``), or the configured name of a text source."""
    day: int
    """Begin of the day (UTC) that was measured, nanoseconds."""
    measure: str
    """One of `engine.quality.measure`; ``score`` is the mean soundness of all of them."""
    value: float
    """A share in [0, 1]; hours for ``freshness``."""
    threshold: float | None
    """Where it passes; None for ``score``, which passes where every measure does."""
    passed: bool
    rows: int
    """Rows that it was measured over."""
    run_id: str
    """The run that measured."""
    checked_at: int
    """UTC nanoseconds."""
