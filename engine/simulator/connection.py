"""One client's WebSocket: a bounded queue, its faults, and the venue's control rules."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable

from aiohttp import WSMsgType, web

from engine.clock import NS_PER_S, Clock
from engine.simulator.faults import FaultInjector
from engine.simulator.venues.base import Client, Venue

LOGGER = logging.getLogger(__name__)

QUEUED_FRAMES = 10_000
"""Frames that wait for a slow client before it is dropped."""

MESSAGES_PER_SECOND = 10
"""Control messages a client may send; more end the connection (Binance allows 5, and so do we
with a margin for a burst on connecting)."""


class Connection:
    """A connected client.

    Parameters
    ----------
    venue
        Whose client it is.
    client
        Its subscriptions.
    socket
        Its prepared WebSocket.
    faults
        What goes wrong for it.
    clock
        Tells the time.
    """

    def __init__(
        self,
        venue: Venue,
        client: Client,
        socket: web.WebSocketResponse,
        faults: FaultInjector,
        clock: Clock,
    ) -> None:
        self.venue = venue
        self.client = client
        self.faults = faults
        self.slow = False
        """Whether it was dropped because it read too slowly."""
        self.sent = 0
        """Frames put in its queue."""
        self._socket = socket
        self._clock = clock
        self._queue: asyncio.Queue[str | None] = asyncio.Queue(QUEUED_FRAMES)

    async def run(self) -> None:
        """Serve it until either side closes."""
        self.send(self.venue.welcome(self.client))
        sender = asyncio.create_task(self._pump())
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    if not self._within_pace():
                        break
                    self.send(self.venue.answer(message.data, self.client))
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender

    def send(self, frames: Iterable[str], *, is_trade: bool = False) -> None:
        """Queue frames, with whatever faults befall them."""
        now = self._clock.now_ns()
        if self.faults.must_drop(now):
            self.drop()
            return
        if self.faults.stalled(now):
            return
        for frame in frames:
            for part in self.faults.deliver(frame, now, is_trade=is_trade):
                self._put(part)

    def tick(self) -> None:
        """Let late frames through, and a due disconnect happen."""
        now = self._clock.now_ns()
        if self.faults.must_drop(now):
            self.drop()
        elif not self.faults.stalled(now):
            for frame in self.faults.due(now):
                self._put(frame)

    def drop(self) -> None:
        """Break the connection without a closing handshake, as a failing network does."""
        transport = self._socket.get_extra_info("transport")
        if transport is not None:
            transport.abort()

    def _put(self, frame: str) -> None:
        if self.slow:
            return
        try:
            self._queue.put_nowait(frame)
            self.sent += 1
        except asyncio.QueueFull:
            self.slow = True
            LOGGER.info("the simulated %s drops a client that reads too slowly", self.venue.name)
            self.drop()

    async def _pump(self) -> None:
        """Write the queue to the socket; a broken socket ends it quietly."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            while (frame := await self._queue.get()) is not None:
                await self._socket.send_str(frame)

    def _within_pace(self) -> bool:
        now = self._clock.now_ns()
        times = self.client.messages_ns
        times.append(now)
        del times[:-MESSAGES_PER_SECOND]
        return len(times) < MESSAGES_PER_SECOND or now - times[0] >= NS_PER_S
