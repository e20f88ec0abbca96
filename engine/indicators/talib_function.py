"""Every TA-Lib function as an indicator: data, not a class each.

TA-Lib 0.8 (https://ta-lib.org) gives each function twice: over arrays, and as a handle that
takes a bar at a time (`talib.stream`). Both give equal bits on finite input; what neither
defines is input with holes. Here a bar with a missing input is skipped: it gets a missing
value and does not count in any window, so both runs stay equal and recover at the next bar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

import numpy as np
import talib
from numpy.typing import NDArray
from talib import abstract, stream

from engine.indicators.base import MISSING, Array, Handle, Scalars

Mask = NDArray[np.bool_]

# TA-Lib's type stubs leave out half of what it has: one untyped border, here.
_LIBRARY: Any = talib
_ABSTRACT: Any = abstract

CANDLESTICK_PATTERNS: tuple[str, ...] = tuple(_LIBRARY.get_function_groups()["Pattern Recognition"])
"""Names of TA-Lib's candlestick patterns (``CDL…``), all of them, in its order."""

_BOUNDS: dict[str, tuple[float, float]] = {
    "ADX": (0, 100),
    "AROONOSC": (-100, 100),
    "ER": (0, 1),
    "MFI": (0, 100),
    "MINUS_DI": (0, 100),
    "PLUS_DI": (0, 100),
    "RSI": (0, 100),
    "STOCH": (0, 100),
} | dict.fromkeys(CANDLESTICK_PATTERNS, (-200.0, 200.0))


