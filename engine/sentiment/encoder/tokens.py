"""Texts to token numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from engine.sentiment.encoder.base_model import tokenizer_file
from engine.sentiment.encoder.wording import OTHER, TARGET, plain

MAX_TOKENS = 128
"""The encoder was trained on no longer texts; a headline has 20, a post 30."""

MARKS = 2
"""Tokens beyond the base vocabulary: the target's and the other instruments' mark."""


class Tokens(NamedTuple):
    """A text in tokens."""

    numbers: tuple[int, ...]
    """Rows of the encoder's word table, at least 2 (start and end), at most `MAX_TOKENS`."""
    truncated: bool
    """The text went on."""


class Tokenizer:
    """Cuts texts into the base model's word pieces.

    Parameters
    ----------
    path
        The tokenizer's file; that of the installed base model by default.
    """

    def __init__(self, path: Path | None = None) -> None:
        from tokenizers import AddedToken  # noqa: PLC0415  (only who runs the model has it)
        from tokenizers import Tokenizer as WordPieces  # noqa: PLC0415

        self._pieces = WordPieces.from_file(str(path or tokenizer_file()))
        self._pieces.no_padding()
        self._pieces.enable_truncation(MAX_TOKENS)
        self.base_words = self._pieces.get_vocab_size()
        self.unknown: int = self._pieces.get_vocab()["[UNK]"]
        self._pieces.add_special_tokens(
            [AddedToken(mark, normalized=False) for mark in (TARGET, OTHER)]
        )

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """Cut texts, marked or not.

        Parameters
        ----------
        texts
            As written, or as `wording.marked` gives them.
        """
        found = self._pieces.encode_batch_fast([plain(text) for text in texts])
        return [Tokens(tuple(one.ids), bool(one.overflowing)) for one in found]
