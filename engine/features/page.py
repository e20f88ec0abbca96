"""The catalogue as a page: ``python -m engine.features.page`` prints docs/features.md's table."""

from __future__ import annotations

from math import isinf

from engine.features.catalogue import FEATURES
from engine.features.feature import Feature

_HEAD = "| feature | unit | range | warm-up | inputs | what it says |\n|---|---|---|---|---|---|"


def catalogue_table() -> str:
    """Return the catalogue as a Markdown table, one line per feature, in its order."""
    return "\n".join([_HEAD, *(_line(feature) for feature in FEATURES)])


def _line(feature: Feature) -> str:
    others = "L2 book" if feature.kind == "book" else f"{feature.ranks} of the universe"
    inputs = ", ".join(feature.inputs) or others
    cells = (f"`{feature.name}`", feature.unit, _range(feature), str(feature.warm_up), inputs)
    return f"| {' | '.join(cells)} | {feature.doc} |"


def _range(feature: Feature) -> str:
    if isinf(feature.low) and isinf(feature.high):
        return "any"
    if isinf(feature.high):
        return f"≥ {feature.low:g}"
    return f"{feature.low:.4g} … {feature.high:.4g}"


if __name__ == "__main__":
    print(catalogue_table())
