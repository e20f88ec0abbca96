"""How far and how fast the price has moved."""

from __future__ import annotations

from engine.features.definitions.series import BPS, CLOSE, HIGH, LOW, RETURN_BPS, window_deviation
from engine.features.feature import Feature
from engine.indicators.expression import clip, ta, ta_outputs

RETURNS = {bars: ta("ROCP", CLOSE, timeperiod=bars) for bars in (1, 6, 24, 72, 168)}
_K, _D = ta_outputs(
    "STOCH", HIGH, LOW, CLOSE,
    fastk_period=14, slowk_period=3, slowk_matype=0, slowd_period=3, slowd_matype=0,
)  # fmt: skip

FEATURES = (
    *(
        Feature(f"return_{bars}", "momentum", change,
                f"Return over {bars} bar{'s' if bars > 1 else ''} (rate of change): momentum,"
                " or with the sign turned reversal.", "fraction", -1.0)
        for bars, change in RETURNS.items()
    ),
    Feature("return_24_risk_adjusted", "momentum",
            clip(RETURNS[24] * BPS / (window_deviation(RETURN_BPS, 24) * 24**0.5), -100.0, 100.0),
            "Return over 24 bars in standard deviations of such a return.",
            "score", -100.0, 100.0),
    Feature("rsi_7", "momentum", ta("RSI", CLOSE, timeperiod=7),
            "Relative strength index over 7 bars (Wilder).", "score", 0, 100),
    Feature("rsi_14", "momentum", ta("RSI", CLOSE, timeperiod=14),
            "Relative strength index over 14 bars (Wilder): below 30 is called oversold.",
            "score", 0, 100),
    Feature("stochastic_k", "momentum", clip(_K, 0.0, 100.0),
            "Slow stochastic %K (14, 3): place of the close in the range.", "score", 0, 100),
    Feature("stochastic_d", "momentum", clip(_D, 0.0, 100.0),
            "Slow stochastic %D: mean of 3 %K.", "score", 0, 100),
    Feature("cci_20", "momentum", ta("CCI", HIGH, LOW, CLOSE, timeperiod=20),
            "Commodity channel index over 20 bars: distance of the typical price from its mean.",
            "score"),
)  # fmt: skip
