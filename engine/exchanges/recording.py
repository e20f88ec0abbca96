r"""Recordings of raw frames: written byte for byte, read up to any damage.

A recording is gzip. A line is ``<receive time, UTC ns> <frame>`` and ends in ``\n``. A frame that
a line cannot hold as it is (it has a newline, is not UTF-8, or starts with ``base64:``) is written
``<ns> base64:<frame in base64>``. Lines that begin with ``#`` are comments; ours start with one
that holds JSON: ``# {"format":1,"exchange":"binance"}``.

Every flush appends one gzip member, so a kill loses at most what came since the last flush.
"""

from __future__ import annotations

import base64
import gzip
import logging
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from engine.clock import NS_PER_S, Clock
from engine.errors import RecordingError

FORMAT = 1
ROTATE_BYTES = 256 * 1024 * 1024
"""A file that has grown to this is not written further."""
PENDING_BYTES = 64 * 1024 * 1024
"""Frames held in memory, at most, while the disk does not answer."""

_MARK = b"base64:"
_MAGIC = b"\x1f\x8b"
_HOUR_NS = 3600 * NS_PER_S

_LOGGER = logging.getLogger(__name__)


class StampedFrame(NamedTuple):
    """One recorded frame."""

    receive_time: int
    """When it was received, UTC nanoseconds."""
    frame: bytes


class Header(msgspec.Struct):
    """First line of a recording of ours."""

    format: int
    exchange: str


def encode_line(receive_time: int, frame: bytes) -> bytes:
    r"""Return a recording's line.

    Examples
    --------
    >>> encode_line(5, b'{"a":1}')
    b'5 {"a":1}\n'
    >>> encode_line(5, b"a\nb")
    b'5 base64:YQpi\n'
    """
    if frame.startswith(_MARK) or b"\n" in frame or not _is_text(frame):
        frame = _MARK + base64.b64encode(frame)
    return b"%d %b\n" % (receive_time, frame)


def decode_line(line: bytes) -> StampedFrame:
    """Read a recording's line, without its newline.

    Raises
    ------
    ValueError
        Where it has no time, or its base64 is broken.
    """
    stamp, space, frame = line.partition(b" ")
    if not space or not stamp.isdigit():
        raise ValueError("it does not begin with a time in nanoseconds and a space")
    if frame.startswith(_MARK):
        frame = base64.b64decode(frame[len(_MARK) :], validate=True)
    return StampedFrame(int(stamp), frame)


def _is_text(frame: bytes) -> bool:
    try:
        frame.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class Recorder:
    """Writes frames of one connection; a new file every hour and every 256 MiB.

    `record` only remembers; `flush` compresses and writes, and may run in another thread.
    File names are ``EXCHANGE_YYYYMMDDTHHMMSSZ_N.gz``; two recorders never share a file.

    Parameters
    ----------
    directory
        Made if it does not exist.
    exchange
        Name of the venue, kept in every file's first line.
    clock
        Names the files and ends the hours.
    rotate_bytes
        Compressed size at which a new file begins.
    """

    def __init__(
        self, directory: Path, exchange: str, clock: Clock, rotate_bytes: int = ROTATE_BYTES
    ) -> None:
        self._directory = Path(directory)
        self._exchange = exchange
        self._clock = clock
        self._rotate_bytes = rotate_bytes
        self._lines: list[bytes] = []
        self._pending = 0
        self._file: BinaryIO | None = None
        self._hour = -1
        self.dropped = 0
        """Frames that were lost because writing failed or could not keep up."""

    def record(self, receive_time: int, frame: bytes) -> None:
        """Remember a frame for the next `flush`."""
        if self._pending > PENDING_BYTES:
            self.dropped += 1
            return
        line = encode_line(receive_time, frame)
        self._lines.append(line)
        self._pending += len(line)

    def flush(self) -> None:
        """Write what was remembered.

        Raises
        ------
        RecordingError
            Where the disk refuses; those frames are lost from the recording.
        """
        lines, self._lines, self._pending = self._lines, [], 0
        if not lines:
            return
        try:
            file = self._current()
            file.write(gzip.compress(b"".join(lines), compresslevel=6))
            file.flush()
        except OSError as error:
            self.dropped += len(lines)
            raise RecordingError(
                f"recording below {self._directory} cannot be written: {error}; "
                "free space or allow writing there, or set record: false"
            ) from error

    def close(self) -> None:
        """Write the rest and close the file; nothing is left to do if that was done."""
        try:
            self.flush()
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _current(self) -> BinaryIO:
        now = self._clock.now_ns()
        hour = now // _HOUR_NS
        if self._file is not None and (
            hour != self._hour or self._file.tell() >= self._rotate_bytes
        ):
            self._file.close()
            self._file = None
        if self._file is None:
            self._file = self._create(now)
            self._hour = hour
        return self._file

    def _create(self, now: int) -> BinaryIO:
        self._directory.mkdir(parents=True, exist_ok=True)
        stamp = datetime.fromtimestamp(now // NS_PER_S, UTC).strftime("%Y%m%dT%H%M%SZ")
        number = 0
        while True:
            path = self._directory / f"{self._exchange}_{stamp}_{number}.gz"
            try:
                file = path.open("xb")
            except FileExistsError:
                number += 1
                continue
            header = b"# %b\n" % msgspec.json.encode(Header(FORMAT, self._exchange))
            file.write(gzip.compress(header))
            return file


def read_header(path: Path) -> Header | None:
    """Return a recording's first line where it is one of ours, None where it has none.

    Raises
    ------
    RecordingError
        Where the file cannot be read or is of a newer format.
    """
    first = next(_lines(path), b"")
    if not first.startswith(b"#"):
        return None
    try:
        header = msgspec.json.decode(first[1:], type=Header)
    except msgspec.DecodeError:
        return None
    if header.format != FORMAT:
        raise RecordingError(
            f"recording {path} is of format {header.format}; this engine reads {FORMAT}"
        )
    return header


def read_frames(path: Path) -> Iterator[StampedFrame]:
    """Yield a recording's frames in the file's order, up to its end or to damage.

    Damage (a truncated or broken gzip stream, as a kill leaves it) ends the frames with a
    warning in the log.

    Raises
    ------
    RecordingError
        Where the file cannot be read, or a line is not of the format; it names the line.
    """
    for number, line in enumerate(_lines(path), 1):
        if line.startswith(b"#"):
            continue
        try:
            yield decode_line(line)
        except ValueError as error:
            raise RecordingError(
                f"{path}, line {number}: {error}; a line is '<nanoseconds> <frame>'"
            ) from None


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as probe:
            packed = probe.read(2) == _MAGIC
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            yield from _undamaged(path, file)
    except OSError as error:
        raise RecordingError(f"recording {path} cannot be read: {error}") from error


def _undamaged(path: Path, file: gzip.GzipFile | BinaryIO) -> Iterator[bytes]:
    while True:
        try:
            line = file.readline()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            _LOGGER.warning("recording %s is damaged (%s): read up to there", path, error)
            return
        if not line:
            return
        yield line.removesuffix(b"\n")
