"""When simulated instruments are listed: delistings, and tickers that are used again.

The market process knows no listings: its trades of a market go on for ever. This maps them to
what the venue really lists. While an instrument is delisted there are no trades; when its ticker
is listed again, it is another instrument under the same symbol: ids start over at 1, prices are
another coin's, and its canonical name is of the next generation (``LUNA~2-USDT``).

All times are of the venue's own clock, which may be wrong (`skew_ns`): its market runs by it.

Every answer is a pure function of the schedule and of the time asked for.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from engine.clock import NS_PER_MS, NS_PER_S, iso_utc
from engine.config import FaultsConfig
from engine.domain.instrument import Instrument, first_generation
from engine.domain.market import ListingStatus, Trade
from engine.errors import InstrumentError
from engine.simulator.listing import ASSETS, asset_of
from engine.simulator.market import MarketProcess

PRICE_FACTOR = 0.25
"""What a generation's prices are multiplied by, in whole ticks, to make the next one's: far
enough that a mix-up of the two cannot be missed."""


class Life(NamedTuple):
    """One generation of an instrument: what one listing lasts."""

    generation: int
    start_ns: int
    """When trading begins, UTC nanoseconds."""
    end_ns: int | None
    """When it ends (exclusive); None while nobody plans that."""
    first_sequence: int
    """The market process's id of its first trade; ids on the wire are counted from it."""

    def covers(self, time_ns: int) -> bool:
        """Whether it is listed at a time."""
        return self.start_ns <= time_ns and (self.end_ns is None or time_ns < self.end_ns)

    def ticks(self, ticks: int) -> int:
        """Return a price of the market process, in ticks, as this generation's."""
        if self.generation == 1:
            return ticks
        return max(1, round(ticks * PRICE_FACTOR ** (self.generation - 1)))

    def name(self, instrument: str) -> str:
        """Return this generation's canonical name, of the name of the first.

        Examples
        --------
        >>> Life(2, 0, None, 1).name("LUNA-USDT")
        'LUNA~2-USDT'
        """
        return str(Instrument.parse(instrument)._replace(generation=self.generation))

    def number(self, sequence: int) -> int:
        """Return a trade id of the market process as this generation's."""
        return sequence - self.first_sequence + 1


class Listed(NamedTuple):
    """What a venue says of a symbol at one moment."""

    status: ListingStatus
    """``trading`` or ``delisted``."""
    listed_at: int
    """When the newest generation began to trade, UTC nanoseconds."""
    delisted_at: int | None
    """When it ended; None while it trades."""
    generation: int


