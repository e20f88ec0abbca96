"""Formulas compiled into a list of steps that runs over arrays, or bar by bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from operator import itemgetter
from typing import Any

import numpy as np

from engine.indicators.base import MISSING, Array, Handle, Indicator
from engine.indicators.expression import Applied, Constant, Expression


@dataclass(frozen=True, slots=True)
class _Step:
    """One application of an indicator: which slots it reads, and which it fills."""

    indicator: Indicator
    reads: tuple[int, ...]
    fills: tuple[int, ...]


class Program:
    """Formulas, each shared part of them computed once.

    Parameters
    ----------
    inputs
        Names of the bar fields, in the order the bar-by-bar run takes them.
    formulas
        What to compute, in the order of the answer's columns.

    Raises
    ------
    ValueError
        Where a formula reads a field that is not among `inputs`.
    """

    def __init__(self, inputs: Sequence[str], formulas: Sequence[Expression]) -> None:
        self.inputs = tuple(inputs)
        self._slots: dict[str, int] = {name: slot for slot, name in enumerate(self.inputs)}
        self._constants: list[tuple[int, float]] = []
        self._size = len(self.inputs)
        self._steps: list[_Step] = []
        self._outputs = tuple(self._place(formula) for formula in formulas)

    def compute(self, inputs: Mapping[str, Array]) -> Array:
        """Run over arrays.

        Parameters
        ----------
        inputs
            Array per name, of one length n.

        Returns
        -------
        Array
            Shape (n, number of formulas); NaN where missing, never infinite.
        """
        slots = self._array_slots(inputs)
        for step in self._steps:
            outputs = step.indicator.compute(*(slots[slot] for slot in step.reads))
            for slot, output in zip(step.fills, outputs, strict=True):
                slots[slot] = output
        return self._table(slots)

    def open(self, inputs: Mapping[str, Array]) -> tuple[RunningProgram, Array]:
        """Run over arrays as `compute` does, and stay ready for the bars that follow.

        Parameters
        ----------
        inputs
            Array per name, of one length, at least one bar.
        """
        slots = self._array_slots(inputs)
        handles = []
        for step in self._steps:
            handle, outputs = step.indicator.open_stream(*(slots[slot] for slot in step.reads))
            handles.append((step.reads, step.fills, handle))
            for slot, output in zip(step.fills, outputs, strict=True):
                slots[slot] = output
        running = RunningProgram(len(self.inputs), self._scalar_slots(), handles, self._outputs)
        return running, self._table(slots)

    def _place(self, formula: Expression) -> int:
        """Slot of a formula's series, after the steps that fill it."""
        known = self._slots.get(formula.text)
        if known is not None:
            return known
        if isinstance(formula, Constant):
            slot = self._take_slot(formula.text)
            self._constants.append((slot, formula.value))
            return slot
        if isinstance(formula, Applied):
            return self._place_applied(formula)
        raise ValueError(f"formula input {formula.text!r} is none of: {', '.join(self.inputs)}")

    def _place_applied(self, formula: Applied) -> int:
        reads = tuple(self._place(operand) for operand in formula.operands)
        several = len(formula.indicator.outputs) > 1
        fills = tuple(
            self._take_slot(f"{formula.call}.{name}" if several else formula.call)
            for name in formula.indicator.outputs
        )
        self._steps.append(_Step(formula.indicator, reads, fills))
        return fills[formula.output]

    def _take_slot(self, text: str) -> int:
        self._slots[text] = self._size
        self._size += 1
        return self._slots[text]

    def _array_slots(self, inputs: Mapping[str, Array]) -> list[Array]:
        empty = np.empty(0)
        slots = [np.ascontiguousarray(inputs[name], dtype=np.float64) for name in self.inputs]
        slots.extend([empty] * (self._size - len(slots)))
        length = len(slots[0])
        for slot, value in self._constants:
            slots[slot] = np.full(length, value)
        return slots

    def _scalar_slots(self) -> list[float]:
        slots = [MISSING] * self._size
        for slot, value in self._constants:
            slots[slot] = value
        return slots

    def _table(self, slots: list[Array]) -> Array:
        table = np.empty((len(slots[0]), len(self._outputs)))
        for column, slot in enumerate(self._outputs):
            table[:, column] = slots[slot]
        table[~np.isfinite(table)] = MISSING
        return table


_Run = Callable[[list[float]], None]


class RunningProgram:
    """A program that stands at a bar and takes the next ones. Made by `Program.open`."""

    def __init__(
        self,
        inputs: int,
        slots: list[float],
        handles: Sequence[tuple[tuple[int, ...], tuple[int, ...], Handle]],
        outputs: tuple[int, ...],
    ) -> None:
        self._inputs = inputs
        self._slots = slots
        self._updates = [_bound(handle.update, reads, fills) for reads, fills, handle in handles]
        self._peeks = [_bound(handle.peek, reads, fills) for reads, fills, handle in handles]
        self._outputs = itemgetter(*outputs, outputs[0])  # always a tuple; the last is dropped

    def update(self, bar: Sequence[float]) -> tuple[float, ...]:
        """Take a closed bar (one value per input, in order) and answer every formula at it."""
        return self._run(self._updates, bar)

    def peek(self, bar: Sequence[float]) -> tuple[float, ...]:
        """Answer what `update` would; change nothing."""
        return self._run(self._peeks, bar)

    def _run(self, steps: list[_Run], bar: Sequence[float]) -> tuple[float, ...]:
        slots = self._slots
        slots[: self._inputs] = bar
        for step in steps:
            step(slots)
        values = self._outputs(slots)[:-1]
        return tuple([float(value) if isfinite(value) else MISSING for value in values])


def _bound(function: Callable[..., Any], reads: tuple[int, ...], fills: tuple[int, ...]) -> _Run:
    """Tie a handle's method to the slots it reads and fills, by the shortest path."""
    if len(fills) > 1:
        return _bound_several(function, reads, fills)
    fill = fills[0]
    if len(reads) == 1:
        read = reads[0]

        def run(slots: list[float]) -> None:
            slots[fill] = function(slots[read])

        return run
    pick = itemgetter(*reads)

    def run_picked(slots: list[float]) -> None:
        slots[fill] = function(*pick(slots))

    return run_picked


def _bound_several(
    function: Callable[..., Any], reads: tuple[int, ...], fills: tuple[int, ...]
) -> _Run:
    def run(slots: list[float]) -> None:
        outputs = function(*[slots[read] for read in reads])
        for fill, output in zip(fills, outputs, strict=True):
            slots[fill] = output

    return run
