"""What a submitted job finds: its command, its environment, its code, and the cluster's token."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.code_version import ROOT, code_version
from engine.errors import ConfigError
from engine.job_request import AGAIN, CODE, RUN_ID, TREE

STOP_PATIENCE_S = 15
"""Seconds from SIGTERM to SIGKILL: a job that is stopped writes down that it was."""

LARGEST_CONFIG = 100_000
"""Bytes of a configuration: Linux takes 128 KiB in one variable of an environment."""

NOT_NEEDED = (".git", "tests", "benchmarks", "docs")
"""Of a checkout: left out of what travels, besides what its .gitignore and .rayignore name."""


def entrypoint(job: str, *, is_here: bool) -> str:
    """Return the command of a job: under this interpreter, or under the one of a cluster.

    Here the folder that the engine was started in stays out of it (``-P``): a folder ``jobs`` that
    happens to lie there is somebody else's.
    """
    return f"{shlex.quote(sys.executable)} -P -m jobs.{job}" if is_here else f"python -m jobs.{job}"


def job_environment(
    tree: Mapping[str, Any], run_id: str, *, again: bool, is_here: bool
) -> dict[str, str]:
    """Return the environment of a job, and of all its tasks.

    Parameters
    ----------
    tree
        Its configuration, as `engine.job_request.portable` gives it.
    run_id
        Its id.
    again
        Whether what is done already is to be done again.
    is_here
        Whether the cluster is of this machine: then the job runs the very code of this process.

    Raises
    ------
    ConfigError
        Where the configuration is too large to travel in it.
    """
    # Ray puts variables' values in place of their $NAME.
    text = json.dumps(tree, separators=(",", ":")).replace("$", "\\u0024")
    if len(text.encode()) > LARGEST_CONFIG:
        raise ConfigError(
            f"the configuration takes {len(text):,} bytes, and a job takes at most "
            f"{LARGEST_CONFIG:,}; leave out sections that the job does not need"
        )
    environment = {
        TREE: text,
        RUN_ID: run_id,
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_PATIENCE_S),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    if again:
        environment[AGAIN] = "1"
    if is_here:
        own = os.environ.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), own)))
    elif _is_checkout():
        environment[CODE] = code_version()  # its history stays here
    return environment


def travelling_code() -> dict[str, Any]:
    """Return the part of Ray's runtime environment that takes this checkout along.

    Empty where the package is installed and not a checkout: then the cluster has to have it.
    """
    if not _is_checkout():
        return {}
    return {"working_dir": str(ROOT), "excludes": [f"/{name}" for name in NOT_NEEDED]}


def _is_checkout() -> bool:
    return (ROOT / "pyproject.toml").is_file()


def token_header(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the header that shows a cluster's token: Ray's client sends it only in one mode.

    The token is looked for where Ray looks: ``RAY_AUTH_TOKEN``, the file that
    ``RAY_AUTH_TOKEN_PATH`` names, ``~/.ray/auth_token``.
    """
    variables = os.environ if environment is None else environment
    if variables.get("RAY_AUTH_MODE") == "disabled":
        return {}
    token = variables.get("RAY_AUTH_TOKEN", "").strip()
    path = Path(variables.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if not token:
        with suppress(OSError):
            token = path.read_text(encoding="utf-8").strip()
    return {"Authorization": f"Bearer {token}"} if token else {}
