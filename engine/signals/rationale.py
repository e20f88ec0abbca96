"""A signal in plain words: three to six lines."""

from __future__ import annotations

from collections.abc import Sequence

from engine.domain.sentiment import SentimentAggregate
from engine.domain.signal import Confidence, Contribution, Coverage, Direction
from engine.domain.timeframe import Timeframe
from engine.signals.factors import FACTORS_BY_NAME, SENTIMENT, Form

WORTH_TELLING = 0.0005
"""A smaller contribution would be written as 0.000."""

SHOWN = 2
"""Contributions named on each side."""

STALE_BARS_SHARE = 0.5
"""Data older than this share of a bar (and a minute) is worth a caveat."""


def rationale(
    *,
    rank: int,
    ranked: int,
    score: float,
    direction: Direction,
    horizon: str,
    confidence: float,
    parts: Confidence,
    contributions: Sequence[Contribution],
    aggregate: SentimentAggregate | None,
    window: str,
    coverage: Coverage,
    data_age_ms: int,
    timeframe: Timeframe,
) -> tuple[str, ...]:
    """Explain a signal: verdict, what is for it, what is against it, sentiment, caveats."""
    weakest = min(parts.__struct_fields__, key=lambda name: getattr(parts, name))
    lines = [
        f"Rank {rank} of {ranked}, {direction} over the next {horizon} with a score of "
        f"{score:+.3f}; confidence {confidence:.0%}, held back most by {weakest}."
    ]
    for opening, sign in (("Lifted by", 1), ("Held down by", -1)):
        told = _strongest(contributions, sign, timeframe)
        lines.append(f"{opening} {told}." if told else f"{opening} nothing.")
    lines.append(_sentiment(aggregate, window, contributions))
    caveats = _caveats(coverage, data_age_ms, timeframe)
    if caveats:
        lines.append("Mind: " + "; ".join(caveats) + ".")
    return tuple(lines)


def _strongest(contributions: Sequence[Contribution], sign: int, timeframe: Timeframe) -> str:
    pulling = [part for part in contributions if part.contribution * sign >= WORTH_TELLING]
    pulling.sort(key=lambda part: -abs(part.contribution))
    return "; ".join(_told(part, timeframe) for part in pulling[:SHOWN])


def _told(part: Contribution, timeframe: Timeframe) -> str:
    value, z = part.value or 0.0, part.z or 0.0
    side = "above" if z > 0 else "below"
    if part.factor == SENTIMENT:
        phrase = f"{'warmer' if z > 0 else 'cooler'} texts than most"
        shown = f"{value:+.2f}"
    else:
        factor = FACTORS_BY_NAME[part.factor]
        phrase = factor.phrase(is_high=z > 0, timeframe=timeframe)
        shown = written(value, factor.form)
    return f"{phrase} ({shown}, {abs(z):.1f} robust deviations {side} the median, " + (
        f"{part.contribution:+.3f})"
    )


def written(value: float, form: Form) -> str:
    """Write a factor's value for people.

    Examples
    --------
    >>> written(-0.1234, "percent"), written(2_500_000.0, "money"), written(56.78, "bps")
    ('-12.34%', '2.5M', '57 bps')
    """
    if form == "percent":
        return f"{value:+.2%}"
    if form == "bps":
        return f"{value:.0f} bps"
    if form == "money":
        for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
            if value >= size:
                return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _sentiment(
    aggregate: SentimentAggregate | None, window: str, contributions: Sequence[Contribution]
) -> str:
    present = any(part.factor == SENTIMENT and part.z is not None for part in contributions)
    if aggregate is None or not present:
        return f"No text about it in the last {window}: sentiment is missing, not neutral."
    texts = "text" if aggregate.mentions == 1 else "texts"
    return (
        f"{aggregate.mentions} {texts} in the last {window}: {aggregate.bullish} bullish, "
        f"{aggregate.bearish} bearish, {aggregate.neutral} neutral; weighted score "
        f"{aggregate.score or 0.0:+.2f}."
    )


def _caveats(coverage: Coverage, data_age_ms: int, timeframe: Timeframe) -> list[str]:
    caveats = []
    if not coverage.feed_complete:
        caveats.append("its feed has an open gap or is stale")
    if data_age_ms > max(60_000, STALE_BARS_SHARE * timeframe.ns / 1e6):
        caveats.append(f"its newest data is {data_age_ms / 1000:.0f} s old")
    if coverage.missing:
        caveats.append(
            f"{', '.join(coverage.missing)} missing, so {coverage.redistributed_weight:.0%} of "
            "the weight went to the other factors"
        )
    return caveats
