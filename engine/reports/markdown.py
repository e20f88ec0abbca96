"""A report as Markdown: tables, and charts of block characters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.domain.signal import Signal
from engine.reports.charts import block_bar, sparkline
from engine.reports.report import Report, ReportedSignal, TrackRecord
from engine.reports.wording import (
    ARROWS,
    CONFIDENCE_PARTS,
    completeness_told,
    duration,
    factor_meaning,
    factor_title,
    factor_value,
    minute,
    missing,
    mood_told,
    price,
    record_told,
    source_told,
    title,
)

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")
SHOWN_PAST = 5


def to_markdown(report: Report) -> str:
    """Write a report as Markdown."""
    lines = [f"# {escaped(title(report))}", "", *_header(report), "", *_overview(report)]
    for one in report.signals:
        lines += ["", *_signal(one)]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    r"""Write any text so that Markdown shows it as it is, on one line.

    Examples
    --------
    >>> escaped("a|b<i>")
    'a\\|b\\<i\\>'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _header(report: Report) -> Iterator[str]:
    sides = ", ".join(f"{count} {side}" for side, count in report.directions.items())
    facts = [
        ("as of", minute(report.as_of)),
        ("speaks about", f"the return over {report.horizon}"),
        ("universe", f"{len(report.universe)} instruments, {report.ranked} ranked: {sides}"),
        ("from", source_told(report)),
        ("model", f"{report.model}, features {report.feature_version}"),
        ("data", completeness_told(report)),
    ]
    if report.mood:
        facts.append(("market mood", mood_told(report)))
    return (f"- **{name}**: {escaped(told)}" for name, told in facts)


def _overview(report: Report) -> Iterator[str]:
    yield "| # | instrument | score | | confidence | price |"
    yield "|--:|:--|--:|:--|--:|--:|"
    for one in report.signals:
        signal = one.signal
        yield (
            f"| {signal.rank} | {escaped(signal.instrument)} | {signal.score:+.3f} "
            f"| {ARROWS[signal.direction]} {signal.direction} | {signal.confidence:.0%} "
            f"| {price(signal.reference_price)} |"
        )


def _signal(one: ReportedSignal) -> Iterator[str]:
    signal = one.signal
    yield (
        f"## {signal.rank}. {escaped(signal.instrument)} {ARROWS[signal.direction]} "
        f"{signal.direction} {signal.score:+.3f}"
    )
    yield ""
    yield from (f"- {escaped(line)}" for line in signal.rationale)
    yield ""
    if one.chart.closes:
        closes = one.chart.closes
        yield f"`{sparkline(closes)}`"
        yield ""
        yield (
            f"{len(closes)} bars to {minute(one.chart.times[-1])}: {price(closes[0])} → "
            f"{price(closes[-1])} ({closes[-1] / closes[0] - 1:+.1%}), low {price(min(closes))}, "
            f"high {price(max(closes))}."
        )
        yield ""
    yield from _contributions(signal)
    yield ""
    yield from _facts(signal)
    yield from _record(one.record, signal.horizon)


def _contributions(signal: Signal) -> Iterator[str]:
    parts = sorted(signal.contributions, key=lambda part: (-abs(part.contribution), part.factor))
    most = max((abs(part.contribution) for part in parts), default=0.0)
    yield "| factor | | value | z | contribution | |"
    yield "|:--|:--|--:|--:|--:|:--|"
    for part in parts:
        z = "–" if part.z is None else f"{part.z:+.1f}"
        yield (
            f"| {escaped(factor_title(part.factor))} "
            f"| {escaped(factor_meaning(part, signal.timeframe))} "
            f"| {escaped(factor_value(part))} | {z} | {part.contribution:+.4f} "
            f"| `{block_bar(part.contribution, most, 8)}` |"
        )
    yield f"| **score** | sum of the contributions | | | **{signal.score:+.4f}** | |"


def _facts(signal: Signal) -> Iterator[str]:
    parts = ", ".join(
        f"{name} {getattr(signal.confidence_parts, name):.0%}" for name in CONFIDENCE_PARTS
    )
    yield f"- confidence {signal.confidence:.0%}: {parts}"
    yield (
        f"- reference price {price(signal.reference_price)} on {escaped(signal.exchange)}; "
        f"good until {minute(signal.expires_at)}"
    )
    yield f"- data {duration(signal.data_age_ms)} old; {escaped(missing(signal))}"


def _record(record: TrackRecord | None, horizon: str) -> Iterator[str]:
    yield f"- before: {escaped(record_told(record, horizon))}"
    for past in record.signals[-SHOWN_PAST:] if record is not None else ():
        net = "took no side" if past.net_return is None else f"{past.net_return:+.2%} net"
        yield (
            f"  - {minute(past.as_of)}: rank {past.rank}, {past.direction} {past.score:+.3f}; "
            f"the price went {past.forward_return:+.2%}, {net}"
        )
