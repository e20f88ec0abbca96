"""The gate: whether what is stored is fit for training.

``check_quality`` measures and keeps the scores; ``export_dataset`` asks `gate` for exactly the
rows that it is about to export.
"""

from __future__ import annotations

from engine.quality.verdict import SourceQuality, Verdict
from engine.settings.check_quality import QualitySection
from engine.store.client import Store
from engine.store.quality_candles import CandleQuality
from engine.store.quality_scope import Scope
from engine.store.quality_texts import TextQuality

__all__ = ["Scope", "gate"]


def gate(store: Store, quality: QualitySection, scope: Scope) -> Verdict:
    """Measure what is stored now, and judge it. Nothing is written.

    Of texts the language is told from a sample of each source; see
    `engine.store.quality_texts.SAMPLE`.

    Parameters
    ----------
    store
        Where the rows are.
    quality
        The thresholds: the section ``quality`` of the configuration.
    scope
        Which rows.

    Raises
    ------
    StoreError
        Where the store does not answer.

    Examples
    --------
    >>> scope = Scope(start, end, now, tables=["candles"], timeframes=[Timeframe.H1])
    ... # doctest: +SKIP
    >>> gate(store, config.quality, scope).problems                        # doctest: +SKIP
    ('binance LUNA-USDT 1h: completeness 82.1 % (at least 95 %)',)
    """
    sources: list[SourceQuality] = []
    missing: list[str] = []
    if "candles" in scope.tables:
        candles = CandleQuality(store, quality, scope)
        missing += candles.missing
        for series in candles.series:
            sources += [whole for whole, _ in candles.measured(series)]
    if "texts" in scope.tables:
        texts = TextQuality(store, quality, scope)
        missing += texts.missing
        sources += [whole for whole, _ in texts.measured(texts.sampled_languages())]
    return Verdict(tuple(sources), tuple(missing))
