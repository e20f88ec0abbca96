"""Examples as tensors: batches of texts of similar length."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.sentiment.base import LABELS
from engine.sentiment.encoder.tokens import Tokenizer
from engine.sentiment.training.examples import Example
from engine.sentiment.training.network import CLASSES, AdaptedEncoder

NEIGHBOURHOOD = 50
"""Batches whose texts are sorted by length together: little padding, yet well mixed."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts of similar length, as tensors."""

    numbers: Tensor
    lengths: Tensor
    labels: Tensor
    weights: Tensor
    opinions: Tensor | None
    """What teachers say of each text, where there are some."""


class Batches:
    """Examples in tokens, drawn in batches of similar length.

    Parameters
    ----------
    examples
        At least one.
    tokenizer
        That of the model.
    size
        Texts in a batch.
    opinions
        What teachers say of each example.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        tokenizer: Tokenizer,
        size: int,
        opinions: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self._numbers = [one.numbers for one in tokenizer([each.text for each in examples])]
        self._labels = np.array([LABELS.index(each.label) for each in examples])
        self._weights = np.array([each.weight for each in examples], dtype=np.float32)
        self._opinions = opinions
        self._size = size
        self._base_words, self._unknown = tokenizer.base_words, tokenizer.unknown

    @property
    def examples(self) -> int:
        """How many there are."""
        return len(self._numbers)

    def __len__(self) -> int:
        return math.ceil(len(self._numbers) / self._size)

    def drawn(self, seed: int) -> list[npt.NDArray[np.int64]]:
        """Return the batches of an epoch as indices, in random order."""
        draw = np.random.default_rng(seed)
        order = draw.permutation(len(self._numbers))
        near = self._size * NEIGHBOURHOOD
        chunks: list[npt.NDArray[np.int64]] = []
        for start in range(0, len(order), near):
            some = order[start : start + near]
            some = some[np.argsort([len(self._numbers[i]) for i in some], kind="stable")]
            chunks += [some[at : at + self._size] for at in range(0, len(some), self._size)]
        return [chunks[at] for at in draw.permutation(len(chunks))]

    def in_order(self) -> Iterator[tuple[npt.NDArray[np.int64], Batch]]:
        """Yield all batches by length, with where their texts stand among the examples."""
        order = np.argsort([len(one) for one in self._numbers], kind="stable")
        for start in range(0, len(order), 2 * self._size):
            places = order[start : start + 2 * self._size]
            yield places, self.batch(places)

    def batch(self, places: npt.NDArray[np.int64]) -> Batch:
        """Return the examples at some places as tensors."""
        rows = [self._numbers[place] for place in places]
        numbers = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
        for row, one in zip(numbers, rows, strict=True):
            row[: len(one)] = one
        return Batch(
            torch.from_numpy(numbers),
            torch.tensor([len(row) for row in rows]),
            torch.from_numpy(self._labels[places]),
            torch.from_numpy(self._weights[places]),
            None if self._opinions is None else torch.from_numpy(self._opinions[places]),
        )

    def hidden(self, batch: Batch, share: float, draw: torch.Generator) -> Tensor:
        """Return a batch's token numbers, a share of the words drawn to be unknown ones.

        Start, end and marks always stay.
        """
        drawn = torch.rand(batch.numbers.shape, generator=draw, device=draw.device).cpu() < share
        place = torch.arange(batch.numbers.shape[1])
        is_word = (place > 0) & (place < batch.lengths[:, None] - 1)
        is_word &= batch.numbers < self._base_words
        return torch.where(drawn & is_word, self._unknown, batch.numbers)


def logits_of(
    network: AdaptedEncoder, batches: Batches, device: str = "cpu"
) -> npt.NDArray[np.float64]:
    """Return the logits of all examples, in their order.

    Parameters
    ----------
    network
        With its parameters.
    batches
        The examples.
    device
        Where the network is.
    """
    logits = np.zeros((batches.examples, CLASSES))
    with torch.inference_mode():
        for places, batch in batches.in_order():
            found = network(batch.numbers.to(device), batch.lengths.to(device))
            logits[places] = found.double().cpu().numpy()
    return logits
