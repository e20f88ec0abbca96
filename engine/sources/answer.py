"""What a server sent, and what it says of itself: its words, its limits, its validators."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import httpx
import msgspec

from engine.clock import NS_PER_S
from engine.errors import SourceError

NOT_MODIFIED = 304
_LEAST_MOMENT_S = 1e9
"""Above it, the end of a period is a moment and not a number of seconds."""


class Answer(NamedTuple):
    """What a server sent."""

    status: int
    """200, or 304 where validators were sent and nothing changed."""
    content: bytes
    headers: httpx.Headers


class Refused(SourceError):
    """A server answered with an error that waiting does not mend.

    Parameters
    ----------
    message
        The sentence.
    status
        The HTTP status.
    content
        The answer's body.
    """

    def __init__(self, message: str, status: int = 0, content: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.content = content


def validators(answer: Answer) -> dict[str, str]:
    """Return the headers that ask for a document only if it changed since this answer."""
    pairs = (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified"))
    return {ours: answer.headers[theirs] for ours, theirs in pairs if theirs in answer.headers}


def asked_pause_s(answer: Answer, now_ns: int) -> float:
    """Return the pause that a server asks for, seconds; 0 where it asks for none.

    Parameters
    ----------
    answer
        Any answer: ``Retry-After`` counts on errors, ``X-Ratelimit-Remaining`` below 1 always.
    now_ns
        What time it is, where it names a moment.
    """
    pause = 0.0
    if answer.status not in (httpx.codes.OK, NOT_MODIFIED):
        pause = _retry_after_s(answer.headers.get("retry-after", "").strip(), now_ns)
    left = _number(answer.headers.get("x-ratelimit-remaining"))
    if left is not None and left < 1:
        reset = _number(answer.headers.get("x-ratelimit-reset")) or 0.0
        pause = max(pause, reset if reset < _LEAST_MOMENT_S else reset - now_ns / NS_PER_S)
    return pause


def _retry_after_s(text: str, now_ns: int) -> float:
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds or 0.0
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except ValueError:
        return 0.0
    return max(0.0, moment - now_ns / NS_PER_S)


def public_address(url: str) -> str:
    """Return an address without what may be secret in it: user, password, query."""
    try:
        whole = httpx.URL(url)
        return str(whole.copy_with(userinfo=b"", query=None, fragment=None))
    except httpx.InvalidURL:
        return re.sub(r"//[^/]*@", "//", url.partition("?")[0])


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def server_words(content: bytes) -> str:
    """Return the message in an error's JSON, as the APIs here spell it; empty without one."""
    try:
        found: Any = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return ""
    for keys in (
        ("message",), ("info",), ("detail",), ("status", "error_message"), ("error", "message"),
        ("error",),
    ):  # fmt: skip
        value = found
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str):
            return " ".join(value.split())[:200]
    return ""
