"""A venue's market as it is listed: by the venue's own clock, with its generations and ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from engine.clock import Clock
from engine.domain.market import Trade
from engine.simulator.lifecycle import Life, Lifecycle, Listed
from engine.simulator.market import MarketProcess


class VenueClock:
    """A venue's own clock, which may be wrong.

    Parameters
    ----------
    clock
        The right one.
    skew_ns
        How far the venue's runs ahead.
    """

    def __init__(self, clock: Clock, skew_ns: int) -> None:
        self._clock = clock
        self._skew_ns = skew_ns

    def now_ns(self) -> int:
        """Return UTC nanoseconds since 1970, as the venue believes."""
        return self._clock.now_ns() + self._skew_ns


class ListedMarket:
    """What a venue lists, and its trades.

    Parameters
    ----------
    market
        The market process.
    clock
        Tells how far the market has come.
    lifecycle
        What is delisted and relisted when, and how wrong the venue's clock is.
    """

    name: ClassVar[str]

    def __init__(self, market: MarketProcess, clock: Clock, lifecycle: Lifecycle) -> None:
        self.market = market
        self.lifecycle = lifecycle
        self.clock = VenueClock(clock, lifecycle.skew_ns(self.name))

    # -- trades --------------------------------------------------------------------------

    def recorded(self, trade: Trade) -> Trade:
        """Return a listed trade as whoever reads the wire without a fault keeps it."""
        return trade

    def ledger(self, instrument: str, start_ns: int, end_ns: int) -> list[Trade]:
        """Return every trade in ``[start_ns, end_ns)`` by its own clock, of all generations."""
        return [self.recorded(trade) for trade in self.trades(instrument, start_ns, end_ns)]

    def trades(self, instrument: str, start_ns: int, end_ns: int) -> list[Trade]:
        """Return what was listed and traded in ``[start_ns, end_ns)``, of all generations."""
        return self.listed(self.market.trades(self.name, instrument, start_ns, end_ns))

    def listed(self, trades: Sequence[Trade]) -> list[Trade]:
        """Turn trades of the market process into what is listed of them."""
        found = map(self.lifecycle.listed, trades)
        return [trade for trade in found if trade is not None]

    def last_id(self, instrument: str) -> int:
        """Return the number of the newest generation's last trade until now; 0 where none."""
        now = self.clock.now_ns()
        life = self.newest_life(instrument)
        end = now + 1 if life.end_ns is None else min(now + 1, life.end_ns)
        return life.number(self.market.next_id(self.name, instrument, end) - 1)

    def first_id_at(self, instrument: str, time_ns: int) -> int:
        """Return the number of the newest generation's first trade at or after a time."""
        life = self.newest_life(instrument)
        start = max(time_ns, life.start_ns)
        if start > self.clock.now_ns():
            return self.last_id(instrument) + 1
        return life.number(self.market.next_id(self.name, instrument, start))

    def numbered(self, instrument: str, first: int, last: int) -> list[Trade]:
        """Return the newest generation's trades with the numbers ``first..last``, until now."""
        life = self.newest_life(instrument)
        oldest = self.market.next_id(self.name, instrument, life.start_ns)
        from_id = max(oldest, life.first_sequence + first - 1)
        to_id = life.first_sequence + min(last, self.last_id(instrument)) - 1
        return self.listed(self.market.numbered(self.name, instrument, from_id, to_id))

    def last_trades(self, instrument: str, count: int) -> list[Trade]:
        """Return the newest generation's last trades until now, oldest first."""
        last = self.last_id(instrument)
        return self.numbered(instrument, last - count + 1, last)

    def last_trade(self, instrument: str, time_ns: int) -> Trade | None:
        """Return the last trade at or before a time; None while none is listed."""
        life = self.lifecycle.life(self.name, instrument, time_ns)
        trade = self.market.last_trade(self.name, instrument, time_ns) if life else None
        if life is None or trade is None or trade.sequence < life.first_sequence:
            return None
        return self.lifecycle.listed(trade)

    # -- listings ------------------------------------------------------------------------

    def newest_life(self, instrument: str) -> Life:
        """Return the newest generation that began to trade until now."""
        lives = self.lifecycle.lives(self.name, instrument)
        now = self.clock.now_ns()
        return next((life for life in reversed(lives) if life.start_ns <= now), lives[0])

    def listing(self, instrument: str) -> Listed:
        """Return what it says of an instrument now."""
        return self.lifecycle.status(self.name, instrument, self.clock.now_ns())
