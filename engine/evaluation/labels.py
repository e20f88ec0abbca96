"""What really happened: forward returns and barriers, known only after their horizon has passed."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.barriers import Counts, first_touches
from engine.evaluation.costs import net_returns
from engine.evaluation.panel import Floats, PricePanel, Times
from engine.evaluation.volatility import realised_volatility

DEFINITION = 1
"""Counts the definitions of labels: it changes with anything that changes a value."""

STATUSES = ("whole", "gap", "delisted")
"""Names of the codes in `Labels.status`."""

WHOLE, GAP, DELISTED = range(3)

STILL_LISTED = 2**63 - 1
"""Stands for the end of a market that has none."""


@dataclass(frozen=True, slots=True)
class LabelRules:
    """What decides labels, beside the prices."""

    cost_bps: float = 10.0
    """Of going in and out together, hundredths of a percent of the price."""
    barrier_volatilities: float = 2.0
    """Distance of the barriers, in standard deviations of the return over the horizon."""
    volatility_bars: int = 48
    """Bars that the standard deviation is taken over, at least 2."""

    @property
    def version(self) -> str:
        """Names the definition with its settings: labels of different versions never mix."""
        return (
            f"{DEFINITION} cost {self.cost_bps:g} bps, barriers {self.barrier_volatilities:g} "
            f"sigma of {self.volatility_bars} bars"
        )

    @property
    def bars_before(self) -> int:
        """How many bars before a bar its labels look at."""
        return self.volatility_bars


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Labels of a panel's first bars over one horizon, shape (bars, markets).

    Where a market has no bar at a time it has no labels there: `has_bar`.
    """

    has_bar: NDArray[np.bool_]
    status: NDArray[np.int8]
    """Codes of `STATUSES`."""
    forward_return: Floats
    """Simple return; NaN where `status` is `GAP`."""
    net_return_long: Floats
    net_return_short: Floats
    barrier: NDArray[np.int8]
    """Codes of `engine.evaluation.barriers.BARRIERS`."""
    barrier_bars: Counts
    """How many bars later it was touched; -1 where that is not known."""
    volatility: Floats
    """Standard deviation of the log return over the horizon, as known at the bar; NaN with too
    few bars before it."""

    def __len__(self) -> int:
        return len(self.status)


def label_panel(
    panel: PricePanel, horizon_bars: int, rules: LabelRules, ends: Times | None = None
) -> Labels:
    """Label every bar of a panel whose horizon ends within it.

    A label looks back at `LabelRules.bars_before` bars and forward to the horizon, and at nothing
    else. A bar at the horizon that is missing is a gap: nothing bridges it. Where the market has
    ended by then (`ends`) its last price stands for what followed, and the vertical barrier is at
    its last bar.

    Parameters
    ----------
    panel
        Prices on the grid, to the newest bar that is closed.
    horizon_bars
        How far forward, at least 1.
    rules
        See there.
    ends
        When each market was delisted, UTC nanoseconds, `STILL_LISTED` where it was not; shape
        (markets,). None where none was.

    Returns
    -------
    Labels
        Of the panel's first ``len(panel) - horizon_bars`` bars: the others are not known yet.

    Raises
    ------
    ValueError
        Where the horizon is below 1.
    """
    if horizon_bars < 1:
        raise ValueError(f"a horizon of {horizon_bars} bars does not look forward")
    rows, markets = max(0, len(panel) - horizon_bars), panel.close.shape[1]
    is_over, last = _delistings(panel, rows, horizon_bars, ends)
    index = np.arange(rows)[:, None]
    within = np.where(is_over, np.maximum(last - index, 0), horizon_bars)
    close = panel.close[:rows]
    gross = panel.close[index + within, np.arange(markets)] / close - 1.0
    sigma = realised_volatility(panel.close, rules.volatility_bars)[:rows] * sqrt(horizon_bars)
    touches = first_touches(panel, sigma * rules.barrier_volatilities, within)
    net = net_returns(gross, rules.cost_bps)
    return Labels(
        has_bar=np.isfinite(close),
        status=np.where(is_over, DELISTED, np.where(np.isnan(gross), GAP, WHOLE)).astype(np.int8),
        forward_return=gross,
        net_return_long=net.long,
        net_return_short=net.short,
        barrier=touches.barrier,
        barrier_bars=touches.bars,
        volatility=sigma,
    )


def _delistings(
    panel: PricePanel, rows: int, horizon_bars: int, ends: Times | None
) -> tuple[NDArray[np.bool_], Counts]:
    """Return whose horizon runs over its market's end, and each market's last bar before it."""
    markets = panel.close.shape[1]
    if ends is None:
        return np.zeros((rows, markets), np.bool_), np.zeros(markets, np.intp)
    before_end = np.isfinite(panel.close) & (panel.open_time[:, None] < ends)
    last = np.where(before_end.any(axis=0), len(panel) - 1 - before_end[::-1].argmax(axis=0), -1)
    horizon_end = panel.close_time[:rows, None] + horizon_bars * panel.step
    # What a market trades after its end, if anything, is not the same market's.
    is_over = (horizon_end > ends) & (np.arange(rows)[:, None] <= last)
    return is_over, last.astype(np.intp)


def forward_returns(
    open_times: NDArray[np.int64], closes: NDArray[np.float64], horizon_bars: int, step_ns: int
) -> NDArray[np.float64]:
    """Return the simple return from each bar's close to that of `horizon_bars` later.

    Parameters
    ----------
    open_times
        Strictly ascending, UTC nanoseconds; bars may be missing.
    closes
        Above zero.
    horizon_bars
        At least 1.
    step_ns
        Length of a bar.

    Returns
    -------
    ndarray
        In the same order. NaN where the bar exactly that much later is not there: a gap is
        never bridged by whatever comes after it.

    Raises
    ------
    ValueError
        Where the times do not ascend or the horizon is below 1.

    Examples
    --------
    >>> forward_returns(np.array([0, 10, 30]), np.array([1.0, 2.0, 3.0]), 1, 10)
    array([ 1., nan, nan])
    """
    if horizon_bars < 1:
        raise ValueError(f"a horizon of {horizon_bars} bars does not look forward")
    if np.any(np.diff(open_times) <= 0):
        raise ValueError("bars must ascend strictly in time")
    labels = np.full(len(open_times), np.nan)
    target = open_times + horizon_bars * step_ns
    at = np.searchsorted(open_times, target)
    inside = at < len(open_times)
    found = np.zeros(len(open_times), dtype=bool)
    found[inside] = open_times[at[inside]] == target[inside]
    labels[found] = closes[at[found]] / closes[found] - 1.0
    return labels
