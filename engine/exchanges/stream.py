"""The one socket loop: it serves every venue, and nothing else opens a WebSocket client.

One connection, for ever::

    connect -> subscribe (paced) -> receive -> record -> parse -> ledger -> sink, in batches
       ^                               |
       └── backoff <── closed, silent, oversized

Awaiting the sink is the back-pressure: while it does not return, at most twice `BATCH_EVENTS`
events, `QUEUE_FRAMES` frames and the socket's buffers fill up; then TCP makes the venue wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from random import Random
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from engine.clock import NS_PER_MS, Clock
from engine.config import ExchangeConfig, ReconnectConfig
from engine.domain.market import BookTop, DeadLetter, Gap, MarketEvent, Trade
from engine.errors import FrameError, RecordingError, VenueError
from engine.exchanges.backoff import Backoff
from engine.exchanges.base import Exchange
from engine.exchanges.feeds import FeedLedger
from engine.exchanges.recording import Recorder
from engine.exchanges.sink import FeedSink, StreamCounts, StreamStatus
from engine.exchanges.wire import END_OF_RECORDING, STAMP_BYTES
from engine.log import OncePerKind
from engine.metrics import BAD_FRAMES, CONNECTS, ERRORS, GAPS

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""A larger frame is refused: the library closes the connection, the loop opens a new one."""
QUEUE_FRAMES = 1024
"""Frames that the library holds before it stops reading the socket."""
BATCH_EVENTS = 2048
"""Events handed to the sink at once, at most."""
DEAD_LETTER_BYTES = 64 * 1024
"""How much of a bad frame is kept."""

_OPEN_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 1.0
_FLUSH_S = 2.0
_TOO_BIG = 1009

_LOGGER = logging.getLogger(__name__)


