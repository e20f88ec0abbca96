"""Batches for a GPU whose shape follows from each text's own length alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

BUCKETS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Lengths, in tokens, to which texts are padded; beyond, multiples of the last."""


class PaddedBatch(NamedTuple):
    """Some texts of similar length."""

    places: tuple[int, ...]
    """Which texts, by their place; at least one, at most `rows`."""
    rows: int
    """Rows of the batch: the same for all batches of its length."""
    length: int
    """Tokens of each row, padding included."""


def bucket_of(tokens: int) -> int:
    """Return the length to which a text of so many tokens is padded.

    Examples
    --------
    >>> bucket_of(1), bucket_of(24), bucket_of(25), bucket_of(513)
    (16, 24, 32, 1024)
    """
    for bucket in BUCKETS:
        if tokens <= bucket:
            return bucket
    return -(-tokens // BUCKETS[-1]) * BUCKETS[-1]


def padded_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[PaddedBatch]:
    """Yield batches, the shortest texts first, in order within a length.

    Parameters
    ----------
    lengths
        Tokens of each text.
    batch_tokens
        Tokens of a batch at most, padding included; one text at least.
    """
    by_bucket: dict[int, list[int]] = {}
    for place, tokens in enumerate(lengths):
        by_bucket.setdefault(bucket_of(tokens), []).append(place)
    for bucket in sorted(by_bucket):
        places = by_bucket[bucket]
        rows = max(1, batch_tokens // bucket)
        for first in range(0, len(places), rows):
            yield PaddedBatch(tuple(places[first : first + rows]), rows, bucket)
