r"""A recording's lines, and the messages of a replay: what one holds, there and back.

A line is ``<receive time, UTC ns> <frame>``. A frame that a line cannot hold as it is (it has a
newline, is not UTF-8, or begins with ``base64:`` or ``rest:``) is written
``<ns> base64:<frame in base64>``. What a REST request was answered is ``<ns> rest:<path?query>
<body>``, the body in base64 likewise where it must be. Every line ends in ``\n``.

A message of a replay is 8 bytes of receive time (big-endian nanoseconds) and the frame. An answer
has the highest bit of the time set, and after it its path and query, a space, and the body.
"""

from __future__ import annotations

import base64
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from engine.exchanges.base import RestRequest
from engine.exchanges.wire import STAMP_BYTES

ANSWER_BIT = 1 << 63
"""In a replayed message's time: what follows is a REST answer, no frame."""

_BASE64 = b"base64:"
_REST = b"rest:"


class StampedFrame(NamedTuple):
    """One recorded frame."""

    receive_time: int
    """When it was received, UTC nanoseconds."""
    frame: bytes


class StampedAnswer(NamedTuple):
    """One recorded answer to a REST request."""

    receive_time: int
    """When it came, UTC nanoseconds."""
    target: str
    """Path and query asked for, as `target_of` writes them."""
    body: bytes


Stamped = StampedFrame | StampedAnswer


def target_of(request: RestRequest) -> str:
    """Return a request's path and query: the name of its answers in a recording.

    Examples
    --------
    >>> target_of(RestRequest("/api/v3/depth", (("symbol", "BTCUSDT"), ("limit", "5"))))
    '/api/v3/depth?symbol=BTCUSDT&limit=5'
    """
    return request.path + (f"?{urlencode(request.params)}" if request.params else "")


def same_target(target: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return what two spellings of one path and query share, whatever was escaped in them.

    Examples
    --------
    >>> same_target("/0/Depth?pair=XBT%2FUSD") == same_target("/0/Depth?pair=XBT/USD")
    True
    """
    parts = urlsplit(target)
    return parts.path, tuple(parse_qsl(parts.query, keep_blank_values=True))


def encode_line(receive_time: int, frame: bytes) -> bytes:
    r"""Return a frame's line.

    Examples
    --------
    >>> encode_line(5, b'{"a":1}')
    b'5 {"a":1}\n'
    >>> encode_line(5, b"a\nb")
    b'5 base64:YQpi\n'
    """
    return b"%d %b\n" % (receive_time, _in_a_line(frame))


def encode_answer(receive_time: int, target: str, body: bytes) -> bytes:
    r"""Return an answer's line.

    Examples
    --------
    >>> encode_answer(5, "/depth?limit=5", b"{}")
    b'5 rest:/depth?limit=5 {}\n'
    """
    return b"%d rest:%b %b\n" % (receive_time, _named(target), _in_a_line(body))


def decode_line(line: bytes) -> Stamped:
    """Read a line, without its newline.

    Raises
    ------
    ValueError
        Where it has no time, its base64 is broken, or an answer has no path.
    """
    stamp, space, rest = line.partition(b" ")
    if not space or not stamp.isdigit():
        raise ValueError("it does not begin with a time in nanoseconds and a space")
    if not rest.startswith(_REST):
        return StampedFrame(int(stamp), _out_of_a_line(rest))
    target, space, body = rest[len(_REST) :].partition(b" ")
    if not space or not target.startswith(b"/"):
        raise ValueError("a REST answer needs a path, a space and the body after rest:")
    return StampedAnswer(int(stamp), target.decode(), _out_of_a_line(body))


def pack(stamped: Stamped) -> bytes:
    """Return a replay's message."""
    if isinstance(stamped, StampedFrame):
        return stamped.receive_time.to_bytes(STAMP_BYTES, "big") + stamped.frame
    stamp = (stamped.receive_time | ANSWER_BIT).to_bytes(STAMP_BYTES, "big")
    return stamp + _named(stamped.target) + b" " + stamped.body


def unpack(message: bytes) -> Stamped:
    """Read a replay's message.

    Examples
    --------
    >>> unpack(pack(StampedFrame(5, b"{}")))
    StampedFrame(receive_time=5, frame=b'{}')
    >>> unpack(pack(StampedAnswer(5, "/depth", b"{}")))
    StampedAnswer(receive_time=5, target='/depth', body=b'{}')
    """
    time, rest = int.from_bytes(message[:STAMP_BYTES], "big"), message[STAMP_BYTES:]
    if not time & ANSWER_BIT:
        return StampedFrame(time, rest)
    target, _, body = rest.partition(b" ")
    return StampedAnswer(time ^ ANSWER_BIT, target.decode(), body)


def _named(target: str) -> bytes:
    """Return a target's bytes; one with a space or newline would end too early."""
    if not target.startswith("/") or any(letter.isspace() for letter in target):
        raise ValueError(f"{target!r} is no path and query: it must begin with / and hold no space")
    return target.encode()


def _in_a_line(content: bytes) -> bytes:
    if content.startswith((_BASE64, _REST)) or b"\n" in content or not _is_text(content):
        return _BASE64 + base64.b64encode(content)
    return content


def _out_of_a_line(content: bytes) -> bytes:
    if content.startswith(_BASE64):
        return base64.b64decode(content[len(_BASE64) :], validate=True)
    return content


def _is_text(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
