"""Time, injected.

All times inside the engine are UTC nanoseconds since 1970 as ``int``; a clock is passed
in wherever "now" is needed, so a replay or a test decides what time it is.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

SKEW_NS = 10 * NS_PER_S
"""How far a venue's clock may run ahead of ours."""


class Clock(Protocol):
    """Something that knows what time it is."""

    def now_ns(self) -> int:
        """Return UTC nanoseconds since 1970."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        """Return UTC nanoseconds since 1970."""
        return time.time_ns()


class DataClock:
    """A clock that the data moves: a replay's clock, and a test's.

    It never runs backwards: advancing to an earlier time leaves it where it is.

    Parameters
    ----------
    start_ns
        Where it stands at first, UTC nanoseconds.

    Examples
    --------
    >>> clock = DataClock(5)
    >>> clock.advance(9)
    >>> clock.advance(7)
    >>> clock.now_ns()
    9
    """

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Return the latest time it was advanced to."""
        return self._now_ns

    def advance(self, to_ns: int) -> None:
        """Move to `to_ns` unless that lies in the past."""
        self._now_ns = max(self._now_ns, to_ns)


def iso_utc(time_ns: int) -> str:
    """Format nanoseconds as ISO-8601 UTC with microseconds.

    Examples
    --------
    >>> iso_utc(1_723_161_255_342_000_000)
    '2024-08-08T23:54:15.342000Z'
    """
    seconds, rest = divmod(time_ns, NS_PER_S)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def parse_iso_utc(text: str) -> int:
    """Read an ISO-8601 time with a zone into UTC nanoseconds, exactly.

    Digits past the nanosecond are cut. A time without a zone is refused: it would mean
    something else on every machine.

    Raises
    ------
    ValueError
        Where `text` is no ISO-8601 time or has no zone.

    Examples
    --------
    >>> parse_iso_utc("2024-08-08T23:54:15.342Z")
    1723161255342000000
    """
    whole, dot, tail = text.partition(".")
    if not dot:
        moment = datetime.fromisoformat(text)
        fraction = ""
    else:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        fraction, zone = tail[:digits], tail[digits:]
        if not fraction:
            raise ValueError(f"no digits after the point in {text!r}")
        moment = datetime.fromisoformat(whole + zone)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no zone; write it with Z or an offset")
    return int(moment.timestamp()) * NS_PER_S + int(fraction[:9].ljust(9, "0") or 0)
