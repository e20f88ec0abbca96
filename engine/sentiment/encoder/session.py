"""The encoder ready to run: tokens in, logits out, on as many cores as there are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from engine.machine import affinity_cores
from engine.sentiment.encoder.adapter import Adapter
from engine.sentiment.encoder.base_model import Encoder, Linear
from engine.sentiment.encoder.graph import encoder_graph
from engine.sentiment.encoder.tokens import Tokens

Logits = tuple[float, float, float]
"""Of bearish, neutral and bullish, divided by the temperature."""


def cores() -> int:
    """Return how many texts are read at once: ``OMP_NUM_THREADS``, else the cores we may use.

    Ray sets the variable in its workers to the CPUs that they were given.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(told)) if told.isdecimal() else affinity_cores()


class EncoderSession:
    """A merged encoder in onnxruntime.

    Each text runs by itself on one core, several side by side. So a text's logits are the same
    bits in any company, and there is no padding to compute.

    Parameters
    ----------
    base
        The base encoder.
    adapter
        What training changed.
    quantised
        8-bit arithmetic, else single precision.
    threads
        Texts read at once; `cores` by default.
    """

    def __init__(
        self, base: Encoder, adapter: Adapter, *, quantised: bool = True, threads: int | None = None
    ) -> None:
        import onnxruntime  # noqa: PLC0415  (only who runs the model has it)

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        head = Linear(
            adapter.head.weight / np.float32(adapter.temperature),
            adapter.head.bias / np.float32(adapter.temperature),
        )
        graph = encoder_graph(adapter.merged(base), head, quantised=quantised)
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
        self._threads = threads or cores()
        self._pool: ThreadPoolExecutor | None = None

    def logits(self, texts: Sequence[Tokens]) -> list[Logits]:
        """Return the logits of texts.

        Parameters
        ----------
        texts
            In tokens, in any order: long ones are begun first, so that no core waits for one.
        """
        if len(texts) < 2 or self._threads < 2:
            return [self._one(each) for each in texts]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "minilm")
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place].numbers))
        found = self._pool.map(self._one, [texts[place] for place in order])
        placed = dict(zip(order, found, strict=True))
        return [placed[place] for place in range(len(texts))]

    def _one(self, text: Tokens) -> Logits:
        numbers: npt.NDArray[np.int64] = np.array([text.numbers], dtype=np.int64)
        (logits,) = self._session.run(["logits"], {"numbers": numbers})
        bearish, neutral, bullish = (float(one) for one in logits[0])
        return bearish, neutral, bullish
