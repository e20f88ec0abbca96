"""What a stream lacks, fetched over REST: trades of gaps, snapshots of books, what is polled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from engine.clock import NS_PER_S
from engine.domain.market import UNUSED_IDS, Gap, Trade, TradeRange
from engine.errors import FrameError, VenueError
from engine.exchanges.base import Exchange, RestRequest
from engine.exchanges.connection import Connection
from engine.exchanges.intake import Intake, Line
from engine.exchanges.wire import LAST_ID
from engine.metrics import ERRORS, REPAIRED_TRADES

Get = Callable[[RestRequest], Awaitable[bytes]]
"""Sends a request and returns the answer's body; `engine.exchanges.rest.RestClient.get`."""

MOST_PAGES = 2_000
"""Pages fetched for one gap; a longer one is fetched on in the next round."""

ROUND_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses between the rounds for one gap: a trade may reach a venue's REST later than its stream,
and a venue may be busy. Behind the last it is said why the gap is open, and tried again every"""

LATER_S = 300.0

SUCCESSOR_NS = 60 * NS_PER_S
"""A trade whose id is missing, and so much later than the first behind the gap, is not of it."""

SETTLED_NS = 2 * NS_PER_S
"""Younger trades are not audited: they may still be on their way over the stream."""

REACHED_NS = 10 * NS_PER_S
"""A page with a trade as young as this shows what is missing up to now."""

MOST_ASKED = 20_000
"""Trades that an answer about a silent feed holds at most; the next one tells of the rest."""

AUDITED_NS = 180 * NS_PER_S
"""How far back an audit looks at least: over the restart of a process that had not audited all."""

SNAPSHOT_PATIENCE_S = 10.0
"""A book's snapshot that a subscription did not bring in so long is asked for again, each time
twice as long, up to"""

MOST_PATIENCE_S = 320.0

WORKERS = 4
"""Gaps repaired side by side; the REST client keeps the venue's pace."""

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a venue's REST gave of the trades wanted."""

    trades: list[Trade]
    """Inside the range, each once, by (time, id)."""
    problem: str
    """What is missing still and why, in a sentence; empty where nothing is."""


async def fetch_trades(
    exchange: Exchange,
    get: Get,
    wanted: TradeRange,
    now: Callable[[], int],
    is_enough: Callable[[Sequence[Trade]], bool] | None = None,
) -> Fetched:
    """Fetch past trades, page by page, and say whether they are all.

    Where the venue counts its trades, all are there when every id is. Otherwise, and where ids are
    missing, they are when the pages reach from before the range to behind it: then the venue has
    no others. So the trades on both sides, which we hold, are asked for too. Where trading ended
    (`TradeRange.to_end`) there is no trade behind it, and the venue's newest one is its end. Who
    wants no more than some of them says of a page's whether it `is_enough`.

    Raises
    ------
    VenueError
        Where the venue does not answer, or refuses.
    """
    wanted = await _with_first_id(exchange, get, wanted)
    last_id = LAST_ID if wanted.to_sequence is None else wanted.to_sequence
    if (wanted.from_sequence or 0) > last_id:
        return Fetched([], "")
    found: dict[str, Trade] = {}
    page: list[Trade] | None = None
    seen: list[Trade] = []
    asked = _with_both_sides(wanted)
    is_cut = False
    for number in range(MOST_PAGES + 1):
        request = exchange.trades_request(asked, page)
        if request is None:
            break
        is_cut = number == MOST_PAGES
        if is_cut:
            break
        body = await get(request)
        page = exchange.parse_trades(body, wanted.instrument, now())
        if not page:
            break
        page_of_it = [trade for trade in page if not _is_anothers(trade, wanted)]
        if page_of_it:
            seen += [min(page_of_it, key=_place), max(page_of_it, key=_place)]
            seen.append(min(page_of_it, key=_sequence))
        for trade in page_of_it:
            if _is_inside(trade, wanted):
                found.setdefault(trade.trade_id, trade)
        if is_enough is not None and is_enough(list(found.values())):
            return Fetched(list(found.values()), "")
    trades = sorted(found.values(), key=_place)
    if wanted.to_end:
        return _last_trades(exchange, wanted, trades, seen, is_cut=is_cut)
    return Fetched(trades, _missing(exchange, wanted, trades, seen))


