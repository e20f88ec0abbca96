"""A tiny encoder and its tokenizer, for tests that need no real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as Words
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from engine.sentiment.encoder.adapter import PARTS, Adapter
from engine.sentiment.encoder.base_model import INNER, WIDTH, Encoder, Layer, Linear, Norm
from engine.sentiment.encoder.tokens import MARKS

_WORDS = (
    "[PAD] [UNK] [CLS] [SEP] bitcoin ether solana up down flat rally crash moon rug news says "
    "today the a market is holders funds wins loses gains falls meeting held report price"
)
VOCABULARY = tuple(_WORDS.split())

CHANGES = {
    "query_key_value": (WIDTH, 3 * WIDTH),
    "attended": (WIDTH, WIDTH),
    "widen": (WIDTH, INNER),
    "narrow": (INNER, WIDTH),
}


def tokenizer_at(folder: Path) -> Path:
    """Write a tokenizer of whole words, and return where."""
    words = Words(WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = Lowercase(), Whitespace()
    words.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    path = folder / "tokenizer.json"
    words.save(str(path))
    return path


def encoder(layers: int = 1, seed: int = 1) -> Encoder:
    """Return an encoder of the real width, with random weights."""
    draw = np.random.default_rng(seed)

    def drawn(*shape: int) -> np.ndarray:
        return (draw.standard_normal(shape) * 0.05).astype(np.float32)

    def linear(inputs: int, outputs: int) -> Linear:
        return Linear(drawn(inputs, outputs), drawn(outputs))

    def norm() -> Norm:
        return Norm(1.0 + drawn(WIDTH), drawn(WIDTH))

    found = tuple(
        Layer(
            linear(WIDTH, 3 * WIDTH), linear(WIDTH, WIDTH), norm(),
            linear(WIDTH, INNER), linear(INNER, WIDTH), norm(),
        )
        for _ in range(layers)
    )  # fmt: skip
    return Encoder(drawn(len(VOCABULARY), WIDTH), drawn(512, WIDTH), norm(), found)


def adapter(layers: int = 1, rank: int = 4, seed: int = 2) -> Adapter:
    """Return an adapter with random changes."""
    draw = np.random.default_rng(seed)

    def drawn(*shape: int) -> np.ndarray:
        return (draw.standard_normal(shape) * 0.1).astype(np.float32)

    changes = {}
    for number in range(layers):
        for part in PARTS:
            inputs, outputs = CHANGES[part]
            changes[f"{number}.{part}.down"] = drawn(rank, inputs)
            changes[f"{number}.{part}.up"] = drawn(outputs, rank)
    head = Linear(drawn(WIDTH, 3), drawn(3))
    return Adapter(changes, drawn(MARKS, WIDTH), head, 1.25, "test", {"why": "a test"}).rounded()
