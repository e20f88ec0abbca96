"""One socket to a venue, from connecting to its end. Nothing else opens a WebSocket client.

Messages are cut out of the stream ahead of the library's parser (`frame_splitter`), and handed on
without its queue: at tens of thousands of frames a second the two cost more than all the rest.
Whoever takes them stops the socket with `pause`, and TCP makes the venue wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State

from engine.domain.market import Channel
from engine.exchanges.base import Exchange
from engine.exchanges.frame_splitter import FrameSplitter
from engine.exchanges.wire import END_OF_RECORDING

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""A larger message is refused: the library closes the connection, the loop opens a new one."""

_OPEN_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 1.0
_TOO_BIG = 1009
_DATA = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})


class _FrameSocket(ClientConnection):
    """The library's connection, whose messages go to the one that is attached, as they come."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.failure: Exception | None = None
        """What the taker raised; the connection is broken then."""
        self._early: list[bytes] = []
        self._take: Callable[[list[bytes]], None] = self._early.extend
        self._parts: list[bytes] = []
        self._splitter = FrameSplitter(self._hand_on, self._to_library, MAX_FRAME_BYTES)
        self._is_cutting = False
        self._seam = b""

    def data_received(self, data: bytes) -> None:
        """Cut messages out of the stream; the handshake and other frames are the library's."""
        if not self._is_cutting:
            data = self._shake_hands(data)
        if data:
            self._splitter.feed(data)

    def eof_received(self) -> None:
        """Give the library what is left, for it to judge how the stream ended."""
        self._splitter.end()
        super().eof_received()

    def _shake_hands(self, data: bytes) -> bytes:
        """Give the library the handshake to its last byte; return what of the stream follows."""
        before, self._seam = self._seam, (self._seam + data)[-3:]
        end = (before + data).find(b"\r\n\r\n")
        cut = len(data) if end < 0 else end + 4 - len(before)
        super().data_received(data[:cut])
        self._is_cutting = self.protocol.state is State.OPEN
        if self._is_cutting or cut == len(data):
            return data[cut:]
        super().data_received(data[cut:])  # the body of a refusal
        return b""

    def _to_library(self, frames: bytes) -> bool:
        super().data_received(frames)
        return self.protocol.state is State.OPEN and self.protocol.current_size is None

    def attach(self, take: Callable[[list[bytes]], None]) -> None:
        """Hand messages to `take` from now on, first those that came with the handshake."""
        self._take = take
        early, self._early = self._early, []
        if early:
            self._hand_on(early)

    def process_event(self, event: Event) -> None:
        """Hand on a message; leave everything else to the library."""
        if type(event) is not Frame or event.opcode not in _DATA:
            super().process_event(event)
            return
        message = bytes(event.data)  # the library's buffer may be a bytearray
        if not event.fin or self._parts:
            self._parts.append(message)
            if not event.fin:
                return
            message = b"".join(self._parts)
            self._parts.clear()
        self._hand_on([message])

    def _hand_on(self, messages: list[bytes]) -> None:
        if self.failure is not None:
            return
        try:
            self._take(messages)
        except Exception as error:  # noqa: BLE001 - told by `Connection.run`, which raises it
            self.failure = error
            self.transport.abort()

    def pause(self) -> None:
        """Read no more from the socket."""
        with contextlib.suppress(RuntimeError):
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        with contextlib.suppress(RuntimeError):
            self.transport.resume_reading()


