"""The catalogue: every feature, in the order of `FeatureRow.values`.

Both runs read it, over arrays (`engine.features.batch`) and bar by bar
(`engine.features.live`); the store makes its columns of it. docs/features.md is its table.
"""

from __future__ import annotations

from hashlib import sha256
from types import MappingProxyType
from typing import NamedTuple

from engine.features.definitions import (
    book,
    cross_section,
    market,
    momentum,
    patterns,
    trend,
    volatility,
    volume,
)
from engine.features.definitions.series import INPUTS
from engine.features.feature import Feature
from engine.features.warm_up import WARM_UP_BARS
from engine.indicators.program import Program

FEATURES: tuple[Feature, ...] = (
    trend.FEATURES
    + momentum.FEATURES
    + volatility.FEATURES
    + volume.FEATURES
    + market.FEATURES
    + patterns.FEATURES
    + book.FEATURES
    + cross_section.FEATURES
)
"""Every feature, in the order of the values of a row."""

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
"""Names, in the same order."""

FEATURE_INDEX = MappingProxyType({name: index for index, name in enumerate(FEATURE_NAMES)})
"""Where a feature is among the values of a row."""

COMPUTED: tuple[Feature, ...] = tuple(f for f in FEATURES if f.formula is not None)
"""The features with a formula: all but the book's and the ranks over the universe."""

COMPUTED_INDEX: tuple[int, ...] = tuple(FEATURE_INDEX[feature.name] for feature in COMPUTED)
"""Where each of `COMPUTED` is among the values of a row."""

FEATURE_VERSION: str = sha256(
    "\n".join([f"warm-up {WARM_UP_BARS}", *(f.definition for f in FEATURES)]).encode()
).hexdigest()[:12]
"""Names this catalogue: it changes with any name, formula, range, their order or the warm-up."""

PROGRAM = Program(INPUTS, [f.formula for f in COMPUTED if f.formula is not None])
"""The formulas of `COMPUTED`, compiled; without state, safe to share."""


class FeatureColumn(NamedTuple):
    """A column of the store."""

    name: str
    type: str
    """ClickHouse type: Float64 (NaN where missing), or Int16 for a pattern (0: none)."""
    comment: str


def feature_columns() -> list[FeatureColumn]:
    """Columns of the catalogue, in its order, for the store's table of features."""
    return [
        FeatureColumn(
            feature.name, "Int16" if feature.kind == "pattern" else "Float64", feature.doc
        )
        for feature in FEATURES
    ]
