"""Evaluations as Markdown and JSON; the page is made by `engine.sentiment.evaluation.html`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from engine.sentiment.base import LABELS
from engine.sentiment.evaluation.quality import Evaluation, Quality

TITLE = "Sentiment models on labelled texts"

COLUMNS = (
    ("texts", "texts"),
    ("accuracy", "accuracy"),
    ("macro_f1", "macro F1"),
    ("weighted_f1", "weighted F1"),
    ("direction_accuracy", "direction"),
    ("auc", "AUC"),
    ("log_loss", "log loss"),
    ("brier", "Brier"),
    ("calibration_error", "ECE"),
)
"""Fields of a `Quality` and how tables call them."""

NOTES = (
    "direction: of bullish and bearish texts, the share that lean to the right side",
    "AUC: mean over the labels, each against the rest",
    "ECE: expected calibration error of the predicted label, ten bins",
)

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


class EvaluationReport(msgspec.Struct, frozen=True):
    """Some models on the same texts."""

    texts: str
    """Where they came from."""
    evaluations: tuple[Evaluation, ...]


def to_json(report: EvaluationReport) -> str:
    """Write a report as JSON, two spaces a level."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


def to_markdown(report: EvaluationReport) -> str:
    """Write a report as Markdown."""
    lines = [f"# {TITLE}", "", f"Texts: {escaped(report.texts)}", ""]
    lines += _table([(one.model, one.overall) for one in report.evaluations], "model")
    lines += ["", *(f"- {note}" for note in NOTES)]
    for one in report.evaluations:
        lines += ["", f"## {escaped(one.model)}", "", *_one(one)]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    r"""Write any text so that Markdown shows it as it is, on one line.

    Examples
    --------
    >>> escaped("a|b")
    'a\\|b'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def number(value: float | None) -> str:
    """Write a measure; a dash where there is none.

    Examples
    --------
    >>> number(0.12345), number(None), number(1234)
    ('0.123', '–', '1,234')
    """
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def speed_told(one: Evaluation) -> str:
    """Say what a model took of the machine."""
    speed = one.speed
    return (
        f"{speed.texts_per_s:,.0f} texts/s together, {speed.one_text_ms:.2f} ms for one alone "
        f"(median), {speed.memory_mb:,.0f} MB more memory at the peak; {speed.machine}"
    )


def _one(one: Evaluation) -> Iterator[str]:
    for reason in one.refusals:
        yield f"- **refused**: {escaped(reason)}"
    yield f"- {escaped(speed_told(one))}"
    if one.overall is None:
        return
    yield f"- {one.overall.unreadable:,} of {one.overall.texts:,} texts could not be read"
    yield ""
    yield from _table([(quality.source, quality) for quality in one.sources], "set")
    yield ""
    yield "| label | texts | predicted | precision | recall | F1 | AUC |"
    yield "|:--|--:|--:|--:|--:|--:|--:|"
    for label in one.overall.labels:
        cells = (label.precision, label.recall, label.f1, label.auc)
        yield (
            f"| {label.label} | {label.texts:,} | {label.predicted:,} | "
            f"{' | '.join(map(number, cells))} |"
        )
    yield ""
    yield f"| is \\ said | {' | '.join(LABELS)} |"
    yield "|:--|--:|--:|--:|"
    for label_name, row in zip(LABELS, one.overall.confusion, strict=True):
        yield f"| {label_name} | {' | '.join(f'{count:,}' for count in row)} |"
    yield ""
    yield "| confidence | texts | said | was right |"
    yield "|:--|--:|--:|--:|"
    for place, held in enumerate(one.overall.reliability):
        if held is not None:
            yield (
                f"| {place / 10:.1f}–{(place + 1) / 10:.1f} | {held.count:,} "
                f"| {held.confidence:.3f} | {held.accuracy:.3f} |"
            )


def _table(rows: Sequence[tuple[str, Quality | None]], first: str) -> Iterator[str]:
    yield f"| {first} | {' | '.join(title for _, title in COLUMNS)} |"
    yield f"|:--|{'--:|' * len(COLUMNS)}"
    for name, quality in rows:
        cells = (number(getattr(quality, field, None)) for field, _ in COLUMNS)
        yield f"| {escaped(name)} | {' | '.join(cells)} |"
