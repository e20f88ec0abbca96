"""A report as JSON: signals as ``/v1/signals`` shows them, times in ISO-8601."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.clock import iso_utc
from engine.domain.market import Gap
from engine.domain.signal import Signal
from engine.reports.report import PriceChart, Report, ReportedSignal, TrackRecord


def to_json(report: Report) -> str:
    """Write a report as JSON, two spaces a level."""
    body: dict[str, Any] = msgspec.structs.asdict(report)
    body |= {
        "as_of": iso_utc(report.as_of),
        "gaps": [_gap(gap) for gap in report.gaps],
        "mood": [
            {
                "series": one.series,
                "time": iso_utc(one.time),
                "value": one.value,
                "available_at": iso_utc(one.available_at),
            }
            for one in report.mood
        ],
        "signals": [_signal(one) for one in report.signals],
    }
    plain = msgspec.json.encode(body)
    return msgspec.json.format(plain, indent=2).decode() + "\n"


def _signal(reported: ReportedSignal) -> dict[str, Any]:
    return {
        **_times(reported.signal, "as_of", "expires_at", "bar_open_time"),
        "chart": _chart(reported.chart),
        "record": _record(reported.record),
    }


def _chart(chart: PriceChart) -> dict[str, Any]:
    return {"times": [iso_utc(time) for time in chart.times], "closes": chart.closes}


def _record(record: TrackRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        "sided": len(record.sided),
        "hits": record.hits,
        "mean_net_return": record.mean_net_return,
        "signals": [
            msgspec.structs.asdict(one) | {"as_of": iso_utc(one.as_of)} for one in record.signals
        ],
    }


def _gap(gap: Gap) -> dict[str, Any]:
    return _times(gap, "from_time", "to_time", "opened_at", "repaired_at")


def _times(row: Signal | Gap, *names: str) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.structs.asdict(row)
    for name in names:
        body[name] = None if body[name] is None else iso_utc(body[name])
    return body
