"""Which store a command means: the running engine's, unless a configuration was named."""

from __future__ import annotations

from pathlib import Path

from engine.cli.options import read_config
from engine.cli.runfile import running_here
from engine.config import Config, RetentionConfig


def store_to_read(config: Path | None, override: list[str] | None) -> tuple[str, bool]:
    """Return the address of the store to read, and whether an engine runs on it.

    Parameters
    ----------
    config, override
        As given on the command line; either names the store, else the running engine's counts.
    """
    run = running_here() if config is None and not override else None
    if run is not None:
        return run.viewer_url or run.store_url, True
    from engine.store.opening import is_in_use

    url = read_config(config, override).store_url
    return url, is_in_use(url)


def store_to_write(
    config: Path | None, override: list[str] | None
) -> tuple[str, Config, RetentionConfig | None]:
    """Return the address of the store to write, its configuration, and how long its rows stay.

    The last is None where an engine runs on it: it has its own rules in force.
    """
    run = running_here() if config is None and not override else None
    settings = settings_in_force(config, override)
    if run is None:
        return settings.store_url, settings, settings.store.retention
    return run.store_url, settings, None


def bus_in_use(config: Path | None, override: list[str] | None) -> str:
    """Return the running engine's Redis URL; empty where none runs, or another one was named."""
    run = running_here() if config is None and not override else None
    return "" if run is None else run.bus_url


def settings_in_force(config: Path | None, override: list[str] | None) -> Config:
    """Return the configuration that a command means: the running engine's, unless one was named."""
    run = running_here() if config is None and not override else None
    if run is None:
        return read_config(config, override)
    its_own = Path(run.config)
    return read_config(its_own if its_own.is_file() else None, None)
