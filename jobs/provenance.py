"""What ran: which version of the code, and under which id of Ray."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engine.job_request import RUN_ID

_RAY_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Where Ray tells a submitted job its id."""


def code_version() -> str:
    """Return the package's version, with the commit where this is a checkout."""
    try:
        number = version("signal-engine")
    except PackageNotFoundError:  # a checkout that travelled to a cluster
        number = "0"
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return number
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return number
    return f"{number}+{found.stdout.strip()}"


def submission_id(environment: Mapping[str, str] | None = None) -> str:
    """Return Ray's id of this job; empty where it was started by hand.

    Examples
    --------
    >>> submission_id({_RAY_JOB: '{"metadata": {"job_submission_id": "raysubmit_1"}}'})
    'raysubmit_1'
    """
    variables: Mapping[str, Any] = os.environ if environment is None else environment
    if variables.get(RUN_ID):
        return str(variables[RUN_ID])
    told = json.loads(variables.get(_RAY_JOB) or "{}")
    return str(told.get("metadata", {}).get("job_submission_id", ""))
