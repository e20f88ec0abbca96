"""Times and durations as people write them."""

from __future__ import annotations

import re

from engine.clock import NS_PER_S, parse_iso_utc
from engine.errors import ConfigError

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def parse_moment(text: str, option: str) -> int:
    """Read a day (its begin, UTC) or an ISO-8601 time with zone into UTC nanoseconds.

    Parameters
    ----------
    text
        Such as ``2026-11-01`` or ``2026-11-01T12:00:00Z``.
    option
        Where it was given, for the message.

    Raises
    ------
    ConfigError
        Where it is neither.

    Examples
    --------
    >>> parse_moment("1970-01-02", "--from")
    86400000000000
    """
    try:
        moment = parse_iso_utc(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text)
    except ValueError:
        moment = -1
    if not 0 <= moment < 2**63:
        raise ConfigError(
            f"{option} {text!r} is no time; write a day (2026-11-01) or a time with its zone "
            "(2026-11-01T12:00:00Z)"
        )
    return moment


def parse_duration_s(text: str, option: str) -> float:
    """Read ``90s``, ``10m``, ``2h`` or ``1d`` into seconds.

    Raises
    ------
    ConfigError
        Where it is none of these, or zero.

    Examples
    --------
    >>> parse_duration_s("1.5h", "--for")
    5400.0
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS_S[match[2]] if match else 0.0
    if seconds <= 0:
        raise ConfigError(f"{option} {text!r} is no duration; write 90s, 10m, 2h or 1d")
    return seconds


def in_ns(seconds: float) -> int:
    """Return seconds as whole nanoseconds."""
    return round(seconds * NS_PER_S)
