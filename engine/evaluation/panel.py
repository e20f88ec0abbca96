"""Prices of many markets side by side on the regular grid of time; what is missing is NaN.

Unlike `engine.features.grid`, which lays a flat bar where nothing traded, an interval without a
candle stays missing here: what followed a bar must have been seen, not assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True, eq=False)
class PricePanel:
    """Prices on the grid, shape (bars, markets); NaN where a market has no candle."""

    start: int
    """Open time of the first bar, UTC nanoseconds."""
    step: int
    """Length of a bar, nanoseconds."""
    open: Floats
    high: Floats
    low: Floats
    close: Floats

    def __len__(self) -> int:
        return len(self.close)

    def __getitem__(self, which: slice) -> PricePanel:
        first, _, stride = which.indices(len(self))
        if stride != 1:
            raise ValueError("bars of a panel follow one another")
        return PricePanel(
            self.start + first * self.step,
            self.step,
            *(getattr(self, name)[which] for name in PRICES),
        )

    @property
    def open_time(self) -> Times:
        """Open time of each bar, UTC nanoseconds, shape (bars,)."""
        return self.start + self.step * np.arange(len(self), dtype=np.int64)

    @property
    def close_time(self) -> Times:
        """Close time of each bar, UTC nanoseconds, shape (bars,)."""
        return self.open_time + self.step


def lay_panel(
    open_time: Times,
    market: NDArray[np.intp],
    prices: Mapping[str, Floats],
    *,
    markets: int,
    start: int,
    end: int,
    step: int,
) -> PricePanel:
    """Lay candles, in any order, on the grid of ``[start, end)``.

    Parameters
    ----------
    open_time
        Of each candle, UTC nanoseconds, on the grid.
    market
        Which column of the panel each candle belongs to, from 0.
    prices
        `PRICES` of each candle, quote currency; a candle without a price that is finite and above
        zero counts as missing.
    markets
        Number of columns.
    start, end, step
        The grid, UTC nanoseconds; `start` is one of its points, candles outside are left out.

    Raises
    ------
    ValueError
        Where a candle is off the grid, or a market has two candles of one time.
    """
    if np.any((open_time - start) % step):
        raise ValueError(f"candles are off the grid of {step} ns from {start} on")
    bars = max(0, -(-(end - start) // step))
    inside = (open_time >= start) & (open_time < end)
    sound = inside & _is_sound([prices[name] for name in PRICES])
    row = (open_time[sound] - start) // step
    column = market[sound]
    cells = row * markets + column
    if len(np.unique(cells)) < len(cells):
        raise ValueError("a market has two candles of the same time")
    laid = []
    for name in PRICES:
        values = np.full((bars, markets), np.nan)
        values[row, column] = prices[name][sound]
        laid.append(values)
    return PricePanel(start, step, *laid)


def _is_sound(columns: Sequence[Floats]) -> NDArray[np.bool_]:
    sound = np.ones(len(columns[0]), dtype=np.bool_)
    for values in columns:
        sound &= np.isfinite(values) & (values > 0.0)
    return sound
