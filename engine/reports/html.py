"""A report as one HTML file: no script, nothing fetched, light and dark, for a phone too."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from engine.clock import iso_utc
from engine.domain.signal import Signal
from engine.reports import charts, wording
from engine.reports.report import PriceChart, Report, ReportedSignal, TrackRecord, steps

_TEMPLATE = "report.html.j2"
_TONES = {"bullish": "up", "neutral": "soft", "bearish": "down"}


def to_html(report: Report) -> str:
    """Write a report as HTML. Whatever its texts hold is shown, never obeyed."""
    environment = Environment(
        loader=PackageLoader("engine.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["iso"] = iso_utc
    environment.globals["tone"] = _TONES.__getitem__
    page = environment.get_template(_TEMPLATE)
    return page.render(
        title=wording.title(report),
        report=report,
        as_of=wording.minute(report.as_of),
        source=wording.source_told(report),
        completeness=wording.completeness_told(report),
        is_whole=not (report.gaps or report.absent or report.incomplete),
        mood=wording.mood_told(report),
        arrows=wording.ARROWS,
        cards=[_card(one) for one in report.signals],
        price=wording.price,
        minute=wording.minute,
    )


def _card(one: ReportedSignal) -> dict[str, Any]:
    signal = one.signal
    return {
        "signal": signal,
        "chart": _chart(one.chart),
        "contributions": _contributions(signal),
        "confidence": [
            (name, meaning, getattr(signal.confidence_parts, name))
            for name, meaning in wording.CONFIDENCE_PARTS.items()
        ],
        "age": wording.duration(signal.data_age_ms),
        "coverage": wording.missing(signal),
        "told": wording.record_told(one.record, signal.horizon),
        "past": _past(one.record),
    }


def _chart(chart: PriceChart) -> dict[str, Any] | None:
    if not chart.closes:
        return None
    line, area = charts.price_line(chart)
    first, last = chart.closes[0], chart.closes[-1]
    return {
        "line": line,
        "area": area,
        "width": charts.WIDTH,
        "height": charts.HEIGHT,
        "bars": len(chart.closes),
        "begin": wording.minute(chart.times[0]),
        "end": wording.minute(chart.times[-1]),
        "low": wording.price(min(chart.closes)),
        "high": wording.price(max(chart.closes)),
        "first": wording.price(first),
        "last": wording.price(last),
        "change": last / first - 1 if first else 0.0,
    }


def _contributions(signal: Signal) -> list[dict[str, Any]]:
    """Return a row for each factor; its bar begins where the one before it ended."""
    moved = steps(signal)
    levels = [0.0, *(end for _, _, end in moved)]
    low, high = min(levels), max(levels)
    span = high - low or 1.0
    zero = (0.0 - low) / span
    parts = {part.factor: part for part in signal.contributions}
    order = [factor for factor, _, _ in moved]
    order += sorted(factor for factor in parts if factor not in order)
    bars = {factor: (begin, end) for factor, begin, end in moved}
    rows = []
    for factor in order:
        part = parts[factor]
        begin, end = bars.get(factor, (0.0, 0.0))
        rows.append(
            {
                "title": wording.factor_title(factor),
                "meaning": wording.factor_meaning(part, signal.timeframe),
                "value": wording.factor_value(part),
                "z": part.z,
                "contribution": part.contribution,
                "is_missing": part.z is None,
                "left": (min(begin, end) - low) / span,
                "width": abs(end - begin) / span,
                "zero": zero,
            }
        )
    score = (min(0.0, signal.score) - low) / span
    rows.append(
        {
            "title": "score",
            "contribution": signal.score,
            "left": score,
            "width": abs(signal.score) / span,
            "zero": zero,
        }
    )
    return rows


def _past(record: TrackRecord | None) -> dict[str, Any] | None:
    if record is None or not record.signals:
        return None
    return {
        "bars": charts.return_bars(record),
        "count": len(record.signals),
        "begin": wording.minute(record.signals[0].as_of),
        "end": wording.minute(record.signals[-1].as_of),
        "last": record.signals[-5:][::-1],
    }
