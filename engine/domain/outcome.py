"""What followed a bar: known only after its horizon has passed."""

from __future__ import annotations

from typing import Literal

import msgspec

OutcomeStatus = Literal["whole", "gap", "delisted"]
"""whole: the bar at the horizon is there; gap: it is not, so there is no return; delisted: the
market ended within the horizon, and the return is that to its last price."""

Barrier = Literal["upper", "lower", "both", "vertical", ""]
"""Which barrier was touched first; both: one bar touched the upper and the lower one, and does not
tell which came first; empty: not known."""


class BarOutcome(msgspec.Struct, frozen=True):
    """What followed the bar ``[open_time, close_time)`` over one horizon. A row of ``outcomes``.

    Returns are simple ones, from the bar's close: 0.01 is one percent.
    """

    exchange: str
    instrument: str
    timeframe: str
    open_time: int
    """Of the bar, UTC nanoseconds."""
    horizon: str
    """How far forward, from the bar's close: a number with m, h or d."""
    known_at: int
    """When all of it was known, UTC nanoseconds: never before close_time + horizon."""
    status: OutcomeStatus
    forward_return: float | None
    """None where `status` is gap."""
    net_return_long: float | None
    """Of who bought at the close and sold at the horizon, costs taken off."""
    net_return_short: float | None
    """Of who sold at the close and bought back at the horizon, costs taken off."""
    barrier: Barrier
    barrier_time: int | None
    """Close of the bar that touched it, or the end of the horizon; None where `barrier` is
    empty."""
    volatility: float | None
    """Standard deviation of the log return over the horizon, as known at the bar's close; None
    with too few bars behind it."""
    version: str
    """Of the definition, and the settings that decide the values."""
