"""A segment: the bars that decide its values, and the inputs made of them.

A recursive average depends on the bar it starts from. So a value is *defined* on the segment
that holds its bar (`Timeframe.segment_start`), computed from the last `WARM_UP_BARS` bars of
the grid before it on. Whoever computes it, whenever, starts from the same bar.
"""

from __future__ import annotations

from math import frexp, ldexp

import numpy as np

from engine.clock import NS_PER_S
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import COMPUTED_INDEX, FEATURES
from engine.features.grid import BAR_FIELDS, Bar, Bars
from engine.features.warm_up import WARM_UP_BARS
from engine.indicators.base import MISSING, Array

_PRICES = ("open", "high", "low", "close", "vwap", "twap")
_EXPONENT = 11
"""The first close is scaled into [2**10, 2**11)."""
_SMALLEST_EXPONENT = -1022
"""Below it the unit itself would lose bits."""


_LONGEST_NS = {"hour": 3_600 * NS_PER_S, "day": 86_400 * NS_PER_S, "month": 31 * 86_400 * NS_PER_S}


def segment_end(segment_start_ns: int, timeframe: Timeframe) -> int:
    """Start of the segment that follows.

    Examples
    --------
    >>> segment_end(0, Timeframe.H1) // (86_400 * NS_PER_S)
    31
    """
    return timeframe.segment_start(segment_start_ns + _LONGEST_NS[timeframe.segment_span])


def refuse_holes(bars: Bars, timeframe: Timeframe) -> None:
    """Raise ValueError where bars do not follow one another at the timeframe's step."""
    steps = np.diff(bars.open_time)
    if (steps != timeframe.ns).any():
        where = int(bars.open_time[int(np.argmax(steps != timeframe.ns))])
        raise ValueError(
            f"bars of {timeframe} do not follow one another after {where}: lay them on the "
            "grid first (engine.features.grid.regular_grid)"
        )


def with_warm_up(bars: Bars, segment_start_ns: int) -> Bars:
    """Bars of the segment on, after exactly `WARM_UP_BARS` before it, or all there are."""
    first = bars.position(segment_start_ns)
    return bars[max(0, first - WARM_UP_BARS) :]


def price_unit(first_close: float) -> float:
    """One scaled price unit in quote currency: a power of two, so that scaling is exact.

    Parameters
    ----------
    first_close
        Close of the segment's first warm-up bar, finite and above zero.

    Examples
    --------
    >>> price_unit(1024.0), price_unit(1.0)
    (1.0, 0.0009765625)
    """
    return ldexp(1.0, max(frexp(first_close)[1] - _EXPONENT, _SMALLEST_EXPONENT))


def program_inputs(bars: Bars, reference_close: Array, unit: float) -> dict[str, Array]:
    """Arrays by input name, prices scaled.

    Parameters
    ----------
    bars
        At least one bar.
    reference_close
        Close of the reference at each bar, NaN where it has none, shape (n,).
    unit
        Of `price_unit`.
    """
    series = {name: bars.column(name) for name in BAR_FIELDS}
    with np.errstate(over="ignore", under="ignore"):
        series |= {name: series[name] / unit for name in _PRICES}
    series["reference_close"] = reference_close
    series["price_unit"] = np.full(len(bars), unit)
    return series


def program_input(bar: Bar, reference_close: float, unit: float) -> tuple[float, ...]:
    """One bar's inputs in the order of `INPUTS`; the same arithmetic as `program_inputs`."""
    return (
        bar.open / unit,
        bar.high / unit,
        bar.low / unit,
        bar.close / unit,
        bar.volume,
        bar.vwap / unit,
        bar.twap / unit,
        bar.taker_buy_volume,
        reference_close,
        unit,
    )


def full_rows(computed: Array) -> Array:
    """Rows in the catalogue's order, what has no formula still missing.

    Parameters
    ----------
    computed
        Shape (n, number of computed features).
    """
    rows = np.full((len(computed), len(FEATURES)), MISSING)
    rows[:, COMPUTED_INDEX] = computed
    return rows
