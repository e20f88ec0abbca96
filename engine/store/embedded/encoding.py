"""HTTP content encodings, chunk by chunk: gzip, deflate, zstd and lz4, both ways."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import lz4.frame
import zstandard

from engine.store.embedded.failure import INCORRECT_DATA, NOT_IMPLEMENTED, refusal

_MAX_WINDOW_BITS = 31


class Decoder(Protocol):
    """Turns received bytes into plain ones."""

    def feed(self, data: bytes) -> bytes:
        """Return what `data` adds; it may end in the middle of anything."""
        ...

    def finish(self) -> None:
        """Raise `DatabaseFailure` where the data stopped too early."""
        ...


class Encoder(Protocol):
    """Turns plain bytes into those sent."""

    def compress(self, data: bytes) -> bytes:
        """Return what can be sent so far."""
        ...

    def flush(self) -> bytes:
        """Return the rest."""
        ...


class Plain:
    """No encoding at all."""

    def feed(self, data: bytes) -> bytes:
        """Return `data`."""
        return data

    def finish(self) -> None:
        """Do nothing: plain data may end anywhere."""

    def compress(self, data: bytes) -> bytes:
        """Return `data`."""
        return data

    def flush(self) -> bytes:
        """Return nothing."""
        return b""


class _FrameDecoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class FramedDecoder:
    """Decodes any number of compressed frames in a row.

    Parameters
    ----------
    name
        The encoding's name, for messages.
    make
        Makes the decoder of one frame.
    """

    def __init__(self, name: str, make: Callable[[], _FrameDecoder]) -> None:
        self._name = name
        self._make = make
        self._frame = make()
        self._inside = False

    def feed(self, data: bytes) -> bytes:
        """Return what `data` adds."""
        parts = []
        try:
            while data:
                parts.append(self._frame.decompress(data))
                self._inside = not self._frame.eof
                data = b""
                if self._frame.eof:
                    data = self._frame.unused_data or b""
                    self._frame = self._make()
        except (zlib.error, zstandard.ZstdError, RuntimeError, EOFError) as error:
            raise refusal(
                INCORRECT_DATA, "INCORRECT_DATA", f"the body is not {self._name}: {error}"
            ) from None
        return b"".join(parts)

    def finish(self) -> None:
        """Raise where the last frame is not whole."""
        if self._inside:
            raise refusal(
                INCORRECT_DATA, "INCORRECT_DATA", f"the {self._name} body ends in mid-frame"
            )


_DECODERS: dict[str, Callable[[], _FrameDecoder]] = {
    "gzip": lambda: zlib.decompressobj(_MAX_WINDOW_BITS),
    "deflate": zlib.decompressobj,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "lz4": lz4.frame.LZ4FrameDecompressor,
}


class _Lz4Encoder:
    """An lz4 frame whose header is sent with the first data."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def compress(self, data: bytes) -> bytes:
        header = b"" if self._begun else bytes(self._frame.begin())
        self._begun = True
        return header + bytes(self._frame.compress(data))

    def flush(self) -> bytes:
        header = b"" if self._begun else bytes(self._frame.begin())
        self._begun = True
        return header + bytes(self._frame.flush())


_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "zstd": lambda: zstandard.ZstdCompressor(level=1).compressobj(),
    "lz4": _Lz4Encoder,
    "gzip": lambda: zlib.compressobj(1, zlib.DEFLATED, _MAX_WINDOW_BITS),
    "deflate": lambda: zlib.compressobj(1),
}


def decoder(content_encoding: str) -> Decoder:
    """Return the decoder that a ``Content-Encoding`` header asks for.

    Raises
    ------
    DatabaseFailure
        Where the encoding is none of gzip, deflate, zstd, lz4.
    """
    name = content_encoding.strip().lower()
    if name in ("", "identity"):
        return Plain()
    if name not in _DECODERS:
        known = ", ".join(sorted(_DECODERS))
        raise refusal(
            NOT_IMPLEMENTED, "NOT_IMPLEMENTED", f"Content-Encoding {name!r}; known: {known}"
        )
    return FramedDecoder(name, _DECODERS[name])


def encoder(accept_encoding: str) -> tuple[str, Encoder]:
    """Return the first encoding that the client accepts and we know, with its encoder.

    The name is empty where none fits: the answer goes plain.
    """
    for offer in accept_encoding.split(","):
        name, _, quality = offer.strip().lower().partition(";")
        if name.strip() in _ENCODERS and quality.replace(" ", "") not in ("q=0", "q=0.0"):
            return name.strip(), _ENCODERS[name.strip()]()
    return "", Plain()
