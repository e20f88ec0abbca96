"""What the store knows of the L2 books at the end of bars: for a feature worker that starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan

from engine.clock import NS_PER_S
from engine.domain.instrument import Market
from engine.domain.market import BookSnapshot
from engine.domain.timeframe import Timeframe
from engine.features.books import BOOK_FEATURE_NAMES, BarBook, bar_of, last_books
from engine.features.catalogue import FEATURE_VERSION
from engine.store.reader import Reader

LATEST_NS = 10 * 60 * NS_PER_S
"""How long after a bar's close its last snapshot may come."""


@dataclass(slots=True)
class StoredBooks:
    """What is stored of one market's books in a segment."""

    known: dict[int, BarBook] = field(default_factory=dict)
    """By the open time of bars, ascending: what their rows were made with."""
    fresh: list[BookSnapshot] = field(default_factory=list)
    """The last snapshot of each of the newest bars, ascending: their rows may have been made
    without it, by one that ended before it came."""


def stored_books(
    reader: Reader, markets: Sequence[Market], timeframe: Timeframe, start: int, end: int
) -> dict[Market, StoredBooks]:
    """Return the books of the bars of a segment so far, the forming one among them.

    Bars whose rows are stored have theirs from the rows: few numbers, where the snapshots of a
    month are many. Of the newest bars, and where there are no rows, the snapshots tell.

    Parameters
    ----------
    reader
        The store.
    markets
        Whose books.
    timeframe
        Of the bars.
    start
        Start of the segment, UTC nanoseconds.
    end
        This moment, included.
    """
    found, newest = _told(reader, markets, timeframe, start, end)
    since = min(newest.values(), default=end)
    for snapshot in reader.last_book_snapshots(list(newest), timeframe.ns, since, end + 1):
        market = Market(snapshot.exchange, snapshot.instrument)
        if bar_of(snapshot.as_of, timeframe) >= newest[market]:
            found[market].fresh.append(snapshot)
    untold = [market for market in markets if market not in newest]
    by_market: dict[Market, list[BookSnapshot]] = {}
    for snapshot in reader.last_book_snapshots(untold, timeframe.ns, start, end + 1):
        market = Market(snapshot.exchange, snapshot.instrument)
        by_market.setdefault(market, []).append(snapshot)
    for market, snapshots in by_market.items():
        found[market] = StoredBooks(last_books(snapshots, timeframe))
    return found


def _told(
    reader: Reader, markets: Sequence[Market], timeframe: Timeframe, start: int, end: int
) -> tuple[dict[Market, StoredBooks], dict[Market, int]]:
    """Return the books of stored rows, and from which bar on each market's are the newest."""
    rows: dict[Market, dict[int, tuple[float, ...]]] = {}
    for market, open_time, values in reader.feature_values(
        markets, timeframe, BOOK_FEATURE_NAMES, FEATURE_VERSION, start, end
    ):
        rows.setdefault(market, {})[open_time] = values
    found, newest = {}, {}
    for market, of_market in rows.items():
        newest[market] = timeframe.floor(max(of_market) + timeframe.ns - LATEST_NS)
        found[market] = StoredBooks(
            {
                # When it was taken is not stored: a snapshot that comes for one of the newest
                # bars is newer, one for another bar is not.
                open_time: BarBook.of_features(
                    values, 0 if open_time >= newest[market] else open_time + timeframe.ns
                )
                for open_time, values in of_market.items()
                if not any(map(isnan, values))
            }
        )
    return found, newest
