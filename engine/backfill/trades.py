"""Missing trades, fetched slice by slice from the newest to the oldest, and written once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from engine.backfill.venue import Venue
from engine.clock import NS_PER_S, Clock
from engine.domain.market import UNUSED_IDS, Gap, Trade, TradeRange
from engine.store.writer import BatchWriter

IDS_AT_ONCE = 20_000
"""Ids asked for before what came is written and the gap shrinks."""
FIRST_SPAN_NS = 900 * NS_PER_S
"""Time asked for at first where ids are not known; it grows and shrinks with what comes."""
LONGEST_SPAN_NS = 86_400 * NS_PER_S
FEW, MANY = 2_000, 20_000
"""Trades in a slice below which the next one is longer, and above which it is shorter."""

_BACK_NS = tuple(seconds * NS_PER_S for seconds in (60, 600, 3_600, 86_400))


@dataclass(frozen=True, slots=True)
class Filled:
    """What came of one stretch."""

    trades: int
    """Trades fetched; the writer leaves out those that are stored."""
    problem: str
    """Why it is still open, in a sentence; empty where it is closed."""


class TradeFill:
    """Closes stretches of missing trades of one venue.

    Parameters
    ----------
    venue
        Where the trades come from.
    writer
        Where they go; it leaves out what is stored.
    clock
        What time it is.
    tell
        Called after every slice with the stretch, how far back it is fetched (UTC nanoseconds of
        the venue's time), and the trades that came.
    """

    def __init__(
        self,
        venue: Venue,
        writer: BatchWriter,
        clock: Clock,
        tell: Callable[[Gap, int, int], None],
    ) -> None:
        self._venue = venue
        self._writer = writer
        self._clock = clock
        self._tell = tell

    async def fill(self, gap: Gap) -> Filled:
        """Fetch one stretch; the store has it as an open gap until all of it is there.

        Raises
        ------
        VenueError
            Where the venue does not answer: the gap is open, and a next run goes on.
        StoreError
            Where trades cannot be stored.
        """
        gap = msgspec.structs.replace(gap, problem="")
        await self._note(gap)
        if self._venue.needs_ids(gap.instrument):
            gap = await self._with_ids(gap)
        whole = gap  # what is written on the way shrinks; what is closed is all of it
        if gap.from_sequence is not None and gap.to_sequence is not None:
            filled = await self._by_id(gap, gap.from_sequence, gap.to_sequence)
        elif self._venue.needs_ids(gap.instrument):
            filled = Filled(0, "")  # no trade since
        else:
            filled = await self._by_time(gap)
        if not filled.problem:
            how = f"fetched {filled.trades} over REST" if filled.trades else "nothing missed"
            await self._close(whole, how)
        return filled

    # -- by id ---------------------------------------------------------------------------

    async def _with_ids(self, gap: Gap) -> Gap:
        """Find the ids of a stretch that is known by its times."""
        low, high = gap.from_sequence, gap.to_sequence
        if low is None:
            low = await self._venue.first_id(gap.instrument, gap.from_time)
        if low is not None and high is None:
            high = await self._last_id(gap, low)
        return msgspec.structs.replace(gap, from_sequence=low, to_sequence=high)

    async def _last_id(self, gap: Gap, low: int) -> int:
        end = self._clock.now_ns() if gap.to_time is None else gap.to_time
        behind = await self._venue.first_id(gap.instrument, end)
        if behind is not None:
            return behind - 1
        # Nothing was traded since: look at the latest trades for the last one.
        near = low
        for back in _BACK_NS:
            found = await self._venue.first_id(gap.instrument, max(gap.from_time, end - back))
            if found is not None:
                near = found
                break
        wanted = TradeRange(gap.instrument, near, None, gap.from_time, end)
        latest = (await self._venue.trades(wanted)).trades
        return max((trade.sequence for trade in latest), default=near)

    async def _by_id(self, gap: Gap, low: int, high: int) -> Filled:
        total, end = 0, high
        while end >= low:
            start = max(low, end - IDS_AT_ONCE + 1)
            # With the trades beside them: between those, a missing id is one that never was.
            wanted = TradeRange(
                gap.instrument, max(1, start - 1), end + 1, gap.from_time, self._end_of(gap)
            )
            fetched = await self._venue.trades(wanted)
            inside = [trade for trade in fetched.trades if start <= trade.sequence <= end]
            await self._put(inside)
            problem = fetched.problem and await self._explain(
                gap, start, end, fetched.trades, fetched.problem
            )
            total += len(inside)
            if problem:
                return await self._leave_open(gap, total, problem)
            end = start - 1
            if end >= low:
                gap = msgspec.structs.replace(gap, to_sequence=end)
                await self._note(gap)
            reached = min((trade.exchange_time for trade in inside), default=gap.from_time)
            self._tell(gap, reached, len(inside))
        return Filled(total, "")

    async def _explain(
        self, gap: Gap, low: int, high: int, trades: Sequence[Trade], problem: str
    ) -> str:
        """Write down the ids that the venue skipped; return what is not explained by that."""
        ids = {trade.sequence for trade in trades}
        lacking = [number for number in range(low, high + 1) if number not in ids]
        if not lacking:
            return ""  # only a neighbour is missing: the range ends at the venue's newest trade
        if not (high + 1 in ids and (low - 1 in ids or low == 1)):
            return problem
        for first, last in _runs(lacking):
            told = msgspec.structs.replace(
                gap, gap_id=f"{gap.gap_id}:unused:{first}", from_sequence=first, to_sequence=last
            )
            await self._close(told, UNUSED_IDS)
        return ""

    # -- by time -------------------------------------------------------------------------

    async def _by_time(self, gap: Gap) -> Filled:
        total, span = 0, FIRST_SPAN_NS
        known, last = gap.to_sequence, self._end_of(gap)
        end = last
        while True:
            start = max(gap.from_time, end - span)
            # Below a known id, all that came before it is asked for, however clocks ran.
            until = end if known is None else last
            fetched = await self._venue.trades(
                TradeRange(gap.instrument, None, known, start, until)
            )
            await self._put(fetched.trades)
            total += len(fetched.trades)
            if fetched.problem:
                return await self._leave_open(gap, total, fetched.problem)
            counted = [trade.sequence for trade in fetched.trades if trade.sequence]
            known = min(counted) - 1 if counted else known
            end = start
            self._tell(gap, end, len(fetched.trades))
            if end <= gap.from_time:
                return Filled(total, "")
            gap = msgspec.structs.replace(gap, to_time=end, to_sequence=known)
            await self._note(gap)
            span = _next_span(span, len(fetched.trades))

    # -- to the store --------------------------------------------------------------------

    def _end_of(self, gap: Gap) -> int:
        return self._clock.now_ns() if gap.to_time is None else gap.to_time

    async def _put(self, trades: Sequence[Trade]) -> None:
        await self._writer.put("trades", trades)
        await self._writer.flush()

    async def _note(self, gap: Gap) -> None:
        await self._writer.put("feed_gaps", [gap])
        await self._writer.flush()

    async def _leave_open(self, gap: Gap, trades: int, problem: str) -> Filled:
        await self._note(msgspec.structs.replace(gap, problem=problem))
        return Filled(trades, problem)

    async def _close(self, gap: Gap, how: str) -> None:
        end = self._end_of(gap)
        now = self._clock.now_ns()
        await self._note(
            msgspec.structs.replace(gap, to_time=end, repaired_at=now, how=how, problem="")
        )


def _next_span(span: int, trades: int) -> int:
    if trades < FEW:
        return min(2 * span, LONGEST_SPAN_NS)
    return max(span // 2, NS_PER_S) if trades > MANY else span


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Join consecutive numbers.

    Examples
    --------
    >>> _runs([1, 2, 3, 7])
    [(1, 3), (7, 7)]
    """
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
