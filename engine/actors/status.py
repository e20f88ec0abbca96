"""The engine's state as one JSON-ready answer: ``/v1/status``, ``engine status``, the table."""

from __future__ import annotations

from typing import Any

from engine.actors.base import ActorReport, Phase
from engine.clock import iso_utc
from engine.config import Config

CALM = (Phase.RUNNING, Phase.DRAINED)


def engine_status(
    config: Config,
    supervisor: ActorReport,
    reports: list[ActorReport],
    restarts: dict[str, int],
    now: int,
) -> dict[str, Any]:
    """Gather the actors' reports.

    Parameters
    ----------
    config
        The whole configuration.
    supervisor
        The supervisor's own report.
    reports
        One per actor that has reported.
    restarts
        How often each was started anew.
    now
        UTC nanoseconds.

    Returns
    -------
    dict
        ``as_of``, ``healthy``, ``mode``, ``uptime_s``, ``actors`` (a line each), ``streams``,
        ``texts``, ``schedules``, ``ranker``, ``replay``.
    """
    details = {report.name: report.details for report in reports}
    mode = "replay" if config.replay.files else "simulated" if config.simulator.enabled else "live"
    return {
        "as_of": iso_utc(now),
        "healthy": all(report.phase in CALM for report in reports)
        and all(stream["connected"] or stream["ended"] for stream in _streams(details)),
        "mode": mode,
        "uptime_s": supervisor.uptime_s,
        "actors": [_actor(report, restarts) for report in [supervisor, *reports]],
        "streams": _streams(details),
        "features": [details[name] for name in details if name.startswith("features-")],
        "texts": details.get("texts"),
        "schedules": details.get("scheduler"),
        "sentiment_model": next(
            (details[name]["model"] for name in details if name.startswith("sentiment-")), None
        ),
        "ranker": details.get("ranker"),
        "replay": details.get("venues") if mode == "replay" else None,
    }


def _actor(report: ActorReport, restarts: dict[str, int]) -> dict[str, Any]:
    return {
        "name": report.name,
        "kind": report.kind,
        "phase": report.phase.value,
        "pid": report.pid,
        "rss_mb": round(report.rss_bytes / 2**20, 1),
        "uptime_s": report.uptime_s,
        "restarts": restarts.get(report.name, 0),
        "problem": report.problem,
    }


def _streams(details: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": name, **details[name]}
        for name in sorted(details)
        if name.startswith("stream-") and "connected" in details[name]
    ]
