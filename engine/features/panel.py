"""Features of many markets over one segment, as columns: what a batch run makes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.domain.instrument import Market
from engine.domain.market import BookSnapshot
from engine.domain.timeframe import Timeframe
from engine.features.batch import compute_segment
from engine.features.catalogue import FEATURES
from engine.features.cross_section import RANKS, fractional_ranks
from engine.features.grid import Bars
from engine.indicators.base import MISSING, Array


@dataclass(frozen=True, slots=True)
class MarketBars:
    """One market's bars, and which of them are wanted."""

    market: Market
    bars: Bars
    """The grid from the warm-up on, as `compute_segment` takes it."""
    wanted: NDArray[np.int64]
    """Open times of the segment's bars to give, ascending, all of them among `bars`."""
    ranked: NDArray[np.bool_]
    """Which of those belong to the universe: the others have no ranks, and count in nobody's."""
    books: Sequence[BookSnapshot] = ()
    """Snapshots of its L2 book over the segment."""


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Rows of features of one timeframe as columns, by market and then by time."""

    timeframe: Timeframe
    markets: tuple[Market, ...]
    starts: tuple[int, ...]
    """First row of each market, and behind the last one the number of rows."""
    open_time: NDArray[np.int64]
    """UTC nanoseconds, shape (rows,)."""
    close: Array
    """Close of each bar, quote currency, shape (rows,)."""
    values: Array
    """Shape (features, rows), in the catalogue's order; NaN where missing."""

    def __len__(self) -> int:
        return len(self.open_time)

    def rows_of(self, index: int) -> slice:
        """Return where the rows of one of `markets` are."""
        return slice(self.starts[index], self.starts[index + 1])


def compute_panel(
    inputs: Sequence[MarketBars],
    timeframe: Timeframe,
    segment_start_ns: int,
    reference: Bars | None,
) -> Panel:
    """Compute every feature of the bars wanted, ranks over the universe included.

    Each value equals, bit for bit, what `engine.features.live.LiveFeatures`,
    `engine.features.books.LiveBooks` and `engine.features.cross_section.fill_cross_section` make
    of the same bars.

    Parameters
    ----------
    inputs
        The markets, each once.
    timeframe
        Of the bars.
    segment_start_ns
        Start of the segment, UTC nanoseconds.
    reference
        Bars of the reference market; None where there is none.
    """
    starts = np.cumsum([0, *(len(each.wanted) for each in inputs)]).tolist()
    panel = Panel(
        timeframe,
        tuple(each.market for each in inputs),
        tuple(starts),
        np.empty(starts[-1], dtype=np.int64),
        np.empty(starts[-1]),
        np.empty((len(FEATURES), starts[-1])),
    )
    for index, each in enumerate(inputs):
        here = panel.rows_of(index)
        if here.start == here.stop:
            continue
        panel.open_time[here] = each.wanted
        panel.close[here] = each.bars.column("close")[each.bars.position(int(each.wanted[0])) :][
            (each.wanted - each.wanted[0]) // timeframe.ns
        ]
        rows = compute_segment(each.bars, timeframe, segment_start_ns, reference, each.books)
        first = max(segment_start_ns, int(each.bars.open_time[0]))
        panel.values[:, here] = rows[(each.wanted - first) // timeframe.ns].T
    _fill_ranks(panel, inputs)
    return panel


def _fill_ranks(panel: Panel, inputs: Sequence[MarketBars]) -> None:
    """Fill the ranks: a table of bars and markets for each ranked feature."""
    if not len(panel):
        return
    first, step = int(panel.open_time.min()), panel.timeframe.ns
    bars = (panel.open_time - first) // step
    counts = [len(each.wanted) for each in inputs]
    market = np.repeat(np.arange(len(inputs)), counts)
    ranked = np.concatenate([each.ranked for each in inputs])
    where = bars[ranked], market[ranked]
    for target, source in RANKS:
        table = np.full((int(bars.max()) + 1, len(inputs)), MISSING)
        table[where] = panel.values[source, ranked]
        panel.values[target] = MISSING
        panel.values[target, ranked] = fractional_ranks(table)[where]
