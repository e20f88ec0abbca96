"""Random numbers with random access: each draw is keyed by what it is for, not by order.

A counter-based generator (Philox 4x64, Salmon et al., "Parallel random numbers: as easy
as 1, 2, 3", SC11) starts anywhere at no cost, so the state of the market on a day or in a minute
is computed without what came before.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TAIL_DEGREES = 4.0
"""Degrees of freedom of the Student-t shocks."""


class Stream(IntEnum):
    """What a draw is for. Numbers are part of the market: never reuse or reorder them."""

    DAY = 1
    FACTOR_MINUTES = 2
    ASSET_MINUTES = 3
    MARKET_MINUTES = 4
    TRADES = 5
    TEXTS = 6
    WORDS = 7
    BOOK = 8
    FAULTS = 9
    PERPETUALS = 10


def generator(seed: int, stream: Stream, *place: int) -> np.random.Generator:
    """Return the generator of one place of one stream.

    Parameters
    ----------
    seed
        The simulation's seed.
    stream
        What the numbers are for.
    place
        Up to three whole numbers >= 0, for example asset and day.
    """
    counter = np.zeros(4, dtype=np.uint64)
    counter[1 : 1 + len(place)] = place
    key = np.array([seed % 2**64, int(stream)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def heavy_tailed(rng: np.random.Generator, size: int) -> Floats:
    """Draw Student-t numbers scaled to unit variance, cut at 8 standard deviations."""
    scale = ((TAIL_DEGREES - 2.0) / TAIL_DEGREES) ** 0.5
    shocks: Floats = rng.standard_t(TAIL_DEGREES, size) * scale
    return np.clip(shocks, -8.0, 8.0)
