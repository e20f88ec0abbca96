"""WebSocket frames out of a stream of bytes, at a tenth of what the library's parser costs.

A venue's stream is one whole text message after another. These are cut out right here; every
other frame (ping, close, fragments, anything odd) goes whole to the library, whose parser
therefore always stands between two frames and stays the only one that knows the protocol's rules.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

_WHOLE = (0x81, 0x82)
"""First byte of a whole (FIN) text or binary message without extensions, RFC 6455 section 5.2."""
_TWO_BYTES, _EIGHT_BYTES = 126, 127
"""Lengths that say that the length follows."""

_SHORTEST = 2
_PADDING = bytes(8)
"""Behind the last bytes, so that any head can be read as if it were there whole. What is read
short of bytes is no longer than what it will be, and its frame ends beyond them."""
_head = Struct("!BBH").unpack_from


class FrameSplitter:
    """Cuts what a server sends after the handshake into messages and other frames.

    Parameters
    ----------
    messages
        Takes the payloads of the whole text and binary messages that came together, in order.
    other
        Takes the bytes of every other frame, whole; returns whether messages may still be cut
        out (False in the middle of a fragmented message and after a close frame).
    max_bytes
        A frame that says it is longer, or that it is masked, goes to `other` with all that
        follows, for the library to refuse.

    Examples
    --------
    >>> messages, frames = [], []
    >>> splitter = FrameSplitter(messages.extend, lambda frame: not frames.append(frame), 1000)
    >>> splitter.feed(bytes.fromhex("81026869" "890170" "8103"))
    >>> splitter.feed(b"you")
    >>> messages, [frame.hex() for frame in frames]
    ([b'hi', b'you'], ['890170'])
    """

    def __init__(
        self,
        messages: Callable[[list[bytes]], None],
        other: Callable[[bytes], bool],
        max_bytes: int,
    ) -> None:
        self._messages = messages
        self._other = other
        self._max_bytes = max_bytes
        self._cuts = True
        self._is_over = False
        self._kept = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if self._is_over:
            self._other(data)
            return
        data = self._kept + data if self._kept else data
        heads = data + _PADDING
        start, size, found = 0, len(data), list[bytes]()
        while size - start >= _SHORTEST:
            kind, length, more = _head(heads, start)
            body = start + 2
            if length == _TWO_BYTES:
                body, length = body + 2, more
            elif length == _EIGHT_BYTES:
                body, length = body + 8, int.from_bytes(heads[body : body + 8], "big")
            end = body + length
            if length > self._max_bytes or heads[start + 1] > _EIGHT_BYTES:
                self._is_over = True
                break
            if end > size:
                break
            if kind in _WHOLE and self._cuts:
                found.append(data[body:end])
            else:
                self._hand_on(found)
                self._cuts = self._other(data[start:end])
            start = end
        self._kept = data[start:]
        self._hand_on(found)
        if self._is_over:
            self.end()

    def _hand_on(self, found: list[bytes]) -> None:
        """Give the messages so far, ahead of what comes behind them."""
        if found:
            self._messages(found.copy())
            found.clear()

    def end(self) -> None:
        """Give what is left, if anything, to the library: the stream is over, or broken."""
        rest, self._kept = self._kept, b""
        self._is_over = True
        if rest:
            self._other(rest)
