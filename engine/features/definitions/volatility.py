"""How much the price moves, and where it stands in its range."""

from __future__ import annotations

from engine.features.definitions.series import (
    BPS,
    CLOSE,
    HIGH,
    LOW,
    PRICE_UNIT,
    RETURN_BPS,
    robust_z,
    window_deviation,
    window_mean,
)
from engine.features.feature import Feature
from engine.indicators.expression import Expression, clip, log, select, sqrt, ta, ta_outputs

_UPPER, _MIDDLE, _LOWER = ta_outputs("BBANDS", CLOSE, timeperiod=20, nbdevup=2, nbdevdn=2, matype=0)
_SQUARED = RETURN_BPS * RETURN_BPS
_REALISED = {bars: sqrt(window_mean(_SQUARED, bars)) for bars in (24, 72, 168)}
_LOG_RANGE = log(HIGH / LOW) * BPS
RETURN_Z = clip(robust_z(RETURN_BPS, 96), -100.0, 100.0)


def _range_position(bars: int) -> Expression:
    lowest = ta("MIN", LOW, timeperiod=bars)
    return clip((CLOSE - lowest) / (ta("MAX", HIGH, timeperiod=bars) - lowest), 0.0, 1.0)


def _skewness(series: Expression, bars: int) -> Expression:
    """Third central moment over the cubed deviation, from the three raw moments."""
    mean, square, cube = (
        ta("SMA", power, timeperiod=bars)
        for power in (series, series * series, series * series * series)
    )
    third = cube - mean * square * 3.0 + mean * mean * mean * 2.0
    deviation = window_deviation(series, bars)
    # |skewness| of n values cannot pass sqrt(n): the clip only cuts rounding away.
    return clip(third / (deviation * deviation * deviation), -(bars**0.5), bars**0.5)


FEATURES = (
    Feature("bollinger_percent_b", "volatility", (CLOSE - _LOWER) / (_UPPER - _LOWER),
            "Place of the close between the Bollinger bands (20, 2): 0 lower, 1 upper.", "score"),
    Feature("bollinger_bandwidth", "volatility", (_UPPER - _LOWER) / _MIDDLE,
            "Width of the Bollinger bands over their middle.", "fraction", 0.0),
    Feature("atr_14", "volatility", ta("ATR", HIGH, LOW, CLOSE, timeperiod=14) * PRICE_UNIT,
            "Average true range over 14 bars (Wilder).", "price", 0.0),
    Feature("natr_14", "volatility", ta("NATR", HIGH, LOW, CLOSE, timeperiod=14),
            "Average true range in percent of the close.", "score", 0.0),
    *(
        Feature(f"realised_volatility_{bars}", "volatility", volatility,
                f"Root mean square of the log return per bar over {bars} bars.", "bps", 0.0)
        for bars, volatility in _REALISED.items()
    ),
    Feature("volatility_ratio_24_168", "volatility", _REALISED[24] / _REALISED[168],
            "Recent realised volatility over that of the longer window: above 1, it rises.",
            "score", 0.0),
    Feature("range_volatility_24", "volatility",
            sqrt(window_mean(_LOG_RANGE * _LOG_RANGE, 24) / 2.772588722239781),
            "Volatility per bar from highs and lows over 24 bars (Parkinson 1980).", "bps", 0.0),
    Feature("downside_share_72", "volatility",
            clip(window_mean(select(RETURN_BPS, 0.0, _SQUARED), 72)
                 / window_mean(_SQUARED, 72), 0.0, 1.0),
            "Share of falling bars in the realised variance of 72 bars.", "fraction", 0.0, 1.0),
    Feature("skewness_72", "volatility", _skewness(RETURN_BPS, 72),
            "Skewness of the log return over 72 bars.", "score", -(72**0.5), 72**0.5),
    Feature("largest_return_24", "volatility", ta("MAX", RETURN_BPS, timeperiod=24),
            "Largest log return of one bar in 24 bars.", "bps"),
    Feature("drawdown_168", "volatility", CLOSE / ta("MAX", HIGH, timeperiod=168) - 1.0,
            "How far the close is below the high of 168 bars.", "fraction", -1.0, 0.0),
    *(
        Feature(f"range_position_{bars}", "volatility", _range_position(bars),
                f"Place of the close in the range of {bars} bars: 0 the low, 1 the high.",
                "fraction", 0.0, 1.0)
        for bars in (24, 168)
    ),
    Feature("return_z_96", "volatility", RETURN_Z,
            "Robust z-score of the log return against 96 bars (median, quartiles).",
            "score", -100.0, 100.0),
)  # fmt: skip