class Connection:
    """Connects, subscribes at the venue's pace, pings, and notices silence.

    Parameters
    ----------
    exchange
        The adapter.
    url
        Where to.
    instruments, channels
        What to subscribe to.
    take
        Receives the messages, those that came together at once; must not block. What it raises
        ends the connection and `run`.
    silence_s
        Silence of the whole connection after which it is closed.
    stamped
        The other side is a replay: it wants no messages, and may be silent.
    """

    def __init__(
        self,
        exchange: Exchange,
        url: str,
        instruments: Sequence[str],
        channels: Sequence[Channel],
        take: Callable[[list[bytes]], None],
        *,
        silence_s: float,
        stamped: bool = False,
    ) -> None:
        self.is_open = False
        self.subscribed_at: float | None = None
        """When the last subscription was sent, seconds of the loop's clock."""
        self.first_data: float | None = None
        """When the first message came, seconds of the loop's clock."""
        self.last_data = 0.0
        self.ended = False
        """The other side said that the recording is over."""
        self.oversized = ""
        """What was wrong with a message that was too large; empty where none was."""
        self._exchange = exchange
        self._url = url
        self._instruments = list(instruments)
        self._channels = list(channels)
        self._take = take
        self._silence_s = silence_s
        self._stamped = stamped
        self._socket: _FrameSocket | None = None
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._paused = False
        self._waiting_since = 0.0
        self._is_silent = False
        self._clock = asyncio.get_running_loop().time

    async def run(
        self, opened: Callable[[], None], subscribed: Callable[[], None] = lambda: None
    ) -> str:
        """Hold the connection to its end and return, in words, why it ended.

        Parameters
        ----------
        opened
            Called when the socket is up.
        subscribed
            Called when all feeds were asked for; of a recording they are not.

        Raises
        ------
        Exception
            What `take` raised.
        """
        try:
            async with connect(
                self._url,
                create_connection=_FrameSocket,
                max_size=MAX_FRAME_BYTES,
                compression=None,
                open_timeout=_OPEN_TIMEOUT_S,
                close_timeout=_CLOSE_TIMEOUT_S,
                # Silence of data is watched instead: a pong proves nothing about data, and
                # cannot be read while a slow sink holds back the socket.
                ping_interval=None,
                proxy=None if is_loopback(self._url) else True,
            ) as socket:
                self._socket = cast("_FrameSocket", socket)
                self._waiting_since = self._clock()
                self.is_open = True
                opened()
                self._socket.attach(self._received)
                if self._paused:
                    self._socket.pause()
                await self._serve(self._socket, subscribed)
                return self._why(self._socket)
        except TimeoutError:
            return f"no answer within {_OPEN_TIMEOUT_S:.0f} s"
        except (OSError, WebSocketException) as error:
            return f"cannot connect: {error}"
        finally:
            self.is_open = False

    async def close(self) -> None:
        """Close the socket; `run` returns then."""
        if self._socket is not None:
            self._socket.resume()  # the closing handshake has to be read
            await self._socket.close()

    def send(self, messages: Iterable[str]) -> None:
        """Have messages sent, at the venue's pace."""
        for message in messages:
            self._outbox.put_nowait(message)

    def pause(self) -> None:
        """Take no more messages until `resume`: TCP makes the venue wait."""
        self._paused = True
        if self._socket is not None:
            self._socket.pause()

    def resume(self) -> None:
        """Take messages again."""
        if not self._paused:
            return
        self._paused = False
        self._waiting_since = self._clock()
        if self._socket is not None:
            self._socket.resume()

    def _received(self, messages: list[bytes]) -> None:
        now = self._clock()
        self._waiting_since = self.last_data = now
        if self.first_data is None:
            self.first_data = now
        self._take(messages)

    async def _serve(self, socket: _FrameSocket, subscribed: Callable[[], None]) -> None:
        beside: list[asyncio.Task[None]] = []
        if not self._stamped:
            works = (self._send(subscribed), self._ping(), self._watch())
            beside = [asyncio.create_task(work) for work in works]
        try:
            await socket.wait_closed()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        if socket.failure is not None:
            raise socket.failure

    def _why(self, socket: _FrameSocket) -> str:
        if self._is_silent:
            return f"silent for {self._silence_s:g} s"
        error = socket.protocol.close_exc
        received, sent = error.rcvd, error.sent
        if self._stamped and received is not None and received.reason == END_OF_RECORDING:
            self.ended = True
            return END_OF_RECORDING
        if sent is not None and sent.code == _TOO_BIG:
            self.oversized = sent.reason or "message too large"
        return f"connection closed: {error}"

    async def _send(self, subscribed: Callable[[], None]) -> None:
        pause_s = 1 / self._exchange.limits.messages_per_second
        messages = self._exchange.subscribe(self._instruments, self._channels)
        with contextlib.suppress(ConnectionClosed):
            for message in messages:
                await self._send_one(message)
                await asyncio.sleep(pause_s)
            self.subscribed_at = self._clock()
            subscribed()
            while True:
                await self._send_one(await self._outbox.get())
                await asyncio.sleep(pause_s)

    async def _send_one(self, message: str) -> None:
        if self._socket is not None:
            await self._socket.send(message)

    async def _ping(self) -> None:
        message, interval = self._exchange.ping(), self._exchange.ping_interval_s
        if message is None or interval is None:
            return
        while True:
            await asyncio.sleep(interval)
            self.send([message])

    async def _watch(self) -> None:
        """Close the socket when it is silent; a stop of our own is not silence."""
        while not self._is_silent:
            await asyncio.sleep(self._silence_s / 4)
            silent = self._clock() - self._waiting_since > self._silence_s
            self._is_silent = silent and not self._paused
        await self.close()


def is_loopback(url: str) -> bool:
    """Say whether an address is of this machine itself."""
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}
