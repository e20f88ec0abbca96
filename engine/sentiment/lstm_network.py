"""A small bidirectional LSTM, in torch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

PADDING, UNKNOWN = 0, 1
"""Numbers of what fills a row up, and of a word that was not learnt."""
FIRST_WORD = 2


class Sizes(NamedTuple):
    """Of the network."""

    words: int
    """Of the vocabulary, the two numbers without a word included."""
    width: int = 64
    """Of a word's vector."""
    hidden: int = 64
    """Of the state, each way."""


class LstmNetwork(nn.Module):
    """Word vectors, an LSTM each way, mean and maximum over the words, three logits.

    Parameters
    ----------
    sizes
        Of its parts.
    dropout
        Share of the numbers that training leaves out.
    """

    def __init__(self, sizes: Sizes, dropout: float = 0.4) -> None:
        super().__init__()
        self.vectors = nn.Embedding(sizes.words, sizes.width, padding_idx=PADDING)
        self.states = nn.LSTM(sizes.width, sizes.hidden, batch_first=True, bidirectional=True)
        self.head = nn.Linear(4 * sizes.hidden, 3)
        self.dropout = nn.Dropout(dropout)

    def forward(self, numbers: Tensor, lengths: Tensor) -> Tensor:
        """Return logits.

        Parameters
        ----------
        numbers
            Texts x words.
        lengths
            Words of each text, at least 1, on the CPU.
        """
        packed = nn.utils.rnn.pack_padded_sequence(
            self.dropout(self.vectors(numbers)), lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = nn.utils.rnn.pad_packed_sequence(self.states(packed)[0], batch_first=True)
        mask = (numbers != PADDING)[:, : states.shape[1], None]
        mean = (states * mask).sum(dim=1) / mask.sum(dim=1)
        most = states.masked_fill(~mask, float("-inf")).max(dim=1).values
        logits: Tensor = self.head(self.dropout(torch.cat([mean, most], dim=1)))
        return logits
