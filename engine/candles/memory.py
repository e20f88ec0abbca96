"""What the builder keeps of one market: recent trades, and candles whose parents may change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.candles.fold import fold_candles, fold_trades, trade_order
from engine.domain.market import Candle, Trade
from engine.domain.timeframe import Timeframe

LADDER: tuple[Timeframe, ...] = tuple(Timeframe)
"""Timeframes by rank, finest first: the children of rank *r* have rank *r - 1*."""


class MarketMemory:
    """State of one market's candles.

    Attributes
    ----------
    trades
        Open time of a second -> its trades, in order of arrival.
    ids
        Trade ids among them.
    candles
        By rank: open time -> closed candle, kept while a parent may be folded again.
    pinned
        By rank: intervals whose candle was given from outside and is not to be refolded.
    pending
        By rank: intervals that hold something and are not closed.
    """

    __slots__ = ("candles", "ids", "pending", "pinned", "trades")

    def __init__(self) -> None:
        self.trades: dict[int, list[Trade]] = {}
        self.ids: set[str] = set()
        self.candles: list[dict[int, Candle]] = [{} for _ in LADDER]
        self.pinned: list[set[int]] = [set() for _ in LADDER]
        self.pending: list[set[int]] = [set() for _ in LADDER]

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
            trades = self.trades.get(open_time)
            if not trades:
                return None
            trades.sort(key=trade_order)
            return fold_trades(trades, open_time, is_closed=is_closed, version=version)
        children = self._children(rank, open_time, forming or {})
        if not children:
            return None
        return fold_candles(children, LADDER[rank], open_time, is_closed=is_closed, version=version)

    def _children(self, rank: int, open_time: int, forming: dict[int, Candle]) -> Sequence[Candle]:
        closed = self.candles[rank - 1]
        opens = range(open_time, open_time + LADDER[rank].ns, LADDER[rank - 1].ns)
        found = (closed.get(time) or forming.get(time) for time in opens)
        return [child for child in found if child is not None]

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
            dropped += len(trades)
            self.ids.difference_update([trade.trade_id for trade in trades])
        for rank, parent in enumerate(LADDER[1:]):
            first_needed = parent.floor(floor)
            _drop_below(self.candles[rank], first_needed)
            self.pinned[rank] = {time for time in self.pinned[rank] if time >= first_needed}
        top_needed = LADDER[-1].floor(floor)
        self.pinned[-1] = {time for time in self.pinned[-1] if time >= top_needed}
        return dropped

    def hold(self, candles: Iterable[Candle], *, pin: bool) -> None:
        """Take closed candles from outside; `pin` keeps their intervals from being refolded."""
        for candle in candles:
            rank = LADDER.index(Timeframe(candle.timeframe))
            self.candles[rank][candle.open_time] = candle
            self.pending[rank].discard(candle.open_time)
            if pin:
                self.pinned[rank].add(candle.open_time)


def _drop_below(candles: dict[int, Candle], first_needed: int) -> None:
    for time in [time for time in candles if time < first_needed]:
        del candles[time]