class Lifecycle:
    """The listings of every venue, and how far each venue's clock is off.

    Instruments are named as the market process names them, by their first generation; `delist` and
    `relist` take any.

    Parameters
    ----------
    market
        The market process.
    faults
        Its `relistings` and `clock_skew_ms`.
    started_ns
        What the times of `relistings` count from, true UTC nanoseconds.

    Raises
    ------
    InstrumentError
        Where a relisting names an instrument that its venue does not simulate.
    """

    def __init__(self, market: MarketProcess, faults: FaultsConfig, started_ns: int) -> None:
        self._market = market
        self._skews: dict[str, int] = {
            name: ms * NS_PER_MS for name, ms in faults.clock_skew_ms.items()
        }
        self._lives: dict[tuple[str, str], list[Life]] = {}
        for plan in sorted(faults.relistings, key=lambda each: each.delist_after_s):
            market_of = (plan.exchange, plan.instrument)
            begin_ns = started_ns + self.skew_ns(plan.exchange)
            self.delist(*market_of, begin_ns + int(plan.delist_after_s * NS_PER_S))
            if plan.relist_after_s is not None:
                self.relist(*market_of, begin_ns + int(plan.relist_after_s * NS_PER_S))

    # -- what a venue asks ---------------------------------------------------------------

    def skew_ns(self, exchange: str) -> int:
        """Return how far a venue's clock runs ahead of the true time; negative behind."""
        return self._skews.get(exchange, 0)

    def listed(self, trade: Trade) -> Trade | None:
        """Return a trade of the market process as the venue lists it, None while it does not."""
        lives = self._lives.get((trade.exchange, trade.instrument))
        if lives is None:
            return trade
        life = _covering(lives, trade.exchange_time)
        if life is None:
            return None
        return trade if life.generation == 1 else _reborn(trade, life)

    def status(self, exchange: str, instrument: str, now_ns: int) -> Listed:
        """Return what the venue says of an instrument at a time."""
        begun = [life for life in self.lives(exchange, instrument) if life.start_ns <= now_ns]
        life = begun[-1] if begun else self.lives(exchange, instrument)[0]
        ended = life.end_ns is not None and life.end_ns <= now_ns
        return Listed(
            "delisted" if ended else "trading",
            life.start_ns,
            life.end_ns if ended else None,
            life.generation,
        )

    def life(self, exchange: str, instrument: str, now_ns: int) -> Life | None:
        """Return the generation that is listed at a time, None while none is."""
        return _covering(self.lives(exchange, instrument), now_ns)

    def lives(self, exchange: str, instrument: str) -> tuple[Life, ...]:
        """Return every generation of an instrument, planned ones included, in order."""
        known = self._lives.get((exchange, instrument))
        return tuple(known) if known else (self._first(),)

    # -- what happens --------------------------------------------------------------------

    def delist(self, exchange: str, instrument: str, at_ns: int) -> None:
        """End an instrument's listing at a time.

        Raises
        ------
        InstrumentError
            Where the venue does not list it at that time.
        """
        instrument = _checked(exchange, instrument)
        lives = self.lives(exchange, instrument)
        last = lives[-1]
        if not last.covers(at_ns) or last.start_ns == at_ns:
            raise InstrumentError(
                f"the simulated {exchange} does not list {instrument} at {iso_utc(at_ns)}, "
                "so it cannot be delisted then"
            )
        self._lives[exchange, instrument] = [*lives[:-1], last._replace(end_ns=at_ns)]

    def relist(self, exchange: str, instrument: str, at_ns: int) -> None:
        """Use a delisted instrument's ticker again, for another coin, from a time on.

        Raises
        ------
        InstrumentError
            Where the ticker is not free at that time.
        """
        instrument = _checked(exchange, instrument)
        lives = self.lives(exchange, instrument)
        end_ns = lives[-1].end_ns
        if end_ns is None or at_ns <= end_ns:
            raise InstrumentError(
                f"the simulated {exchange} still lists {instrument} at {iso_utc(at_ns)}: "
                "delist it before its ticker is used again"
            )
        first = self._market.next_id(exchange, instrument, at_ns)
        life = Life(lives[-1].generation + 1, at_ns, None, first)
        self._lives[exchange, instrument] = [*lives, life]

    def _first(self) -> Life:
        return Life(1, self._market.epoch_ns, None, 1)


def _checked(exchange: str, instrument: str) -> str:
    """Return the first generation's name of an instrument that is simulated, or say what is not."""
    asset_of(exchange, instrument)
    return first_generation(instrument)


def _covering(lives: list[Life] | tuple[Life, ...], time_ns: int) -> Life | None:
    return next((life for life in reversed(lives) if life.covers(time_ns)), None)


def _reborn(trade: Trade, life: Life) -> Trade:
    scale = 10 ** ASSETS[asset_of(trade.exchange, trade.instrument)].price_decimals
    # A venue that does not count its trades has ids of another kind: they differ anyhow.
    counted = trade.trade_id == str(trade.sequence)
    number = life.number(trade.sequence) if trade.sequence else 0
    return replace(
        trade,
        instrument=life.name(trade.instrument),
        trade_id=str(number) if counted else trade.trade_id,
        sequence=number,
        price=life.ticks(round(trade.price * scale)) / scale,
    )
