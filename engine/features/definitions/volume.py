"""How much is traded, by whom, and what it moves."""

from __future__ import annotations

from engine.features.definitions.series import (
    CLOSE,
    HIGH,
    LOW,
    RETURN_BPS,
    TAKER_BUY_VOLUME,
    TURNOVER,
    TWAP,
    TYPICAL_PRICE,
    VOLUME,
    VWAP,
    robust_z,
    window_mean,
    window_sum,
)
from engine.features.definitions.volatility import RETURN_Z
from engine.features.feature import Feature
from engine.indicators.expression import absolute, clip, log, select, sqrt, ta

# TA-Lib's MFI calls a money flow below 1 none; 2**20 keeps the flow of quiet bars above it.
_MONEY_FLOW_INDEX = ta("MFI", HIGH, LOW, CLOSE, VOLUME * 2.0**20, timeperiod=14)
_OBV = ta("OBV", CLOSE, VOLUME)
_SURPRISE = {bars: log(VOLUME / window_mean(VOLUME, bars)) for bars in (24, 168)}
_VOLUME_Z = clip(robust_z(log(VOLUME), 96), -100.0, 100.0)
# Volume of the bars whose taker volume is known, so that both sums skip the same bars.
_VOLUME_BY_TAKER = VOLUME + TAKER_BUY_VOLUME * 0.0
_PRICE_VOLUME = TYPICAL_PRICE * VOLUME

FEATURES = (
    Feature("mfi_14", "volume",
            select(ta("MAX", VOLUME, timeperiod=14), _MONEY_FLOW_INDEX, 50.0),
            "Money flow index over 14 bars: RSI weighted with volume; 50 where nothing traded.",
            "score", 0, 100),
    Feature("obv", "volume", _OBV,
            "On-balance volume since the first warm-up bar of the segment.", "amount"),
    Feature("obv_change_24", "volume",
            clip(ta("MOM", _OBV, timeperiod=24) / window_sum(VOLUME, 24), -1.0, 1.0),
            "Change of the on-balance volume over 24 bars, over the volume traded.",
            "fraction", -1.0, 1.0),
    Feature("vwap_distance", "volume", CLOSE / VWAP - 1.0,
            "How far the close is above the bar's volume-weighted price.", "fraction", -1.0),
    Feature("twap_distance", "volume", CLOSE / TWAP - 1.0,
            "How far the close is above the bar's time-weighted price.", "fraction", -1.0),
    Feature("vwap_24_distance", "volume",
            CLOSE / (window_sum(_PRICE_VOLUME, 24) / window_sum(VOLUME, 24)) - 1.0,
            "How far the close is above the volume-weighted typical price of 24 bars.",
            "fraction", -1.0),
    *(
        Feature(f"volume_surprise_{bars}", "volume", surprise,
                f"Logarithm of the bar's volume over its mean of {bars} bars; missing where"
                " nothing traded.", "score")
        for bars, surprise in _SURPRISE.items()
    ),
    Feature("volume_z_96", "volume", _VOLUME_Z,
            "Robust z-score of the log volume against the last 96 bars that traded.",
            "score", -100.0, 100.0),
    Feature("anomaly_96", "volume", sqrt(RETURN_Z * RETURN_Z + _VOLUME_Z * _VOLUME_Z),
            "How unusual the bar is: length of its (return, volume) robust z-scores.",
            "score", 0.0, 142.0),
    Feature("taker_imbalance", "volume",
            clip(TAKER_BUY_VOLUME / VOLUME * 2.0 - 1.0, -1.0, 1.0),
            "Taker buys less taker sells over the bar's volume.", "fraction", -1.0, 1.0),
    Feature("taker_imbalance_24", "volume",
            clip(window_sum(TAKER_BUY_VOLUME, 24) / window_sum(_VOLUME_BY_TAKER, 24)
                 * 2.0 - 1.0, -1.0, 1.0),
            "Taker buys less taker sells over the volume of 24 bars.", "fraction", -1.0, 1.0),
    Feature("dollar_volume_24", "volume", window_sum(TURNOVER, 24),
            "Quote currency traded in 24 bars (typical price x volume): liquidity.",
            "quote", 0.0),
    Feature("illiquidity_24", "volume",
            window_mean(absolute(RETURN_BPS) / (TURNOVER / 1e6), 24),
            "Absolute log return per million of quote currency, mean of the last 24 bars that"
            " traded (Amihud 2002).", "bps", 0.0),
    Feature("quiet_share_24", "volume", window_mean(select(VOLUME, 0.0, 1.0), 24),
            "Share of 24 bars without a trade.", "fraction", 0.0, 1.0),
)  # fmt: skip
