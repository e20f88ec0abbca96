"""The L2 books of the simulated markets, at any time, and how they change.

A book is computed, not kept: the amount at a price is a hash of (seed, market, side, price) and
of how often it changed up to a time, so the book of any moment is a pure function of the
configuration, the moment and the last trade before it. Its top is the price taken and a spread
beside it; behind it lie levels on a fixed grid of prices.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.clock import NS_PER_MS
from engine.config import SimulatorConfig
from engine.domain.market import Trade
from engine.simulator.draws import Integers, Stream, generator
from engine.simulator.listing import ASSETS, MEAN_TRADE_QUOTE, Place, place_of

Levels = list[tuple[int, int]]
"""Price in ticks and amount in lots, best first; amount 0 deletes."""

SEQUENCE_STEP = 16
"""Sequence numbers that pass in one step."""

GRID_SHARE = 50_000
"""Levels lie this part of an asset's base price apart: 0.2 bps."""

LADDER_LEVELS = 1_024
"""Grid prices that a best price moves along before the levels behind it are hashed anew."""

CACHED_LADDERS = 2_048
"""Ladders kept in memory, some 40 KB each."""

_ABSENT = 7
"""One level in eight holds nothing; the lowest three bits of its hash say so."""
_SHORTEST = 5
_PERIODS = 5
"""An amount lasts 32 to 512 steps, by the price."""
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15

Hashes = NDArray[np.uint64]


class BookState(NamedTuple):
    """A book at one step: prices in ticks, best first, and amounts in lots, some of them 0."""

    bid_ticks: Integers
    bid_lots: Integers
    ask_ticks: Integers
    ask_lots: Integers

    def levels(self, depth: int = 0) -> tuple[Levels, Levels]:
        """Return the best `depth` bids and asks that hold something; 0 returns all."""
        return (
            _held(self.bid_ticks, self.bid_lots, depth),
            _held(self.ask_ticks, self.ask_lots, depth),
        )


class Best(NamedTuple):
    """Best bid and ask: prices in ticks, amounts in lots."""

    bid: int
    bid_lots: int
    ask: int
    ask_lots: int


class _Ladder(NamedTuple):
    """A stretch of one side's grid, best first, and what the amounts on it depend on."""

    ticks: Integers
    keys: Hashes
    phases: Hashes
    shifts: Hashes


