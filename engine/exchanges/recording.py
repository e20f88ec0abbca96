r"""Recordings of raw frames: written byte for byte, read up to any damage.

A recording is gzip; its lines are described in `engine.exchanges.record_lines`. Lines that begin
with ``#`` are comments; ours start with one that holds JSON::

    # {"format":2,"exchange":"okx","instruments":["BTC-USDT-PERP"],
       "contract_sizes":{"BTC-USDT-PERP":0.01}}

(on one line). Format 1 had neither answers to REST requests nor the last two keys; it is still
read. Every flush appends one gzip member, so a kill loses at most what came since the last flush.
"""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from engine.clock import NS_PER_S, Clock
from engine.errors import RecordingError
from engine.exchanges.base import RestRequest
from engine.exchanges.record_lines import (
    Stamped,
    StampedAnswer,
    StampedFrame,
    decode_line,
    encode_answer,
    encode_line,
    target_of,
)
from engine.metrics import ERRORS

__all__ = [
    "FORMAT",
    "Header",
    "Recorder",
    "Stamped",
    "StampedAnswer",
    "StampedFrame",
    "decode_line",
    "encode_line",
    "read_answers",
    "read_frames",
    "read_header",
    "read_recording",
]

FORMAT = 2
ROTATE_BYTES = 256 * 1024 * 1024
"""A file that has grown to this is not written further."""
PENDING_BYTES = 64 * 1024 * 1024
"""Frames held in memory, at most, while the disk does not answer."""

_MAGIC = b"\x1f\x8b"
_HOUR_NS = 3600 * NS_PER_S

_LOGGER = logging.getLogger(__name__)


class Header(msgspec.Struct):
    """First line of a recording of ours."""

    format: int
    exchange: str
    instruments: list[str] = []
    """What was subscribed to; empty where the recorder did not know."""
    contract_sizes: dict[str, float] = {}
    """Instrument -> base currency in one unit of the venue's amounts, where that is not 1."""


class Recorder:
    """Writes frames of one connection; a new file every hour and every 256 MiB.

    `record` and `record_answer` only remember; `flush` compresses and writes, and may run in
    another thread.
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
    instruments
        What is subscribed to, kept in every file's first line.
    contract_sizes
        The adapter's; those of `instruments` are kept in the first line of every file begun
        after they are known.
    """

    def __init__(
        self,
        directory: Path,
        exchange: str,
        clock: Clock,
        rotate_bytes: int = ROTATE_BYTES,
        *,
        instruments: Iterable[str] = (),
        contract_sizes: Mapping[str, float] | None = None,
    ) -> None:
        self._directory = Path(directory)
        self._exchange = exchange
        self._clock = clock
        self._rotate_bytes = rotate_bytes
        self._instruments = sorted(instruments)
        self._contract_sizes = {} if contract_sizes is None else contract_sizes
        self._lines: list[bytes] = []
        self._pending = 0
        self._file: BinaryIO | None = None
        self._hour = -1
        self.dropped = 0
        """Frames that were lost because writing failed or could not keep up."""
        self.paths: list[Path] = []
        """The files begun so far."""

    def record(self, receive_time: int, frame: bytes) -> None:
        """Remember a frame for the next `flush`."""
        self._remember(encode_line(receive_time, frame))

    def record_answer(self, receive_time: int, request: RestRequest, body: bytes) -> None:
        """Remember what a REST request of the stream was answered, such as a book's snapshot.

        Parameters
        ----------
        receive_time
            When the answer came, UTC nanoseconds.
        request
            What was asked.
        body
            The answer.
        """
        self._remember(encode_answer(receive_time, target_of(request), body))

    def _remember(self, line: bytes) -> None:
        if self._pending > PENDING_BYTES:
            self._drop(1)
            return
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
            self._drop(len(lines))
            raise RecordingError(
                f"recording below {self._directory} cannot be written: {error}; "
                "free space or allow writing there, or set record: false"
            ) from error

    def _drop(self, frames: int) -> None:
        self.dropped += frames
        ERRORS.labels("recording", "dropped").inc(frames)

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
            file.write(gzip.compress(b"# %b\n" % msgspec.json.encode(self._header())))
            self.paths.append(path)
            return file

    def _header(self) -> Header:
        mine = self._instruments or self._contract_sizes
        sizes = {name: size for name, size in self._contract_sizes.items() if name in mine}
        return Header(FORMAT, self._exchange, self._instruments, sizes)


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
    if not 1 <= header.format <= FORMAT:
        raise RecordingError(
            f"recording {path} is of format {header.format}; this engine reads 1 to {FORMAT}"
        )
    return header


def read_recording(path: Path) -> Iterator[Stamped]:
    """Yield a recording's frames and answers in the file's order, up to its end or to damage.

    Damage (a truncated or broken gzip stream, as a kill leaves it) ends them with a warning in
    the log.

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


def read_frames(path: Path) -> Iterator[StampedFrame]:
    """Yield a recording's frames alone; see `read_recording`."""
    for stamped in read_recording(path):
        if isinstance(stamped, StampedFrame):
            yield stamped


def read_answers(path: Path) -> Iterator[StampedAnswer]:
    """Yield a recording's answers to REST requests alone; see `read_recording`."""
    for stamped in read_recording(path):
        if isinstance(stamped, StampedAnswer):
            yield stamped


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
