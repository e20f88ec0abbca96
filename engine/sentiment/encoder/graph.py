"""The merged encoder as an ONNX graph, in 8-bit integers or in single precision.

The graph reads one text: tokens in, three logits out. A reading cannot depend on what else was
asked at the time, and no token is padding. Activations have a scale for each token (measured: with
one scale for a text, the few large values of BERT's separators cost the other tokens twice the
error), weights one for each output, and seven bits: on processors without VNNI, sums of two 8-bit
products would overflow 16 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.sentiment.encoder.base_model import EPSILON, HEADS, Array, Encoder, Linear, Norm

OPSET, IR_VERSION = 17, 8
MICROSOFT = "com.microsoft"
"""onnxruntime's own operators: fused, and with integer arithmetic."""

WEIGHT_LIMIT = 63
"""Largest weight in integers."""

LEAST_GELU = -0.17
"""No value behind the activation function is below."""

TINY = 1e-12
"""Keeps the step of a row of zeros above 0."""


class _Builder:
    """Collects nodes and constants under running names."""

    def __init__(self, quantised: bool) -> None:
        self.quantised = quantised
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: npt.NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(
        self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **about: Any
    ) -> Any:
        names = [f"n{len(self.nodes)}.{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, **about))
        return names[0] if outputs == 1 else names

    def linear(self, x: str, linear: Linear, least: float | None = None) -> str:
        """Apply a layer; `least` is a value that no input is below, where there is one."""
        if not self.quantised:
            product = self.node("MatMul", x, self.constant(linear.weight))
            return str(self.node("Add", product, self.constant(linear.bias)))
        by_output = np.abs(linear.weight).max(axis=0) / WEIGHT_LIMIT
        by_output = np.where(by_output > 0.0, by_output, 1.0).astype(np.float32)
        whole = np.rint(linear.weight / by_output).astype(np.int8)
        if least is None:
            most = self.node("ReduceMax", self.node("Abs", x), axes=[2], keepdims=1)
            by_row, zero, bias = self._step(most, 127.0), 128, linear.bias
            scaled = self.number("Add", self.node("Round", self.node("Div", x, by_row)), 128.0)
        else:
            # All 255 steps lie above the least value; what it adds to each output is known.
            above = self.number("Sub", x, least)
            most = self.node("ReduceMax", above, axes=[2], keepdims=1)
            by_row, zero = self._step(most, 255.0), 0
            bias = linear.bias + least * whole.sum(axis=0, dtype=np.int64) * by_output
            scaled = self.node("Round", self.node("Div", above, by_row))
        bytes_of = self.node("Cast", scaled, to=TensorProto.UINT8)
        zeros = (self.constant(np.array(zero, np.uint8)), self.constant(np.array(0, np.int8)))
        sums = self.node("MatMulInteger", bytes_of, self.constant(whole), *zeros)
        product = self.node("Mul", self.node("Cast", sums, to=TensorProto.FLOAT), by_row)
        product = self.node("Mul", product, self.constant(by_output))
        return str(self.node("Add", product, self.constant(bias.astype(np.float32))))

    def _step(self, most: str, steps: float) -> str:
        return self.number("Add", self.number("Mul", most, 1.0 / steps), TINY)

    def number(self, kind: str, x: str, value: float) -> str:
        return str(self.node(kind, x, self.constant(np.array(value, np.float32))))

    def added_norm(self, x: str, before: str, norm: Norm) -> str:
        parts = (self.constant(norm.scale), self.constant(norm.shift))
        return str(self.node("SkipLayerNormalization", x, before, *parts, domain=MICROSOFT,
                             epsilon=EPSILON))  # fmt: skip

    def rows(self, table: Array, numbers: str) -> str:
        if not self.quantised:
            return str(self.node("Gather", self.constant(table), numbers))
        scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-9) / 127.0
        whole = np.rint(table / scale).astype(np.int8)
        found = self.node("Gather", self.constant(whole), numbers)
        found = self.node("Cast", found, to=TensorProto.FLOAT)
        scales = self.node("Gather", self.constant(scale.astype(np.float32)), numbers)
        return str(self.node("Mul", found, scales))


def encoder_graph(encoder: Encoder, head: Linear, *, quantised: bool) -> bytes:
    """Return the model as onnxruntime loads it.

    Parameters
    ----------
    encoder
        With the adapter merged in.
    head
        The classifier, its temperature included.
    quantised
        8-bit weights and activations instead of single precision.

    Returns
    -------
    bytes
        Input ``numbers``: int64, one text by its tokens; output ``logits``: float, one by three.
        Equal weights give equal bytes.
    """
    graph = _Builder(quantised)
    words = graph.rows(encoder.words, "numbers")
    length = graph.node("Shape", "numbers", start=1, end=2)
    zero = graph.constant(np.zeros(1, np.int64))
    places = graph.node("Slice", graph.constant(encoder.positions), zero, length, zero)
    scale, shift = graph.constant(encoder.norm.scale), graph.constant(encoder.norm.shift)
    x = graph.node("LayerNormalization", graph.node("Add", words, places), scale, shift,
                   epsilon=EPSILON)  # fmt: skip
    for layer in encoder.layers:
        joint = graph.linear(x, layer.query_key_value)
        parts = graph.node("Split", joint, outputs=3, axis=2)
        seen = graph.node("MultiHeadAttention", *parts, domain=MICROSOFT, num_heads=HEADS)
        x = graph.added_norm(graph.linear(seen, layer.attended), x, layer.attention_norm)
        wide = graph.node("Gelu", graph.linear(x, layer.widen), domain=MICROSOFT)
        x = graph.added_norm(graph.linear(wide, layer.narrow, LEAST_GELU), x, layer.output_norm)
    mean = graph.node("ReduceMean", x, axes=[1], keepdims=0)
    product = graph.node("MatMul", mean, graph.constant(head.weight))
    logits = graph.node("Add", product, graph.constant(head.bias))
    graph.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
    return _serialised(graph)


def _serialised(graph: _Builder) -> bytes:
    numbers = helper.make_tensor_value_info("numbers", TensorProto.INT64, [1, "tokens"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])
    whole = helper.make_graph(graph.nodes, "minilm", [numbers], [logits], graph.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(whole, opset_imports=opsets, ir_version=IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))