class BookProcess:
    """Books of every market at any time.

    Parameters
    ----------
    config
        Seed, epoch, step and levels.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        self.step_ns = config.book_step_ms * NS_PER_MS
        self._levels = config.book_levels
        self._seed = config.seed
        self._first_step = config.epoch_ns // self.step_ns
        self._ladder = lru_cache(CACHED_LADDERS)(self._make_ladder)
        self._salt = lru_cache(None)(self._make_salt)

    def step_of(self, time_ns: int) -> int:
        """Return the number of the step that a time falls into."""
        return time_ns // self.step_ns

    def step_start(self, step: int) -> int:
        """Return when a step begins, UTC nanoseconds: a book of it was valid then."""
        return step * self.step_ns

    def best(self, last: Trade, step: int) -> Best:
        """Return the top of a book: the price last taken, and a spread beside it."""
        place, bid, ask = _top(last)
        amounts = (self._amount(place, 0, bid, step), self._amount(place, 1, ask, step))
        return Best(bid, amounts[0], ask, amounts[1])

    def state(self, last: Trade, step: int) -> BookState:
        """Return a market's book at the start of a step.

        Parameters
        ----------
        last
            Its last trade at or before that, as the venue lists it.
        step
            Number of the step.
        """
        place, bid, ask = _top(last)
        return BookState(*self._side(place, 0, bid, step), *self._side(place, 1, ask, step))

    def _side(self, place: Place, side: int, best: int, step: int) -> tuple[Integers, Integers]:
        """Return prices and amounts of one side: the best price, then the grid behind it."""
        grid, behind = _grid(place), self._levels - 1
        if side == 0:
            index = (best - 1) // grid
            block = index // LADDER_LEVELS
            skip = (block + 1) * LADDER_LEVELS - 1 - index
        else:
            index = best // grid + 1
            block = index // LADDER_LEVELS
            skip = index - block * LADDER_LEVELS
        ladder = self._ladder(place, side, block)
        lots = np.empty(behind + 1, dtype=np.int64)
        ticks = np.empty(behind + 1, dtype=np.int64)
        ticks[0], lots[0] = best, self._amount(place, side, best, step)
        part = slice(skip, skip + behind)
        ticks[1:] = ladder.ticks[part]
        lots[1:] = _amounts(ladder, part, step, 4 * _typical_lots(place))
        if ticks[-1] <= 0:
            lots[ticks <= 0] = 0
        return ticks, lots

    def sequence(self, place: Place, step: int) -> int:
        """Return a book's sequence number after a step; it rises with every step."""
        number = SEQUENCE_STEP * (step - self._first_step)
        return number + _mix(self._salt(place, 0) + step * _GOLDEN) % SEQUENCE_STEP + 1

    def sequence_inside(self, place: Place, step: int) -> int:
        """Return a sequence number of a book that has taken part of the next step's changes.

        It lies from `sequence` of the step up to, not including, that of the next: the
        changes of the next step that fall before it are ones that it undoes again.
        """
        now, following = self.sequence(place, step), self.sequence(place, step + 1)
        return now + _mix(self._salt(place, 1) + step * _GOLDEN) % (following - now)

    def _make_salt(self, place: Place, side: int) -> int:
        rng = generator(self._seed, Stream.BOOK, *place, side)
        return int(rng.integers(0, _MASK, dtype=np.uint64))

    def _make_ladder(self, place: Place, side: int, block: int) -> _Ladder:
        """Hash a block of one side's grid, and as much behind it as a book is deep."""
        steps = np.arange(LADDER_LEVELS + self._levels, dtype=np.int64)
        first = block * LADDER_LEVELS
        indices = first + LADDER_LEVELS - 1 - steps if side == 0 else first + steps
        ticks = indices * _grid(place)
        keys = ticks.astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(self._salt(place, side))
        drawn = _mix_all(keys)
        shifts = drawn % np.uint64(_PERIODS) + np.uint64(_SHORTEST)
        return _Ladder(ticks, keys, drawn >> np.uint64(32), shifts)

    def _amount(self, place: Place, side: int, tick: int, step: int) -> int:
        """Return the amount at a best price, in lots; the same as `state`'s."""
        key = (tick * _GOLDEN + self._salt(place, side)) & _MASK
        drawn = _mix(key)
        changes = (step + (drawn >> 32)) >> (drawn % _PERIODS + _SHORTEST)
        return 1 + (_mix(key ^ (changes * _GOLDEN)) >> 8) % (4 * _typical_lots(place))


def _held(ticks: Integers, lots: Integers, depth: int) -> Levels:
    held = lots > 0
    found = list(zip(ticks[held].tolist(), lots[held].tolist(), strict=True))
    return found[:depth] if depth else found


def _top(last: Trade) -> tuple[Place, int, int]:
    """Return the market, best bid and best ask after a trade: its price, a spread beside it."""
    place = place_of(last.exchange, last.instrument)
    tick = round(last.price * 10 ** ASSETS[place.asset].price_decimals)
    spread = max(1, tick // 10_000)
    if last.side == "buy" and tick > spread:
        return place, tick - spread, tick
    return place, tick, tick + spread


@lru_cache(None)
def _typical_lots(place: Place) -> int:
    asset = ASSETS[place.asset]
    return max(2, round(MEAN_TRADE_QUOTE / asset.price * 10.0**asset.amount_decimals))


@lru_cache(None)
def _grid(place: Place) -> int:
    asset = ASSETS[place.asset]
    return max(1, round(asset.price * 10.0**asset.price_decimals) // GRID_SHARE)


def _amounts(ladder: _Ladder, part: slice, step: int, most: int) -> Integers:
    """Return the amounts of a part of a ladder at a step, in lots."""
    changes = (ladder.phases[part] + np.uint64(step)) >> ladder.shifts[part]
    drawn = _mix_all(ladder.keys[part] ^ (changes * np.uint64(_GOLDEN)))
    lots = ((drawn >> np.uint64(8)) % np.uint64(most)).astype(np.int64) + 1
    lots[(drawn & np.uint64(_ABSENT)) == 0] = 0
    return lots


def _mix_all(values: Hashes) -> Hashes:
    """Hash numbers: the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _mix(value: int) -> int:
    """Hash one number as `_mix_all` does."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
