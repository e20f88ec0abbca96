"""Whether the stored candles say what the stored trades say.

Every closed candle that was built from trades must equal, bit for bit, what
`engine.candles.resample` makes of the stored trades. A venue's own candle (``rest``, or
``import`` from a file) is compared only where all trades of its interval are held, in what it
tells: prices and number of trades exactly, volume to within `VOLUME_TOLERANCE`, for the venue adds
decimals and we add floats.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isclose

from engine.domain.instrument import Market
from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe
from engine.store.client import Store
from engine.store.columns import python_values
from engine.store.reader import Reader
from engine.store.recompute import Stretch, recompute

VOLUME_TOLERANCE = 1e-9
"""Relative difference at which a venue's volume still agrees with the sum of its trades."""
MOST_LISTED = 100
"""Disagreements listed of a market; all are counted."""

_EXACT = (
    "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "vwap", "twap",
    "taker_buy_volume",
)  # fmt: skip
_OF_VENUE = ("open", "high", "low", "close", "trade_count")

FORMING = "still forming"
INCOMPLETE = "from the venue's REST or a file, and not all trades of the interval are held"
BEFORE = "of more trades than are stored, where those begin"
NO_TRADES = "no trades of that day are stored"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A candle that does not say what its trades say."""

    timeframe: Timeframe
    open_time: int
    """UTC nanoseconds."""
    field: str
    """First field that differs; ``candle`` where there is a stored candle and no trade for it,
    or the other way round."""
    stored: str
    """What the store has, ``none`` where there is no candle."""
    computed: str
    """What the trades make of it, ``none`` where there are no trades."""


@dataclass(slots=True)
class CandleCheck:
    """What came of comparing a market's candles."""

    compared: int = 0
    """Stored candles that were compared."""
    missing: int = 0
    """Intervals with trades and without a candle, between the first and last candle."""
    disagreeing: int = 0
    """Candles that differ, and those that are missing."""
    disagreements: list[Disagreement] = field(default_factory=list)
    """The first hundred."""
    not_compared: Counter[str] = field(default_factory=Counter)
    """Reason -> candles."""

    def add(self, other: CandleCheck) -> None:
        """Take in what came of another day."""
        self.compared += other.compared
        self.missing += other.missing
        self.disagreeing += other.disagreeing
        self.disagreements += other.disagreements[: MOST_LISTED - len(self.disagreements)]
        self.not_compared.update(other.not_compared)


@dataclass(frozen=True, slots=True)
class Scope:
    """What is to be compared.

    Parameters
    ----------
    market
        Whose candles.
    start, end
        Only candles wholly within, UTC nanoseconds.
    first_trade, last_trade
        Times of the market's first and last stored trade.
    broken
        Stretches of time with missing trades, from `engine.store.completeness.broken_ranges`.
    """

    market: Market
    start: int
    end: int
    first_trade: int
    last_trade: int
    broken: Sequence[tuple[int, int]] = ()

    def is_whole(self, candle: Candle) -> bool:
        """Say whether all trades of a candle's interval are held."""
        if candle.open_time < self.first_trade or candle.close_time > self.last_trade:
            return False
        before = bisect_left(self.broken, (candle.close_time, 0))
        return before == 0 or self.broken[before - 1][1] < candle.open_time


def check_candles(store: Store, scope: Scope, patience_s: float = 0.0) -> CandleCheck:
    """Compare a market's stored candles with its stored trades.

    Parameters
    ----------
    store
        Where both are.
    scope
        What to compare.
    patience_s
        An engine that runs writes trades and candles a moment apart: where they disagree, the
        day is looked at once more after this many seconds, and that look counts.
    """
    bounds = _stored_bounds(store, scope)
    if not bounds:
        return CandleCheck()
    reader, days = Reader(store), dict[int, CandleCheck]()
    start = max(scope.start, Timeframe.D1.floor(scope.first_trade))
    end = min(scope.end, Timeframe.D1.floor(scope.last_trade) + Timeframe.D1.ns)
    for stretch in recompute(store, scope.market, start, end):
        day = Timeframe.D1.floor(stretch.start)
        _compare(reader, scope, stretch, bounds, days.setdefault(day, CandleCheck()))
    doubtful = [day for day, check in days.items() if check.disagreeing]
    if doubtful and patience_s:
        time.sleep(patience_s)
        for day in doubtful:
            days[day] = CandleCheck()
            low, high = max(start, day), min(end, day + Timeframe.D1.ns)
            for stretch in recompute(store, scope.market, low, high):
                _compare(reader, scope, stretch, bounds, days[day])
    total = CandleCheck()
    for check in days.values():
        total.add(check)
    looked_at = total.compared + sum(total.not_compared.values())
    held = sum(count for _, _, count in bounds.values())
    if held > looked_at:
        total.not_compared[NO_TRADES] += held - looked_at
    return total