def _last_trades(
    exchange: Exchange,
    wanted: TradeRange,
    trades: list[Trade],
    seen: Sequence[Trade],
    *,
    is_cut: bool,
) -> Fetched:
    """Return what was traded up to the end of a listing, where the venue tells of it still.

    Pages that reach back to what we hold are of the same listing. Others may be of the instrument
    that the symbol names now: nothing is taken of them.
    """
    name = f"{exchange.name}'s REST"
    if not seen:
        return Fetched([], f"{name} keeps no past trades of {wanted.instrument}")
    held = None if wanted.from_sequence is None else wanted.from_sequence - 1
    reaches = min(trade.exchange_time for trade in seen) <= wanted.from_time
    if not reaches or (held is not None and min(map(_sequence, seen)) > held):
        told = f"{name} does not reach back to the last trade of {wanted.instrument} before its end"
        return Fetched([], told)
    return Fetched(trades, f"{name} has more than {MOST_PAGES} pages" if is_cut else "")


async def _with_first_id(exchange: Exchange, get: Get, wanted: TradeRange) -> TradeRange:
    """Look up the id that a range begins with, where the venue's REST asks for ids only."""
    if wanted.from_sequence is not None or wanted.to_sequence is None:
        return wanted
    request = exchange.first_trade_request(wanted.instrument, wanted.from_time)
    if request is None:
        return wanted
    first = exchange.parse_first_trade(await get(request))
    # None: nothing traded in the hour from there, so not in the range either.
    start = wanted.to_sequence + 1 if first is None else first
    return msgspec.structs.replace(wanted, from_sequence=start)


def _with_both_sides(wanted: TradeRange) -> TradeRange:
    if wanted.to_end and wanted.from_sequence is not None:
        return msgspec.structs.replace(wanted, from_sequence=wanted.from_sequence - 1)
    if wanted.from_sequence is None or wanted.to_sequence is None:
        return wanted
    return msgspec.structs.replace(
        wanted,
        from_sequence=max(0, wanted.from_sequence - 1),
        to_sequence=wanted.to_sequence + 1,
    )


def _place(trade: Trade) -> tuple[int, int, str]:
    return trade.exchange_time, trade.sequence, trade.trade_id


def _sequence(trade: Trade) -> int:
    return trade.sequence


def _is_anothers(trade: Trade, wanted: TradeRange) -> bool:
    """Whether a trade bears an id of the range, or near it, long after the range was over.

    Then the symbol names another instrument now, whose ids have come as far.
    """
    is_late = trade.exchange_time > wanted.to_time + SUCCESSOR_NS
    return is_late and wanted.to_sequence is not None


def _is_inside(trade: Trade, wanted: TradeRange) -> bool:
    if wanted.to_end and trade.exchange_time >= wanted.to_time:
        return False
    if wanted.to_sequence is not None and trade.sequence > wanted.to_sequence:
        return False
    if wanted.from_sequence is not None:
        return trade.sequence >= wanted.from_sequence
    return wanted.from_time <= trade.exchange_time <= wanted.to_time


