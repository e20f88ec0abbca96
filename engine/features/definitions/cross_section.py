"""Ranks over the universe at one bar time: 0 the lowest, 1 the highest."""

from __future__ import annotations

from engine.features.feature import Feature

_RANKED = (
    "return_1",
    "return_24",
    "return_168",
    "realised_volatility_168",
    "volume_surprise_24",
    "dollar_volume_24",
)

FEATURES = tuple(
    Feature(
        f"rank_{name}",
        "cross_section",
        None,
        f"Rank of {name} over the universe, ties averaged: 0 the lowest, 1 the highest.",
        "rank",
        0.0,
        1.0,
        ranks=name,
    )
    for name in _RANKED
)
