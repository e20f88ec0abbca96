"""One client's WebSocket: a bounded queue, its faults, and the venue's rules."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import NamedTuple

from aiohttp import WSCloseCode, WSMsgType, web

from engine.clock import NS_PER_S, Clock
from engine.simulator.faults import FaultInjector, FaultKind
from engine.simulator.venues.base import BookFrame, Client, Feed, Venue

LOGGER = logging.getLogger(__name__)

QUEUED_FRAMES = 10_000
"""Frames that wait for a slow client before it is dropped."""


class Rules(NamedTuple):
    """What a venue asks of whoever stays connected, in seconds of the network's own time.

    None where it does not ask.
    """

    ping_every_s: float | None = None
    """Time between the venue's WebSocket pings."""
    pong_within_s: float = 60.0
    """A client that has not answered a ping for this long is dropped. Unsolicited pongs do not
    count."""
    quiet_s: float | None = None
    """A connection on which nothing was sent to the client for this long is closed."""
    idle_s: float | None = None
    """A client that said nothing for this long is dropped."""
    messages_per_second: int | None = None
    """A client that sends so many within a second is closed."""


RULES = {
    "binance": Rules(ping_every_s=20.0, pong_within_s=60.0, messages_per_second=10),
    "binance_perp": Rules(ping_every_s=180.0, pong_within_s=600.0, messages_per_second=20),
    "coinbase": Rules(quiet_s=90.0),
    "kraken": Rules(),
    "bybit": Rules(idle_s=600.0),
    "okx": Rules(idle_s=30.0),
}
"""The venues' rules as of 2026-11-21.

Binance: developers.binance.com, "WebSocket Streams" (spot) and "Websocket Market Streams" (USD-M);
they allow 5 and 10 messages a second, and so do we with a margin for a burst on connecting.
Coinbase closes connections without messages in 60 to 90 s, which its heartbeat channel prevents
(docs.cdp.coinbase.com/exchange, "WebSocket Overview"). Bybit asks for a ping every 20 s and drops
connections without one in ten minutes (bybit-exchange.github.io/docs/v5/ws/connect). OKX breaks a
connection after 30 s without data (okx.com/docs-v5, "Connect"); to have its pings tested on a busy
market too, here it is 30 s without a message of the client.
"""


