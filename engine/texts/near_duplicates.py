"""Which texts say again what was said before: a window over the texts as they come.

Two texts are near-duplicates where

- they speak of the same instruments and hold the same figures: ``BTC at $70,100`` is news after
  ``BTC at $69,800``, however alike the sentences are;
- at least `similarity` of the pairs of words of both together are in common (Jaccard): of a
  headline of fourteen words or fewer no word in the middle may differ, so that *rises* is not
  taken for *falls*;
- the earlier one became available at most `window` before.

A headline stands for its text: what follows it is often cut, or another editor's. Of headlines
and posts of fewer than `FEW_WORDS` words only equal ones with equal bodies of the same author (or,
without one, the same source) are near-duplicates: many people write ``$BTC to the moon`` without
copying it.

A text is compared with originals only, so that a chain of small changes does not drift away.
"""

from __future__ import annotations

import re
import zlib
from collections import OrderedDict
from dataclasses import dataclass

from engine.clock import NS_PER_S
from engine.domain.text import TextItem
from engine.texts.normalise import words
from engine.texts.sketch import Shingles, bands, jaccard, shingles, sketch

FEW_WORDS = 5
"""Shorter texts are alike by chance."""

MOST_CHARACTERS = 4_000
"""A text is compared by its first characters, as it is scored by them."""

_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class _Original:
    """A text that was said first."""

    available_at: int
    shingles: Shingles
    bands: tuple[int, ...]


class NearDuplicates:
    """Finds the text that another one repeats, among the latest.

    The same texts in the same order give the same answers, in any process. Memory is bounded by
    `capacity`; the originals that were added first leave first.

    Parameters
    ----------
    similarity
        Least Jaccard similarity of a near-duplicate, in (0, 1]. Below 0.5 the bands overlook some.
    window_ns
        How long after the original a text counts as its duplicate, nanoseconds.
    capacity
        Most originals held. One takes about 2.5 kB.
    """

    def __init__(
        self,
        similarity: float = 0.75,
        window_ns: int = 24 * 3_600 * NS_PER_S,
        capacity: int = 20_000,
    ) -> None:
        self._similarity = similarity
        self._window_ns = window_ns
        self._capacity = capacity
        self._originals: OrderedDict[str, _Original] = OrderedDict()
        self._bands: dict[int, list[str]] = {}

    def __len__(self) -> int:
        return len(self._originals)

    def original_of(self, item: TextItem) -> str:
        """Return the id of the text that `item` repeats, and remember `item` where it is new.

        Parameters
        ----------
        item
            In normal form. One that was given before repeats nothing.

        Returns
        -------
        str
            Of several, the most alike; of equally alike ones the first. Empty where it says
            something new.
        """
        read = _read(item)
        if read is None or item.text_id in self._originals:
            return ""
        found = self._most_alike(read)
        if not found:
            self._remember(item.text_id, read)
        return found

    def remember(self, item: TextItem) -> None:
        """Take in a text that is known to be original, as it was stored."""
        read = _read(item)
        if read is not None and item.text_id not in self._originals:
            self._remember(item.text_id, read)

    def _most_alike(self, read: _Original) -> str:
        candidates = {text_id for band in read.bands for text_id in self._bands.get(band, ())}
        best, found = (0.0, 0), ""
        for text_id in sorted(candidates):
            other = self._originals[text_id]
            if not 0 <= read.available_at - other.available_at <= self._window_ns:
                continue
            alike = jaccard(read.shingles, other.shingles)
            rank = alike, -other.available_at
            if alike >= self._similarity and rank > best:
                best, found = rank, text_id
        return found

    def _remember(self, text_id: str, read: _Original) -> None:
        self._originals[text_id] = read
        for band in read.bands:
            self._bands.setdefault(band, []).append(text_id)
        if len(self._originals) > self._capacity:
            self._forget_first()

    def _forget_first(self) -> None:
        text_id, forgotten = self._originals.popitem(last=False)
        for band in forgotten.bands:
            held = self._bands[band]
            held.remove(text_id)
            if not held:
                del self._bands[band]


def _read(item: TextItem) -> _Original | None:
    """Return what a text is compared by; None where it has no words."""
    said = words(item.title[:MOST_CHARACTERS])
    if not said:
        return None
    found = shingles(said)
    if len(said) < FEW_WORDS:
        equal = (item.author or item.source, *words(item.content[:MOST_CHARACTERS]))
    else:
        figures = sorted(word for word in said if _DIGIT.search(word))
        equal = (*item.instruments, "", *figures)
    trait = zlib.crc32("\0".join(equal).encode())
    return _Original(item.available_at, found, tuple(bands(sketch(found), trait)))
