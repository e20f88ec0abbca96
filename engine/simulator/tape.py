"""Trades of one minute that realise exactly its bar."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine.simulator.draws import Floats, Integers

MINUTE_NS = 60_000_000_000


class Tape(NamedTuple):
    """Trades of one market and minute in order; lists of one length."""

    first_id: int
    times: list[int]
    """UTC nanoseconds, at the venue's resolution, not descending."""
    ticks: list[int]
    lots: list[int]
    is_buy: list[bool]
    """Whether the taker bought."""


def realise(
    rng: np.random.Generator,
    first_id: int,
    count: int,
    open_: int,
    high: int,
    low: int,
    close: int,
    lots: int,
    buy_lots: int,
    *,
    start_ns: int,
    step_ns: int,
) -> Tape:
    """Draw trades whose open, high, low, close, amounts and count are the given ones.

    Parameters
    ----------
    rng
        The minute's own generator.
    first_id, count, open_, high, low, close, lots, buy_lots
        One minute of `engine.simulator.market.DayBars`.
    start_ns
        Start of the minute, UTC nanoseconds.
    step_ns
        Resolution of the venue's times.
    """
    if not count:
        return Tape(first_id, [], [], [], [])
    offsets = np.sort((rng.random(count) * (MINUTE_NS // step_ns)).astype(np.int64))
    ticks = _walk(rng, count, open_, high, low, close)
    is_buy = _sides(rng, ticks, _buys(count, lots, buy_lots, rng))
    amounts = np.empty(count, dtype=np.int64)
    amounts[is_buy] = _split(rng, int(is_buy.sum()), buy_lots)
    amounts[~is_buy] = _split(rng, int((~is_buy).sum()), lots - buy_lots)
    return Tape(
        first_id,
        (start_ns + offsets * step_ns).tolist(),
        ticks.tolist(),
        amounts.tolist(),
        is_buy.tolist(),
    )


def _walk(
    rng: np.random.Generator, count: int, open_: int, high: int, low: int, close: int
) -> Integers:
    """Prices from open to close that touch high and low and nothing beyond."""
    places, levels = [0, count - 1], [open_, close]
    if count >= 4:
        first, second = np.sort(rng.choice(count - 2, 2, replace=False) + 1).tolist()
        ends = (high, low) if rng.random() < 0.5 else (low, high)
        places, levels = [0, first, second, count - 1], [open_, *ends, close]
    elif count == 3:
        places, levels = [0, 1, 2], [open_, high, close]
    path = np.interp(np.arange(count), places, levels)
    path += 0.12 * (high - low) * rng.standard_normal(count)
    ticks = np.clip(np.rint(path), low, high).astype(np.int64)
    ticks[places] = levels
    return ticks


def _buys(count: int, lots: int, buy_lots: int, rng: np.random.Generator) -> int:
    """Return how many trades the takers bought: as many as the amounts allow, in proportion."""
    if buy_lots == 0:
        return 0
    if buy_lots == lots:
        return count
    wanted = round(buy_lots / lots * count + 0.5 * float(rng.standard_normal()))
    return min(max(wanted, 1, count - (lots - buy_lots)), count - 1, buy_lots)


def _sides(
    rng: np.random.Generator, ticks: Integers, buys: int
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Let takers buy where the price rose, with noise."""
    moves = np.diff(ticks, prepend=ticks[0]).astype(np.float64)
    pull = moves / (np.abs(moves).mean() + 1.0) + rng.standard_normal(len(ticks))
    is_buy = np.zeros(len(ticks), dtype=np.bool_)
    is_buy[np.argsort(-pull, kind="stable")[:buys]] = True
    return is_buy


def _split(rng: np.random.Generator, parts: int, lots: int) -> Integers:
    """Split `lots` into heavy-tailed amounts of at least one lot each."""
    if not parts:
        return np.empty(0, dtype=np.int64)
    weights: Floats = rng.random(parts) ** -0.6
    edges = np.rint(np.cumsum(weights) / weights.sum() * (lots - parts)).astype(np.int64)
    amounts: Integers = 1 + np.diff(edges, prepend=0)
    return amounts