def _missing(
    exchange: Exchange, wanted: TradeRange, trades: Sequence[Trade], seen: Sequence[Trade]
) -> str:
    """Say what of the range was not found; empty where nothing is missing."""
    ids = {trade.sequence for trade in trades}
    if wanted.from_sequence is not None and wanted.to_sequence is not None:
        number = wanted.to_sequence - wanted.from_sequence + 1
        low = min((trade.sequence for trade in seen), default=LAST_ID)
        high = max((trade.sequence for trade in seen), default=0)
        if len(ids) >= number or (low < wanted.from_sequence and high > wanted.to_sequence):
            return ""
        return (
            f"{exchange.name}'s REST gave {len(ids)} of the {number} trades "
            f"{wanted.from_sequence} to {wanted.to_sequence}"
        )
    if not seen:
        return f"{exchange.name}'s REST keeps no past trades of {wanted.instrument}"
    first, last = min(seen, key=_place), max(seen, key=_place)
    if wanted.to_sequence is not None:
        lowest = min(ids, default=wanted.to_sequence + 1)
        whole = len(ids) == wanted.to_sequence - lowest + 1
        reached = first.exchange_time < wanted.from_time or first.sequence <= 1
    else:
        whole = last.exchange_time >= wanted.to_time
        reached = first.exchange_time <= wanted.from_time
    if whole and (reached or exchange.pages_forward):
        return ""
    return (
        f"{exchange.name}'s REST gives past trades of {wanted.instrument} only from id "
        f"{first.trade_id} to {last.trade_id}"
    )


def _settled(trades: Sequence[Trade], now: int) -> list[Trade]:
    """Return the trades that are on their way over the stream no more."""
    return [trade for trade in trades if trade.exchange_time <= now - SETTLED_NS]


def _unused(wanted: TradeRange, trades: Sequence[Trade]) -> list[tuple[int, int]]:
    """Return the ranges of ids wanted that no trade bears."""
    if wanted.from_sequence is None or wanted.to_sequence is None:
        return []
    ids = sorted({trade.sequence for trade in trades})
    edges = [wanted.from_sequence - 1, *ids, wanted.to_sequence + 1]
    return [(low + 1, high - 1) for low, high in pairwise(edges) if high > low + 1]


