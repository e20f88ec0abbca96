"""Arithmetic between series, with the same bits over arrays and bar by bar.

Only operations that IEEE 754 rounds correctly are done by numpy (+ - x / sqrt, comparisons):
there an array and a scalar agree by the standard. A logarithm does not have to, and numpy's
vector loop differs from its scalar one in the last bit; so both runs call the C library's: over
arrays by TA-Lib's loop, which is 20 times as fast as ``math.log`` value by value, to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite, log, sqrt
from typing import Any

import numpy as np
import talib

from engine.indicators.base import MISSING, Array, Handle, Scalars

_LIBRARY: Any = talib


@dataclass(frozen=True, slots=True)
class Elementwise:
    """A function of one bar's values, without memory. See `Indicator` for the contract.

    Here a missing operand gives a missing result, and there is no history to skip from.
    """

    name: str
    over_arrays: Callable[..., Array]
    over_scalars: Callable[..., float]
    parameters: Mapping[str, float] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("real",)
    warm_up: int = 0
    bounds: tuple[float, float] = (-inf, inf)

    def compute(self, *inputs: Array) -> tuple[Array, ...]:
        """Compute over arrays."""
        with np.errstate(all="ignore"):
            return (self.over_arrays(*inputs),)

    def open_stream(self, *inputs: Array) -> tuple[Handle, tuple[Array, ...]]:
        """Compute over arrays; the handle has no state."""
        return _Stateless(self.over_scalars), self.compute(*inputs)


class _Stateless:
    """A handle whose update and peek are the function itself."""

    __slots__ = ("peek", "update")

    def __init__(self, function: Callable[..., Scalars]) -> None:
        self.update = function
        self.peek = function


def _divide(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator != 0.0 else MISSING


def _divide_arrays(numerator: Array, denominator: Array) -> Array:
    return np.where(denominator != 0.0, np.divide(numerator, denominator), MISSING)


def _log(value: float) -> float:
    return log(value) if value > 0.0 and isfinite(value) else MISSING


def _log_array(values: Array) -> Array:
    known = np.where((values > 0.0) & np.isfinite(values), values, 1.0)
    return np.where(known == values, _LIBRARY.LN(known), MISSING)


def _sqrt(value: float) -> float:
    return sqrt(value) if value >= 0.0 else MISSING


def _sqrt_array(values: Array) -> Array:
    return np.where(values >= 0.0, np.sqrt(values), MISSING)


def _select(condition: float, chosen: float, otherwise: float) -> float:
    if condition > 0.0:
        return chosen
    return otherwise if condition <= 0.0 else MISSING


def _select_arrays(condition: Array, chosen: Array, otherwise: Array) -> Array:
    return np.where(condition > 0.0, chosen, np.where(condition <= 0.0, otherwise, MISSING))


def _clip(value: float, low: float, high: float) -> float:
    if value < low:
        return low
    return high if value > high else value


def _clip_array(values: Array, low: float, high: float) -> Array:
    return np.where(values < low, low, np.where(values > high, high, values))


ADD = Elementwise("add", np.add, lambda a, b: a + b)
SUBTRACT = Elementwise("subtract", np.subtract, lambda a, b: a - b)
MULTIPLY = Elementwise("multiply", np.multiply, lambda a, b: a * b)
DIVIDE = Elementwise("divide", _divide_arrays, _divide)
"""Missing where the divisor is zero."""
LOG = Elementwise("log", _log_array, _log)
"""Natural logarithm; missing where the operand is not above zero."""
SQRT = Elementwise("sqrt", _sqrt_array, _sqrt, bounds=(0.0, inf))
"""Missing where the operand is below zero."""
ABSOLUTE = Elementwise("abs", np.abs, abs, bounds=(0.0, inf))
SELECT = Elementwise("select", _select_arrays, _select)
"""The second operand where the first is above zero, else the third; missing where it is."""
CLIP = Elementwise("clip", _clip_array, _clip)
"""The first operand, held between the second and the third."""
