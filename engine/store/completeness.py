"""Is what we hold of a market whole? The proof behind ``engine verify``.

A market is complete where no gap of its trades or its book is open, no trade id is missing that
the venue gave, no trade is stored twice, and no candle disagrees with its trades.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from engine.clock import iso_utc
from engine.domain.instrument import Market
from engine.domain.market import UNUSED_IDS, Gap
from engine.errors import StoreQueryError
from engine.store.candle_check import CandleCheck, Scope, check_candles
from engine.store.client import Store
from engine.store.tables import TABLES
from engine.store.trade_ids import (
    Hole,
    Neighbours,
    TradeCounts,
    count_duplicates,
    count_trades,
    find_edge_holes,
    find_holes,
    markets,
    neighbours,
)

LATEST = 2**63 - 1
"""An end that nothing comes after, UTC nanoseconds."""

_LASTING = ("trades", "book")
_FETCHED = ("start", "restart")
"""Causes of gaps that are whole ranges of time: what lies before the first trade, or behind one."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What to verify; empty texts match all.

    Parameters
    ----------
    exchange, instrument
        Names.
    start, end
        Range of the venue's time, UTC nanoseconds, half-open.
    """

    exchange: str = ""
    instrument: str = ""
    start: int = 0
    end: int = LATEST

    def __str__(self) -> str:
        of = [text for text in (self.exchange, self.instrument) if text]
        since = f" from {iso_utc(self.start)}" if self.start else ""
        until = f" to {iso_utc(self.end)}" if self.end != LATEST else ""
        return f"{' '.join(of) or 'any market'}{since}{until}"


@dataclass(frozen=True, slots=True)
class MarketReport:
    """What was found of one market."""

    market: Market
    counts: TradeCounts
    duplicates: int
    """Rows that repeat another row's id."""
    missing_ids: int
    """Ids that the venue counts, that we lack, and that no gap explains."""
    holes: list[Hole]
    """Where they are missing; see `all_holes`."""
    all_holes: bool
    """False where there are more holes than are listed."""
    edge_holes: list[Hole]
    """Ids missing across an edge of the range: they may lie inside it or outside."""
    open_gaps: list[Gap]
    """Of trades and the book, oldest first."""
    other_open_gaps: int
    """Of channels of which only the newest state counts."""
    repaired_gaps: int
    candles: CandleCheck

    @property
    def problems(self) -> list[str]:
        """What is not complete, a sentence each; empty where all is."""
        found = [_gap_in_words(gap) for gap in self.open_gaps]
        if self.missing_ids:
            listed = _holes_in_words(self.holes, is_all=self.all_holes)
            found.append(f"{self.missing_ids} trade ids are missing{listed}")
        found += map(_edge_in_words, self.edge_holes)
        if self.duplicates:
            found.append(f"{self.duplicates} trades are stored twice")
        if self.candles.disagreeing:
            found.append(
                f"{self.candles.disagreeing} candles disagree with their trades"
                f"{_candles_in_words(self.candles)}"
            )
        return found

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing, doubled or wrong."""
        return not self.problems


def verify(
    store: Store,
    selection: Selection,
    *,
    patience_s: float = 0.0,
    tell: Callable[[Market, int, int], None] | None = None,
) -> Iterator[MarketReport]:
    """Verify every market that matches, by name.

    Parameters
    ----------
    store
        The store.
    selection
        What to verify.
    patience_s
        See `engine.store.candle_check.check_candles`.
    tell
        Called before each market with its number from 1 and how many there are.

    Raises
    ------
    StoreQueryError
        Where the selection matches nothing, or the store holds no trades.
    """
    found = _selected(store, selection)
    for number, (market, beside) in enumerate(found.items(), 1):
        if tell is not None:
            tell(market, number, len(found))
        yield _verify_market(store, market, beside, selection, patience_s)


def _selected(store: Store, selection: Selection) -> dict[Market, Neighbours | None]:
    """Return the markets to verify, by name, with what lies beside the range.

    Those with trades or gaps in it, and those with trades on both sides: of these it holds
    whatever was traded meanwhile, or should.
    """
    start, end = selection.start, selection.end
    held = neighbours(store, selection.exchange, selection.instrument, start, end)
    chosen = {Market(gap.exchange, gap.instrument) for gap in find_gaps(store, selection, _LASTING)}
    chosen |= {market for market, beside in held.items() if beside.inside or beside.straddles}
    if chosen:
        return {market: held.get(market) for market in sorted(chosen)}
    everything = markets(store)
    if not everything:
        raise StoreQueryError("the store holds no trades yet: there is nothing to verify")
    raise StoreQueryError(
        f"no trades are stored of {selection}; stored are "
        f"{', '.join(map(str, everything[:10]))}"
        + (f" and {len(everything) - 10} more" if len(everything) > 10 else "")
    )


def _verify_market(
    store: Store,
    market: Market,
    beside: Neighbours | None,
    selection: Selection,
    patience_s: float,
) -> MarketReport:
    start, end = selection.start, selection.end
    counts = count_trades(store, market, start, end)
    holes, all_holes = find_holes(store, market, counts, start, end)
    its = Selection(market.exchange, market.instrument, start, end)
    gaps = find_gaps(store, its)
    unrepaired = [gap for gap in gaps if gap.repaired_at is None]
    lasting = [gap for gap in unrepaired if gap.channel in _LASTING]
    unexplained = unexplained_holes(holes, gaps)
    edges = edge_holes(store, market, beside, start, end)
    missing = max(0, counts.missing) - sum(hole.ids for hole in holes)
    return MarketReport(
        market=market,
        counts=counts,
        duplicates=count_duplicates(store, market, counts, start, end),
        missing_ids=missing + sum(hole.ids for hole in unexplained),
        holes=unexplained,
        all_holes=all_holes,
        edge_holes=edges,
        open_gaps=lasting,
        other_open_gaps=len(unrepaired) - len(lasting),
        repaired_gaps=len(gaps) - len(unrepaired),
        candles=_candles(
            store,
            market,
            counts,
            selection,
            broken_ranges([*unexplained, *edges], lasting),
            patience_s,
        ),
    )


def edge_holes(
    store: Store, market: Market, beside: Neighbours | None, start: int, end: int
) -> list[Hole]:
    """Return the ids missing across an edge of ``[start, end)`` that may have been traded in it.

    Not those that no trade bears, nor those of a range that was fetched whole: then they lie
    outside.

    Parameters
    ----------
    store
        Where the trades and the gaps are.
    market
        Whose.
    beside
        From `engine.store.trade_ids.neighbours`; None where no trade is stored.
    start, end
        Range of the venue's time.
    """
    holes = [] if beside is None else find_edge_holes(store, market, beside, start, end)
    if not holes:
        return []
    times = [moment for hole in holes for moment in (hole.from_time, hole.to_time)]
    wide = Selection(market.exchange, market.instrument, min(times), max(times) + 1)
    gaps = find_gaps(store, wide)
    doubtful = unexplained_holes(holes, gaps)
    return [part for hole in doubtful for part in _not_fetched(hole, gaps, start, end)]


def _not_fetched(hole: Hole, gaps: Sequence[Gap], start: int, end: int) -> list[Hole]:
    """Return what of a hole across an edge may lie in the range, as far as gaps tell.

    Where closed gaps cover the range from the edge to its nearest trade, all that was traded there
    was fetched: only ids that were among the fetched ones are missing from it.
    """
    fetched = [
        gap
        for gap in gaps
        if gap.repaired_at is not None and gap.cause in _FETCHED and gap.to_time is not None
    ]
    low = max(start, min(hole.from_time, hole.to_time))
    high = min(end, max(hole.from_time, hole.to_time))
    if not any(since <= low and high <= until for since, until in broken_ranges([], fetched)):
        return [hole]
    named = [
        (max(hole.low, gap.from_sequence), min(hole.high, gap.to_sequence))
        for gap in fetched
        if gap.from_sequence is not None and gap.to_sequence is not None
    ]
    return [
        replace(hole, low=first, high=last) for first, last in sorted(set(named)) if first <= last
    ]


def _candles(
    store: Store,
    market: Market,
    counts: TradeCounts,
    selection: Selection,
    broken: Sequence[tuple[int, int]],
    patience_s: float,
) -> CandleCheck:
    if not counts.trades:
        return CandleCheck()
    scope = Scope(
        market,
        selection.start,
        selection.end,
        counts.first_time,
        counts.last_time,
        broken,
    )
    return check_candles(store, scope, patience_s)


def find_gaps(store: Store, selection: Selection, channels: Sequence[str] = ()) -> list[Gap]:
    """Return the gaps that overlap a selection, oldest first."""
    table = TABLES["feed_gaps"]
    found = store.query_arrow(
        f"SELECT {table.select} FROM feed_gaps FINAL "
        "WHERE ({exchange:String} = '' OR exchange = {exchange:String}) "
        "AND ({instrument:String} = '' OR instrument = {instrument:String}) "
        "AND (empty({channels:Array(String)}) OR has({channels:Array(String)}, channel)) "
        "AND from_time < fromUnixTimestamp64Nano({end:Int64}) "
        "AND (isNull(to_time) OR to_time >= fromUnixTimestamp64Nano({start:Int64})) "
        "ORDER BY from_time, gap_id",
        {
            "exchange": selection.exchange,
            "instrument": selection.instrument,
            "channels": list(channels),
            "start": selection.start,
            "end": selection.end,
        },
    )
    gaps: list[Gap] = table.from_arrow(found)
    return gaps


def unexplained_holes(holes: Sequence[Hole], gaps: Sequence[Gap]) -> list[Hole]:
    """Return what is left of holes without the ids that a gap says never were (`UNUSED_IDS`)."""
    return untold_holes(holes, [gap for gap in gaps if gap.how == UNUSED_IDS])


def untold_holes(holes: Sequence[Hole], gaps: Sequence[Gap]) -> list[Hole]:
    """Return what is left of holes without the ids that gaps name."""
    told = [
        (gap.from_sequence, gap.to_sequence)
        for gap in gaps
        if gap.from_sequence is not None and gap.to_sequence is not None
    ]
    return [part for hole in holes for part in _without(hole, told)]


def broken_ranges(holes: Sequence[Hole], open_gaps: Sequence[Gap]) -> list[tuple[int, int]]:
    """Return the stretches of time with missing trades, ascending and apart from each other.

    Parameters
    ----------
    holes
        Missing ids. Ids do not strictly follow time: the trade behind a hole may be the older.
    open_gaps
        Gaps that are not repaired; only those of trades count.
    """
    ranges = [tuple(sorted((hole.from_time, hole.to_time))) for hole in holes]
    ranges += [
        (gap.from_time, LATEST if gap.to_time is None else gap.to_time)
        for gap in open_gaps
        if gap.channel == "trades"
    ]
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def _without(hole: Hole, explained: Sequence[tuple[int, int]]) -> list[Hole]:
    """Return what is left of a hole where explained ids are taken out of it.

    Examples
    --------
    >>> [(part.low, part.high) for part in _without(Hole(1, 9, 0, 5), [(3, 4), (9, 12)])]
    [(1, 2), (5, 8)]
    """
    left, low = [], hole.low
    for first, last in sorted(explained):
        if last < low or first > hole.high:
            continue
        if first > low:
            left.append(Hole(low, first - 1, hole.from_time, hole.to_time))
        low = max(low, last + 1)
    if low <= hole.high:
        left.append(Hole(low, hole.high, hole.from_time, hole.to_time))
    return left


def _gap_in_words(gap: Gap) -> str:
    ids = "" if gap.from_sequence is None else f", ids {gap.from_sequence} to {gap.to_sequence}"
    until = "lasts" if gap.to_time is None else f"to {iso_utc(gap.to_time)}"
    why = f": {gap.problem}" if gap.problem else ""
    if gap.cause == "stale" and gap.to_time is None:
        why = why or ": the feed is silent, and the venue has not said that nobody trades"
    return (
        f"open gap of {gap.channel} ({gap.cause}) from {iso_utc(gap.from_time)}, {until}{ids}{why}"
    )


def _holes_in_words(holes: Sequence[Hole], *, is_all: bool) -> str:
    shown = list(map(_ids_in_words, holes[:5]))
    more = len(holes) - len(shown)
    rest = f" and {more} more ranges" if more and is_all else " and more" if more else ""
    return f": {', '.join(shown)}{rest}" if shown else ""


def _ids_in_words(hole: Hole) -> str:
    return str(hole.low) if hole.low == hole.high else f"{hole.low} to {hole.high}"


def _edge_in_words(hole: Hole) -> str:
    return (
        f"{hole.ids} trade ids are missing across an edge of the range and may lie in it: "
        f"{_ids_in_words(hole)}, traded between {iso_utc(hole.from_time)} and "
        f"{iso_utc(hole.to_time)}"
    )


def _candles_in_words(check: CandleCheck) -> str:
    first = check.disagreements[0]
    return (
        f", the first {first.timeframe} at {iso_utc(first.open_time)}: {first.field} is "
        f"{first.stored} in the candle and {first.computed} from the trades"
    )


def as_json(report: MarketReport) -> dict[str, object]:
    """Return a report as plain values; times in UTC nanoseconds as they are."""
    plain: dict[str, object] = msgspec.to_builtins(report)
    return plain | {"complete": report.is_complete, "problems": report.problems}
