"""Recorded frames as a venue: a server on loopback that says again what was said.

``GET ws://HOST:PORT/EXCHANGE?from=N`` sends the frames of all of the exchange's recordings, merged
by receive time, from number N on, as `engine.exchanges.record_lines.pack` writes them. After the
last the server closes with 1000 and `END_OF_RECORDING`. Whoever loses the connection asks again
from the number of messages that it has: the server keeps nothing, so frames in flight are sent
anew and none is lost or doubled.

What REST requests were answered is sent too, each at its place between the frames: a client that
takes it from there gets the same book every time, at any speed. Two more parameters:

- ``answers=0``: frames alone.
- ``group=NAME``: only the recordings of that group of instruments (`Exchange.group`).

``GET http://HOST:PORT/EXCHANGE/path?query`` returns what that request was answered: the first time
it is asked, the first answer, and so on in recorded order; behind the last, 404.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from engine.clock import NS_PER_S
from engine.errors import RecordingError
from engine.exchanges.base import Exchange
from engine.exchanges.record_lines import Stamped, StampedFrame, pack, same_target
from engine.exchanges.recorded import Recording, inspect_recordings
from engine.exchanges.recording import read_answers, read_recording
from engine.exchanges.wire import END_OF_RECORDING

__all__ = ["Progress", "Recording", "ReplayServer", "inspect_recordings"]

_CHUNK = 500
"""Lines read from disk at once."""


@dataclass(slots=True)
class Progress:
    """How far the replay of one exchange has come."""

    frames: int
    """Frames of all its recordings."""
    sent: int = 0
    """Frames sent up to the furthest that any client was sent."""
    time_ns: int | None = None
    """Receive time of that frame."""


class _Script:
    """What is said again of one exchange.

    Parameters
    ----------
    recordings
        All of the exchange and of one dialect.
    """

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self.recordings = list(recordings)
        self.progress = Progress(sum(recording.frames for recording in recordings))
        self._answers: dict[object, deque[bytes]] | None = None
        self._reading = asyncio.Lock()

    def lines(self, group: str | None) -> Iterator[Stamped]:
        """Yield frames and answers by receive time; equal times in the order of the files."""
        paths = [
            recording.path
            for recording in self.recordings
            if group is None or group in recording.groups
        ]
        return heapq.merge(*map(read_recording, paths), key=lambda stamped: stamped.receive_time)

    async def answer(self, target: str) -> bytes | None:
        """Return the next recorded answer to a request, None behind the last."""
        async with self._reading:
            if self._answers is None:
                self._answers = await asyncio.to_thread(self._read_answers)
        waiting = self._answers.get(same_target(target))
        return waiting.popleft() if waiting else None

    def _read_answers(self) -> dict[object, deque[bytes]]:
        files = (read_answers(recording.path) for recording in self.recordings if recording.answers)
        found: dict[object, deque[bytes]] = {}
        for answer in heapq.merge(*files, key=lambda stamped: stamped.receive_time):
            found.setdefault(same_target(answer.target), deque()).append(answer.body)
        return found


class ReplayServer:
    """Serves recordings over real WebSockets and HTTP on loopback, each exchange under its name.

    Parameters
    ----------
    recordings
        From `inspect_recordings`.
    speed
        Times real time, or ``max``: as fast as the clients take it.

    Raises
    ------
    RecordingError
        Where an exchange has recordings of several dialects: no adapter understands both.

    Examples
    --------
    ::

        server = ReplayServer(inspect_recordings([Path("btcusdt.gz")]), "max")
        urls = await server.start()      # {"binance": "ws://127.0.0.1:40123/binance"}
        loop = StreamLoop(server.adapter("binance"), urls["binance"], …, stamped=True)
        await loop.run()                 # returns at the end of the recording
        await server.stop()
    """

    def __init__(self, recordings: Sequence[Recording], speed: float | Literal["max"]) -> None:
        self._speed = speed
        self._server: Server | None = None
        self._scripts: dict[str, _Script] = {}
        for name in dict.fromkeys(recording.exchange for recording in recordings):
            its = [recording for recording in recordings if recording.exchange == name]
            _check_dialect(its)
            self._scripts[name] = _Script(its)

    async def start(self) -> dict[str, str]:
        """Listen on a free loopback port and return exchange -> WebSocket address.

        REST answers lie below the same address with ``http`` for ``ws``.
        """
        self._server = await serve(
            self._client,
            "127.0.0.1",
            0,
            compression=None,
            ping_interval=None,
            close_timeout=1,
            process_request=self._answer,
        )
        port = next(iter(self._server.sockets)).getsockname()[1]
        return {name: f"ws://127.0.0.1:{port}/{name}" for name in self._scripts}

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def adapter(self, name: str) -> Exchange:
        """Return a new adapter that understands an exchange's recordings.

        It is told of their instruments and contract sizes, and names further symbols by their
        spelling.
        """
        recordings = self._scripts[name].recordings
        adapter = recordings[0].reader()
        for recording in recordings:
            adapter.contract_sizes.update(recording.contract_sizes)
        return adapter

    def progress(self) -> dict[str, Progress]:
        """Return how far each exchange has come."""
        return {name: script.progress for name, script in self._scripts.items()}

    # -- HTTP ----------------------------------------------------------------------------

    async def _answer(self, socket: ServerConnection, request: Request) -> Response | None:
        """Answer a plain HTTP request; None lets a WebSocket open."""
        if "Upgrade" in request.headers:
            return None
        name, slash, rest = request.path.lstrip("/").partition("/")
        script = self._scripts.get(name)
        body = None
        if script is not None:
            try:
                body = await script.answer(slash + rest)
            except RecordingError as error:
                return socket.respond(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error}\n")
        if body is None:
            problem = f"the recording holds no further answer to {request.path[:200]}\n"
            return socket.respond(HTTPStatus.NOT_FOUND, problem)
        headers = Headers(
            {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "Connection": "close",
            }
        )
        return Response(HTTPStatus.OK.value, HTTPStatus.OK.phrase, headers, body)

    # -- WebSockets ----------------------------------------------------------------------

    async def _client(self, socket: ServerConnection) -> None:
        address = urlsplit(socket.request.path if socket.request else "")
        name = address.path.strip("/")
        script = self._scripts.get(name)
        if script is None:
            await socket.close(1008, f"no recording of exchange {name[:40]!r}")
            return
        asked = {key: values[0] for key, values in parse_qs(address.query).items()}
        start = asked.get("from", "0")
        if not start.isdigit():
            await socket.close(1008, "from must be a number of messages")
            return
        lines = script.lines(asked.get("group"))
        if asked.get("answers") == "0":
            lines = (line for line in lines if isinstance(line, StampedFrame))
        try:
            await self._send(socket, script.progress, lines, int(start))
            await socket.close(1000, END_OF_RECORDING)
        except ConnectionClosed:
            return  # it will ask again from where it stopped
        except RecordingError as error:
            await socket.close(1011, str(error)[-100:])

    async def _send(
        self, socket: ServerConnection, progress: Progress, lines: Iterator[Stamped], start: int
    ) -> None:
        pace = _Pace(self._speed)
        number = frames = 0
        while chunk := await asyncio.to_thread(_take, lines):
            for stamped in chunk:
                if number >= start:
                    await pace.wait_for(stamped.receive_time)
                    await socket.send(pack(stamped))
                number += 1
                frames += isinstance(stamped, StampedFrame)
                if frames > progress.sent and number > start:
                    progress.sent, progress.time_ns = frames, stamped.receive_time


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


def _check_dialect(recordings: Sequence[Recording]) -> None:
    """Refuse recordings that no single adapter understands."""
    first = recordings[0]
    for other in recordings[1:]:
        if other.adapter is not first.adapter:
            raise RecordingError(
                f"recordings {first.path} and {other.path} of {first.exchange} speak different "
                "versions of its protocol; replay them one after the other"
            )


def _take(lines: Iterator[Stamped]) -> list[Stamped]:
    return list(islice(lines, _CHUNK))
