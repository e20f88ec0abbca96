"""Calibrations and other fitted parameters as JSON files that people can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from engine.errors import ConfigError, StartError

Kind = TypeVar("Kind", bound=msgspec.Struct)


def read_parameters(path: Path, kind: type[Kind], remedy: str) -> Kind:
    """Read what `write_parameters` wrote.

    Parameters
    ----------
    path
        The file.
    kind
        What it holds.
    remedy
        What to do where it does not, for the message.

    Raises
    ------
    ConfigError
        Where the file is missing, or holds something else; it says where in the file.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise ConfigError(f"the file {path} does not exist: {remedy}") from None
    except OSError as error:
        raise ConfigError(f"the file {path} cannot be read ({error.strerror}): {remedy}") from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"the file {path} cannot be used ({error}): {remedy}") from None


def write_parameters(path: Path, parameters: msgspec.Struct) -> None:
    """Write parameters, whole or not at all.

    Raises
    ------
    StartError
        Where the file cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(parameters), indent=2) + b"\n"
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(text)
        fresh.replace(path)
    except OSError as error:
        raise StartError(
            f"{path} cannot be written ({error.strerror}); choose another place: --set out=FILE"
        ) from None
