"""Frames to events: recorded, parsed, and checked against the ledger and the books.

One intake serves a stream's successive connections. While one is replaced by the next, both feed
it: trades of either are taken once, whichever brings them first; of everything else, whose
newest state is all that counts, only the primary connection's is taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

import msgspec

from engine.books.keeper import BookKeeper
from engine.books.sampler import BookSampler, delta_of
from engine.clock import NS_PER_MS, NS_PER_S, Clock
from engine.config import ExchangeConfig
from engine.domain.market import (
    BookTop,
    BookUpdate,
    Channel,
    DeadLetter,
    Gap,
    Heartbeat,
    MarketEvent,
    PerpetualTick,
    Trade,
)
from engine.errors import FrameError, VenueError
from engine.exchanges.base import Exchange, RestRequest
from engine.exchanges.feeds import ANSWER_PATIENCE_NS, FeedLedger, channel_of
from engine.exchanges.record_lines import ANSWER_BIT, same_target, target_of
from engine.exchanges.recording import Recorder
from engine.exchanges.sink import FeedEvent, StreamCounts
from engine.exchanges.wire import STAMP_BYTES
from engine.log import OncePerKind
from engine.metrics import BAD_FRAMES, GAPS

DEAD_LETTER_BYTES = 64 * 1024
"""How much of a bad frame is kept."""

LOOK_NS = 2 * NS_PER_S
"""How often of recorded time a replay looks for silent feeds, at the longest."""

MOST_HELD = 100_000
"""Trades of a delisted instrument that wait for the word whether it is listed again."""

AHEAD_NS = 300 * NS_PER_S
"""A trade that claims to come from further in the future is damage: believed, it would close
every interval up to its time, and make all trades that follow late."""

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Repaired:
    """Trades that were fetched for a gap."""

    trades: list[Trade]


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection came up or went down."""

    connected: bool
    reason: str


Note = Gap | DeadLetter | Repaired | Connected
"""What a stream tells beside its events."""


@dataclass(slots=True, eq=False)
class Line:
    """What the intake knows of one connection."""

    keeper: BookKeeper
    is_primary: bool
    seen: set[tuple[str, Channel]] = field(default_factory=set)
    """Feeds that brought something, noted while two connections overlap."""
    recorded: list[tuple[int, RestRequest | None, bytes]] = field(default_factory=list)
    """Frames, and answers to requests, of a connection that is not primary yet: they enter the
    recording when it is."""
    book_asks: Counter[str] = field(default_factory=Counter)
    """How often each book was subscribed to again since it was whole."""


