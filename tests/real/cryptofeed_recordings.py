"""Reads the raw recordings that cryptofeed wrote: one file a WebSocket, one for its REST answers.

A WebSocket's file (``EX.ws.N.0``) has a line an event, times in seconds::

    wss://host/path <-> 1618677816.84            connected
    wss://host/path <- 1618677817.02: {...}      sent by us
    1618677817.05: {...}                         received

A REST file (``EX.http.0.0``, and ``EX.0``, which ends in a line with what was asked for) has::

    https://host/path?query -> 1633998511.13: {...}
    configuration: {...}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

Direction = Literal["connected", "sent", "received"]

_EVENT = re.compile(
    rb"(?:(?P<url>\S+) (?P<arrow><->|<-) )?(?P<seconds>\d+)(?:\.(?P<fraction>\d{1,9})\d*)?"
    rb"(?:: (?P<payload>.*))?$",
    re.DOTALL,
)
_ANSWER = re.compile(
    rb"(?P<url>https?://\S+) -> (?P<seconds>\d+)(?:\.(?P<fraction>\d{1,9})\d*)?: (?P<body>.*)$",
    re.DOTALL,
)
_DIRECTIONS: dict[bytes | None, Direction] = {None: "received", b"<-": "sent", b"<->": "connected"}


class SocketEvent(NamedTuple):
    """One line of a WebSocket's recording."""

    connection: str
    """Address, as of the last line that named it."""
    direction: Direction
    time_ns: int
    payload: bytes
    """The message; empty where the line says "connected"."""


class RestAnswer(NamedTuple):
    """One REST request of a recording and its answer."""

    url: str
    time_ns: int
    body: bytes


def _nanoseconds(match: re.Match[bytes]) -> int:
    """Return the line's time without a detour over floats, which cannot hold it."""
    return int(match["seconds"] + (match["fraction"] or b"").ljust(9, b"0"))


def read_socket(path: Path) -> Iterator[SocketEvent]:
    """Yield the events of a WebSocket's recording, in order.

    Raises
    ------
    ValueError
        Where a line is of none of the three forms.
    """
    connection = ""
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line:
            continue
        match = _EVENT.match(line)
        if match is None:
            raise ValueError(f"{path.name}:{number} is no event of a socket: {line[:80]!r}")
        if match["url"] is not None:
            connection = match["url"].decode()
        direction = _DIRECTIONS[match["arrow"]]
        yield SocketEvent(connection, direction, _nanoseconds(match), match["payload"] or b"")


def read_received(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield only what a socket received, as (time in ns, message)."""
    for event in read_socket(path):
        if event.direction == "received":
            yield event.time_ns, event.payload


def read_answers(path: Path) -> Iterator[RestAnswer]:
    """Yield the REST answers of an ``EX.http.0.0`` or ``EX.0`` file, in order.

    Raises
    ------
    ValueError
        Where a line is neither an answer nor the configuration.
    """
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line or line.startswith(b"configuration: "):
            continue
        match = _ANSWER.match(line)
        if match is None:
            raise ValueError(f"{path.name}:{number} is no REST answer: {line[:80]!r}")
        yield RestAnswer(match["url"].decode(), _nanoseconds(match), match["body"])
