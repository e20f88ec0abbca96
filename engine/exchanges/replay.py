"""Recorded frames as a venue: a WebSocket server on loopback that says again what was said.

``GET ws://HOST:PORT/EXCHANGE?from=N`` sends the frames of all of the exchange's recordings, merged
by receive time, from number N on. A message is 8 bytes of receive time (big-endian nanoseconds)
and the frame. After the last the server closes with 1000 and `END_OF_RECORDING`. Whoever loses
the connection asks again from the number of frames that it has: the server keeps nothing, so
frames in flight are sent anew and none is lost or doubled.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from engine.clock import NS_PER_S
from engine.domain.market import Heartbeat
from engine.errors import FrameError, RecordingError, VenueError
from engine.exchanges.recording import StampedFrame, read_frames, read_header
from engine.exchanges.registry import EXCHANGES, exchange
from engine.exchanges.wire import END_OF_RECORDING, STAMP_BYTES

PROBE_FRAMES = 200
"""Frames by which a recording without a header is recognised."""
_CHUNK_FRAMES = 500


@dataclass(frozen=True, slots=True)
class Recording:
    """What one file holds."""

    path: Path
    exchange: str
    instruments: tuple[str, ...]
    """With at least one event, in order of their names."""
    first_ns: int
    """Smallest receive time, UTC nanoseconds."""
    last_ns: int
    """Largest receive time."""
    frames: int


@dataclass(slots=True)
class Progress:
    """How far the replay of one exchange has come."""

    frames: int
    """Frames of all its recordings."""
    sent: int = 0
    """Frames sent up to the furthest that any client was sent."""
    time_ns: int | None = None
    """Receive time of that frame."""


def inspect_recordings(paths: Iterable[Path]) -> list[Recording]:
    """Read recordings through and say what they hold.

    Parameters
    ----------
    paths
        Files, and folders whose ``*.gz`` files are taken.

    Returns
    -------
    list of Recording
        By path. A file without a frame (a recorder that was killed at once leaves one) is passed
        over where others hold some.

    Raises
    ------
    RecordingError
        Where a path does not exist, a folder has no recordings, a file is malformed, empty or
        of no known exchange.
    """
    files = _files(paths)
    for path in files:
        _declared_exchange(path)  # even one without frames must not be somebody else's
    filled = [path for path in files if next(read_frames(path), None) is not None]
    if not filled:
        raise RecordingError(f"recording {files[0]} is empty: there is no frame to replay")
    return [_inspect(path) for path in filled]


def _files(paths: Iterable[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(path.glob("*.gz"))
            if not inside:
                raise RecordingError(f"folder {path} holds no recordings (*.gz)")
            found.update(dict.fromkeys(inside))
        elif path.is_file():
            found[path] = None
        else:
            raise RecordingError(f"recording {path} does not exist; give a file or a folder")
    return sorted(found)


def _inspect(path: Path) -> Recording:
    name = _exchange_of(path)
    adapter = exchange(name, guess_symbols=True)
    instruments: set[str] = set()
    times: list[int] = []
    for receive_time, frame in read_frames(path):
        times.append(receive_time)
        try:
            events = adapter.parse(frame, receive_time)
        except (FrameError, VenueError):
            continue  # the stream that replays it keeps it as a dead letter
        instruments.update(e.instrument for e in events if not isinstance(e, Heartbeat))
    if not instruments:
        raise RecordingError(f"recording {path} holds no trade or quote of {name}")
    return Recording(path, name, tuple(sorted(instruments)), min(times), max(times), len(times))


def _declared_exchange(path: Path) -> str | None:
    """Return the exchange that a recording's first line names, None where it has no such line."""
    header = read_header(path)
    if header is not None and header.exchange not in EXCHANGES:
        raise RecordingError(
            f"recording {path} is of exchange {header.exchange!r}, which has no adapter; "
            f"known are {', '.join(EXCHANGES)}"
        )
    return None if header is None else header.exchange


def _exchange_of(path: Path) -> str:
    declared = _declared_exchange(path)
    if declared is not None:
        return declared
    probe = list(islice(read_frames(path), PROBE_FRAMES))
    score, name = max((_recognised(name, probe), name) for name in EXCHANGES)
    if score == 0:
        raise RecordingError(
            f"recording {path} is of no known exchange ({', '.join(EXCHANGES)}): none of them "
            f"understands any of its first {len(probe)} frames"
        )
    return name


