"""Schedules before anything runs: which there are, whether they can work, what a run is told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from engine.clock import NS_PER_S, iso_utc
from engine.config import Config, read_override
from engine.domain.schedule import Schedule, ScheduledRun
from engine.errors import ConfigError
from engine.job_request import load_job_config, section_of
from engine.settings.schedule import ScheduledJob

REPORT = "report"
"""The job, and the schedule that ``report.every`` makes."""

MOMENT_KEYS = ("as_of", "end")
"""Keys by which a job is told up to which moment it works: that at which its run was due."""


def configured_schedules(config: Config) -> tuple[ScheduledJob, ...]:
    """Return what the configuration puts on a schedule.

    Raises
    ------
    ConfigError
        Where two have one name, or a job or one of its keys is wrong.
    """
    planned = list(config.schedule)
    if config.report.every:
        planned.append(ScheduledJob(name=REPORT, job=REPORT, every=config.report.every))
    names: set[str] = set()
    for one in planned:
        if one.name in names:
            hint = "; report.every makes one of this name" if one.name == REPORT else ""
            raise ConfigError(f"schedule: the name {one.name!r} is there twice{hint}")
        names.add(one.name)
        require_works(one, config)
    return tuple(planned)


def require_works(planned: ScheduledJob, config: Config) -> None:
    """Refuse a schedule whose runs would be refused.

    Raises
    ------
    ConfigError
        Naming the schedule and what is wrong with it.
    """
    try:
        run_config(config, planned.job, planned.set, 0)
    except ConfigError as error:
        raise ConfigError(f"schedule {planned.name!r}: {error}") from None


def planned_job(
    name: str, job: str, every: str, overrides: Iterable[str], catch_up: int
) -> ScheduledJob:
    """Read a schedule as it is given on the command line.

    Raises
    ------
    ConfigError
        Where the name, the recurrence or an override cannot be read.
    """
    settings = dict(map(read_override, overrides))
    try:
        return ScheduledJob(name=name, job=job, every=every, set=settings, catch_up=catch_up)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["loc"] == ("name",):
            raise ConfigError(
                f"{name!r} is no name for a schedule: take letters, digits, - and _, 64 at most"
            ) from None
        raise ConfigError(first["msg"].removeprefix("Value error, ")) from None


def run_config(config: Config, job: str, settings: Mapping[str, Any], due_at: int) -> Config:
    """Return the configuration of one run.

    Parameters
    ----------
    config
        The engine's.
    job
        Which job.
    settings
        Keys of the job, or ``section.key``, and their values.
    due_at
        The moment it was due, UTC nanoseconds: a job that takes ``as_of`` or ``end``, and has
        none in `settings`, works up to it.

    Raises
    ------
    ConfigError
        Where there is no such job or key, or a value does not fit.
    """
    wanted = dict(settings)
    section = section_of(job, config)
    for key in MOMENT_KEYS:
        if key in type(section).model_fields and not getattr(section, key) and due_at:
            wanted.setdefault(key, iso_utc(due_at))
    overrides = [f"{key}={json.dumps(value)}" for key, value in wanted.items()]
    # The environment is in the engine's configuration already.
    base = config.model_dump(mode="json")
    return load_job_config(job, None, overrides, {}, base, given_by="set")


def submission_id(run: ScheduledRun) -> str:
    """Return the id under which Ray knows a run: the same for the same run, whoever submits it.

    Ray takes an id once only. So a run that was submitted by a process that died before it could
    say so is found, and not submitted again.

    Examples
    --------
    >>> run = ScheduledRun("hourly", 3_600_000_000_000, False, "asked", "", 1, 0, None, None, "", 0)
    >>> submission_id(run)
    'hourly-19700101T010000Z'
    """
    moment = iso_utc(run.due_at // NS_PER_S * NS_PER_S)[:19].replace("-", "").replace(":", "")
    by_hand = "-by-hand" if run.is_by_hand else ""
    again = f"-{run.attempt}" if run.attempt > 1 else ""
    return f"{run.name}-{moment}Z{by_hand}{again}"


def as_schedule(planned: ScheduledJob, origin: str, now: int) -> Schedule:
    """Return the row of a schedule that begins now."""
    return Schedule(
        name=planned.name,
        job=planned.job,
        every=planned.every,
        settings=json.dumps(planned.set, sort_keys=True),
        catch_up=planned.catch_up,
        origin="configuration" if origin == "configuration" else "command",
        since=now,
        is_paused=False,
        is_removed=False,
        version=now,
    )
