"""``engine up --replay``: recordings instead of venues."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from engine.config import Config
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.exchanges.replay import inspect_recordings


def parse_speed(text: str) -> float | Literal["max"]:
    """Read ``--speed``.

    Raises
    ------
    ConfigError
        Where it is neither a number above 0 nor ``max``.
    """
    if text == "max":
        return "max"
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ConfigError(f"--speed {text!r} is neither a number above 0 nor max")
    return speed


def with_replay(
    config: Config, files: tuple[str, ...], speed: float | Literal["max"]
) -> tuple[Config, int]:
    """Turn a configuration into one that replays recordings.

    Venues, simulator and texts of today do not belong to the recorded time and are left out.
    A recording of minutes holds too few longer bars, so features are made for one-second
    bars too, and the ranking is of those, unless the configuration already asks for them.

    Parameters
    ----------
    config
        What to start from.
    files
        Recordings, or folders of them.
    speed
        Times real time, or ``max``.

    Returns
    -------
    config, starts_at
        The configuration, and the first recorded moment in UTC nanoseconds.

    Raises
    ------
    RecordingError
        Where a recording cannot be read.
    """
    recordings = inspect_recordings([Path(file) for file in files])
    tree = config.model_dump(mode="json")
    exchanges = {}
    for name in dict.fromkeys(recording.exchange for recording in recordings):
        its = [recording for recording in recordings if recording.exchange == name]
        exchanges[name] = {
            **tree["exchanges"].get(name, {}),
            "instruments": list(dict.fromkeys(i for one in its for i in one.instruments)),
            "channels": sorted({channel for one in its for channel in one.channels}),
            "shards": 1,
            "redundancy": 1,
        }
    tree["exchanges"] = exchanges
    tree["simulator"]["enabled"] = False
    tree["sources"] = []
    tree["record"] = False
    tree["replay"] = {"files": list(files), "speed": speed}
    if Timeframe.S1 not in config.features.timeframes:
        tree["features"]["timeframes"] = ["1s", *tree["features"]["timeframes"]]
        tree["ranking"]["timeframe"] = "1s"
    return Config.model_validate(tree), min(recording.first_ns for recording in recordings)
