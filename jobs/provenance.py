"""What ran: which version of the code, and under which id of Ray."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from engine.code_version import code_version as version_of_this_code
from engine.job_request import CODE, RUN_ID

_RAY_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Where Ray tells a submitted job its id."""


def code_version(environment: Mapping[str, str] | None = None) -> str:
    """Return the version of the code: what the submission says, where the code travelled with it.

    Examples
    --------
    >>> code_version({CODE: "0.1.0+1a2b3c4d5e6f"})
    '0.1.0+1a2b3c4d5e6f'
    """
    variables = os.environ if environment is None else environment
    return variables.get(CODE) or version_of_this_code()


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
