"""A job as it is asked for: its name, and a configuration whose keys may be the job's own.

``--set path=FILE`` means ``import_candles.path`` to the job ``import_candles``; a key that the job
does not have is one of the whole configuration. So the command refuses what a job would refuse,
before it is submitted, and what travels to the job is the configuration that was checked.
"""

from __future__ import annotations

import difflib
import json
import os
import time
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from pydantic import BaseModel

from engine.config import Config, load_config
from engine.errors import ConfigError
from engine.settings.section import JobSection, OnThisMachine

JOBS: Mapping[str, str] = {
    "backfill": "what is missing of the past, over REST, into the store",
    "import_candles": "candles from files, or from a venue's REST, into the store",
    "build_candles": "candles of the stored trades",
    "build_features": "features of the stored candles",
    "score_texts": "sentiment of the stored texts",
    "aggregate_sentiment": "what the stored texts felt about each instrument",
    "train_sentiment": "a sentiment model, from labelled texts",
    "evaluate_sentiment": "how good sentiment models are on labelled texts",
    "calibrate_sentiment": "a model's probabilities, and an ensemble's weights, fitted",
    "label_outcomes": "what followed each bar",
    "measure_credibility": "how often each source of texts was right",
    "check_quality": "measure what is stored, and set aside what fails",
    "export_dataset": "a point-in-time training set as Parquet",
    "report": "the best of a ranking, and why",
}
"""Every job, and what it makes. Its section of the configuration and its module in ``jobs/`` have
the same name."""


TREE = "ENGINE_JOB_CONFIG"
"""In the environment of a submitted job: the configuration, checked where it was submitted."""

AGAIN = "ENGINE_JOB_AGAIN"
"""Set in the environment where units that are done are to be done again."""

RUN_ID = "ENGINE_JOB_ID"
"""In the environment of a submitted job: its id with Ray, under which it is recorded too."""

CODE = "ENGINE_JOB_CODE"
"""In the environment of a job whose code travelled: the code's version where it was submitted."""

MASK = "***"
"""Instead of a password, wherever a configuration leaves the process that was given it."""