def _recognised(name: str, probe: Sequence[StampedFrame]) -> int:
    adapter = exchange(name, guess_symbols=True)
    score = 0
    for receive_time, frame in probe:
        try:
            events = adapter.parse(frame, receive_time)
        except (FrameError, VenueError):
            continue
        score += any(not isinstance(event, Heartbeat) for event in events)
    return score


class ReplayServer:
    """Serves recordings over real WebSockets on loopback, each exchange under its name.

    Parameters
    ----------
    recordings
        From `inspect_recordings`.
    speed
        Times real time, or ``max``: as fast as the clients take it.

    Examples
    --------
    ::

        server = ReplayServer(inspect_recordings([Path("btcusdt.gz")]), "max")
        urls = await server.start()      # {"binance": "ws://127.0.0.1:40123/binance"}
        loop = StreamLoop(exchange("binance"), urls["binance"], …, stamped=True)
        await loop.run()                 # returns at the end of the recording
        await server.stop()
    """

    def __init__(self, recordings: Sequence[Recording], speed: float | Literal["max"]) -> None:
        self._speed = speed
        self._paths: dict[str, list[Path]] = {}
        self._progress: dict[str, Progress] = {}
        self._server: Server | None = None
        for recording in recordings:
            self._paths.setdefault(recording.exchange, []).append(recording.path)
            progress = self._progress.setdefault(recording.exchange, Progress(0))
            progress.frames += recording.frames

    async def start(self) -> dict[str, str]:
        """Listen on a free loopback port and return exchange -> address."""
        self._server = await serve(
            self._client, "127.0.0.1", 0, compression=None, ping_interval=None, close_timeout=1
        )
        port = next(iter(self._server.sockets)).getsockname()[1]
        return {name: f"ws://127.0.0.1:{port}/{name}" for name in self._paths}

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def progress(self) -> dict[str, Progress]:
        """Return how far each exchange has come."""
        return dict(self._progress)

    async def _client(self, socket: ServerConnection) -> None:
        address = urlsplit(socket.request.path if socket.request else "")
        name = address.path.strip("/")
        if name not in self._paths:
            await socket.close(1008, f"no recording of exchange {name[:40]!r}")
            return
        start = parse_qs(address.query).get("from", ["0"])[0]
        if not start.isdigit():
            await socket.close(1008, "from must be a number of frames")
            return
        try:
            await self._send(socket, name, int(start))
            await socket.close(1000, END_OF_RECORDING)
        except ConnectionClosed:
            return  # it will ask again from where it stopped
        except RecordingError as error:
            await socket.close(1011, str(error)[-100:])

    async def _send(self, socket: ServerConnection, name: str, start: int) -> None:
        frames = islice(_merged(self._paths[name]), start, None)
        progress = self._progress[name]
        pace = _Pace(self._speed)
        number = start
        while chunk := await asyncio.to_thread(_take, frames):
            for receive_time, frame in chunk:
                await pace.wait_for(receive_time)
                await socket.send(receive_time.to_bytes(STAMP_BYTES, "big") + frame)
                number += 1
                if number > progress.sent:
                    progress.sent, progress.time_ns = number, receive_time


class _Pace:
    """Lets each frame go when its time has come, counted from the first."""

    def __init__(self, speed: float | Literal["max"]) -> None:
        self._speed = speed
        self._start: tuple[float, int] | None = None

    async def wait_for(self, receive_time: int) -> None:
        if self._speed == "max":
            return
        now = asyncio.get_running_loop().time()
        if self._start is None:
            self._start = (now, receive_time)
        began, first_ns = self._start
        due = began + (receive_time - first_ns) / NS_PER_S / self._speed
        if due > now:
            await asyncio.sleep(due - now)


def _merged(paths: Sequence[Path]) -> Iterator[StampedFrame]:
    """Yield the frames of all files by receive time; equal times in the order of the files."""
    return heapq.merge(*map(read_frames, paths), key=lambda stamped: stamped.receive_time)


def _take(frames: Iterator[StampedFrame]) -> list[StampedFrame]:
    return list(islice(frames, _CHUNK_FRAMES))
