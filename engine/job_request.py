"""A job as it is asked for: its name, and a configuration whose keys may be the job's own.

``--set path=FILE`` means ``import_candles.path`` to the job ``import_candles``; a key that the job
does not have is one of the whole configuration. So the command refuses what a job would refuse,
before it is submitted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engine.config import Config, load_config
from engine.errors import ConfigError
from engine.settings.section import JobSection

JOBS: Mapping[str, str] = {
    "import_candles": "candles from files, or from a venue's REST, into the store",
    "build_candles": "candles of the stored trades",
    "build_features": "features of the stored candles",
    "score_texts": "sentiment of the stored texts",
    "aggregate_sentiment": "what the stored texts felt about each instrument",
    "label_outcomes": "what followed each bar",
    "check_quality": "measure what is stored, and set aside what fails",
    "export_dataset": "a point-in-time training set as Parquet",
    "report": "the best of a ranking, and why",
}
"""Every job, and what it makes. Its section of the configuration and its module in ``jobs/`` have
the same name."""


def section_of(job: str, config: Config) -> JobSection:
    """Return a job's own section.

    Raises
    ------
    ConfigError
        Where there is no such job.
    """
    if job not in JOBS:
        close = difflib.get_close_matches(job, JOBS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(JOBS)}"
        raise ConfigError(f"there is no job {job!r}; {hint}")
    section = getattr(config, job)
    if not isinstance(section, JobSection):
        raise TypeError(f"{job} has no section")
    return section


def load_job_config(
    job: str,
    path: Path | None = None,
    overrides: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read the configuration of a job; see `engine.config.load_config`.

    Parameters
    ----------
    job
        One of `JOBS`.
    path
        YAML file; none takes the defaults.
    overrides
        ``key=value`` texts: keys of the job, or of the whole configuration.

    Raises
    ------
    ConfigError
        Where anything is wrong, or the job lacks something it needs.
    """
    own = set(type(section_of(job, Config())).model_fields)
    full = [f"{job}.{one}" if _first(one) in own else one for one in overrides]
    config = load_config(path, full, environment)
    section_of(job, config).require()
    return config


def _first(override: str) -> str:
    return override.partition("=")[0].strip().split(".")[0]


def job_config_from(job: str, tree: Mapping[str, Any]) -> Config:
    """Take a configuration that was checked where it was submitted, as JSON gives it."""
    config = Config.model_validate(tree)
    section_of(job, config).require()
    return config
