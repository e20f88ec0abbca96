"""MinHash: texts as small sketches whose agreement estimates how much they have in common.

A text is a set of shingles, the pairs of words that follow each other. Of two sets the Jaccard
similarity is the share of common shingles among all of theirs. A sketch holds, for each of
`PERMUTATIONS` random hash functions, the least hash of any shingle: two sketches agree in one of
them with a probability equal to the similarity (A. Broder, 1997). Bands of rows that agree find
the likely pairs without comparing all (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets",
chapter 3).

Plain numpy: datasketch hashes every shingle with SHA-1 in Python, keeps Python sets, and would be
one more dependency for forty lines.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 64
"""Hash functions of a sketch."""

BAND_ROWS = 4
"""Hashes that have to agree for a pair to be looked at. With 16 such bands a pair of similarity
0.75 is found with a probability of 0.998, one of 0.3 is looked at in one of eight cases."""

Shingles = NDArray[np.uint32]
"""Hashes of a text's shingles, ascending, each once."""

_random = np.random.default_rng(20_250_101)
# Multiply-shift (Dietzfelbinger, 1996): from 32 bits to 32 with arithmetic of 64.
_FACTORS = _random.integers(0, 2**64, PERMUTATIONS, dtype=np.uint64) | np.uint64(1)
_OFFSETS = _random.integers(0, 2**64, PERMUTATIONS, dtype=np.uint64)
_BAND_FACTORS = _random.integers(0, 2**64, BAND_ROWS, dtype=np.uint64) | np.uint64(1)
_BAND_SALTS = _random.integers(0, 2**64, PERMUTATIONS // BAND_ROWS, dtype=np.uint64)


def shingles(words: Sequence[str]) -> Shingles:
    """Return the hashes of the pairs of words that follow each other; of one word, its own.

    The hash is the CRC-32 of the words: the same in every process, which Python's is not.

    Examples
    --------
    >>> len(shingles(["bitcoin", "rises", "again"])), len(shingles(["gm"])), len(shingles([]))
    (2, 1, 0)
    """
    pairs = pairwise(words) if len(words) > 1 else [tuple(words)]
    hashes = {zlib.crc32("\0".join(pair).encode()) for pair in pairs} if words else set()
    return np.array(sorted(hashes), dtype=np.uint32)


def jaccard(first: Shingles, second: Shingles) -> float:
    """Return the similarity of two texts, in [0, 1]; of two empty ones 1.

    Examples
    --------
    >>> jaccard(shingles("btc up again today".split()), shingles("btc up again now".split()))
    0.5
    """
    common = np.intersect1d(first, second, assume_unique=True).size
    union = first.size + second.size - common
    return float(common / union) if union else 1.0


def sketch(found: Shingles) -> NDArray[np.uint32]:
    """Return the least hashes, `PERMUTATIONS` of them.

    Raises
    ------
    ValueError
        Where there is no shingle.
    """
    if not found.size:
        raise ValueError("a text without words has no sketch")
    mixed = found.astype(np.uint64)[:, None] * _FACTORS + _OFFSETS
    least: NDArray[np.uint64] = (mixed >> np.uint64(32)).min(axis=0)
    return least.astype(np.uint32)


def estimated_jaccard(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> float:
    """Estimate the similarity of two texts from their sketches.

    Its standard error is at most 1 / (2 x sqrt(`PERMUTATIONS`)), 0.0625.
    """
    return float((first == second).mean())


def bands(sketched: NDArray[np.uint32], trait: int = 0) -> list[int]:
    """Return a key for each band of a sketch: texts with a key in common may be near-duplicates.

    Parameters
    ----------
    sketched
        As `sketch` made it.
    trait
        Hash of what has to be equal besides, 32 bits: texts of other traits have no key in common.
    """
    rows = sketched.reshape(-1, BAND_ROWS).astype(np.uint64)
    keys = (rows * _BAND_FACTORS).sum(axis=1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    keys ^= _BAND_SALTS + np.uint64(trait * 0xD1B54A32D192ED03 % 2**64)
    return list(keys.tolist())
