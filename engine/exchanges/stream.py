"""The one stream loop: it serves every venue.

One stream, for ever::

    budget -> connect -> subscribe -> frames -> intake (record, parse, ledger, books) -> sink
       ^                                |
       └── backoff <── closed, silent, oversized; or replaced in time by the next connection

A connection that the venue would end soon (`Exchange.rotate_after_s`) is replaced while it still
works: the next one subscribes beside it, and takes over when it brings all that the old one
brings. Trades of both are taken, each once. So is one of whose subscriptions one was refused, or
brings nothing any more while the others do (`engine.exchanges.renewal` says how often).

Awaiting the sink is the back-pressure: while it does not return, at most a few thousand events and
the socket's buffers fill up; then TCP makes the venue wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from random import Random
from urllib.parse import urlencode

from engine.books.keeper import BookKeeper
from engine.clock import NS_PER_MS, Clock
from engine.config import ExchangeConfig, ReconnectConfig
from engine.domain.market import Channel, DeadLetter, Gap, GapCause, Trade
from engine.errors import RecordingError
from engine.exchanges.backoff import Backoff
from engine.exchanges.base import Exchange
from engine.exchanges.connection import Connection
from engine.exchanges.feeds import FeedLedger
from engine.exchanges.intake import Connected, Intake, Line, Note, Repaired
from engine.exchanges.recording import Recorder
from engine.exchanges.renewal import RenewalPace
from engine.exchanges.repair import Get, Mender
from engine.exchanges.sink import FeedSink, StreamStatus
from engine.metrics import CONNECTS, ERRORS, RENEWALS, ROTATIONS

BATCH_EVENTS = 2048
"""Events that wait for the sink before reading pauses."""

MIN_OVERLAP_S = 2.0
"""How long two connections overlap at least, counted from the newer one's last subscription."""
MAX_OVERLAP_S = 30.0
"""After so long the newer takes over though some quiet market brought nothing on it yet."""

ROTATE_AGAIN_S = 60.0
"""Pause after an attempt to replace a connection failed: the venue may be busy for a while."""

BOOKS_S = 0.1
"""How often books are looked at: those that want a snapshot, and those that are due for one."""

_FLUSH_S = 2.0
_LOOK_S = 0.25

_LOGGER = logging.getLogger(__name__)

Permit = Callable[[], Awaitable[None]]
"""Returns when a connection may be opened: the budget that all streams of an address share."""


