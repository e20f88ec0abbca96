"""The contract of an indicator: one definition, run over arrays or bar by bar, equal bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
"""One value per bar, oldest first."""

Scalars = float | tuple[float, ...]
"""A bare number from an indicator of one output, a tuple in output order from one of several."""

MISSING = float("nan")
"""A value that is not known: not yet warm, or an input of it is missing."""


class Handle(Protocol):
    """An indicator carried forward bar by bar."""

    def update(self, *values: float) -> Scalars:
        """Take one closed bar, one value per input, and answer the outputs at that bar."""
        ...

    def peek(self, *values: float) -> Scalars:
        """Answer what `update` would, and change nothing.

        It must never move the state: a forming bar is previewed as often as it is revised.
        """
        ...


class Indicator(Protocol):
    """Something computed from series of bars, causally.

    The laws every indicator keeps, tested by enumeration:

    * the value at a bar depends on that bar and earlier ones only;
    * a bar where any input is not finite gives a missing value, and is left out of the
      history of those that follow: windows count the bars that are there;
    * `open_stream` over a history and `update` after it give, bit for bit, what `compute`
      gives over all of it.
    """

    @property
    def name(self) -> str:
        """Name, as formulas show it."""
        ...

    @property
    def parameters(self) -> Mapping[str, float]:
        """Parameters by name."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        ...

    @property
    def warm_up(self) -> int:
        """Bars before the first value: the index of the first bar that has one."""
        ...

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value of any output; infinite where there is no bound."""
        ...

    def compute(self, *inputs: Array) -> tuple[Array, ...]:
        """Compute every output over arrays of one length.

        Parameters
        ----------
        *inputs
            One array per input, in the order the indicator names them.

        Returns
        -------
        tuple of Array
            One array per output, as long as the inputs, NaN where missing.
        """
        ...

    def open_stream(self, *inputs: Array) -> tuple[Handle, tuple[Array, ...]]:
        """Compute as `compute` does, and return a handle that stands at the last bar."""
        ...
