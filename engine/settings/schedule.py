"""``schedule``: jobs that a running engine submits by itself."""

from __future__ import annotations

from typing import Any

from pydantic import Field, PositiveInt, field_validator

from engine.errors import ConfigError
from engine.recurrence import parse_recurrence
from engine.settings.section import Section

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


class ScheduledJob(Section):
    """One job, again and again."""

    name: str = Field(pattern=f"^{NAME_PATTERN}$")
    """What it is called: letters, digits, ``-`` and ``_``; unique."""
    job: str = Field(min_length=1)
    """Which job."""
    every: str = Field(min_length=1)
    """``15m``, ``1h``, ``1d`` from midnight UTC, or five fields of cron in UTC
    (``5 * * * *``)."""
    set: dict[str, Any] = {}
    """Keys of the job, or ``section.key``, as ``--set`` takes them."""
    catch_up: PositiveInt = 1
    """How many of the runs that were missed are made up for; the newest."""

    @field_validator("every")
    @classmethod
    def _recurs(cls, every: str) -> str:
        return checked_every(every)


def checked_every(every: str) -> str:
    """Return what was given where it is a recurrence; see `engine.recurrence`."""
    try:
        parse_recurrence(every, "every")
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return every
