"""An evaluation as one HTML page: no script, nothing fetched, light and dark."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from engine.sentiment.base import LABELS
from engine.sentiment.evaluation.quality import Evaluation, Quality
from engine.sentiment.evaluation.report import (
    COLUMNS,
    NOTES,
    TITLE,
    EvaluationReport,
    number,
    speed_told,
)

_TEMPLATE = "sentiment_evaluation.html.j2"
SIDE = 200.0
"""Width and height of the reliability plot, in its own units."""


def to_html(report: EvaluationReport) -> str:
    """Write a report as HTML. Whatever its texts hold is shown, never obeyed."""
    environment = Environment(
        loader=PackageLoader("engine.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["measure"] = number
    page = environment.get_template(_TEMPLATE)
    return page.render(
        title=TITLE,
        texts=report.texts,
        columns=[title for _, title in COLUMNS],
        notes=NOTES,
        overview=[(one.model, cells(one.overall)) for one in report.evaluations],
        models=[_card(one) for one in report.evaluations],
        labels=LABELS,
        side=SIDE,
    )


def cells(quality: Quality | None) -> list[str]:
    """Return a row of a table of measures, as text."""
    return [number(getattr(quality, field, None)) for field, _ in COLUMNS]


def _card(one: Evaluation) -> dict[str, Any]:
    overall = one.overall
    return {
        "name": one.model,
        "refusals": one.refusals,
        "speed": speed_told(one),
        "overall": overall,
        "sources": [(quality.source, cells(quality)) for quality in one.sources],
        "confusion": [] if overall is None else shaded(overall),
        "points": [] if overall is None else points(overall),
    }


def shaded(quality: Quality) -> list[tuple[str, list[tuple[int, float]]]]:
    """Return each row of the confusion matrix with its cells' shares of the row."""
    rows: list[tuple[str, list[tuple[int, float]]]] = []
    for label, row in zip(LABELS, quality.confusion, strict=True):
        total = sum(row) or 1
        rows.append((label, [(count, count / total) for count in row]))
    return rows


def points(quality: Quality) -> list[tuple[float, float, float, str]]:
    """Return the reliability plot: for each bin x, y, the radius, and what it says."""
    most = max((one.count for one in quality.reliability if one), default=1)
    return [
        (
            round(SIDE * one.confidence, 1),
            round(SIDE * (1.0 - one.accuracy), 1),
            round(2.0 + 8.0 * (one.count / most) ** 0.5, 1),
            f"{one.count} texts: said {one.confidence:.2f}, was right {one.accuracy:.2f}",
        )
        for one in quality.reliability
        if one is not None
    ]