class StreamLoop:
    """Streams one connection's instruments from a venue into a sink until it is stopped.

    Parameters
    ----------
    exchange
        The adapter; the loop's own instance.
    ws_url
        Endpoint; empty takes the venue's public one.
    instruments
        Canonical names to subscribe to.
    config
        Channels and times of the venue.
    reconnect
        Backoff.
    clock
        Gives receive times.
    sink
        Where everything goes.
    known_last
        Instrument -> (sequence, exchange time) of the last stored trade: what is missing since
        becomes a gap of cause ``restart``.
    recorder
        Keeps every raw frame; closed when `run` ends.
    stamped
        Frames come from `engine.exchanges.replay.ReplayServer`, with their receive times. The
        loop resumes where it stopped, ends with the recording, and measures staleness in the
        recording's time.
    random
        Jitter of the backoff.

    Examples
    --------
    ::

        loop = StreamLoop(exchange("binance"), "", ["BTC-USDT"], ExchangeConfig(),
                          ReconnectConfig(), SystemClock(), sink)
        task = asyncio.create_task(loop.run())
        ...
        await loop.stop()
    """

    def __init__(
        self,
        exchange: Exchange,
        ws_url: str,
        instruments: Sequence[str],
        config: ExchangeConfig,
        reconnect: ReconnectConfig,
        clock: Clock,
        sink: FeedSink,
        *,
        known_last: Mapping[str, tuple[int, int]] | None = None,
        recorder: Recorder | None = None,
        stamped: bool = False,
        random: Random | None = None,
    ) -> None:
        self._exchange = exchange
        # Before the first frame, which may come before the subscriptions are sent.
        exchange.track(instruments)
        self._base_url = ws_url or exchange.ws_url
        self._instruments = list(instruments)
        self._config = config
        self._clock = clock
        self._sink = sink
        self._recorder = recorder
        self._stamped = stamped
        # Jitter spreads load; nobody is to be kept from guessing it.
        self._backoff = Backoff(reconnect, random or Random())
        self._ledger = FeedLedger(
            exchange.name,
            self._instruments,
            config.channels,
            stale_after_ns=config.stale_after_ms * NS_PER_MS,
            known_last=known_last or {},
            now=clock.now_ns(),
        )
        self._once = OncePerKind(_LOGGER)
        self._counts = StreamCounts(exchange.name)
        self._events: list[MarketEvent] = []
        self._notes: list[Gap | DeadLetter | tuple[bool, str]] = []
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._done = asyncio.Event()
        self._finished = False
        self._stopped = False
        self._connecting: asyncio.Task[None] | None = None
        self._connected = False
        self._ended = False
        self._connections = 0
        self._position = 0
        self._last_receive: int | None = None
        self._waiting_since: float | None = None
        self._data_from: float | None = None
        self._data_to = 0.0
        self._silent = False

    # -- for the owner -------------------------------------------------------------------

    async def run(self) -> None:
        """Stream until `stop`, or to the end of a recording.

        Raises
        ------
        Exception
            What the sink raised; the stream has ended then.
        """
        if self._stopped:
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                pump = tasks.create_task(self._pump())
                ticker = tasks.create_task(self._tick())
                self._connecting = tasks.create_task(self._connect_for_ever())
                await asyncio.wait([self._connecting])
                ticker.cancel()
                self._finished = True
                self._filled.set()
                await pump
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            await self._write_recording(close=True)
            self._done.set()

    async def stop(self) -> None:
        """Close the connection, hand on what was received, and wait until `run` has returned."""
        self._stopped = True
        if self._connecting is not None:
            self._connecting.cancel()
            await self._done.wait()

    def status(self) -> StreamStatus:
        """Return how the stream fares."""
        counts = self._counts
        return StreamStatus(
            exchange=self._exchange.name,
            connected=self._connected,
            ended=self._ended,
            frames=counts.frames,
            events=counts.events,
            ignored=counts.ignored,
            bad=sum(self._once.counts.values()),
            duplicates=self._ledger.duplicates,
            out_of_order=self._ledger.out_of_order,
            history=self._ledger.history,
            reconnects=max(0, self._connections - 1),
            last_receive_time=self._last_receive,
            last_event=self._ledger.last_receive(),
            broken=self._ledger.broken(),
        )

    # -- connections ---------------------------------------------------------------------

    async def _connect_for_ever(self) -> None:
        while True:
            reason = await self._one_connection()
            if self._ended:
                return
            if self._data_from is not None:
                self._backoff.data_held(self._data_to - self._data_from)
                self._data_from = None
            delay = self._backoff.delay_s()
            _LOGGER.warning(
                "%s: %s; connecting again in %.1f s", self._exchange.name, reason, delay
            )
            await asyncio.sleep(delay)

    async def _one_connection(self) -> str:
        """Hold one connection to its end and return, in words, why it ended."""
        self._silent = False
        try:
            async with connect(
                self._url(),
                max_size=MAX_FRAME_BYTES,
                max_queue=QUEUE_FRAMES,
                compression=None,
                open_timeout=_OPEN_TIMEOUT_S,
                close_timeout=_CLOSE_TIMEOUT_S,
                # Silence of data is watched instead: a pong proves nothing about data, and
                # cannot be read while a slow sink holds back the socket.
                ping_interval=None,
                proxy=None if _is_loopback(self._base_url) else True,
            ) as socket:
                self._became(connected=True, reason="connected")
                await self._serve(socket)
        except ConnectionClosed as error:
            reason = self._closed(error)
        except TimeoutError:
            reason = f"no answer within {_OPEN_TIMEOUT_S:.0f} s"
        except (OSError, WebSocketException) as error:
            reason = f"cannot connect: {error}"
        else:
            reason = "closed"
        finally:
            if self._connected:
                self._became(connected=False, reason="ended" if self._ended else "closed")
        return reason

    def _url(self) -> str:
        if self._stamped:
            return f"{self._base_url}?{urlencode({'from': self._position})}"
        return self._exchange.url(self._base_url, self._instruments, self._config.channels)

    def _became(self, *, connected: bool, reason: str) -> None:
        self._connected = connected
        now = self._now()
        if connected:
            self._connections += 1
            CONNECTS.labels(self._exchange.name).inc()
            self._ledger.connected(now)
        elif not self._ended and not self._stopped:
            # After our own stop the next start finds the hole, from the last stored trade.
            self._ledger.disconnected(now)
        self._collect_gaps()
        self._note((connected, reason))

    def _closed(self, error: ConnectionClosed) -> str:
        if self._silent:
            return f"silent for {self._config.silence_ms / 1000:g} s"
        received, sent = error.rcvd, error.sent
        if self._stamped and received is not None and received.reason == END_OF_RECORDING:
            self._ended = True
            return END_OF_RECORDING
        if sent is not None and sent.code == _TOO_BIG:
            self._set_aside("oversized", sent.reason or "frame too large", b"", self._now())
        return f"connection closed: {error}"

    async def _serve(self, socket: ClientConnection) -> None:
        beside = [asyncio.create_task(self._subscribe(socket))]
        if not self._stamped:
            beside.append(asyncio.create_task(self._watch(socket)))
            beside.append(asyncio.create_task(self._ping(socket)))
        try:
            await self._read(socket)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _subscribe(self, socket: ClientConnection) -> None:
        messages = self._exchange.subscribe(self._instruments, self._config.channels)
        if self._stamped:
            return
        with contextlib.suppress(ConnectionClosed):
            for message in messages:
                await socket.send(message)
                await asyncio.sleep(1 / self._exchange.limits.messages_per_second)

    async def _ping(self, socket: ClientConnection) -> None:
        message, interval = self._exchange.ping(), self._exchange.ping_interval_s
        if message is None or interval is None:
            return
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(interval)
                await socket.send(message)

    async def _watch(self, socket: ClientConnection) -> None:
        """Close the connection when it is silent; a stop of our own sink is not silence."""
        silence_s = self._config.silence_ms / 1000
        loop = asyncio.get_running_loop()
        while not self._silent:
            await asyncio.sleep(silence_s / 4)
            since = self._waiting_since
            self._silent = since is not None and loop.time() - since > silence_s
        await socket.close()

    # -- frames --------------------------------------------------------------------------

    async def _read(self, socket: ClientConnection) -> None:
        now = asyncio.get_running_loop().time
        self._waiting_since = now()
        while True:
            frame = await socket.recv(decode=False)
            self._waiting_since = self._data_to = now()
            if self._data_from is None:
                self._data_from = self._data_to
            self._take(frame)
            while len(self._events) + len(self._notes) >= BATCH_EVENTS:
                self._waiting_since = None
                self._room.clear()
                await self._room.wait()

    def _take(self, frame: bytes) -> None:
        if self._stamped:
            self._position += 1
            receive_time = int.from_bytes(frame[:STAMP_BYTES], "big")
            frame = frame[STAMP_BYTES:]
        else:
            receive_time = self._clock.now_ns()
        self._last_receive = receive_time
        self._counts.frame(len(frame))
        if self._recorder is not None:
            self._recorder.record(receive_time, frame)
        try:
            events = self._exchange.parse(frame, receive_time)
        except FrameError as error:
            if self._stamped and error.kind == "unknown_symbol":
                self._counts.ignored += 1  # a recording may hold more than was asked for
            else:
                self._set_aside(error.kind, str(error), frame, receive_time)
            return
        except VenueError as error:
            self._set_aside("refused", str(error), frame, receive_time)
            return
        if not events:
            self._counts.ignored += 1
        for event in events:
            if not isinstance(event, Trade | BookTop) or self._ledger.accept(event):
                self._events.append(event)
        self._collect_gaps()
        self._filled.set()

    def _set_aside(self, kind: str, reason: str, frame: bytes, receive_time: int) -> None:
        name = self._exchange.name
        BAD_FRAMES.labels(name, kind).inc()
        self._once.warn(kind, f"{name}: bad frame ({kind}): {reason}")
        kept = frame[:DEAD_LETTER_BYTES]
        self._note(DeadLetter(name, kind, reason, kept, len(frame), receive_time))

    def _collect_gaps(self) -> None:
        for gap in self._ledger.take_changes():
            if gap.repaired_at is None and (gap.to_time is None or gap.from_sequence is not None):
                GAPS.labels(gap.exchange, gap.cause).inc()
            self._note(gap)

    def _note(self, note: Gap | DeadLetter | tuple[bool, str]) -> None:
        self._notes.append(note)
        self._filled.set()

    # -- to the sink ---------------------------------------------------------------------

    async def _pump(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            events, self._events = self._events, []
            notes, self._notes = self._notes, []
            self._room.set()
            if events:
                self._counts.export(events)
                await self._sink.events(events)
            for note in notes:
                await self._hand_on(note)
            if self._finished and not self._filled.is_set():
                return

    async def _hand_on(self, note: Gap | DeadLetter | tuple[bool, str]) -> None:
        if isinstance(note, Gap):
            await self._sink.gap(note)
        elif isinstance(note, DeadLetter):
            await self._sink.dead_letter(note)
        else:
            connected, reason = note
            await self._sink.state(connected=connected, reason=reason)

    async def _tick(self) -> None:
        """Look for stale feeds and write recorded frames, from time to time."""
        pause = min(_FLUSH_S, self._config.stale_after_ms / 4000)
        while True:
            await asyncio.sleep(pause)
            if self._connected:
                self._ledger.check_stale(self._now())
                self._collect_gaps()
            await self._write_recording()

    async def _write_recording(self, *, close: bool = False) -> None:
        if self._recorder is None:
            return
        try:
            await asyncio.to_thread(self._recorder.close if close else self._recorder.flush)
        except RecordingError as error:
            ERRORS.labels("recording", "write").inc()
            _LOGGER.error("%s: %s; these frames are not recorded", self._exchange.name, error)  # noqa: TRY400

    def _now(self) -> int:
        if self._stamped and self._last_receive is not None:
            return self._last_receive
        return self._clock.now_ns()


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}
