"""Which trades of a range the store lacks.

Every stretch is a `Gap`. It stands in the store as an open gap while it is being fetched, so that
a backfill that was killed is neither forgotten nor taken for complete: ``engine verify`` tells of
it, and the next run goes on with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.clock import NS_PER_S
from engine.domain.instrument import Market
from engine.domain.market import Gap, GapCause
from engine.exchanges.repair import LATER_S, ROUND_PAUSES_S
from engine.store.client import Store
from engine.store.completeness import LATEST, Selection, edge_holes, find_gaps
from engine.store.trade_ids import Hole, TradeCounts, count_trades, find_holes, neighbours

_MARK = ":backfill:"

TAIL_NS = 120 * NS_PER_S
"""A stretch this short up to now belongs to the engine that streams the market."""

REPAIR_NS = round((sum(ROUND_PAUSES_S) + LATER_S) * NS_PER_S)
"""What ended or was found so lately, the engine that streams the market is fetching itself: through
its rounds, and once more behind them. Two that fetch the same may both store it."""


def lacking(
    store: Store, market: Market, start: int, end: int, now: int, *, live: bool = False
) -> list[Gap]:
    """Return what the store lacks of a market's trades in ``[start, end)``, oldest first.

    Parameters
    ----------
    store
        The store.
    market
        Whose trades.
    start, end
        Range of the venue's time, UTC nanoseconds.
    now
        UTC nanoseconds.
    live
        Whether an engine may be streaming the market: gaps that last, those that it is still
        fetching (`REPAIR_NS`), and the last minutes up to now are its own to close.

    Returns
    -------
    list of Gap
        Open gaps that the store knows of (they may reach out of the range), holes between ids, what
        of those across an edge of the range may lie in it, and what lies before the first and
        behind the last stored trade.
    """
    gaps = [
        gap
        for gap in find_gaps(store, Selection(market.exchange, market.instrument, start, end))
        if gap.channel == "trades"
    ]
    told = [gap for gap in gaps if gap.repaired_at is None or _MARK in gap.gap_id]
    open_gaps = [gap for gap in gaps if gap.repaired_at is None]
    found = [
        gap
        for gap in open_gaps
        if not (live and _is_the_streams(gap, now))
        # No trade follows to show that all before it came: only a stream can prove these.
        and gap.cause != "delisting"
    ]
    held = count_trades(store, market, 0, LATEST)
    found += _ends(market, held, told, start, end, now, live=live)
    inside = count_trades(store, market, start, end)
    holes, _ = find_holes(store, market, inside, start, end)
    found += [_of_hole(market, hole, now) for hole in _untold(holes, open_gaps, now, live=live)]
    beside = neighbours(store, *market, start, end).get(market)
    edges = edge_holes(store, market, beside, start, end)
    found += [
        _of_edge(market, hole, start, end, now)
        for hole in _untold(edges, open_gaps, now, live=live)
    ]
    return sorted(found, key=lambda gap: (gap.from_time, gap.gap_id))


def between(market: Market, held: TradeCounts, start: int, end: int, now: int) -> Gap | None:
    """Return what lies between a range and the stored trades beside it, None where they touch.

    Trades that nobody asked for would else look as if there were none: a venue that does not count
    its trades leaves no hole between ids.
    """
    if not held.trades or held.counted:
        return None
    if end < held.first_time:
        return _gap(market, "start", end, held.first_time, now)
    if start > held.last_time:
        return _gap(market, "restart", held.last_time, start, now)
    return None


def _ends(
    market: Market,
    held: TradeCounts,
    gaps: Sequence[Gap],
    start: int,
    end: int,
    now: int,
    *,
    live: bool,
) -> list[Gap]:
    """Return the stretches before the first and behind the last trade that no gap tells of.

    An open gap is fetched as it is; one that an earlier backfill closed was fetched already.
    """
    if not held.trades:
        stretches = [_gap(market, "start", start, end, now)]
    else:
        stretches = []
        if start < held.first_time:
            head = _gap(market, "start", start, min(end, held.first_time), now)
            if held.counted and head.to_time == held.first_time:
                head = msgspec.structs.replace(head, to_sequence=held.low - 1)
            stretches.append(head)
        is_streamed = live and now - held.last_time < TAIL_NS and now - end < TAIL_NS
        if end > held.last_time + 1 and not is_streamed:
            stretches.append(_gap(market, "restart", max(start, held.last_time), end, now))
    return [
        one
        for one in stretches
        if not any(
            gap.from_time <= one.from_time and (gap.to_time or LATEST) >= (one.to_time or LATEST)
            for gap in gaps
        )
    ]


def _of_hole(market: Market, hole: Hole, now: int) -> Gap:
    low, high = min(hole.from_time, hole.to_time), max(hole.from_time, hole.to_time)
    gap = _gap(market, "sequence", low, high, now)
    return msgspec.structs.replace(
        gap,
        gap_id=f"{gap.gap_id}:{hole.low}",
        from_sequence=hole.low,
        to_sequence=hole.high,
    )


def _of_edge(market: Market, hole: Hole, start: int, end: int, now: int) -> Gap:
    """Return what of a hole across an edge of a range may lie in it: known by its times only."""
    low, high = min(hole.from_time, hole.to_time), max(hole.from_time, hole.to_time)
    return _gap(market, "restart", max(start, low), min(end, high), now)


def _is_the_streams(gap: Gap, now: int) -> bool:
    """Whether a gap is the stream's to close: it lasts, or is being fetched by it.

    What another backfill began is nobody's: a stream takes it up at its own start only.
    """
    if gap.to_time is None:
        return True
    return _MARK not in gap.gap_id and now - max(gap.opened_at, gap.to_time) < REPAIR_NS


def _untold(holes: Sequence[Hole], gaps: Sequence[Gap], now: int, *, live: bool) -> list[Hole]:
    """Return the holes that no open gap tells of, or will in a moment where a stream runs."""
    return [
        hole
        for hole in holes
        if not _is_told(hole, gaps)
        and not (live and now - max(hole.from_time, hole.to_time) < REPAIR_NS)
    ]


def _is_told(hole: Hole, gaps: Sequence[Gap]) -> bool:
    return any(
        gap.from_sequence is not None
        and gap.to_sequence is not None
        and gap.from_sequence <= hole.low
        and hole.high <= gap.to_sequence
        for gap in gaps
    )


def _gap(market: Market, cause: GapCause, start: int, end: int, now: int) -> Gap:
    return Gap(
        gap_id=f"{market}:trades{_MARK}{start}:{end}",
        exchange=market.exchange,
        instrument=market.instrument,
        channel="trades",
        cause=cause,
        from_sequence=None,
        to_sequence=None,
        from_time=start,
        to_time=end,
        opened_at=now,
    )
