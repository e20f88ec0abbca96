"""What trading takes off a return."""

from __future__ import annotations

from typing import NamedTuple

from engine.evaluation.panel import Floats

BPS = 1e-4
"""A hundredth of a percent, as a fraction."""


class NetReturns(NamedTuple):
    """Returns after costs, as fractions."""

    long: Floats
    """Of who bought at the start and sold at the end."""
    short: Floats
    """Of who sold at the start and bought back at the end."""


def net_returns(gross: Floats, cost_bps: float) -> NetReturns:
    """Take the cost of going in and out off a simple return, in either direction.

    Both legs are paid in parts of the price at the start: long ``r - c``, short ``-r - c``, so
    that the two always sum to ``-2c``: whoever takes both sides pays twice and earns nothing.

    Parameters
    ----------
    gross
        Simple returns; NaN stays NaN.
    cost_bps
        Of going in and out together, hundredths of a percent of the price; at least 0.

    Examples
    --------
    >>> import numpy as np
    >>> net_returns(np.array([0.01]), 10.0).long.round(6)
    array([0.009])
    """
    cost = cost_bps * BPS
    return NetReturns(gross - cost, -gross - cost)
