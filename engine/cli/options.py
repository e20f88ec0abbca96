"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.actors.wiring import resolve
from engine.config import Config, load_config
from engine.errors import ConfigError

DEFAULT_CONFIG = Path("configs/local.yaml")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="YAML file; configs/local.yaml where there is one."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one key; may be repeated."),
]


def read_config(path: Path | None, overrides: list[str] | None) -> Config:
    """Load the configuration that a command was given, or the default one.

    Raises
    ------
    ConfigError
        Where it is wrong, or names weights or a sentiment model that do not exist.
    """
    from engine.sentiment.registry import check_model_name
    from engine.signals.weights import load_weights

    if path is None and DEFAULT_CONFIG.is_file():
        path = DEFAULT_CONFIG
    config = resolve(load_config(path, overrides or ()))
    load_weights(config.ranking.weights)
    for name in config.sentiment.served:
        check_model_name(name)
    return config


def require_schedules(config: Config) -> None:
    """Refuse schedules that could never run.

    Raises
    ------
    ConfigError
        Where a job, a key or a recurrence is wrong, or nothing would take the jobs.
    """
    from engine.schedules import configured_schedules

    planned = configured_schedules(config)
    if planned and config.ray.address is None and not config.ray.dashboard:
        raise ConfigError(
            f"schedule {planned[0].name!r} needs Ray's job API, which is part of its dashboard: "
            "set ray.dashboard to true"
        )


def require_instruments(config: Config) -> None:
    """Refuse a configuration that streams nothing.

    Raises
    ------
    ConfigError
        Where no enabled exchange has an instrument.
    """
    if not any(venue.enabled and venue.instruments for venue in config.exchanges.values()):
        raise ConfigError(
            "no exchange has instruments; try --config configs/local.yaml (simulated venues) "
            "or configs/live.yaml"
        )
