"""Laws of every indicator, over all of TA-Lib's functions that take this catalogue's inputs."""

import math

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st
from talib import abstract

from engine.indicators import elementwise
from engine.indicators.base import Indicator
from engine.indicators.expression import Input, clip, log, select, sqrt, ta, ta_outputs
from engine.indicators.program import Program
from engine.indicators.talib_function import (
    CANDLESTICK_PATTERNS,
    TalibFunction,
    WarmingHandle,
    display_name,
)

TREND = ["ADX", "EMA", "ER", "LINEARREG_SLOPE", "MACD", "MINUS_DI", "PLUS_DI", "VAR", "AROONOSC"]
MOMENTUM = ["RSI", "STOCH", "CCI", "ROCP", "ROCR", "MOM", "MAX", "MIN", "SUM", "PERCENTILE"]
OTHER = ["ATR", "NATR", "BBANDS", "MFI", "OBV", "STDDEV", "CORREL", "SMA", "TYPPRICE", "KAMA"]
FUNCTIONS = [*TREND, *MOMENTUM, *OTHER, *CANDLESTICK_PATTERNS]
EACH = pytest.mark.parametrize("name", FUNCTIONS)


def series(name, count=140, seed=3):
    """Inputs of a TA-Lib function over a walk, in its order."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, count)))
    opened = close * np.exp(rng.normal(0, 0.01, count))
    arrays = {
        "open": opened,
        "high": np.maximum(opened, close) * 1.01,
        "low": np.minimum(opened, close) * 0.99,
        "close": close,
        "volume": rng.lognormal(3, 1, count),
    }
    names = abstract.Function(name).input_names.values()
    flat = [n for entry in names for n in ([entry] if isinstance(entry, str) else entry)]
    return tuple(arrays[n] for n in flat)


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def assert_stream_follows(function: Indicator, inputs, opened_at):
    expected = function.compute(*inputs)
    handle, head = function.open_stream(*(x[:opened_at] for x in inputs))
    rows = []
    for bar in zip(*(x[opened_at:].tolist() for x in inputs), strict=True):
        peeked = [handle.peek(*(v * 1.5 for v in bar)), handle.peek(*bar)][1]
        rows.append(as_tuple(handle.update(*bar)))
        np.testing.assert_array_equal(as_tuple(peeked), rows[-1])
    for output, (start, whole) in enumerate(zip(head, expected, strict=True)):
        np.testing.assert_array_equal(start, whole[:opened_at])
        np.testing.assert_array_equal([row[output] for row in rows], whole[opened_at:])


@EACH
@pytest.mark.parametrize("opened_at", [1, 2, 20, 90])
def test_stream_opened_anywhere_equals_compute(name, opened_at):
    assert_stream_follows(TalibFunction(name), series(name), opened_at)


@EACH
def test_stream_over_missing_bars_equals_compute_and_both_skip_them(name):
    inputs = [values.copy() for values in series(name)]
    for values, hole in zip(inputs, [0, 3, 50, 51, 100], strict=False):
        values[[hole, hole + 20]] = [np.nan, np.inf]
    function = TalibFunction(name)
    assert_stream_follows(function, tuple(inputs), 40)
    present = np.isfinite(inputs).all(axis=0)
    kept = function.compute(*(values[present] for values in inputs))
    for whole, without in zip(function.compute(*inputs), kept, strict=True):
        np.testing.assert_array_equal(whole[present], without)
        assert (np.isnan(whole[~present]) | (whole[~present] == 0)).all()


@EACH
def test_first_value_stands_at_the_warm_up_and_values_keep_the_bounds(name):
    function = TalibFunction(name)
    for output in function.compute(*series(name)):
        assert len(output) == 140
        if name not in CANDLESTICK_PATTERNS:
            assert int(np.flatnonzero(np.isfinite(output))[0]) == function.warm_up
        known = output[np.isfinite(output)]
        assert known.min() >= function.bounds[0] - 1e-9
        assert known.max() <= function.bounds[1] + 1e-9


def test_patterns_are_all_of_talibs():
    assert len(CANDLESTICK_PATTERNS) == 61
    assert display_name("CDLDOJI") == "Doji"


def test_doji_after_long_bodies_is_found():
    body = np.full(12, 10.0)
    opened, close = body.copy(), body + 2
    close[-1] = 10.0
    (found,) = TalibFunction("CDLDOJI").compute(opened, close + 1, opened - 1, close)
    assert found.tolist() == [0] * 11 + [100]


def test_handle_before_its_warm_up_gives_way_to_talibs_own():
    handle, _ = TalibFunction("SMA", {"timeperiod": 3}).open_stream(np.array([1.0]))
    assert isinstance(handle, WarmingHandle)
    assert [math.isnan(handle.update(2.0)), handle.peek(9.0)] == [True, 4.0]
    assert [handle.update(6.0), handle.update(4.0), handle.peek(5.0)] == [3.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [("NOPE", {}, "no function 'NOPE'"), ("RSI", {"period": 3}, "'period'; it has: timeperiod")],
)
def test_unknown_function_or_parameter_raises(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        TalibFunction(name, parameters)


OPERATIONS = {
    "ADD": 2, "SUBTRACT": 2, "MULTIPLY": 2, "DIVIDE": 2, "LOG": 1, "SQRT": 1, "ABSOLUTE": 1,
    "SELECT": 3, "CLIP": 3,
}  # fmt: skip
any_float = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 1.0, float("nan"), float("inf")]))


@pytest.mark.parametrize("name", OPERATIONS)
@given(rows=st.lists(st.tuples(any_float, any_float, any_float), min_size=1, max_size=20))
def test_arithmetic_over_arrays_and_bar_by_bar_gives_equal_bits(name, rows):
    operation = getattr(elementwise, name)
    operands = [tuple(row[: OPERATIONS[name]]) for row in rows]
    (over_arrays,) = operation.compute(*np.array(operands).T.copy())
    handle, _ = operation.open_stream(*np.array(operands).T.copy())
    one_by_one = np.array([handle.update(*row) for row in operands])
    np.testing.assert_array_equal(one_by_one, over_arrays)
    known = ~np.isnan(over_arrays)
    assert (np.signbit(one_by_one) == np.signbit(over_arrays))[known].all()


def test_division_by_zero_log_of_zero_and_root_below_zero_are_missing():
    x = Input("x")
    program = Program(["x"], [x / (x - x), log(x - x), sqrt(x - 9.0), select(x - x, 1.0, 2.0)])
    (row,) = program.compute({"x": np.array([4.0])})
    assert np.isnan(row[:3]).all()
    assert row[3] == 2.0


def test_program_computes_a_shared_part_once_and_names_an_unknown_input():
    x = Input("x")
    line, signal, _ = ta_outputs("MACD", x)
    program = Program(["x"], [line - signal, line / signal, clip(ta("SMA", x), 0, 1)])
    assert len(program._steps) == 5
    with pytest.raises(ValueError, match="'y' is none of: x"):
        Program(["x"], [Input("y") + 1.0])


def test_expression_text_warm_up_and_inputs_follow_the_formula():
    formula = ta("SMA", log(Input("a") / Input("b")), timeperiod=5) * 2.0
    assert formula.text == "(SMA(log((a / b)), timeperiod=5) * 2)"
    assert (formula.warm_up, formula.inputs) == (4, frozenset({"a", "b"}))
    assert talib.__version__.startswith("0.8")