class Intake:
    """Takes frames, keeps the ledger and the books, and holds what the sink is to get.

    Parameters
    ----------
    exchange
        The adapter.
    instruments
        Canonical names.
    config
        Channels, and whether changes of books are handed on.
    clock
        Gives receive times.
    ledger
        Of the stream's feeds.
    recorder
        Keeps every raw frame and answer; None keeps none.
    stamped
        Messages come from a replay, with their receive times.
    """

    def __init__(
        self,
        exchange: Exchange,
        instruments: Sequence[str],
        config: ExchangeConfig,
        clock: Clock,
        ledger: FeedLedger,
        recorder: Recorder | None,
        *,
        stamped: bool,
    ) -> None:
        self.ledger = ledger
        self.counts = StreamCounts(exchange.name)
        self.events: list[FeedEvent] = []
        self.notes: list[Note] = []
        self.filled = asyncio.Event()
        """Set when there is something for the sink."""
        self.unlisted = asyncio.Event()
        """Set when a delisted instrument trades: somebody has to ask the venue what it is."""
        self.unsubscribed = asyncio.Event()
        """Set when a subscription was refused or seems to be gone: it is to be asked for again."""
        self.position = 0
        """Messages of a replay taken so far."""
        self.last_receive: int | None = None
        self.overlap = False
        """Whether two connections feed it."""
        self.checked = 0
        """Book checksums that matched, of connections that are over."""
        self.stale = 0
        """Book changes that were dropped as known, of connections that are over."""
        self.once = OncePerKind(_LOGGER)
        self._exchange = exchange
        self._instruments = list(instruments)
        self._with_books = "book" in config.channels
        self._with_deltas = config.book_deltas
        self._sampler = BookSampler(
            config.book_snapshot_every_ms * NS_PER_MS, config.book_snapshot_levels
        )
        self._channels = config.channels
        self._clock = clock
        self._recorder = recorder
        self._stamped = stamped
        self._stale_after_ns = config.stale_after_ms * NS_PER_MS
        self._look_ns = min(LOOK_NS, self._stale_after_ns // 4)
        self._next_look: int | None = None
        self._bad = 0
        self._delisted: dict[str, list[Trade]] = {}
        self._successors: dict[str, str] = {}
        self._targets: dict[object, str] | None = None

    def line(self, *, is_primary: bool) -> Line:
        """Return the state of a new connection."""
        exchange = self._exchange
        books = self._instruments if self._with_books else []
        asks = any(exchange.book_request(name) is not None for name in books[:1])
        keeper = BookKeeper(
            exchange.name,
            books,
            levels=exchange.book_levels,
            checksum=exchange.checksum if exchange.checksum_levels else None,
            checksum_levels=exchange.checksum_levels,
            snapshots="rest" if asks else "stream",
            # Above those of all connections before, in this process and in earlier ones.
            epochs=dict.fromkeys(books, self.now() // NS_PER_S),
        )
        return Line(keeper, is_primary)

    def promote(self, line: Line, before: Line) -> None:
        """Make a connection the primary one; its books take the place of those before."""
        before.is_primary, line.is_primary = False, True
        self.overlap = False
        for receive_time, request, body in line.recorded:
            self._record(receive_time, request, body)
        line.recorded.clear()
        for instrument in before.keeper.live - line.keeper.live:
            self.ledger.broke(instrument, "disconnect", self.now())
        if self._with_deltas:
            self._tell_books(line.keeper)
        self._collect_gaps()

    def _tell_books(self, keeper: BookKeeper) -> None:
        """Hand on whole books: what follows changes these, not those of the connection before."""
        for instrument in sorted(keeper.live):
            book = keeper.book(instrument)
            if book is not None:
                now = self.now()
                whole = BookUpdate(
                    keeper.exchange,
                    instrument,
                    True,
                    book.bids(),
                    book.asks(),
                    None,
                    book.sequence,
                    None,
                    book.exchange_time,
                    now,
                )
                self.events.append(delta_of(whole, keeper.epoch(instrument)))

    def gone(self, line: Line) -> None:
        """Take note that a connection is over."""
        self.checked += line.keeper.checked
        self.stale += line.keeper.stale
        line.keeper.disconnected()

    def broke_off(self) -> None:
        """Take note that the connection before ended sooner than its successor took over."""
        now = self.now()
        self.ledger.disconnected(now)
        self.ledger.connected(now + 1)  # the successor is up
        self._collect_gaps()

    def subscribed(self) -> None:
        """Take note that a connection has asked for all its feeds: silence counts from now."""
        self.ledger.connected(self.now())

    @property
    def delisted(self) -> Container[str]:
        """Instruments of which nothing is expected."""
        return self._delisted.keys()

    @property
    def bad(self) -> int:
        """Frames set aside as dead letters."""
        return self._bad

    def now(self) -> int:
        """Return the time: ours, or that of the replayed frames."""
        if self._stamped and self.last_receive is not None:
            return self.last_receive
        return self._clock.now_ns()

    # -- frames --------------------------------------------------------------------------

    def frames(self, line: Line, frames: Sequence[bytes]) -> None:
        """Take the messages of a connection that came together, in order."""
        if self._stamped:
            for frame in frames:
                self._replayed(line, frame)
        else:
            now = self._clock.now_ns
            for frame in frames:
                self._frame(line, now(), frame)
        self._tell()

    def _replayed(self, line: Line, message: bytes) -> None:
        """Take one message of a replay: its receive time, then a frame or an answer."""
        self.position += 1
        stamp, frame = int.from_bytes(message[:STAMP_BYTES], "big"), message[STAMP_BYTES:]
        receive_time = stamp & ~ANSWER_BIT
        self._look_up_to(receive_time)
        if stamp & ANSWER_BIT:
            self._replayed_answer(line, frame, receive_time)
        else:
            self._frame(line, receive_time, frame)

    def _look_up_to(self, receive_time: int) -> None:
        """Look for silent feeds at each fixed moment of recorded time before a message.

        A look every so often of our own time would find other silences at another speed.
        """
        step, last = self._look_ns, self.last_receive
        if self._next_look is None or last is None:
            self.ledger.connected(receive_time)  # nothing was to come before
        else:
            # Behind this nothing more falls silent, however long the recording does.
            end = min(receive_time, last + self._stale_after_ns + ANSWER_PATIENCE_NS + 2 * step)
            for moment in range(self._next_look, end + 1, step):
                self.ledger.check_stale(moment)  # a recording cannot be asked who traded
        self._next_look = (receive_time // step + 1) * step

    def _frame(self, line: Line, receive_time: int, frame: bytes) -> None:
        self.last_receive = receive_time
        counts = self.counts
        counts.frames += 1
        counts.frame_bytes += len(frame)
        if self._recorder is not None:
            if line.is_primary:
                self._recorder.record(receive_time, frame)
            else:
                line.recorded.append((receive_time, None, frame))
        try:
            events = self._exchange.parse(frame, receive_time)
        except FrameError as error:
            if self._stamped and error.kind == "unknown_symbol":
                counts.ignored += 1  # a recording may hold more than was asked for
            else:
                self.set_aside(error.kind, str(error), frame, receive_time)
            return
        except VenueError as error:
            self.set_aside("refused", str(error), frame, receive_time)
            self.unsubscribed.set()
            return
        if events:
            self._take(line, events)
        else:
            counts.ignored += 1

    def take(self, line: Line, events: Sequence[MarketEvent]) -> None:
        """Take what a message said."""
        self._take(line, events)
        self._tell()

    def offered(self, line: Line, trades: Sequence[Trade]) -> None:
        """Take trades of a stream that may know a reused symbol by its old name only."""
        if self._successors:
            trades = [
                msgspec.structs.replace(trade, instrument=self._successors[trade.instrument])
                if trade.instrument in self._successors
                else trade
                for trade in trades
            ]
        self.take(line, trades)

    def _take(self, line: Line, events: Sequence[MarketEvent]) -> None:
        ledger = self.ledger
        for event in events:
            if type(event) is Trade:
                self._trade(line, event)
            elif type(event) is BookUpdate:
                if self._with_books:
                    self._book(line, event)
            elif type(event) is Heartbeat:
                if line.is_primary:
                    self.events.append(event)
            elif type(event) is BookTop or type(event) is PerpetualTick:
                if self.overlap:
                    line.seen.add((event.instrument, channel_of(event)))
                if line.is_primary and ledger.accept(event):
                    self.events.append(event)

    def _tell(self) -> None:
        """Have what was taken handed to the sink."""
        if self.ledger.changes:
            self._collect_gaps()
        if self.events:
            self.filled.set()

    def _trade(self, line: Line, trade: Trade) -> None:
        if self.overlap:
            line.seen.add((trade.instrument, "trades"))
        if self._delisted and trade.instrument in self._delisted:
            self._hold(trade)
        elif trade.exchange_time > trade.receive_time + AHEAD_NS:
            self._set_aside_future(trade)
        elif self.ledger.accept(trade):
            self.events.append(trade)
        elif self.ledger.recounts(trade):
            # Its symbol may name another instrument now: hold it until we know.
            self.delist(trade.instrument)
            self._hold(trade)

    def _set_aside_future(self, trade: Trade) -> None:
        ahead_s = (trade.exchange_time - trade.receive_time) // NS_PER_S
        reason = (
            f"trade {trade.trade_id} of {trade.instrument} claims to be {ahead_s} s ahead of our "
            "clock; where all do, set this machine's clock"
        )
        self.set_aside("future_time", reason, msgspec.json.encode(trade), trade.receive_time)

    def _book(self, line: Line, update: BookUpdate) -> None:
        keeper = line.keeper
        if line.is_primary:
            self.events += self._sampler.before(keeper, update)
        try:
            applied = keeper.take(update)
        except FrameError as error:
            message = msgspec.json.encode(update)
            self.set_aside(error.kind, str(error), message, update.receive_time)
            return
        if self.overlap and applied:
            line.seen.add((update.instrument, "book"))
        for fault in keeper.faults():
            if line.is_primary:
                self.once.warn(f"{fault.cause}", f"{keeper.exchange}: {fault.detail}")
                self.ledger.broke(fault.instrument, fault.cause, fault.receive_time)
        if not line.is_primary:
            return
        epoch = keeper.epoch(update.instrument) if applied else 0
        for each in applied:
            self._sampler.applied(each)
            if self.ledger.accept(each) and self._with_deltas:
                self.events.append(delta_of(each, epoch))

    def sample_books(self, line: Line) -> None:
        """Hand on snapshots of books whose interval is over."""
        snapshots = self._sampler.due(line.keeper, self.now())
        if snapshots:
            self.events += snapshots
            self.filled.set()

    def answered_book(self, line: Line, instrument: str, body: bytes) -> None:
        """Take the answer to a request for a book's snapshot.

        Raises
        ------
        VenueError
            Where it cannot be used.
        """
        self._book(line, self._exchange.parse_book(body, instrument, self.now()))
        self._collect_gaps()
        self.filled.set()

    def _replayed_answer(self, line: Line, message: bytes, receive_time: int) -> None:
        """Take a recorded answer: a book's snapshot, or what was polled."""
        self.last_receive = receive_time
        target, _, body = message.partition(b" ")
        key = same_target(target.decode("utf-8", "replace"))
        if self._targets is None:
            requests = [(name, self._exchange.book_request(name)) for name in self._instruments]
            self._targets = {
                same_target(target_of(request)): name
                for name, request in requests
                if request is not None
            }
        try:
            if key in self._targets and self._with_books:
                self.answered_book(line, self._targets[key], body)
                return
            for request in self._exchange.poll_requests(self._instruments, self._channels):
                if same_target(target_of(request)) == key:
                    self.take(line, self._exchange.parse_poll(request, body, receive_time))
        except (FrameError, VenueError) as error:
            self.set_aside("refused", str(error), body, receive_time)

    def record_answer(self, line: Line, request: RestRequest, body: bytes) -> None:
        """Keep an answer in the recording, where there is one."""
        if line.is_primary:
            self._record(self.now(), request, body)
        elif self._recorder is not None:
            line.recorded.append((self.now(), request, body))

    def _record(self, receive_time: int, request: RestRequest | None, body: bytes) -> None:
        if self._recorder is None:
            return
        if request is None:
            self._recorder.record(receive_time, body)
        else:
            self._recorder.record_answer(receive_time, request, body)

    # -- gaps and faults -----------------------------------------------------------------

    def became(self, *, connected: bool, reason: str, ended: bool = False) -> None:
        """Note that the stream came up or went down; `ended` where nothing is missed by it."""
        now = self.now()
        if connected:
            self.ledger.connected(now)
        elif not ended:
            self.ledger.disconnected(now)
        self._collect_gaps()
        self.note(Connected(connected, reason))

    def check_stale(self) -> list[str]:
        """Look for feeds that are silent; return those of whose trades the venue is asked first."""
        now = self.now()
        suspects = self.ledger.check_stale(now)
        self._collect_gaps()
        if self.ledger.has_deaf(now):
            self.unsubscribed.set()
        return suspects

    def nobody_traded(self, instrument: str, asked_at: int) -> None:
        """Take the venue's answer that a silent feed is just quiet.

        Parameters
        ----------
        instrument
            Which feed.
        asked_at
            When the question was sent, UTC nanoseconds.
        """
        self.ledger.nobody_traded(instrument, asked_at, self.now())
        self._collect_gaps()

    def is_stale(self, instrument: str, newest: Trade | None) -> None:
        """Take the venue's answer that a silent feed misses trades, or that it cannot tell.

        Parameters
        ----------
        instrument
            Which feed.
        newest
            The newest trade that is missing; None where the venue cannot tell.
        """
        if self.ledger.is_stale(instrument, self.now(), newest=newest):
            self.unsubscribed.set()
        self._collect_gaps()

    def fill(self, gap: Gap, trades: list[Trade]) -> int:
        """Take fetched trades of a gap; return how many were missing indeed."""
        fresh = self.ledger.fill(gap, trades)
        if fresh:
            self.note(Repaired(fresh))
        self._collect_gaps()
        return len(fresh)

    def audited(self, instrument: str, trades: list[Trade]) -> int:
        """Take trades that the venue's REST told of; return how many the stream had not brought.

        Those before the first trade of the stream are not its to bring.
        """
        fresh, gap = self.ledger.audit(instrument, trades, self.now())
        if gap is not None:
            GAPS.labels(gap.exchange, gap.cause).inc()
            self.note(Repaired(fresh))
            self.note(gap)
        return len(fresh)

    def set_aside(self, kind: str, reason: str, frame: bytes, receive_time: int) -> None:
        """Keep a frame that cannot be used, and say so once."""
        name = self._exchange.name
        BAD_FRAMES.labels(name, kind).inc()
        self._bad += 1
        self.once.warn(kind, f"{name}: bad frame ({kind}): {reason}")
        kept = bytes(frame[:DEAD_LETTER_BYTES])
        self.note(DeadLetter(name, kind, reason, kept, len(frame), receive_time))

    def note(self, note: Note) -> None:
        """Tell the sink something beside the events."""
        self.notes.append(note)
        self.filled.set()

    def _collect_gaps(self) -> None:
        for gap in self.ledger.take_changes():
            if gap.repaired_at is None and (gap.to_time is None or gap.from_sequence is not None):
                GAPS.labels(gap.exchange, gap.cause).inc()
            self.note(gap)

    # -- listings ------------------------------------------------------------------------

    def delist(self, instrument: str) -> None:
        """Expect nothing more of an instrument; hold what comes until `relist` says what it is."""
        if instrument not in self._delisted:
            self._delisted[instrument] = []
            self.ledger.end(instrument, self.now())
            self._collect_gaps()

    def leaves(self, instrument: str, ended_at: int | None, *, is_final: bool) -> None:
        """Have the last trades of an instrument looked for (`FeedLedger.leaves`)."""
        self.ledger.leaves(instrument, ended_at, self.now(), is_final=is_final)
        self._collect_gaps()

    def relist(self, instrument: str, successor: str, listed_at: int | None) -> None:
        """Take the trades of an instrument's symbol for those of `successor` from now on.

        Parameters
        ----------
        instrument
            What was delisted.
        successor
            What its symbol names now; the same where the delisting was taken back.
        listed_at
            When the trading of `successor` began, by the venue's clock; None where it does not
            say. What was held of an earlier time is still the instrument's.
        """
        if instrument not in self._delisted and successor == instrument:
            self.ledger.stays(instrument, self.now())
            self._collect_gaps()
            return
        held = self._delisted.pop(instrument, [])
        now = self.now()
        if successor == instrument:
            self.ledger.revive(instrument, now)
        else:
            self._instruments = [n for n in self._instruments if n != instrument] + [successor]
            self._exchange.track([successor])
            self._successors[instrument] = successor
            self.ledger.add(successor, now)
        for trade in held:
            is_earlier = listed_at is not None and trade.exchange_time < listed_at
            name = instrument if is_earlier else successor
            named = msgspec.structs.replace(trade, instrument=name)
            if self.ledger.accept(named):
                self.events.append(named)
        if successor != instrument:
            # One look may see both: that it was delisted, and that its symbol is used again.
            self.ledger.end(instrument, now)
        self._collect_gaps()
        self.filled.set()

    def _hold(self, trade: Trade) -> None:
        held = self._delisted[trade.instrument]
        if len(held) < MOST_HELD:
            held.append(trade)
        else:
            frame = msgspec.json.encode(trade)
            self.set_aside("delisted", f"{trade.instrument} is delisted", frame, self.now())
        self.unlisted.set()
