"""What is held of each row while a file is looked at: whose it is, its time, and a digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.imports.problem import Flaw
from engine.imports.rows import Floats, Rows
from engine.imports.runs import Times


@dataclass(slots=True)
class RowKeys:
    """Some rows of a file, or all.

    Parameters
    ----------
    codes
        Instrument of each, as a place in the file's own list; -1 where none is known.
    times
        Open times, UTC nanoseconds; 0 where there is none.
    digests
        Of the values; see `digests_of`.
    idle
        Whether the volume is 0.
    """

    codes: NDArray[np.int32]
    times: Times
    digests: NDArray[np.uint64]
    idle: NDArray[np.bool_]


def keys_of(rows: Rows, instruments: dict[str, int]) -> RowKeys:
    """Return what to hold of some rows; new instruments are added to the file's list of them."""
    places = [instruments.setdefault(name, len(instruments)) for name in rows.instruments]
    codes = np.array([*places, -1], np.int32)[rows.codes]  # -1 is the last: no instrument
    return RowKeys(codes, rows.times, digests_of(rows.values), rows.values["volume"] == 0)


def joined(parts: Sequence[RowKeys]) -> RowKeys:
    """Return all parts as one."""
    if not parts:
        nothing = np.empty(0, np.int64)
        return RowKeys(
            nothing.astype(np.int32), nothing, nothing.astype(np.uint64), nothing.astype(bool)
        )
    return RowKeys(
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.digests for part in parts]),
        np.concatenate([part.idle for part in parts]),
    )


def digests_of(values: Mapping[str, Floats]) -> NDArray[np.uint64]:
    """Return a number for each row that other values change."""
    digests: NDArray[np.uint64] | None = None
    for name in sorted(values):
        column = values[name] + 0.0  # minus zero is zero
        column[np.isnan(column)] = np.nan  # there are many NaNs
        bits = column.view(np.uint64)
        digests = bits * np.uint64(_MIX) if digests is None else (digests ^ bits) * np.uint64(_MIX)
        digests ^= digests >> np.uint64(29)
    if digests is None:
        raise TypeError("a row without values has no digest")
    return digests


_MIX = 0x9E3779B97F4A7C15
"""An odd number whose bits are evenly spread: 2^64 over the golden ratio."""


def order_of(keys: RowKeys) -> NDArray[np.int64]:
    """Return the rows' places by instrument and time; equal ones as they come."""
    steps = np.diff(keys.codes)
    if not ((steps < 0) | ((steps == 0) & (np.diff(keys.times) < 0))).any():
        return np.arange(len(keys.codes))  # as most files are
    return np.lexsort((keys.times, keys.codes))


def disordered(keys: RowKeys, flaw: NDArray[np.uint8]) -> int:
    """Count the sound rows whose time is below that of the row before, of their instrument."""
    sound = flaw == Flaw.SOUND
    codes, times = keys.codes[sound], keys.times[sound]
    order = np.argsort(codes, kind="stable")
    back = (np.diff(times[order]) < 0) & (np.diff(codes[order]) == 0)
    return int(np.count_nonzero(back))