class Connection:
    """A connected client.

    Parameters
    ----------
    venue
        Whose client it is.
    client
        Its subscriptions.
    socket
        Its prepared WebSocket, which leaves pings and pongs to us (``autoping=False``).
    transport
        What the socket runs over, to break it.
    faults
        What goes wrong for it.
    clock
        Tells the time.
    rules
        What the venue asks of it.
    """

    def __init__(
        self,
        venue: Venue,
        client: Client,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        faults: FaultInjector,
        clock: Clock,
        rules: Rules,
    ) -> None:
        self.venue = venue
        self.client = client
        self.faults = faults
        self.sent = 0
        """Frames put in its queue."""
        self._socket = socket
        self._transport = transport
        self._clock = clock
        self._rules = rules
        # Frames as text, pings as their payload, and None, which closes the connection.
        self._queue: asyncio.Queue[str | bytes | None] = asyncio.Queue(QUEUED_FRAMES)
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._sent_at = self._pinged_at = self._loop.time()
        self._unanswered: dict[bytes, float] = {}
        self._forgotten: set[tuple[Feed, str]] = set()

    async def run(self) -> None:
        """Serve it until either side closes."""
        self.send(self.venue.welcome(self.client))
        sender = asyncio.create_task(self._pump())
        try:
            async for message in self._socket:
                if message.type is WSMsgType.PONG:
                    self._ponged(bytes(message.data))
                elif message.type is WSMsgType.PING:
                    with contextlib.suppress(ConnectionError):  # gone before it was answered
                        await self._socket.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    self._heard_at = self._loop.time()
                    if not self._within_pace():
                        self.faults.count("chatty")
                        break
                    self.send(self.venue.answer(message.data, self.client))
        finally:
            self._ended = True
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender

    def send(self, frames: Iterable[str], *, is_trade: bool = False, is_book: bool = False) -> None:
        """Queue frames, with whatever faults befall them.

        Parameters
        ----------
        frames
            Text frames, in order.
        is_trade, is_book
            Whether they hold trades or book updates: some faults befall only these. Of an answer
            each `BookFrame` does.
        """
        now = self._clock.now_ns()
        if self._end_if_due(now):
            return
        if self.faults.stalled(now):
            if is_trade or is_book:
                self.faults.count("unsent", len(list(frames)))
            return
        touched = self.faults.touches_frames
        for frame in frames:
            if not touched:
                self._put(frame)
                continue
            of_book = is_book or isinstance(frame, BookFrame)
            for part in self.faults.deliver(frame, now, is_trade=is_trade, is_book=of_book):
                self._put(part)

    def tick(self) -> None:
        """Let frames held back through, and what is due happen: an ending, a ping, a rule."""
        now = self._clock.now_ns()
        if self._end_if_due(now):
            return
        if not self.faults.stalled(now):
            for frame in self.faults.due(now):
                self._put(frame)
            self._ping()
        self._forget_if_due(now)
        self._enforce()

    def forget(self, feed: Feed, instrument: str) -> bool:
        """Send nothing of a subscription from now on, and do not say so.

        Returns
        -------
        bool
            Whether there was such a subscription. Who subscribes again has it back.
        """
        if (feed, instrument) not in self.client.wanted:
            return False
        self.client.wanted.discard((feed, instrument))
        self._forgotten.add((feed, instrument))
        return True

    def calm(self) -> None:
        """Suffer no more faults; what it forgot it remembers, books from a snapshot on."""
        self.faults.calm()
        for feed, instrument in sorted(self._forgotten - self.client.wanted):
            self.client.wanted.add((feed, instrument))
            if feed == "book":
                self.send(self.venue.first_snapshot(self.client, instrument))
        self._forgotten.clear()

    def _forget_if_due(self, now_ns: int) -> None:
        # Heartbeats are what keeps a connection alive that has lost all else.
        wanted = sorted(each for each in self.client.wanted if each[0] != "heartbeat")
        place = self.faults.deafened(now_ns, len(wanted))
        if place is not None:
            self.forget(*wanted[place])

    def drop(self) -> None:
        """Break the connection without a closing handshake, as a failing network does."""
        self._ended = True
        self._transport.abort()

    def close(self) -> None:
        """Close the connection properly, behind what is queued."""
        if self._put(None):
            self._ended = True

    def _end_if_due(self, now_ns: int) -> bool:
        """Whether it has ended, or does so now."""
        if self._ended:
            return True
        ending = self.faults.ending(now_ns)
        if ending is not None:
            self.faults.count(ending.kind)
            self.drop() if ending.is_abrupt else self.close()
        return ending is not None

    def _put(self, item: str | bytes | None) -> bool:
        if self._ended:
            return False
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            self._drop_for("slow_client", "reads too slowly")
            return False
        if isinstance(item, str):
            self.sent += 1
            self._sent_at = self._loop.time()
        return True

    async def _pump(self) -> None:
        """Write the queue to the socket; a broken socket ends it quietly."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            while (item := await self._queue.get()) is not None:
                if isinstance(item, str):
                    await self._socket.send_str(item)
                else:
                    await self._socket.ping(item)
            await self._socket.close(code=WSCloseCode.GOING_AWAY)

    # -- the venue's rules ---------------------------------------------------------------

    def _ping(self) -> None:
        every_s, now = self._rules.ping_every_s, self._loop.time()
        if every_s is None or now - self._pinged_at < every_s:
            return
        self._pinged_at = now
        payload = f"{now:.6f}".encode()
        if self._put(payload):
            self._unanswered[payload] = now

    def _ponged(self, payload: bytes) -> None:
        """Take an answer to a ping, which answers the pings before it too."""
        if payload in self._unanswered:
            answered = self._unanswered[payload]
            self._unanswered = {p: at for p, at in self._unanswered.items() if at > answered}

    def _enforce(self) -> None:
        """Drop or close a client that breaks a rule."""
        rules, now = self._rules, self._loop.time()
        if now - next(iter(self._unanswered.values()), now) > rules.pong_within_s:
            self._drop_for("no_pong", f"answered no ping for {rules.pong_within_s:g} s")
        elif rules.idle_s is not None and now - self._heard_at > rules.idle_s:
            self._drop_for("idle", f"said nothing for {rules.idle_s:g} s")
        elif rules.quiet_s is not None and now - self._sent_at > rules.quiet_s:
            self.faults.count("quiet")
            self.close()

    def _drop_for(self, kind: FaultKind, why: str) -> None:
        LOGGER.info("the simulated %s drops a client that %s", self.venue.name, why)
        self.faults.count(kind)
        self.drop()

    def _within_pace(self) -> bool:
        now = int(self._loop.time() * NS_PER_S)
        times = self.client.messages_ns
        most = self._rules.messages_per_second
        if most is None:
            return True
        times.append(now)
        del times[:-most]
        return len(times) < most or now - times[0] >= NS_PER_S