class StreamLoop:
    """Streams instruments from a venue into a sink until it is stopped.

    Parameters
    ----------
    exchange
        The adapter; the loop's own instance.
    ws_url
        Endpoint; empty takes the venue's public one.
    instruments
        Canonical names to subscribe to, all of one `Exchange.group`.
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
    known_ids
        Instrument -> id -> exchange time of its trades stored lately, where the venue does not
        count: what a killed process had not audited is audited from the first of them on.
    known_first
        Instrument -> exchange time of its first stored trade, where that is not long ago: what a
        second stream tells from before its minute is not taken.
    recorder
        Keeps every raw frame; closed when `run` ends.
    stamped
        Frames come from `engine.exchanges.replay.ReplayServer`, with their receive times. The
        loop resumes where it stopped, ends with the recording, and measures staleness in the
        recording's time.
    random
        Jitter of the backoff.
    get
        The venue's REST: missing trades, snapshots of books and what is polled are fetched by
        it. None fetches nothing, and gaps stay open.
    permit
        Awaited before every connection.

    Examples
    --------
    ::

        loop = StreamLoop(exchange("binance"), "", ["BTC-USDT"], ExchangeConfig(),
                          ReconnectConfig(), SystemClock(), sink, get=rest.get)
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
        known_ids: Mapping[str, Mapping[str, int]] | None = None,
        known_first: Mapping[str, int] | None = None,
        recorder: Recorder | None = None,
        stamped: bool = False,
        random: Random | None = None,
        get: Get | None = None,
        permit: Permit | None = None,
    ) -> None:
        self._exchange = exchange
        # Before the first frame, which may come before the subscriptions are sent.
        exchange.track(instruments)
        self._base_url = ws_url or exchange.ws_url
        self._instruments = list(instruments)
        self._config = config
        self._channels = [name for name in config.channels if name in exchange.channels]
        self._sink = sink
        self._recorder = recorder
        self._stamped = stamped
        # Jitter spreads load; nobody is to be kept from guessing it.
        self._random = random or Random()
        self._backoff = Backoff(reconnect, self._random)
        self._permit = permit
        self._pace = RenewalPace()
        ledger = FeedLedger(
            exchange.name,
            self._instruments,
            self._channels,
            stale_after_ns=config.stale_after_ms * NS_PER_MS,
            known_last=known_last,
            known_ids=known_ids,
            known_first=known_first,
            now=clock.now_ns(),
            can_repair=get is not None and config.repair,
        )
        ledger.disconnected(clock.now_ns())  # a second stream may be up sooner
        self._intake = Intake(
            exchange, self._instruments, config, clock, ledger, recorder, stamped=stamped
        )
        self._mender = None if get is None else Mender(exchange, get, self._intake)
        self._done = asyncio.Event()
        self._finished = False
        self._stopped = False
        self._connecting: asyncio.Task[None] | None = None
        self._primary: tuple[Connection, Line] | None = None
        self._open: dict[Connection, Line] = {}
        self._is_up = False
        self._ended = False
        self._connections = 0
        self._rotations = 0

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
                beside = [tasks.create_task(work) for work in (self._tick(), *self._fetch())]
                self._connecting = tasks.create_task(self._connect_for_ever())
                await asyncio.wait([self._connecting])
                for task in beside:
                    task.cancel()
                self._finished = True
                self._intake.filled.set()
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

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What it subscribes to: those of the configuration that the venue offers."""
        return tuple(self._channels)

    @property
    def is_up(self) -> bool:
        """Whether it is connected."""
        return self._is_up

    def broken(self) -> dict[tuple[str, Channel], GapCause]:
        """Return the feeds that are down or stale now, and why."""
        return self._intake.ledger.broken()

    @property
    def books(self) -> BookKeeper | None:
        """The books, to be looked at; None before the first connection."""
        return None if self._primary is None else self._primary[1].keeper

    @property
    def unlisted(self) -> asyncio.Event:
        """Set when a delisted instrument trades: ask the venue, then `relist`."""
        return self._intake.unlisted

    def repair(self, gaps: Sequence[Gap]) -> None:
        """Fetch the trades of gaps that an earlier run left open."""
        if self._mender is not None and self._config.repair:
            for gap in gaps:
                self._mender.gap_changed(gap)

    def offer(self, trades: Sequence[Trade]) -> bool:
        """Take trades that somebody else received on the same feeds: whoever is first wins.

        Returns
        -------
        bool
            False where none was taken: nothing streams yet or any more, or the sink is behind.
        """
        is_behind = len(self._intake.events) >= BATCH_EVENTS
        if self._primary is None or self._finished or is_behind:
            return False
        self._intake.offered(self._primary[1], trades)
        return True

    def leaves(self, instrument: str, ended_at: int | None, *, is_final: bool) -> None:
        """Fetch an instrument's last trades: its venue does not list it (`FeedLedger.leaves`)."""
        self._intake.leaves(instrument, ended_at, is_final=is_final)

    def delist(self, instrument: str) -> None:
        """Expect nothing more of an instrument (`Intake.delist`)."""
        self._intake.delist(instrument)

    def relist(self, instrument: str, successor: str, listed_at: int | None) -> None:
        """Take what comes under an instrument's symbol for `successor` (`Intake.relist`)."""
        self._intake.relist(instrument, successor, listed_at)
        # What connects next subscribes by the new name.
        names = [successor if name == instrument else name for name in self._instruments]
        self._instruments[:] = names
        for line in self._open.values() if "book" in self._channels else ():
            line.keeper.add(successor)
            line.keeper.retry(successor)  # a venue tells the whole book to whoever subscribes

    def status(self) -> StreamStatus:
        """Return how the stream fares."""
        intake, ledger, mender = self._intake, self._intake.ledger, self._mender
        keepers = [line.keeper for line in self._open.values()]
        return StreamStatus(
            exchange=self._exchange.name,
            connected=self._is_up,
            ended=self._ended,
            frames=intake.counts.frames,
            events=intake.counts.events,
            ignored=intake.counts.ignored,
            bad=intake.bad,
            duplicates=ledger.duplicates,
            out_of_order=ledger.out_of_order,
            history=ledger.history,
            reconnects=max(0, self._connections - self._rotations - 1),
            rotations=self._rotations,
            repairs_waiting=0 if mender is None else mender.waiting,
            repaired=0 if mender is None else mender.repaired,
            live_books=0 if self.books is None else len(self.books.live),
            checksums=intake.checked + sum(keeper.checked for keeper in keepers),
            stale_deltas=intake.stale + sum(keeper.stale for keeper in keepers),
            last_receive_time=intake.last_receive,
            last_event=ledger.last_receive(),
            broken=ledger.broken(),
        )

    # -- connections ---------------------------------------------------------------------

    async def _connect_for_ever(self) -> None:
        while True:
            reason, held_s = await self._hold()
            if self._ended:
                return
            self._backoff.data_held(held_s)
            delay = self._backoff.delay_s()
            _LOGGER.warning(
                "%s: %s; connecting again in %.1f s", self._exchange.name, reason, delay
            )
            await asyncio.sleep(delay)

    async def _hold(self) -> tuple[str, float]:
        """Hold a connection, and those that replace it in time, until one ends unreplaced.

        Returns
        -------
        tuple
            Why it ended, and for how long it brought data, seconds.
        """
        self._intake.unsubscribed.clear()  # all are asked for anew
        connection, task = await self._begin(is_primary=True)
        try:
            lifetime_s = self._lifetime_s()
            while True:
                await self._until_due(task, lifetime_s)
                if task.done():
                    return self._ending(connection, task)
                before = connection
                connection, task = await self._rotate(connection, task)
                lifetime_s = ROTATE_AGAIN_S if connection is before else self._lifetime_s()
        finally:
            try:
                await _end([task])
            finally:
                self._came_down()

    def _came_down(self) -> None:
        if self._is_up:
            over = self._ended or self._stopped
            # After our own stop the next start finds the hole, from the last stored trade.
            self._is_up = False
            reason = "ended" if self._ended else "closed"
            self._intake.became(connected=False, reason=reason, ended=over)

    def _ending(self, connection: Connection, task: asyncio.Task[str]) -> tuple[str, float]:
        reason = task.result()
        self._ended = connection.ended
        if connection.oversized:
            now = self._intake.now()
            self._intake.set_aside("oversized", connection.oversized, b"", now)
        first = connection.first_data
        return reason, 0.0 if first is None else connection.last_data - first

    async def _begin(self, *, is_primary: bool) -> tuple[Connection, asyncio.Task[str]]:
        """Open a connection when the budget allows it."""
        if self._permit is not None and not self._stamped:
            await self._permit()
        intake = self._intake
        line = intake.line(is_primary=is_primary)
        connection = Connection(
            self._exchange,
            self._url(),
            self._instruments,
            self._channels,
            partial(self._take, line),
            silence_s=max(self._config.silence_ms / 1000, self._exchange.quiet_s),
            stamped=self._stamped,
        )
        self._open[connection] = line
        if is_primary:
            self._primary = connection, line
        task = asyncio.create_task(connection.run(self._opened, partial(self._subscribed, line)))
        task.add_done_callback(partial(self._over, connection))
        return connection, task

    def _url(self) -> str:
        if self._stamped:
            query = {"from": str(self._intake.position)}
            group = self._exchange.group(self._instruments[0]) if self._instruments else ""
            if group:
                query["group"] = group
            return f"{self._base_url}?{urlencode(query)}"
        return self._exchange.url(self._base_url, self._instruments, self._channels)

    def _opened(self) -> None:
        self._connections += 1
        CONNECTS.labels(self._exchange.name).inc()
        if not self._is_up:
            self._is_up = True
            self._intake.became(connected=True, reason="connected")

    def _subscribed(self, line: Line) -> None:
        self._intake.subscribed()
        if self._mender is not None:
            self._mender.expect_books(line)

    def _over(self, connection: Connection, _: asyncio.Task[str]) -> None:
        line = self._open.pop(connection)
        self._intake.gone(line)

    def _lifetime_s(self) -> float | None:
        """Seconds until the connection is to be replaced; streams do not all do so at once."""
        rotate_after_s = self._config.rotate_after_s or self._exchange.rotate_after_s
        if rotate_after_s is None or self._stamped:
            return None
        return rotate_after_s * self._random.uniform(0.9, 1.0)

    async def _until_due(self, task: asyncio.Task[str], lifetime_s: float | None) -> None:
        """Wait until a connection ends, or is to be replaced: for its age or a subscription."""
        now, unsubscribed = asyncio.get_running_loop().time, self._intake.unsubscribed
        began = now()
        ends = began + lifetime_s if lifetime_s is not None else None
        asked = asyncio.create_task(unsubscribed.wait())
        try:
            while not task.done():
                renewed = self._pace.due(began, now()) if self._is_renewable else None
                due = min((at for at in (ends, renewed) if at is not None), default=None)
                if due is not None and now() >= due:
                    return
                waits = [task] if asked.done() else [task, asked]
                await asyncio.wait(
                    waits,
                    timeout=None if due is None else due - now(),
                    return_when=asyncio.FIRST_COMPLETED,
                )
        finally:
            asked.cancel()

    @property
    def _is_renewable(self) -> bool:
        """Whether a subscription is to be asked for again; a recording cannot be asked."""
        return self._intake.unsubscribed.is_set() and not self._stamped

    def _renews(self) -> None:
        """Take note that the next connection asks for all subscriptions again."""
        if not self._intake.unsubscribed.is_set():
            return
        self._intake.unsubscribed.clear()
        self._pace.renewed(asyncio.get_running_loop().time())
        RENEWALS.labels(self._exchange.name).inc()
        self._intake.once.warn(
            "renewal",
            f"{self._exchange.name}: a subscription was refused or brings nothing any more; "
            "a new connection asks for all of them again",
        )

    async def _rotate(
        self, old: Connection, old_task: asyncio.Task[str]
    ) -> tuple[Connection, asyncio.Task[str]]:
        """Replace a connection by a new one; return the one that goes on."""
        self._renews()
        before = self._open[old]
        before.seen.clear()
        self._intake.overlap = True
        new, new_task = await self._begin(is_primary=False)
        line = self._open[new]
        try:
            if not await self._took_over(before, line, new, old_task, new_task):
                await _end([new_task])
                return old, old_task
            self._primary = new, line
            self._intake.promote(line, before)
            self._rotations += 1
            ROTATIONS.labels(self._exchange.name).inc()
            _LOGGER.info("%s: a new connection took over", self._exchange.name)
            await old.close()
            await _end([old_task])
        except asyncio.CancelledError:
            await _end([new_task, old_task])
            raise
        finally:
            self._intake.overlap = False
        return new, new_task

    async def _took_over(
        self,
        before: Line,
        line: Line,
        new: Connection,
        old_task: asyncio.Task[str],
        new_task: asyncio.Task[str],
    ) -> bool:
        """Wait until the new connection brings all that the old one brings; False if it cannot."""
        now = asyncio.get_running_loop().time
        started, was_down = now(), False
        while True:
            if old_task.done() and not new.is_open and not was_down:
                # Now, for what the new one brings first would hide what nobody brought.
                self._came_down()
                was_down = True
            waits = [new_task] if old_task.done() else [old_task, new_task]
            await asyncio.wait(waits, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            if new_task.done():
                _LOGGER.warning(
                    "%s: the connection that was to take over failed: %s",
                    self._exchange.name,
                    new_task.exception() or new_task.result(),
                )
                return False
            if old_task.done() and new.is_open:
                if not was_down:
                    self._intake.broke_off()
                return True
            subscribed = new.subscribed_at
            if subscribed is None or new.first_data is None or now() - subscribed < MIN_OVERLAP_S:
                continue
            whole = before.seen <= line.seen and before.keeper.live <= line.keeper.live
            if whole or now() - started > MAX_OVERLAP_S:
                return True

    def _take(self, line: Line, frames: Sequence[bytes]) -> None:
        self._intake.frames(line, frames)
        if len(self._intake.events) + len(self._intake.notes) >= BATCH_EVENTS:
            for connection in self._open:
                connection.pause()

    # -- to the sink ---------------------------------------------------------------------

    async def _pump(self) -> None:
        intake = self._intake
        while True:
            await intake.filled.wait()
            intake.filled.clear()
            events, intake.events = intake.events, []
            notes, intake.notes = intake.notes, []
            if events:
                intake.counts.export(events)
                await self._sink.events(events)
            for note in notes:
                await self._hand_on(note)
            if len(intake.events) < BATCH_EVENTS:
                for connection in self._open:
                    connection.resume()
            if self._finished and not intake.filled.is_set():
                return

    async def _hand_on(self, note: Note) -> None:
        if isinstance(note, Gap):
            if self._mender is not None and self._config.repair:
                self._mender.gap_changed(note)
            await self._sink.gap(note)
        elif isinstance(note, Repaired):
            await self._sink.repaired(note.trades)
        elif isinstance(note, DeadLetter):
            await self._sink.dead_letter(note)
        elif isinstance(note, Connected):
            await self._sink.state(connected=note.connected, reason=note.reason)

    def _fetch(self) -> list[Coroutine[None, None, None]]:
        """Return what runs beside the connections."""
        work: list[Coroutine[None, None, None]] = []
        if "book" in self._channels:
            work.append(self._tend_books())
        if self._mender is None:
            return work
        work.append(self._mender.run())
        if "trades" in self._channels and self._config.repair and not self._exchange.counts_trades:
            work.append(self._mender.audit(self._instruments, self._config.audit_every_s))
        requests = self._exchange.poll_requests(self._instruments, self._channels)
        if requests:
            work.append(self._mender.poll(requests, self._polling_line))
        return work

    def _polling_line(self) -> Line | None:
        return None if self._primary is None or not self._is_up else self._primary[1]

    async def _tend_books(self) -> None:
        """Ask for the snapshots that books want, and hand on those of quiet books."""
        while True:
            await asyncio.sleep(BOOKS_S)
            if self._primary is not None:
                self._intake.sample_books(self._primary[1])
            if self._stamped or self._mender is None:
                continue
            for connection, line in list(self._open.items()):
                if connection.is_open:
                    self._mender.renew_books(line, connection)

    async def _tick(self) -> None:
        """Look for stale feeds and write recorded frames, from time to time.

        For what is silent in a recording the intake looks, in the recording's time.
        """
        pause = min(_FLUSH_S, self._config.stale_after_ms / 4000)
        while True:
            await asyncio.sleep(pause)
            if self._is_up and not self._stamped:
                for instrument in self._intake.check_stale():
                    if self._mender is not None:
                        self._mender.ask_about(instrument)
            await self._write_recording()

    async def _write_recording(self, *, close: bool = False) -> None:
        if self._recorder is None:
            return
        try:
            await asyncio.to_thread(self._recorder.close if close else self._recorder.flush)
        except RecordingError as error:
            ERRORS.labels("recording", "write").inc()
            _LOGGER.error("%s: %s; these frames are not recorded", self._exchange.name, error)  # noqa: TRY400


async def _end(tasks: Sequence[asyncio.Task[str]]) -> None:
    """Cancel tasks and wait until they are gone, also where we are cancelled meanwhile."""
    for task in tasks:
        task.cancel()
    is_cancelled = False
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            is_cancelled = True
    for task in tasks:
        task.cancelled() or task.exception()  # told of by whoever waited for it
    if is_cancelled:
        raise asyncio.CancelledError
