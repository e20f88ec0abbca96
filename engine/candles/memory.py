"""What the builder keeps of one market: recent trades, and candles whose parents may change."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from engine.candles.fold import CandleFold, fold_trades, trade_order
from engine.domain.market import Candle, Trade
from engine.domain.timeframe import Timeframe

LADDER: tuple[Timeframe, ...] = tuple(Timeframe)
"""Timeframes by rank, finest first: the children of rank *r* have rank *r - 1*."""


class MarketMemory:
    """State of one market's candles.

    Attributes
    ----------
    trades
        Open time of a second -> its trades, in order of arrival until they are folded.
    unsorted
        Seconds in which a trade arrived before one that it follows in `trade_order`.
    ids
        Trade ids among them.
    candles
        By rank: open time -> closed candle, kept while a parent may be folded again.
    pinned
        By rank: open time -> a venue's own candle, which holds until ours has all its trades.
    pending
        By rank: intervals that hold something and are not closed.
    forming
        Open time of a second -> its candle as it was folded last, while it is not closed.
    folds
        By rank: open time of an interval that forms -> its closed children, taken so far.
    """

    __slots__ = ("candles", "folds", "forming", "ids", "pending", "pinned", "trades", "unsorted")

    def __init__(self) -> None:
        self.trades: dict[int, list[Trade]] = {}
        self.unsorted: set[int] = set()
        self.ids: set[str] = set()
        self.candles: list[dict[int, Candle]] = [{} for _ in LADDER]
        self.pinned: list[dict[int, Candle]] = [{} for _ in LADDER]
        self.pending: list[set[int]] = [set() for _ in LADDER]
        self.forming: dict[int, Candle] = {}
        self.folds: list[dict[int, CandleFold]] = [{} for _ in LADDER]

    def keep(self, rank: int, candle: Candle) -> None:
        """Hold a closed candle, new or in a new version."""
        self.candles[rank][candle.open_time] = candle
        if rank + 1 < len(LADDER):
            parent = LADDER[rank + 1].floor(candle.open_time)
            fold = self.folds[rank + 1].get(parent)
            if fold is not None and candle.open_time < fold.end:
                del self.folds[rank + 1][parent]

    def append(self, second: int, trade: Trade) -> None:
        """Add a trade to a second that holds some, and note where it breaks their order."""
        held = self.trades[second]
        last = held[-1]
        if trade.exchange_time <= last.exchange_time and _precedes(trade, last):
            self.unsorted.add(second)
        held.append(trade)

    def fold(
        self,
        rank: int,
        open_time: int,
        *,
        is_closed: bool,
        version: int,
        forming: dict[int, Candle] | None = None,
    ) -> Candle | None:
        """Compute one candle from what is held; None where nothing is.

        Parameters
        ----------
        rank, open_time
            Which one.
        is_closed, version
            As in `Candle`.
        forming
            Open time -> children that still form, beside the closed ones.
        """
        if rank == 0:
            return self._fold_second(open_time, is_closed=is_closed, version=version)
        fold = self._fold_children(rank, open_time, forming or {})
        if is_closed:
            self.folds[rank].pop(open_time, None)
        if fold.first is None:
            return None
        return fold.candle(LADDER[rank], open_time, is_closed=is_closed, version=version)

    def _fold_second(self, open_time: int, *, is_closed: bool, version: int) -> Candle | None:
        trades = self.trades.get(open_time)
        if not trades:
            return None
        candle = self.forming.pop(open_time, None)
        if candle is None or candle.trade_count != len(trades):
            # Trades of a second only ever become more: as many are the same.
            if open_time in self.unsorted:
                trades.sort(key=trade_order)
                self.unsorted.remove(open_time)
            candle = fold_trades(trades, open_time, is_closed=is_closed, version=version)
        elif is_closed:
            candle = msgspec.structs.replace(candle, is_closed=True, version=version)
        if not is_closed:
            self.forming[open_time] = candle
        return candle

    def _fold_children(self, rank: int, open_time: int, forming: dict[int, Candle]) -> CandleFold:
        """Fold the children of an interval; the closed ones before those that form only once."""
        closed, child = self.candles[rank - 1], LADDER[rank - 1].ns
        end = open_time + LADDER[rank].ns
        unsettled = min(end, max(open_time, min(forming, default=end)))
        settled = self.folds[rank].get(open_time)
        if settled is None or settled.end > unsettled:
            settled = self.folds[rank][open_time] = CandleFold()
        start = max(open_time, settled.end)
        new = [closed[time] for time in range(start, unsettled, child) if time in closed]
        if new:
            settled.take(new)
            settled.settle()
        opens = range(unsettled, end, child)
        rest = [one for one in (closed.get(t) or forming.get(t) for t in opens) if one is not None]
        if not rest:
            return settled
        fold = settled.copy()
        fold.take(rest)
        return fold

    def forget_before(self, floor: int) -> int:
        """Drop trades before `floor`, and candles whose parents end before it.

        Returns
        -------
        int
            How many trades were dropped.
        """
        old = [second for second in self.trades if second < floor]
        dropped = 0
        for second in old:
            trades = self.trades.pop(second)
            self.unsorted.discard(second)
            self.forming.pop(second, None)
            dropped += len(trades)
            self.ids.difference_update([trade.trade_id for trade in trades])
        for rank, parent in enumerate(LADDER[1:]):
            first_needed = parent.floor(floor)
            _drop_below(self.candles[rank], first_needed)
            _drop_below(self.folds[rank + 1], first_needed)
            _drop_below(self.pinned[rank], first_needed)
        _drop_below(self.pinned[-1], LADDER[-1].floor(floor))
        return dropped

    def hold(self, candles: Iterable[Candle], *, pin: bool) -> None:
        """Take closed candles from outside; `pin` keeps a venue's own until ours is whole."""
        for candle in candles:
            rank = LADDER.index(Timeframe(candle.timeframe))
            self.keep(rank, candle)
            if pin and candle.source != "trades":
                # One that is due still is folded then: ours may be whole.
                self.pinned[rank][candle.open_time] = candle
            else:
                self.pending[rank].discard(candle.open_time)

    def is_pinned(self, rank: int, candle: Candle) -> bool:
        """Say whether a venue's own candle holds against one of ours; lets go of it where not."""
        theirs = self.pinned[rank].get(candle.open_time)
        if theirs is None:
            return False
        if not is_whole(candle, theirs):
            return True
        del self.pinned[rank][candle.open_time]
        return False


def is_whole(ours: Candle, theirs: Candle) -> bool:
    """Say whether a candle of our trades holds all that the venue's own candle tells of.

    By the count of trades where the venue gives one, else by the volume (to a billionth, for the
    venue's is rounded).
    """
    if ours.trade_count is not None and theirs.trade_count is not None:
        return ours.trade_count >= theirs.trade_count
    return ours.volume >= theirs.volume * (1 - 1e-9)


def _precedes(trade: Trade, last: Trade) -> bool:
    """Say whether a trade that is not later than another comes before it in `trade_order`."""
    if trade.exchange_time == last.exchange_time and trade.sequence > last.sequence:
        return False  # as most trades of one moment come
    return trade_order(trade) < trade_order(last)


def _drop_below(held: dict[int, Candle] | dict[int, CandleFold], first_needed: int) -> None:
    for time in [time for time in held if time < first_needed]:
        del held[time]
