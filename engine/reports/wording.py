"""Numbers and times of a report as people read them."""

from __future__ import annotations

from decimal import Decimal

from engine.clock import NS_PER_S, iso_utc
from engine.domain.signal import Contribution, Signal
from engine.domain.timeframe import Timeframe
from engine.reports.report import Report, TrackRecord
from engine.signals.factors import FACTORS_BY_NAME, SENTIMENT
from engine.signals.rationale import written

ARROWS = {"bullish": "▲", "neutral": "●", "bearish": "▼"}
"""A side as a sign, so that it is not told by colour alone."""

CONFIDENCE_PARTS = {
    "agreement": "how far the factors pull the same way",
    "freshness": "how young the data is",
    "coverage": "how much of the model's weight had data",
    "liquidity": "how much is traded, against the others",
    "stability": "how calm the price is, against the others",
}


def minute(time_ns: int) -> str:
    """Write a time to the minute, or to the second where it is not a whole one.

    Examples
    --------
    >>> minute(0), minute(61 * 10**9)
    ('1970-01-01 00:00 UTC', '1970-01-01 00:01:01 UTC')
    """
    text = iso_utc(time_ns)
    seconds = text[16:19] if time_ns // NS_PER_S % 60 else ""
    return f"{text[:10]} {text[11:16]}{seconds} UTC"


def price(value: float) -> str:
    """Write a price with the digits that matter.

    Examples
    --------
    >>> price(64_123.456), price(1.23456789), price(0.0000123456)
    ('64,123.46', '1.2346', '0.000012346')
    """
    if abs(value) >= 1000:
        return f"{value:,.2f}"
    return f"{Decimal(f'{value:.5g}'):f}"


def duration(milliseconds: float) -> str:
    """Write a length of time shortly.

    Examples
    --------
    >>> duration(250), duration(90_000), duration(7_200_000), duration(2.6e8)
    ('250 ms', '1.5 min', '2.0 h', '3.0 days')
    """
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    for limit, unit, name in ((60e3, 1e3, "s"), (3.6e6, 60e3, "min"), (1.728e8, 3.6e6, "h")):
        if milliseconds < limit:
            return f"{milliseconds / unit:.1f} {name}"
    return f"{milliseconds / 8.64e7:.1f} days"


def factor_title(name: str) -> str:
    """Write a factor's name.

    Examples
    --------
    >>> factor_title("momentum_168"), factor_title("sentiment")
    ('momentum 168', 'sentiment')
    """
    return name.replace("_", " ")


def factor_meaning(part: Contribution, timeframe: str) -> str:
    """Say what a factor's value means; that it is missing where it is."""
    if part.z is None or part.value is None:
        return "missing: its weight went to the others"
    if part.factor == SENTIMENT:
        return f"{'warmer' if part.z > 0 else 'cooler'} texts than most"
    factor = FACTORS_BY_NAME.get(part.factor)
    if factor is None:
        return ""
    return factor.phrase(is_high=part.z > 0, timeframe=Timeframe(timeframe))


def factor_value(part: Contribution) -> str:
    """Write a factor's raw value in its own form; a dash where it is missing."""
    if part.value is None:
        return "–"
    if part.factor == SENTIMENT:
        return f"{part.value:+.2f}"
    factor = FACTORS_BY_NAME.get(part.factor)
    return written(part.value, factor.form) if factor else f"{part.value:.3g}"


def missing(signal: Signal) -> str:
    """Say what a score stands on, and what it lacks."""
    coverage = signal.coverage
    told = f"{coverage.factors_present} of {coverage.factors_total} factors"
    lacks = ", ".join(map(factor_title, coverage.missing))
    if lacks:
        told += f"; missing: {lacks} ({coverage.redistributed_weight:.0%} of the weight)"
    if not coverage.feed_complete:
        told += "; its feed has an open gap or is stale"
    return told


def record_told(record: TrackRecord | None, horizon: str) -> str:
    """Say how earlier signals turned out."""
    if record is None:
        return "No outcomes are stored: label_outcomes makes them."
    if not record.signals:
        return "None of its earlier signals has a stored outcome."
    count, sided = len(record.signals), len(record.sided)
    told = f"{count} earlier signal{'s' if count > 1 else ''} over {horizon}"
    if not sided or record.mean_net_return is None:
        return f"{told}, all neutral."
    return (
        f"{told}, {sided} of them took a side: the price went its way in {record.hits} "
        f"({record.hits / sided:.0%}), {record.mean_net_return:+.2%} each on average after costs."
    )


def source_told(report: Report) -> str:
    """Say where the ranking comes from."""
    if report.source == "signals":
        return "stored signals"
    return "no signals are stored: ranked for this report from the stored features of its bar"


def completeness_told(report: Report) -> str:
    """Say how complete the data behind the ranking is."""
    parts = []
    if report.absent:
        parts.append(
            f"{len(report.absent)} market{'s' if len(report.absent) > 1 else ''} without this bar: "
            + listed(report.absent)
        )
    if report.incomplete:
        parts.append(f"{report.incomplete} ranked with an incomplete feed")
    if report.gaps:
        markets = listed(sorted({f"{gap.exchange}:{gap.instrument}" for gap in report.gaps}))
        parts.append(f"{len(report.gaps)} open gap{'s' if len(report.gaps) > 1 else ''}: {markets}")
    return "; ".join(parts) or "no gap was open"


def listed(names: tuple[str, ...] | list[str], most: int = 8) -> str:
    """Name the first few, and count the rest.

    Examples
    --------
    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def mood_told(report: Report) -> str:
    """Write the market's mood; empty where nothing is known of it."""
    return ", ".join(
        f"{one.series.replace('_', ' ')} {one.value:g} ({minute(one.time)[:10]})"
        for one in report.mood
    )


def title(report: Report) -> str:
    """Write a report's title."""
    return f"Top {len(report.signals)} of {report.ranked} on {report.timeframe} bars"
