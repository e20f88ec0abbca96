"""Formulas over bars, written with operators, that both runs read.

A formula is a small graph of inputs, constants and indicators. It is its own documentation:
`text` is canonical, so equal formulas are computed once and a change of one is seen.

Examples
--------
>>> close = Input("close")
>>> distance = close / ta("EMA", close, timeperiod=20) - 1.0
>>> distance.text
'((close / EMA(close, timeperiod=20)) - 1)'
>>> distance.warm_up
19
"""

from __future__ import annotations

from engine.indicators.base import Indicator
from engine.indicators.elementwise import (
    ABSOLUTE,
    ADD,
    CLIP,
    DIVIDE,
    LOG,
    MULTIPLY,
    SELECT,
    SQRT,
    SUBTRACT,
)
from engine.indicators.talib_function import TalibFunction


class Expression:
    """A series defined by a formula.

    Attributes
    ----------
    text : str
        Canonical formula: equal texts are equal series.
    warm_up : int
        Index of the first bar that has a value where no input is missing.
    inputs : frozenset of str
        Names of the bar fields it reads.
    """

    __slots__ = ("inputs", "text", "warm_up")

    def __init__(self, text: str, warm_up: int, inputs: frozenset[str]) -> None:
        self.text = text
        self.warm_up = warm_up
        self.inputs = inputs

    def __repr__(self) -> str:
        return self.text

    def __add__(self, other: Operand) -> Expression:
        return _infix("+", ADD, self, other)

    def __sub__(self, other: Operand) -> Expression:
        return _infix("-", SUBTRACT, self, other)

    def __mul__(self, other: Operand) -> Expression:
        return _infix("*", MULTIPLY, self, other)

    def __truediv__(self, other: Operand) -> Expression:
        return _infix("/", DIVIDE, self, other)


Operand = Expression | float


class Input(Expression):
    """A field of the bar, by name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__(name, 0, frozenset({name}))
        self.name = name


class Constant(Expression):
    """A number."""

    __slots__ = ("value",)

    def __init__(self, value: float) -> None:
        super().__init__(f"{value:.17g}", 0, frozenset())
        self.value = value


class Applied(Expression):
    """One output of an indicator applied to other series."""

    __slots__ = ("call", "indicator", "operands", "output")

    def __init__(
        self, indicator: Indicator, operands: tuple[Expression, ...], output: int, call: str
    ) -> None:
        several = len(indicator.outputs) > 1
        super().__init__(
            f"{call}.{indicator.outputs[output]}" if several else call,
            indicator.warm_up + max(operand.warm_up for operand in operands),
            frozenset().union(*(operand.inputs for operand in operands)),
        )
        self.call = call
        """Canonical text of the application, which all its outputs share."""
        self.indicator = indicator
        self.operands = operands
        self.output = output


def outputs_of(indicator: Indicator, *operands: Operand) -> tuple[Expression, ...]:
    """Apply an indicator; one series per output."""
    series = tuple(_expression(operand) for operand in operands)
    parameters = [f"{key}={value:g}" for key, value in indicator.parameters.items()]
    call = f"{indicator.name}({', '.join([o.text for o in series] + parameters)})"
    return tuple(Applied(indicator, series, index, call) for index in range(len(indicator.outputs)))


def ta(function: str, *operands: Operand, **parameters: float) -> Expression:
    """Apply a TA-Lib function of one output: ``ta("RSI", close, timeperiod=14)``."""
    (output,) = outputs_of(TalibFunction(function, parameters), *operands)
    return output


def ta_outputs(function: str, *operands: Operand, **parameters: float) -> tuple[Expression, ...]:
    """Apply a TA-Lib function of several outputs, in TA-Lib's order."""
    return outputs_of(TalibFunction(function, parameters), *operands)


def log(operand: Expression) -> Expression:
    """Natural logarithm; missing where the operand is not above zero."""
    return outputs_of(LOG, operand)[0]


def sqrt(operand: Expression) -> Expression:
    """Square root; missing where the operand is below zero."""
    return outputs_of(SQRT, operand)[0]


def absolute(operand: Expression) -> Expression:
    """Distance from zero."""
    return outputs_of(ABSOLUTE, operand)[0]


def clip(operand: Expression, low: float, high: float) -> Expression:
    """Hold a series within ``[low, high]``."""
    return outputs_of(CLIP, operand, low, high)[0]


def select(condition: Expression, chosen: Operand, otherwise: Operand) -> Expression:
    """Take `chosen` where `condition` is above zero, else `otherwise`; missing where it is."""
    return outputs_of(SELECT, condition, chosen, otherwise)[0]


def _expression(operand: Operand) -> Expression:
    return operand if isinstance(operand, Expression) else Constant(float(operand))


def _infix(sign: str, operation: Indicator, left: Operand, right: Operand) -> Expression:
    series = (_expression(left), _expression(right))
    return Applied(operation, series, 0, f"({series[0].text} {sign} {series[1].text})")
