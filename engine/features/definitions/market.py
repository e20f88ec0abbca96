"""How the price moves with the reference (Bitcoin).

The reference market is its own reference: its correlation and beta are 1 wherever it moves.
"""

from __future__ import annotations

from engine.features.definitions.momentum import RETURNS
from engine.features.definitions.series import (
    REFERENCE_CLOSE,
    REFERENCE_RETURN_BPS,
    RETURN_BPS,
    window_deviation,
)
from engine.features.feature import Feature
from engine.indicators.expression import Expression, clip, ta

# Both series without the bars where either is missing: every window counts the same bars.
_OWN = RETURN_BPS + REFERENCE_RETURN_BPS * 0.0
_REFERENCE = REFERENCE_RETURN_BPS + RETURN_BPS * 0.0


def _relative_deviation(bars: int) -> Expression:
    return window_deviation(_OWN, bars) / window_deviation(_REFERENCE, bars)


def _correlation(bars: int) -> Expression:
    """Pearson correlation; missing where either does not move."""
    ratio = _relative_deviation(bars)
    both_move = ratio / ratio  # 1, or missing where a deviation is 0
    raw = ta("CORREL", _OWN, _REFERENCE, timeperiod=bars)
    return clip(raw, -1.0, 1.0) * both_move


def _beta(bars: int) -> Expression:
    """Slope of the regression on the reference: correlation x relative deviation."""
    return _correlation(bars) * _relative_deviation(bars)


_REFERENCE_RETURN_24 = ta("ROCP", REFERENCE_CLOSE, timeperiod=24)

FEATURES = (
    *(
        Feature(f"correlation_btc_{bars}", "market", _correlation(bars),
                f"Correlation of log returns with Bitcoin's over {bars} bars; missing where"
                " either does not move.", "score", -1.0, 1.0)
        for bars in (72, 168)
    ),
    *(
        Feature(f"beta_btc_{bars}", "market", _beta(bars),
                f"Move per move of Bitcoin over {bars} bars (regression slope of log returns).",
                "score")
        for bars in (72, 168)
    ),
    Feature("excess_return_24", "market", RETURNS[24] - _REFERENCE_RETURN_24,
            "Return over 24 bars less Bitcoin's.", "fraction"),
    Feature("residual_return_24", "market", RETURNS[24] - _beta(168) * _REFERENCE_RETURN_24,
            "Return over 24 bars less what the beta of 168 bars explains.", "fraction"),
)  # fmt: skip
