"""Is what we hold of a market whole? The proof behind ``engine verify``.

A market is complete where no gap of its trades or its book is open, no trade id is missing that
the venue gave, no trade is stored twice, and no candle disagrees with its trades.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

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
    TradeCounts,
    count_duplicates,
    count_trades,
    find_holes,
    markets,
)

LATEST = 2**63 - 1
"""An end that nothing comes after, UTC nanoseconds."""

_LASTING = ("trades", "book")


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
            found.append(f"{self.missing_ids} trade ids are missing{_holes_in_words(self)}")
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
    for number, market in enumerate(found, 1):
        if tell is not None:
            tell(market, number, len(found))
        yield _verify_market(store, market, selection, patience_s)


def _selected(store: Store, selection: Selection) -> list[Market]:
    held = set(markets(store, selection.exchange, selection.instrument))
    with_gaps = {
        Market(gap.exchange, gap.instrument) for gap in find_gaps(store, selection, _LASTING)
    }
    chosen = [
        market
        for market in sorted(held | with_gaps)
        if market in with_gaps or _traded(store, market, selection)
    ]
    if chosen:
        return chosen
    everything = markets(store)
    if not everything:
        raise StoreQueryError("the store holds no trades yet: there is nothing to verify")
    raise StoreQueryError(
        f"no trades are stored of {selection}; stored are "
        f"{', '.join(map(str, everything[:10]))}"
        + (f" and {len(everything) - 10} more" if len(everything) > 10 else "")
    )


def _traded(store: Store, market: Market, selection: Selection) -> bool:
    found = store.query_arrow(
        "SELECT 1 FROM trades WHERE exchange = {exchange:String} "
        "AND instrument = {instrument:String} "
        "AND exchange_time >= fromUnixTimestamp64Nano({start:Int64}) "
        "AND exchange_time < fromUnixTimestamp64Nano({end:Int64}) LIMIT 1",
        {**market._asdict(), "start": selection.start, "end": selection.end},
    )
    return bool(found.num_rows)


def _verify_market(
    store: Store, market: Market, selection: Selection, patience_s: float
) -> MarketReport:
    start, end = selection.start, selection.end
    counts = count_trades(store, market, start, end)
    holes, all_holes = find_holes(store, market, counts, start, end)
    its = Selection(market.exchange, market.instrument, start, end)
    gaps = find_gaps(store, its)
    unrepaired = [gap for gap in gaps if gap.repaired_at is None]
    lasting = [gap for gap in unrepaired if gap.channel in _LASTING]
    unexplained = unexplained_holes(holes, gaps)
    missing = max(0, counts.missing) - sum(hole.ids for hole in holes)
    return MarketReport(
        market=market,
        counts=counts,
        duplicates=count_duplicates(store, market, counts, start, end),
        missing_ids=missing + sum(hole.ids for hole in unexplained),
        holes=unexplained,
        all_holes=all_holes,
        open_gaps=lasting,
        other_open_gaps=len(unrepaired) - len(lasting),
        repaired_gaps=len(gaps) - len(unrepaired),
        candles=_candles(
            store,
            market,
            counts,
            selection,
            broken_ranges(unexplained, lasting),
            patience_s,
        ),
    )


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


def _holes_in_words(report: MarketReport) -> str:
    shown = [
        str(hole.low) if hole.low == hole.high else f"{hole.low} to {hole.high}"
        for hole in report.holes[:5]
    ]
    more = len(report.holes) - len(shown)
    rest = f" and {more} more ranges" if more and report.all_holes else " and more" if more else ""
    return f": {', '.join(shown)}{rest}" if shown else ""


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
