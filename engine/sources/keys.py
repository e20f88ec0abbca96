"""Keys of APIs: from the environment only, and never in a message."""

from __future__ import annotations

import os
from collections.abc import Mapping

from engine.errors import ConfigError


def required_key(
    source: str, variable: str, what: str, environment: Mapping[str, str] | None = None
) -> str:
    """Return a key.

    Parameters
    ----------
    source
        Configured name of the source that needs it, for errors.
    variable
        Name of the environment variable.
    what
        What belongs into it and where one gets it.
    environment
        Where it is looked up; the process's own by default.

    Raises
    ------
    ConfigError
        Where it is not set, or cannot be a key.
    """
    key = optional_key(source, variable, environment)
    if not key:
        raise ConfigError(
            f"source {source}: the environment variable {variable} is not set; it holds {what}"
        )
    return key


def optional_key(source: str, variable: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a key that a source can do without; empty where there is none.

    Raises
    ------
    ConfigError
        Where the variable is set to something that cannot be a key.
    """
    key = (os.environ if environment is None else environment).get(variable, "").strip()
    # An HTTP header could not carry it, and the error raised there would show it.
    if not all("!" <= character <= "~" for character in key):
        raise ConfigError(
            f"source {source}: {variable} holds spaces or characters that no key has; "
            "copy the key again"
        )
    return key