@dataclass(frozen=True, slots=True)
class TalibFunction:
    """One TA-Lib function with its parameters. See `engine.indicators.base.Indicator`.

    Parameters
    ----------
    name
        TA-Lib's name of the function, for example ``RSI``.
    parameters
        Parameters by TA-Lib's names; what is left out takes TA-Lib's default.

    Raises
    ------
    ValueError
        Where TA-Lib has no such function or it has no such parameter.

    Examples
    --------
    >>> TalibFunction("RSI", {"timeperiod": 14}).warm_up
    14
    """

    name: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    outputs: tuple[str, ...] = field(init=False)
    warm_up: int = field(init=False)
    bounds: tuple[float, float] = field(init=False)
    missing: float = field(init=False)
    """What stands where there is no value: NaN, or 0 ("no pattern") for integer outputs."""

    def __post_init__(self) -> None:
        if not hasattr(stream, self.name):
            raise ValueError(f"TA-Lib has no function {self.name!r}: see talib.get_functions()")
        function = _ABSTRACT.Function(self.name)
        if unknown := set(self.parameters) - set(function.parameters):
            known = ", ".join(function.parameters) or "none"
            raise ValueError(
                f"TA-Lib's {self.name} has no parameter {min(unknown)!r}; it has: {known}"
            )
        # TA-Lib tells 2 from 2.0: each parameter takes the type of its default.
        typed = {key: type(function.parameters[key])(v) for key, v in self.parameters.items()}
        function.parameters = typed
        object.__setattr__(self, "parameters", typed)
        outputs = tuple(function.output_names)
        object.__setattr__(self, "outputs", outputs)
        object.__setattr__(self, "warm_up", int(function.lookback))
        object.__setattr__(self, "bounds", _BOUNDS.get(self.name, (-inf, inf)))
        object.__setattr__(self, "missing", 0.0 if outputs == ("integer",) else MISSING)

    def compute(self, *inputs: Array) -> tuple[Array, ...]:
        """Compute the outputs over arrays; bars with a missing input are skipped."""
        present, kept = _without_missing(inputs)
        return self._spread(present, self.over_finite(kept))

    def open_stream(self, *inputs: Array) -> tuple[Handle, tuple[Array, ...]]:
        """Compute the outputs, and return the handle that stands at the last bar."""
        present, kept = _without_missing(inputs)
        if len(kept[0]) > self.warm_up:
            try:
                opened, filled = getattr(stream, self.name).open_and_fill(*kept, **self.parameters)
            except _LIBRARY.InsufficientHistory:
                pass  # some functions seed from a bar or two more than their lookback
            else:
                return TalibHandle(self, opened), self._spread(present, _as_tuple(filled))
        return WarmingHandle(self, kept), self._spread(present, self.over_finite(kept))

    def over_finite(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """Compute the outputs over arrays known to be finite."""
        if len(inputs[0]) <= self.warm_up:
            return tuple(np.full(len(inputs[0]), self.missing) for _ in self.outputs)
        return _as_tuple(getattr(_LIBRARY, self.name)(*inputs, **self.parameters))

    def _spread(self, present: Mask | None, outputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """Put values back to the bars they belong to, around the bars that were skipped."""
        if present is None:
            return outputs
        spread = []
        for output in outputs:
            whole = np.full(len(present), self.missing)
            whole[present] = output
            spread.append(whole)
        return tuple(spread)


class TalibHandle:
    """TA-Lib's handle, with bars of missing input skipped."""

    __slots__ = ("_missing", "_peek", "_update")

    def __init__(self, function: TalibFunction, opened: Any) -> None:
        self._update: Callable[..., Scalars] = opened.update
        self._peek: Callable[..., Scalars] = opened.peek
        self._missing = _missing_scalars(function)

    def update(self, *values: float) -> Scalars:
        """Take one closed bar."""
        return self._update(*values) if all(map(isfinite, values)) else self._missing

    def peek(self, *values: float) -> Scalars:
        """Answer what `update` would; change nothing."""
        return self._peek(*values) if all(map(isfinite, values)) else self._missing


class WarmingHandle:
    """Stands in until there is history enough for TA-Lib's own handle."""

    __slots__ = ("_function", "_history", "_missing", "_opened")

    def __init__(self, function: TalibFunction, history: tuple[Array, ...]) -> None:
        self._function = function
        self._history = history
        self._missing = _missing_scalars(function)
        self._opened: Handle | None = None

    def update(self, *values: float) -> Scalars:
        """Take one closed bar."""
        if self._opened is not None:
            return self._opened.update(*values)
        if not all(map(isfinite, values)):
            return self._missing
        self._history = self._extended(values)
        handle, outputs = self._function.open_stream(*self._history)
        if isinstance(handle, TalibHandle):
            self._opened = handle
            self._history = ()
        return _last(outputs)

    def peek(self, *values: float) -> Scalars:
        """Answer what `update` would; change nothing."""
        if self._opened is not None:
            return self._opened.peek(*values)
        if not all(map(isfinite, values)):
            return self._missing
        return _last(self._function.over_finite(self._extended(values)))

    def _extended(self, values: tuple[float, ...]) -> tuple[Array, ...]:
        return tuple(
            np.append(series, value) for series, value in zip(self._history, values, strict=True)
        )


def display_name(function: str) -> str:
    """TA-Lib's own words for a function: "Relative Strength Index" for ``RSI``."""
    return str(_ABSTRACT.Function(function).info["display_name"])


def _without_missing(inputs: tuple[Array, ...]) -> tuple[Mask | None, tuple[Array, ...]]:
    """Leave out the bars where any input is missing; tell which were kept (None: all)."""
    present = np.isfinite(inputs[0])
    for series in inputs[1:]:
        present &= np.isfinite(series)
    if present.all():
        return None, inputs
    return present, tuple(series[present] for series in inputs)


def _as_tuple(outputs: Any) -> tuple[Array, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _missing_scalars(function: TalibFunction) -> Scalars:
    one = len(function.outputs) == 1
    return function.missing if one else (function.missing,) * len(function.outputs)


def _last(outputs: tuple[Array, ...]) -> Scalars:
    return outputs[0][-1] if len(outputs) == 1 else tuple(output[-1] for output in outputs)
