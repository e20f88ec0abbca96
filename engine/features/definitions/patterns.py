"""Candlestick patterns: every one that TA-Lib knows.

A pattern is 100 where the bar ends a bullish one, -100 for a bearish one (200 and -200 where
the next bar confirmed it), 0 where there is none or too little history: never missing.
"""

from __future__ import annotations

from engine.features.definitions.series import CLOSE, HIGH, LOW, OPEN
from engine.features.feature import Feature
from engine.indicators.expression import ta
from engine.indicators.talib_function import CANDLESTICK_PATTERNS, display_name

FEATURES = tuple(
    Feature(
        f"pattern_{name.removeprefix('CDL').lower()}",
        "pattern",
        ta(name, OPEN, HIGH, LOW, CLOSE),
        f"Candlestick pattern {display_name(name)}: above 0 bullish, below 0 bearish, 0 none.",
        "score",
        -200.0,
        200.0,
    )
    for name in CANDLESTICK_PATTERNS
)
