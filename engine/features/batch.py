"""Features over arrays: a whole segment at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from engine.domain.market import BookSnapshot
from engine.domain.timeframe import Timeframe
from engine.features.books import fill_books, last_books
from engine.features.catalogue import FEATURES, PROGRAM
from engine.features.grid import Bars, align_close
from engine.features.segment import (
    full_rows,
    price_unit,
    program_inputs,
    refuse_holes,
    segment_end,
    with_warm_up,
)
from engine.indicators.base import Array


def compute_segment(
    bars: Bars,
    timeframe: Timeframe,
    segment_start_ns: int,
    reference: Bars | None,
    books: Iterable[BookSnapshot] = (),
) -> Array:
    """Compute every feature of one segment; the live run gives the same bits.

    Parameters
    ----------
    bars
        The grid from `WARM_UP_BARS` bars before the segment (or the market's first bar, where
        that is later) to the segment's end, or as far as it has come. Bars before the warm-up
        and after the segment are left out.
    timeframe
        Of the bars.
    segment_start_ns
        Start of a segment, UTC nanoseconds.
    reference
        Bars of the reference market over the same time; the same `bars` for the reference
        market itself; None where there is none: what depends on it is NaN.
    books
        Snapshots of the market's L2 book over the segment, as `Reader.book_snapshots` gives
        them; those outside of it are left out.

    Returns
    -------
    Array
        Shape (bars in the segment, number of features); NaN where missing. Ranks over the
        universe are NaN until `engine.features.cross_section` fills them.

    Raises
    ------
    ValueError
        Where `segment_start_ns` is not the start of a segment, or `bars` have a hole.
    """
    if timeframe.segment_start(segment_start_ns) != segment_start_ns:
        raise ValueError(f"{segment_start_ns} is not the start of a segment of {timeframe}")
    refuse_holes(bars, timeframe)
    used = with_warm_up(bars, segment_start_ns)
    used = used[: used.position(segment_end(segment_start_ns, timeframe))]
    first = used.position(segment_start_ns)
    if first == len(used):
        return np.empty((0, len(FEATURES)))
    unit = price_unit(float(used.column("close")[0]))
    inputs = program_inputs(used, align_close(reference, used.open_time), unit)
    rows = full_rows(PROGRAM.compute(inputs)[first:])
    fill_books(rows, used.open_time[first:], last_books(books, timeframe))
    return rows