def _stored_bounds(store: Store, scope: Scope) -> dict[Timeframe, tuple[int, int, int]]:
    """Return, of each timeframe, the first and last open time within the scope, and how many."""
    found = store.query_arrow(
        "SELECT timeframe, min(open_time) AS low, max(open_time) AS high, "
        "uniqExact(open_time) AS candles FROM candles "
        "WHERE exchange = {exchange:String} AND instrument = {instrument:String} "
        "AND open_time >= fromUnixTimestamp64Nano({start:Int64}) "
        "AND close_time <= fromUnixTimestamp64Nano({end:Int64}) GROUP BY timeframe",
        {**scope.market._asdict(), "start": scope.start, "end": scope.end},
    )
    columns = (python_values(found.column(name)) for name in found.column_names)
    return {
        Timeframe(name): (low, high, candles)
        for name, low, high, candles in zip(*columns, strict=True)
    }


def _compare(
    reader: Reader,
    scope: Scope,
    stretch: Stretch,
    bounds: dict[Timeframe, tuple[int, int, int]],
    check: CandleCheck,
) -> None:
    if stretch.timeframe not in bounds:
        return  # candles of this length are not stored
    low, high, _ = bounds[stretch.timeframe]
    stored = reader.candles(*scope.market, stretch.timeframe, stretch.start, stretch.end)
    computed = {candle.open_time: candle for candle in stretch.candles}
    for candle in stored:
        made = computed.pop(candle.open_time, None)
        if scope.start <= candle.open_time and candle.close_time <= scope.end:
            _judge(scope, candle, made, check)
    for open_time, made in computed.items():
        if scope.start <= open_time and made.close_time <= scope.end and low <= open_time <= high:
            check.missing += 1
            _disagree(check, made, "candle", "none", f"{made.trade_count} trades")


def _judge(scope: Scope, stored: Candle, made: Candle | None, check: CandleCheck) -> None:
    if not stored.is_closed:
        check.not_compared[FORMING] += 1
        return
    if stored.source != "trades" and not scope.is_whole(stored):
        check.not_compared[INCOMPLETE] += 1
        return
    name = difference(stored, made)
    if name is not None and stored.open_time <= scope.first_trade and _holds_more(stored, made):
        # Its first trades have gone with the retention of trades.
        check.not_compared[BEFORE] += 1
        return
    check.compared += 1
    if made is None:
        _disagree(check, stored, "candle", f"{stored.source} candle", "none")
    elif name is not None:
        _disagree(check, stored, name, repr(getattr(stored, name)), repr(getattr(made, name)))


def _holds_more(stored: Candle, made: Candle | None) -> bool:
    """Say whether a candle was made of more trades than are stored now."""
    return made is None or (stored.trade_count or 0) > (made.trade_count or 0)


def difference(stored: Candle, made: Candle | None) -> str | None:
    """Return the first field in which two candles differ, None where they agree."""
    if made is None:
        return "candle"
    if stored.source == "trades":
        differing = (name for name in _EXACT if getattr(stored, name) != getattr(made, name))
        return next(differing, None)
    for name in _OF_VENUE:
        value = getattr(stored, name)
        if value is not None and value != getattr(made, name):
            return name
    is_close = isclose(stored.volume, made.volume, rel_tol=VOLUME_TOLERANCE)
    return None if is_close else "volume"


def _disagree(check: CandleCheck, candle: Candle, name: str, stored: str, computed: str) -> None:
    check.disagreeing += 1
    if len(check.disagreements) < MOST_LISTED:
        timeframe = Timeframe(candle.timeframe)
        check.disagreements.append(
            Disagreement(timeframe, candle.open_time, name, stored, computed)
        )
