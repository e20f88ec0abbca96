"""The encoder as torch sees it while an adapter is trained.

The base weights are frozen. What learns: a low-rank change to every linear layer (Hu et al.,
LoRA, 2021), the rows of the two marks, and the classifier on the mean of the token vectors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.sentiment.encoder.base_model import EPSILON, HEADS, WIDTH, Encoder, Layer, Linear, Norm
from engine.sentiment.encoder.tokens import MARKS

CLASSES = 3


class LowRankLinear(nn.Module):
    """A frozen linear layer with a change of low rank.

    Parameters
    ----------
    base
        The frozen part.
    rank
        Of the change.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, base: Linear, rank: int) -> None:
        super().__init__()
        inputs, outputs = base.weight.shape
        self.register_buffer("weight", torch.from_numpy(base.weight.T.copy()), persistent=False)
        self.register_buffer("bias", torch.from_numpy(base.bias.copy()), persistent=False)
        self.down = nn.Parameter(torch.randn(rank, inputs) / math.sqrt(inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Apply both."""
        change = functional.linear(functional.linear(x, self.down), self.up)
        return functional.linear(x, self.weight, self.bias) + change


class Dropout(nn.Module):
    """Leaves out a share of the values, drawn from a generator of the caller's.

    torch's own draws from one generator of the whole process, in whatever order threads come.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor, draw: torch.Generator | None) -> Tensor:
        """Leave values out; none without a generator."""
        if draw is None or not self.share:
            return x
        kept = torch.empty_like(x).bernoulli_(1.0 - self.share, generator=draw)
        return x * kept.div_(1.0 - self.share)


class FrozenNorm(nn.Module):
    """Layer normalisation that does not learn."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.register_buffer("scale", torch.from_numpy(norm.scale.copy()), persistent=False)
        self.register_buffer("shift", torch.from_numpy(norm.shift.copy()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        return functional.layer_norm(x, (WIDTH,), self.scale, self.shift, EPSILON)


class Block(nn.Module):
    """One layer of the encoder."""

    def __init__(self, layer: Layer, rank: int, dropout: float) -> None:
        super().__init__()
        self.query_key_value = LowRankLinear(layer.query_key_value, rank)
        self.attended = LowRankLinear(layer.attended, rank)
        self.attention_norm = FrozenNorm(layer.attention_norm)
        self.widen = LowRankLinear(layer.widen, rank)
        self.narrow = LowRankLinear(layer.narrow, rank)
        self.output_norm = FrozenNorm(layer.output_norm)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor, draw: torch.Generator | None) -> Tensor:
        """Attend, then transform."""
        texts, length, _ = x.shape
        parts = self.query_key_value(x).view(texts, length, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        seen = seen.transpose(1, 2).reshape(texts, length, WIDTH)
        x = self.attention_norm(x + self.dropout(self.attended(seen), draw))
        inner = self.narrow(functional.gelu(self.widen(x)))
        result: Tensor = self.output_norm(x + self.dropout(inner, draw))
        return result


class AdaptedEncoder(nn.Module):
    """The encoder with its adapter and classifier.

    Parameters
    ----------
    base
        The frozen weights.
    rank
        Of every change.
    dropout
        While it learns, in [0, 1).
    """

    words: Tensor
    positions: Tensor

    def __init__(self, base: Encoder, rank: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("words", torch.from_numpy(base.words), persistent=False)
        self.register_buffer("positions", torch.from_numpy(base.positions), persistent=False)
        self.marks = nn.Parameter(torch.from_numpy(base.words).std() * torch.randn(MARKS, WIDTH))
        self.norm = FrozenNorm(base.norm)
        self.blocks = nn.ModuleList(Block(layer, rank, dropout) for layer in base.layers)
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(
        self, numbers: Tensor, lengths: Tensor, draw: torch.Generator | None = None
    ) -> Tensor:
        """Return logits, one row of three for each text.

        Parameters
        ----------
        numbers
            Token numbers, texts by longest length; what is behind a text's end is 0.
        lengths
            Tokens of each text.
        draw
            Source of the dropout while it learns; None for none.
        """
        return self.head(self.dropout(self.embed(numbers, lengths, draw), draw))  # type: ignore[no-any-return]

    def embed(
        self, numbers: Tensor, lengths: Tensor, draw: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean token vector of each text."""
        there = torch.arange(numbers.shape[1], device=numbers.device) < lengths[:, None]
        base = len(self.words)
        words = functional.embedding(numbers.clamp(max=base - 1), self.words)
        marks = functional.embedding((numbers - base).clamp(min=0), self.marks)
        # Two look-ups: one in a joined table would make a gradient for thirty thousand rows.
        words = torch.where((numbers >= base)[..., None], marks, words)
        x = self.dropout(self.norm(words + self.positions[: numbers.shape[1]]), draw)
        mask = torch.zeros(there.shape, device=x.device).masked_fill_(~there, -math.inf)
        for block in self.blocks:
            x = block(x, mask[:, None, None, :], draw)
        mean: Tensor = (x * there[..., None]).sum(1) / lengths[:, None]
        return mean
