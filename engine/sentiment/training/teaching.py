"""Learning from other adapters: one that begins as their mean, and one that hears what they say.

Both make one adapter nearly as good as several together at the cost of one: means of parameters
after Wortsman et al., Model soups (2022), the teachers after Hinton et al., Distilling the
knowledge in a neural network (2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError
from engine.sentiment.calibration.fitting import logarithms
from engine.sentiment.encoder.adapter import Adapter
from engine.sentiment.encoder.base_model import Array, Encoder, Linear
from engine.sentiment.encoder.session import EncoderSession
from engine.sentiment.encoder.tokens import Tokenizer
from engine.sentiment.probabilities import softmax


def mean_adapter(adapters: Sequence[Adapter]) -> Adapter:
    """Return the mean of adapters that all began with the same one; of others it means nothing.

    Parameters
    ----------
    adapters
        At least one; version, temperature and notes are those of the first.

    Raises
    ------
    ConfigError
        Where their ranks differ.
    """
    first = adapters[0]
    return replace(
        first,
        changes={name: _mean([each.changes[name] for each in adapters]) for name in first.changes},
        marks=_mean([each.marks for each in adapters]),
        head=Linear(
            _mean([each.head.weight for each in adapters]),
            _mean([each.head.bias for each in adapters]),
        ),
    )


def _mean(parts: Sequence[Array]) -> Array:
    if len({each.shape for each in parts}) > 1:
        raise ConfigError("init names adapters of different ranks: name those of one rank")
    found: Array = np.mean(parts, axis=0).astype(np.float32)
    return found


def opinions_of(
    teachers: Sequence[Adapter], base: Encoder, tokenizer: Tokenizer, texts: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Return what teachers say of texts together: texts x (bearish, neutral, bullish).

    Parameters
    ----------
    teachers
        At least one. Their geometric mean counts: who is unsure of a label lowers it for all.
    base, tokenizer
        The base model.
    texts
        Marked or not.
    """
    tokens = tokenizer(texts)
    said = [
        logarithms(np.array([softmax(one) for one in EncoderSession(base, each).logits(tokens)]))
        for each in teachers
    ]
    together = np.mean(said, axis=0)
    return np.array([softmax(row) for row in together.tolist()], dtype=np.float32)