class Mender:
    """Fetches what a stream lacks, at the venue's pace.

    Parameters
    ----------
    exchange
        The adapter.
    get
        The venue's REST.
    intake
        Says what is lacking, and takes what was fetched.
    """

    def __init__(self, exchange: Exchange, get: Get, intake: Intake) -> None:
        self.repaired = 0
        """Trades that were missing and were fetched."""
        self._exchange = exchange
        self._get = get
        self._intake = intake
        self._gaps: asyncio.Queue[tuple[Gap, int]] = asyncio.Queue()
        self._waiting: dict[str, Gap] = {}
        self._asked: set[asyncio.Task[None]] = set()
        self._silent: asyncio.Queue[str] = asyncio.Queue()
        self._in_question: set[str] = set()

    @property
    def waiting(self) -> int:
        """Gaps not repaired yet."""
        return len(self._waiting)

    def repair(self, gap: Gap) -> None:
        """Fetch a gap's trades, sooner or later; a gap that lasts still comes again when over."""
        if gap.gap_id not in self._waiting:
            self._waiting[gap.gap_id] = gap
            # One that was tried in vain before is not tried again and again.
            self._gaps.put_nowait((gap, len(ROUND_PAUSES_S) if gap.problem else 0))

    def gap_changed(self, gap: Gap) -> None:
        """Take note of a gap of the stream: repair it once it is over, or forget it."""
        if gap.channel != "trades":
            return
        if gap.repaired_at is not None:
            self._waiting.pop(gap.gap_id, None)
        elif gap.to_time is not None:
            self.repair(gap)

    async def run(self) -> None:
        """Repair for ever; whatever is asked for then ends with it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(WORKERS):
                    tasks.create_task(self._work())
                tasks.create_task(self._tell_quiet_from_stale())
        finally:
            for asked in self._asked:
                asked.cancel()

    async def _work(self) -> None:
        while True:
            gap, tried = await self._gaps.get()
            if gap.gap_id not in self._waiting:
                continue  # what was missing came late
            problem = await self._round(gap)
            if not problem or gap.gap_id not in self._waiting:
                continue  # it is repaired, or was closed while we asked
            pause_s = LATER_S
            if tried < len(ROUND_PAUSES_S):
                pause_s = ROUND_PAUSES_S[tried]
            else:
                gap = self._give_up(gap, problem)
            # A gap that waits keeps no worker from the others.
            again = (gap, tried + 1)
            asyncio.get_running_loop().call_later(pause_s, self._gaps.put_nowait, again)

    async def _round(self, gap: Gap) -> str:
        """Fetch once; return what is missing still, empty where the gap is repaired."""
        exchange, intake = self._exchange, self._intake
        wanted = intake.ledger.wanted(gap)
        try:
            fetched = await fetch_trades(exchange, self._get, wanted, intake.now)
        except (VenueError, FrameError) as error:
            ERRORS.labels("repair", exchange.name).inc()
            return str(error)
        number = intake.fill(gap, fetched.trades)
        self._count(number)
        if not fetched.problem and self._waiting.pop(gap.gap_id, None) is not None:
            self._close(gap, wanted, fetched.trades, number)
        return fetched.problem

    def _close(self, gap: Gap, wanted: TradeRange, trades: Sequence[Trade], number: int) -> None:
        """Say that a gap is repaired, and which of its ids the venue never gave."""
        if wanted.to_end and wanted.from_sequence is not None and trades:
            wanted = msgspec.structs.replace(
                wanted, to_sequence=max(trade.sequence for trade in trades)
            )
        unused = _unused(wanted, trades)
        whole = not trades and bool(unused)
        how = f"fetched {number} over REST" if number else "nothing missed"
        closed = msgspec.structs.replace(
            gap, repaired_at=self._intake.now(), how=UNUSED_IDS if whole else how, problem=""
        )
        self._intake.ledger.repaired(closed)
        self._intake.note(closed)
        for low, high in [] if whole else unused:
            self._intake.note(
                msgspec.structs.replace(
                    closed,
                    gap_id=f"{gap.gap_id}:unused:{low}",
                    from_sequence=low,
                    to_sequence=high,
                    how=UNUSED_IDS,
                )
            )

    def _give_up(self, gap: Gap, problem: str) -> Gap:
        """Say why a gap stays open; return it with the reason."""
        _LOGGER.warning("%s: a gap of %s stays open: %s", gap.exchange, gap.instrument, problem)
        told = msgspec.structs.replace(gap, problem=problem)
        if self._waiting.get(gap.gap_id) != told:
            self._waiting[gap.gap_id] = told
            self._intake.note(told)
        return told

    # -- silence -------------------------------------------------------------------------

    def ask_about(self, instrument: str) -> None:
        """Ask the venue, sooner or later, whether anybody traded where the feed is silent."""
        if instrument not in self._in_question:
            self._in_question.add(instrument)
            self._silent.put_nowait(instrument)

    async def _tell_quiet_from_stale(self) -> None:
        """Answer the questions one by one, so that they keep no repair waiting."""
        while True:
            instrument = await self._silent.get()
            self._in_question.discard(instrument)
            pause_s = await self._answer(instrument)
            if pause_s:
                asyncio.get_running_loop().call_later(pause_s, self.ask_about, instrument)

    async def _answer(self, instrument: str) -> float:
        """Ask about a silent feed; return after how many seconds to ask again, 0 for not."""
        intake = self._intake
        asked_at = intake.now()
        wanted = intake.ledger.beyond(instrument, asked_at)
        if wanted is None:
            return 0.0

        missing: list[Trade] = []

        def reaches_up(trades: Sequence[Trade]) -> bool:
            """Whether some are missing, and the pages came up to now."""
            missing[:] = intake.ledger.unheld(instrument, trades)
            newest = max((trade.exchange_time for trade in trades), default=0)
            is_far = newest >= asked_at - REACHED_NS or len(trades) >= MOST_ASKED
            return is_far and bool(_settled(missing, asked_at))

        try:
            fetched = await fetch_trades(
                self._exchange, self._get, wanted, intake.now, is_enough=reaches_up
            )
        except (VenueError, FrameError) as error:
            ERRORS.labels("quiet", self._exchange.name).inc()
            intake.once.warn("quiet", f"{self._exchange.name}: {error}")
            intake.is_stale(instrument, None)
            return LATER_S
        settled = _settled(intake.ledger.unheld(instrument, missing), asked_at)
        if settled:
            intake.is_stale(instrument, max(settled, key=_place))
        elif fetched.problem:
            intake.is_stale(instrument, None)
            return LATER_S
        elif intake.ledger.unheld(instrument, fetched.trades):
            return SETTLED_NS / NS_PER_S
        else:
            intake.nobody_traded(instrument, asked_at)
        return 0.0

    # -- audit ---------------------------------------------------------------------------

    async def audit(self, instruments: Sequence[str], every_s: float) -> None:
        """Look, again and again, for trades that the stream did not bring.

        For venues that do not count their trades: no skipped id shows a lost one, but the
        venue's REST tells its latest trades, as far back as it keeps them.
        """
        while True:
            await asyncio.sleep(every_s)
            for instrument in instruments:
                now = self._intake.now()
                back_ns = max(round(2 * every_s * NS_PER_S), AUDITED_NS)
                latest = TradeRange(instrument, None, None, now - back_ns, now - SETTLED_NS)
                try:
                    fetched = await fetch_trades(
                        self._exchange, self._get, latest, self._intake.now
                    )
                except (VenueError, FrameError) as error:
                    ERRORS.labels("audit", self._exchange.name).inc()
                    self._intake.once.warn("audit", f"{self._exchange.name}: {error}")
                    continue
                self._count(self._intake.audited(instrument, fetched.trades))

    def _count(self, number: int) -> None:
        self.repaired += number
        REPAIRED_TRADES.labels(self._exchange.name).inc(number)

    # -- books and polls -----------------------------------------------------------------

    def expect_books(self, line: Line) -> None:
        """Have a connection that has subscribed bring every book, where it sends snapshots."""
        asyncio.get_running_loop().call_later(
            SNAPSHOT_PATIENCE_S, lambda: line.keeper.want_missing(self._intake.delisted)
        )

    def renew_books(self, line: Line, connection: Connection) -> None:
        """Ask for the snapshots that a connection's books want, over REST or by subscribing."""
        for instrument in line.keeper.wanted():
            request = self._exchange.book_request(instrument)
            if request is None:
                connection.send(self._exchange.resubscribe_book(instrument))
                patience_s = SNAPSHOT_PATIENCE_S * 2 ** line.book_asks[instrument]
                line.book_asks[instrument] += 1
                asyncio.get_running_loop().call_later(
                    min(patience_s, MOST_PATIENCE_S), self._look_at_book, line, instrument
                )
                continue
            task = asyncio.create_task(self._fetch_book(line, instrument, request))
            self._asked.add(task)
            task.add_done_callback(self._asked.discard)

    @staticmethod
    def _look_at_book(line: Line, instrument: str) -> None:
        """Name a book again that its new subscription has not brought."""
        if instrument in line.keeper.live:
            del line.book_asks[instrument]
        else:
            line.keeper.retry(instrument)

    async def _fetch_book(self, line: Line, instrument: str, request: RestRequest) -> None:
        try:
            body = await self._get(request)
            self._intake.record_answer(line, request, body)
            self._intake.answered_book(line, instrument, body)
        except (VenueError, FrameError) as error:
            ERRORS.labels("repair", self._exchange.name).inc()
            intake, name = self._intake, self._exchange.name
            intake.once.warn("snapshot", f"{name}: no book of {instrument}: {error}")
            await asyncio.sleep(ROUND_PAUSES_S[-1] / 4)
        # Not live yet where it failed, or was older than what waits.
        if instrument not in line.keeper.live:
            line.keeper.retry(instrument)

    async def poll(self, requests: Sequence[RestRequest], line: Callable[[], Line | None]) -> None:
        """Ask, again and again, for what the stream does not tell."""
        while True:
            for request in requests:
                try:
                    body = await self._get(request)
                    now = self._intake.now()
                    events = self._exchange.parse_poll(request, body, now)
                except (VenueError, FrameError) as error:
                    ERRORS.labels("poll", self._exchange.name).inc()
                    self._intake.once.warn("poll", f"{self._exchange.name}: {error}")
                    continue
                primary = line()
                if primary is not None:
                    self._intake.record_answer(primary, request, body)
                    self._intake.take(primary, events)
            await asyncio.sleep(self._exchange.poll_every_s)
