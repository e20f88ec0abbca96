"""Where the price goes, and how straight."""

from __future__ import annotations

from engine.features.definitions.series import BPS, CLOSE, HIGH, LOW, PRICE_UNIT
from engine.features.feature import Feature
from engine.indicators.expression import Expression, absolute, clip, ta, ta_outputs

_EMA = {bars: ta("EMA", CLOSE, timeperiod=bars) for bars in (9, 21, 50, 200)}
_MACD, _SIGNAL, _HISTOGRAM = ta_outputs("MACD", CLOSE, fastperiod=12, slowperiod=26, signalperiod=9)


def _slope(bars: int) -> Expression:
    return ta("LINEARREG_SLOPE", CLOSE, timeperiod=bars)


def _signed_fit(bars: int) -> Expression:
    """R² of the line through the window, with the slope's sign.

    The variance that the line explains is slope² x the variance of 0, 1, … n-1.
    """
    slope = _slope(bars)
    explained = slope * absolute(slope) * ((bars * bars - 1) / 12.0)
    return clip(explained / ta("VAR", CLOSE, timeperiod=bars, nbdev=1), -1.0, 1.0)


FEATURES = (
    *(
        Feature(f"ema_{bars}", "trend", ema * PRICE_UNIT,
                f"Exponential moving average of the close over {bars} bars.", "price", 0.0)
        for bars, ema in _EMA.items()
    ),
    *(
        Feature(f"ema_{bars}_distance", "trend", CLOSE / ema - 1.0,
                f"How far the close is above its EMA of {bars} bars.", "fraction", -1.0)
        for bars, ema in _EMA.items()
    ),
    Feature("ema_9_21_spread", "trend", _EMA[9] / _EMA[21] - 1.0,
            "How far the fast EMA is above the slow one.", "fraction", -1.0),
    Feature("macd", "trend", _MACD * PRICE_UNIT,
            "MACD line: EMA of 12 less EMA of 26 bars.", "price"),
    Feature("macd_signal", "trend", _SIGNAL * PRICE_UNIT,
            "MACD signal: EMA of the line over 9 bars.", "price"),
    Feature("macd_histogram", "trend", _HISTOGRAM * PRICE_UNIT,
            "MACD line less its signal.", "price"),
    Feature("macd_relative", "trend", _MACD / CLOSE, "MACD line over the close.", "fraction"),
    Feature("macd_histogram_relative", "trend", _HISTOGRAM / CLOSE,
            "MACD histogram over the close.", "fraction"),
    Feature("adx_14", "trend", ta("ADX", HIGH, LOW, CLOSE, timeperiod=14),
            "Average directional index: strength of the trend, whichever way.", "score", 0, 100),
    Feature("plus_di_14", "trend", ta("PLUS_DI", HIGH, LOW, CLOSE, timeperiod=14),
            "Share of upward movement (+DI).", "score", 0, 100),
    Feature("minus_di_14", "trend", ta("MINUS_DI", HIGH, LOW, CLOSE, timeperiod=14),
            "Share of downward movement (-DI).", "score", 0, 100),
    Feature("aroon_25", "trend", ta("AROONOSC", HIGH, LOW, timeperiod=25),
            "Aroon oscillator: how fresh the high is against the low.", "score", -100, 100),
    *(
        Feature(f"trend_slope_{bars}", "trend", _slope(bars) / CLOSE * BPS,
                f"Slope of the line through {bars} closes, per bar, over the close.", "bps")
        for bars in (24, 72)
    ),
    *(
        Feature(f"trend_strength_{bars}", "trend", _signed_fit(bars),
                f"How straight {bars} closes lie on a line (R²), with the line's sign.",
                "score", -1.0, 1.0)
        for bars in (24, 72)
    ),
    Feature("efficiency_24", "trend", ta("ER", CLOSE, timeperiod=24),
            "Net move over the path walked in 24 bars (Kaufman): 1 is a straight move.",
            "score", 0.0, 1.0),
)  # fmt: skip
