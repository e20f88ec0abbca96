"""Trades to candles as they come: close, rebuild on late trades, preview, restore."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from heapq import heappop, heappush

from engine.candles.fold import is_usable
from engine.candles.memory import LADDER, MarketMemory
from engine.clock import NS_PER_S, Clock
from engine.domain.instrument import Market
from engine.domain.market import Candle, Trade
from engine.domain.timeframe import Timeframe
from engine.log import OncePerKind
from engine.metrics import ERRORS, LATE_TRADES

SECOND = Timeframe.S1.ns


class CandleBuilder:
    """Builds the candles of one exchange's markets, every timeframe from the next finer one.

    However trades are batched, ordered or delayed, the newest version of every candle equals
    what `engine.candles.resample` makes of the same trades, as long as late trades come within
    memory; later ones are announced by `late_beyond_memory`.

    Parameters
    ----------
    exchange
        Whose trades these are.
    timeframes
        Which candles to return. Finer ones that they are built from are computed anyway.
    grace_ns
        How long after its end, in the venue's time, an interval waits before it closes.
    clock
        Gives candles their version: its time, but always above the one before.
    memory_ns
        How long trades of closed seconds are kept, in the venue's time.
    memory_trades
        Most trades kept; the oldest closed seconds are forgotten earlier where there are more.

    Examples
    --------
    >>> from engine.clock import DataClock
    >>> builder = CandleBuilder("kraken", (Timeframe.S1,), 0, DataClock(7))
    >>> trade = Trade("kraken", "BTC-USD", "9", 9, 100.0, 2.0, "buy", 300_000_000, 5)
    >>> builder.add([trade])
    []
    >>> [(c.close, c.volume, c.version) for c in builder.advance(1_000_000_000)]
    [(100.0, 2.0, 7)]
    """

    def __init__(
        self,
        exchange: str,
        timeframes: Sequence[Timeframe],
        grace_ns: int,
        clock: Clock,
        *,
        memory_ns: int = 120 * NS_PER_S,
        memory_trades: int = 500_000,
    ) -> None:
        if not timeframes or grace_ns < 0 or memory_ns < 0:
            raise ValueError("a candle builder needs a timeframe, and grace and memory >= 0")
        self.exchange = exchange
        self.rejected = 0
        """Trades ignored because no candle may hold them (see `fold.is_usable`)."""
        self.duplicates = 0
        """Trades ignored because their id was already held."""
        self._wanted = frozenset(timeframes)
        self._top = max(LADDER.index(timeframe) for timeframe in timeframes)
        self._grace_ns = grace_ns
        self._clock = clock
        self._memory_ns = memory_ns
        self._memory_trades = memory_trades
        self._markets: dict[str, MarketMemory] = {}
        self._due: list[tuple[int, int, str, int]] = []  # close time, rank, instrument, open
        self._watermark = 0
        self._floor = 0
        self._held_trades = 0
        self._last_version = 0
        self._beyond: dict[tuple[Market, int], None] = {}
        self._log = OncePerKind(logging.getLogger("engine.candles"))

    @property
    def closed_through(self) -> int:
        """Every interval that ends at or before this is closed, the venue's time."""
        return max(0, self._watermark - self._grace_ns)

    @property
    def held_trades(self) -> int:
        """How many trades memory holds."""
        return self._held_trades

    def add(self, trades: Iterable[Trade]) -> list[Candle]:
        """Take trades, in any order.

        Duplicates (by trade id, within memory) and unusable trades are ignored and counted.

        Returns
        -------
        list of Candle
            New versions of closed candles that late trades changed, finest first and ascending
            in time within a timeframe.

        Raises
        ------
        ValueError
            Where a trade is of another exchange.
        """
        late: dict[str, set[int]] = {}
        closed_before = self.closed_through // SECOND * SECOND
        markets, exchange, floor = self._markets, self.exchange, self._floor
        for trade in trades:
            if trade.exchange != exchange:
                raise ValueError(f"a trade of {trade.exchange} was given to {exchange}'s candles")
            if not is_usable(trade):
                self._reject(trade)
                continue
            memory = markets.get(trade.instrument)
            if memory is None:
                memory = markets[trade.instrument] = MarketMemory()
            second = trade.exchange_time // SECOND * SECOND
            if second < floor:
                self._announce(trade, second)
                continue
            ids = memory.ids
            if trade.trade_id in ids:
                self.duplicates += 1
                continue
            ids.add(trade.trade_id)
            self._held_trades += 1
            if second in memory.trades:
                memory.append(second, trade)
            else:
                memory.trades[second] = [trade]
                if second >= closed_before:
                    self._schedule(trade.instrument, memory, 0, second)
            if second < closed_before:
                LATE_TRADES.labels(exchange).inc()
                late.setdefault(trade.instrument, set()).add(second)
        return self._refold_all({name: {0: seconds} for name, seconds in late.items()})

    def advance(self, watermark_ns: int) -> list[Candle]:
        """Close every interval with ``close_time + grace <= watermark``.

        Parameters
        ----------
        watermark_ns
            The venue's time up to which trades are believed to have come. Earlier than the one
            before changes nothing.

        Returns
        -------
        list of Candle
            By close time; of those that end together, finest first, then by instrument.
        """
        self._watermark = max(self._watermark, watermark_ns)
        bound = self.closed_through
        closed: list[Candle] = []
        if self._due and self._due[0][0] <= bound:
            version = self._next_version()
            while self._due and self._due[0][0] <= bound:
                _, rank, name, open_time = heappop(self._due)
                memory = self._markets[name]
                if open_time in memory.pending[rank]:
                    memory.pending[rank].remove(open_time)
                    closed += self._close(memory, rank, open_time, version)
        self._forget()
        return closed

    def forming(
        self, instrument: str | None = None, timeframes: Collection[Timeframe] | None = None
    ) -> list[Candle]:
        """Return every interval that is not closed as it stands now, with ``is_closed`` False.

        Right after an interval's end there are two of a timeframe for a market: the one that
        waits out its grace and the one that has begun.

        Parameters
        ----------
        instrument
            One market's; all of them by default.
        timeframes
            Of the builder's own, which to return: coarser ones than these are not computed. All
            of them by default.

        Returns
        -------
        list of Candle
            By instrument, finest first, ascending in time. A second keeps the version of its newest
            trade's look; the others have this look's.
        """
        wanted = self._wanted if timeframes is None else self._wanted.intersection(timeframes)
        top = max((LADDER.index(timeframe) for timeframe in wanted), default=-1)
        names = sorted(self._markets) if instrument is None else [instrument]
        version = self._clock.now_ns()
        found: list[Candle] = []
        for name in names:
            memory = self._markets.get(name)
            if memory is None:
                continue
            below: dict[int, Candle] = {}
            for rank in range(top + 1):
                here: dict[int, Candle] = {}
                for open_time in sorted(memory.pending[rank] - memory.pinned[rank].keys()):
                    candle = memory.fold(
                        rank, open_time, is_closed=False, version=version, forming=below
                    )
                    if candle is not None:
                        here[open_time] = candle
                if LADDER[rank] in wanted:
                    found.extend(here.values())
                below = here
        return found

    def restore(self, candles: Iterable[Candle], trades_from_ns: int) -> None:
        """Take up after a restart; then `add` the stored trades from `trades_from_ns` on.

        Parameters
        ----------
        candles
            What `engine.candles.backfill.restore_ranges` asks for, from the store. Coarser
            ones that are not stored are computed from the finer.
        trades_from_ns
            Every stored trade at or after it will be added; older ones count as late beyond
            memory. A whole multiple of the finest stored timeframe.

        Raises
        ------
        ValueError
            Where `trades_from_ns` is not at the start of a second.
        """
        if trades_from_ns % SECOND:
            raise ValueError("trades can be restored from the start of a second only")
        self._floor = max(self._floor, trades_from_ns)
        whole = [candle for candle in candles if candle.close_time <= trades_from_ns]
        by_name: dict[str, list[Candle]] = {}
        for candle in whole:
            by_name.setdefault(candle.instrument, []).append(candle)
        for name, held in by_name.items():
            memory = self._markets.setdefault(name, MarketMemory())
            memory.hold(held, pin=False)
            for rank in range(1, self._top + 1):
                for child in list(memory.candles[rank - 1].values()):
                    open_time = LADDER[rank].floor(child.open_time)
                    if open_time in memory.candles[rank]:
                        continue
                    if open_time + LADDER[rank].ns > trades_from_ns:
                        self._schedule(name, memory, rank, open_time)
                        continue
                    whole_one = memory.fold(rank, open_time, is_closed=True, version=child.version)
                    if whole_one is not None:
                        memory.keep(rank, whole_one)

    def absorb(self, candles: Iterable[Candle]) -> list[Candle]:
        """Take closed candles from outside in place of what our own trades gave.

        For a venue's REST bars over intervals that our feed does not cover whole, which hold until
        it does (`engine.candles.memory.is_whole`), and for candles that
        `engine.candles.resample.rebuild` made.

        Returns
        -------
        list of Candle
            New versions of closed coarser candles that this changed, but for those given.
        """
        changed: dict[str, dict[int, set[int]]] = {}
        given: set[tuple[str, int, int]] = set()
        for candle in candles:
            name = candle.instrument
            memory = self._markets.setdefault(name, MarketMemory())
            memory.hold([candle], pin=True)
            rank = LADDER.index(Timeframe(candle.timeframe))
            given.add((name, rank, candle.open_time))
            if rank < self._top:
                parents = changed.setdefault(name, {}).setdefault(rank + 1, set())
                parents.add(LADDER[rank + 1].floor(candle.open_time))
        for name, rank, open_time in given:
            changed.get(name, {}).get(rank, set()).discard(open_time)
        return self._refold_all(changed)

    def late_beyond_memory(self) -> list[tuple[Market, int]]:
        """Return, and forget, the seconds whose late trades came after memory let them go.

        Each is (market, open time of the second). The caller stores the trade, reads the whole
        second back and folds it with `engine.candles.resample.rebuild`.
        """
        found = list(self._beyond)
        self._beyond.clear()
        return found

    def _close(self, memory: MarketMemory, rank: int, open_time: int, version: int) -> list[Candle]:
        candle = memory.fold(rank, open_time, is_closed=True, version=version)
        if candle is None or memory.is_pinned(rank, candle):
            return []
        if rank < self._top:
            memory.keep(rank, candle)
        return [candle] if LADDER[rank] in self._wanted else []

    def _schedule(self, name: str, memory: MarketMemory, rank: int, time_ns: int) -> None:
        """Mark the interval at `time_ns`, and those around it, as waiting for their end."""
        for above in range(rank, self._top + 1):
            open_time = LADDER[above].floor(time_ns)
            if open_time in memory.pending[above]:
                return  # then so are all the coarser ones
            memory.pending[above].add(open_time)
            heappush(self._due, (open_time + LADDER[above].ns, above, name, open_time))

    def _refold_all(self, changed: dict[str, dict[int, set[int]]]) -> list[Candle]:
        """Fold the named intervals again and whatever they are part of, finest first."""
        if not changed:
            return []
        version = self._next_version()
        refolded: list[list[Candle]] = [[] for _ in LADDER]
        for name in sorted(changed):
            memory = self._markets[name]
            by_rank = changed[name]
            for rank in range(self._top + 1):
                for open_time in sorted(by_rank.get(rank, ())):
                    end = open_time + LADDER[rank].ns
                    if end <= self._floor:
                        continue  # parts of it are forgotten
                    if end > self.closed_through:
                        self._schedule(name, memory, rank, open_time)
                        continue
                    memory.pending[rank].discard(open_time)
                    refolded[rank] += self._close(memory, rank, open_time, version)
                    if rank < self._top:
                        parent = LADDER[rank + 1].floor(open_time)
                        by_rank.setdefault(rank + 1, set()).add(parent)
        return [candle for candles in refolded for candle in candles]

    def _forget(self) -> None:
        """Let go of what is older than memory, a quarter of it at a time."""
        target = (self.closed_through - self._memory_ns) // SECOND * SECOND
        crowded = self._held_trades > self._memory_trades
        if target - self._floor < self._memory_ns // 4 and not crowded:
            return
        if crowded:
            target = max(target, self._crowded_floor())
        if target <= self._floor:
            return
        self._floor = target
        for memory in self._markets.values():
            self._held_trades -= memory.forget_before(target)

    def _crowded_floor(self) -> int:
        """Find the first closed second to keep so that memory is three quarters full."""
        sizes: dict[int, int] = {}
        bound = self.closed_through // SECOND * SECOND
        for memory in self._markets.values():
            for second, trades in memory.trades.items():
                if second < bound:
                    sizes[second] = sizes.get(second, 0) + len(trades)
        excess = self._held_trades - self._memory_trades * 3 // 4
        for second in sorted(sizes):
            if excess <= 0:
                return second
            excess -= sizes[second]
        return bound

    def _next_version(self) -> int:
        self._last_version = max(self._clock.now_ns(), self._last_version + 1)
        return self._last_version

    def _reject(self, trade: Trade) -> None:
        self.rejected += 1
        ERRORS.labels("candles", "unusable_trade").inc()
        self._log.warn(
            "unusable_trade",
            f"{self.exchange} {trade.instrument}: trade {trade.trade_id} with price "
            f"{trade.price} and amount {trade.amount} cannot enter a candle; it is ignored",
        )

    def _announce(self, trade: Trade, second: int) -> None:
        LATE_TRADES.labels(self.exchange).inc()
        self._beyond[(Market(self.exchange, trade.instrument), second)] = None
