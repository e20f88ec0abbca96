"""``schedule``: jobs that a running engine submits by itself."""

from __future__ import annotations

from typing import Any

from pydantic import Field, PositiveInt

from engine.settings.section import Section


class ScheduledJob(Section):
    """One job, again and again."""

    name: str = Field(min_length=1)
    """What it is called; unique."""
    job: str = Field(min_length=1)
    """Which job."""
    every: str = Field(min_length=1)
    """``15m``, ``1h``, ``1d`` from midnight UTC, or five fields of cron in UTC
    (``5 * * * *``)."""
    set: dict[str, Any] = {}
    """Keys of the job."""
    catch_up: PositiveInt = 1
    """How many of the runs that were missed while no engine ran are made up for; the newest."""
