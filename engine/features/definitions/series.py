"""The series that the definitions share: the bar's fields, and what is made of them once.

Prices enter scaled by a power of two that puts the segment's first close into [1024, 2048).
That scaling is exact, so no bit of any ratio changes; but TA-Lib calls differences below
1e-14 zero, and a coin of 0.00001 must not lose its variance to that. `PRICE_UNIT` turns a
scaled price back.
"""

from __future__ import annotations

from engine.indicators.expression import Expression, Input, log, select, ta

OPEN = Input("open")
HIGH = Input("high")
LOW = Input("low")
CLOSE = Input("close")
VOLUME = Input("volume")
VWAP = Input("vwap")
TWAP = Input("twap")
TAKER_BUY_VOLUME = Input("taker_buy_volume")
REFERENCE_CLOSE = Input("reference_close")
PRICE_UNIT = Input("price_unit")
"""One scaled unit in quote currency, the same for every bar of a segment."""

INPUTS = tuple(
    series.name
    for series in (
        OPEN, HIGH, LOW, CLOSE, VOLUME, VWAP, TWAP, TAKER_BUY_VOLUME, REFERENCE_CLOSE, PRICE_UNIT,
    )
)  # fmt: skip
"""Names of the inputs, in the order the live run passes them."""

BPS = 10_000.0


def log_return(price: Expression) -> Expression:
    """Logarithmic return of one bar, bps."""
    return log(ta("ROCR", price, timeperiod=1)) * BPS


def window_sum(series: Expression, bars: int) -> Expression:
    """Sum of a series that is never negative; exactly 0 where it is 0 all through.

    TA-Lib's running sum keeps a residue of what has left the window; a largest value of 0 tells.
    """
    largest = ta("MAX", series, timeperiod=bars)
    return select(largest, ta("SUM", series, timeperiod=bars), 0.0)


def window_mean(series: Expression, bars: int) -> Expression:
    """Mean of a series that is never negative; exactly 0 where it is 0 all through."""
    return window_sum(series, bars) / float(bars)


def window_deviation(series: Expression, bars: int) -> Expression:
    """Return the population standard deviation; exactly 0 where the series does not move."""
    spread = ta("MAX", series, timeperiod=bars) - ta("MIN", series, timeperiod=bars)
    return select(spread, ta("STDDEV", series, timeperiod=bars, nbdev=1), 0.0)


def robust_z(series: Expression, bars: int) -> Expression:
    """Distance from the median in robust standard deviations (quartile range / 1.349)."""
    upper = ta("PERCENTILE", series, timeperiod=bars, percentile=75)
    lower = ta("PERCENTILE", series, timeperiod=bars, percentile=25)
    median = ta("PERCENTILE", series, timeperiod=bars, percentile=50)
    return (series - median) / ((upper - lower) / 1.349)


RETURN_BPS = log_return(CLOSE)
REFERENCE_RETURN_BPS = log_return(REFERENCE_CLOSE)
TYPICAL_PRICE = ta("TYPPRICE", HIGH, LOW, CLOSE)
TURNOVER = TYPICAL_PRICE * PRICE_UNIT * VOLUME
"""Quote currency traded in the bar, as typical price x volume: known for every bar."""