_EMBEDDED = "embedded:"
_SKIP_BAD = "skip_bad"


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
    base: Mapping[str, Any] | None = None,
    given_by: str = "--set",
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
    environment
        Where ``ENGINE__SECTION__KEY`` is looked up; the process's own by default.
    base
        A configuration to start from where no file is given: that of the running engine.
    given_by
        What the overrides came with, for messages.

    Raises
    ------
    ConfigError
        Where anything is wrong, or the job lacks something it needs.
    """
    own = list(type(section_of(job, Config())).model_fields)
    full = [_in_full(job, one, own) for one in overrides]
    config = load_config(path, full, environment, base, given_by)
    section_of(job, config).require()
    return config


def _in_full(job: str, override: str, own: list[str]) -> str:
    """Write a key of the job as one of the whole configuration."""
    first = override.partition("=")[0].strip().split(".")[0]
    if first in own:
        return f"{job}.{override.strip()}"
    sections = list(Config.model_fields)
    if "=" in override and first and first not in sections:
        close = difflib.get_close_matches(first, [*own, *sections], n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(own)}"
        raise ConfigError(f"unknown key {first!r} of {job}; {hint}")
    return override


def takes_skip_bad(job: str) -> bool:
    """Say whether a job can set bad rows aside.

    Raises
    ------
    ConfigError
        Where there is no such job.
    """
    return _SKIP_BAD in type(section_of(job, Config())).model_fields


def with_skip_bad(job: str, overrides: Iterable[str]) -> list[str]:
    """Return the overrides of a job that was given ``--skip-bad``, the short form of a key.

    Raises
    ------
    ConfigError
        Where there is no such job, or it does not have that key.

    Examples
    --------
    >>> with_skip_bad("import_candles", ["path=x.csv"])
    ['path=x.csv', 'skip_bad=true']
    """
    if not takes_skip_bad(job):
        able = ", ".join(name for name in JOBS if takes_skip_bad(name))
        raise ConfigError(f"--skip-bad: {job} sets no bad rows aside; that is for {able}")
    return [*overrides, f"{_SKIP_BAD}=true"]


def new_run_id(job: str) -> str:
    """Return an id for a run: the job, when in UTC, and something that tells it from others."""
    return f"{job}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid4().hex[:6]}"


def portable(config: Config, folder: Path | None = None) -> dict[str, Any]:
    """Return a configuration as plain values, for another process: passwords masked.

    Parameters
    ----------
    config
        The configuration.
    folder
        Where its relative paths begin; None leaves them, for a machine with other files.

    Examples
    --------
    >>> tree = portable(Config.model_validate({"store": {"url": "http://ann:secret@db:8123/x"}}))
    >>> tree["store"]["url"]
    'http://ann:***@db:8123/x'
    """
    tree = config.model_dump(mode="json")
    for section in ("store", "bus"):
        tree[section]["url"] = _masked(tree[section]["url"])
    if folder is not None:
        _write_out(config, tree, folder)
        url = tree["store"]["url"]
        if url.startswith(_EMBEDDED):
            tree["store"]["url"] = _EMBEDDED + _absolute(url.removeprefix(_EMBEDDED), folder)
    return tree


def job_config_from(
    job: str, tree: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> Config:
    """Take a configuration that was checked where it was submitted, as `portable` gave it.

    Parameters
    ----------
    job
        One of `JOBS`.
    tree
        The configuration. A masked address is replaced by the one that this machine's
        ``ENGINE__STORE__URL`` or ``ENGINE__BUS__URL`` holds, where it names the same server.
    environment
        The process's own by default.

    Raises
    ------
    ConfigError
        Where the job lacks something it needs.
    """
    variables = os.environ if environment is None else environment
    known = {name: dict(value) if isinstance(value, Mapping) else value
             for name, value in tree.items()}  # fmt: skip
    for section in ("store", "bus"):
        url = known.get(section, {}).get("url", "")
        here = variables.get(f"ENGINE__{section.upper()}__URL", "")
        if is_masked(url) and _masked(here) == url:
            known[section]["url"] = here
    config = Config.model_validate(known)
    section_of(job, config).require()
    return config


def config_text(config: Config) -> str:
    """Return a configuration as JSON without its passwords, for the record."""
    return json.dumps(portable(config))


def is_masked(url: str) -> bool:
    """Say whether the password of an address was taken out."""
    return f":{MASK}@" in url


def _masked(url: str) -> str:
    if "://" not in url or "@" not in url:
        return url
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    return urlunsplit(parts._replace(netloc=f"{user}{colon and f':{MASK}'}@{host}"))


def _write_out(model: BaseModel, tree: dict[str, Any], folder: Path) -> None:
    """Make every path of a section, and of those below it, absolute."""
    for name, field in type(model).model_fields.items():
        of_each = (getattr(each, "__metadata__", ()) for each in get_args(field.annotation))
        marks = (*field.metadata, *chain.from_iterable(of_each))
        is_path = any(isinstance(mark, OnThisMachine) for mark in marks)
        tree[name] = _written_out(getattr(model, name), tree[name], folder, is_path=is_path)


def _written_out(value: Any, plain: Any, folder: Path, *, is_path: bool) -> Any:
    """Return a value of a section, or one of several, with its paths absolute."""
    if isinstance(value, BaseModel):
        _write_out(value, plain, folder)
    elif isinstance(value, tuple):
        both = zip(value, plain, strict=True)
        return [_written_out(one, told, folder, is_path=is_path) for one, told in both]
    elif is_path and isinstance(value, str):
        return _absolute(value, folder)
    return plain


def _absolute(path: str, folder: Path) -> str:
    return path if not path or "://" in path else os.path.normpath(folder.absolute() / path)
