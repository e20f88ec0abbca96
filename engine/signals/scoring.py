"""Values to z-scores to contributions: the linear score, exact and bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum

from engine.domain.features import FeatureRow
from engine.domain.sentiment import SentimentAggregate
from engine.domain.signal import Contribution
from engine.signals.factors import FACTORS_BY_NAME, SENTIMENT, sentiment_value
from engine.signals.weights import Weights
from engine.signals.zscore import Z_LIMIT, robust_z

Z_SCALE = Z_LIMIT * (1 + 2.0**-44)
"""Divides weight x z. A hair above the clip, so that rounding in the sum of a hundred
contributions cannot lift a score past 1."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One market's contributions and what they lack."""

    contributions: tuple[Contribution, ...]
    score: float
    """The contributions, added from left to right."""
    missing: tuple[str, ...]
    redistributed_weight: float
    """Share of the nominal weight that was missing, in [0, 1]; 1 where nothing was there."""


def nominal_weights(weights: Weights, sentiment_share: float) -> dict[str, float]:
    """Return signed weights by factor, sentiment last; their absolute values sum to 1.

    Sentiment gets exactly `sentiment_share`, with a positive sign; the others share the rest.
    """
    rest = 1.0 - sentiment_share
    nominal = {entry.factor: entry.weight * rest for entry in weights.factors}
    nominal[SENTIMENT] = sentiment_share
    return nominal


def score_rows(
    rows: Sequence[FeatureRow],
    aggregates: Mapping[str, SentimentAggregate],
    nominal: Mapping[str, float],
) -> list[Scored]:
    """Score each row against all of them.

    A missing factor has value and z None and weight 0; its weight goes to the factors that are
    there, in proportion to theirs.

    Parameters
    ----------
    rows
        One per market.
    aggregates
        By instrument; without an entry, sentiment is missing.
    nominal
        From `nominal_weights`; its order is that of the contributions.
    """
    raw = {name: _values(name, rows, aggregates) for name in nominal}
    compared = {name: robust_z(_transformed(name, raw[name])) for name in nominal}
    return [
        _score(
            nominal,
            {name: raw[name][index] for name in nominal},
            {name: compared[name][index] for name in nominal},
        )
        for index in range(len(rows))
    ]


def _values(
    name: str, rows: Sequence[FeatureRow], aggregates: Mapping[str, SentimentAggregate]
) -> list[float | None]:
    if name == SENTIMENT:
        return [sentiment_value(aggregates.get(row.instrument)) for row in rows]
    factor = FACTORS_BY_NAME[name]
    return [factor.value(row.values) for row in rows]


def _transformed(name: str, values: Sequence[float | None]) -> list[float | None]:
    if name == SENTIMENT:
        return list(values)
    transform = FACTORS_BY_NAME[name].transform
    return [None if value is None else transform(value) for value in values]


def _score(
    nominal: Mapping[str, float],
    raw: Mapping[str, float | None],
    compared: Mapping[str, float | None],
) -> Scored:
    lost = [name for name in nominal if compared[name] is None]
    there = fsum(abs(weight) for name, weight in nominal.items() if name not in lost)
    contributions = []
    score = 0.0
    for name, weight in nominal.items():
        z = compared[name]
        if z is None:
            contributions.append(Contribution(name, None, None, 0.0, 0.0))
            continue
        used = weight / there if lost and there > 0 else weight
        part = used * z / Z_SCALE
        contributions.append(Contribution(name, raw[name], z, used, part))
        score += part
    gone = fsum(abs(nominal[name]) for name in lost)
    return Scored(
        contributions=tuple(contributions),
        score=score,
        missing=tuple(lost),
        redistributed_weight=min(1.0, gone) if there > 0 else 1.0,
    )
