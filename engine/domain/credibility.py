"""How often those who write were right."""

from __future__ import annotations

from typing import Literal

import msgspec

CredibilityLevel = Literal["source", "engagement", "author"]
"""All texts of a source; those of them with an engagement of one class; those of one author."""


class SourceCredibility(msgspec.Struct, frozen=True):
    """What was known by a moment of how often a source was right. A row of ``source_credibility``.

    A row holds from its moment up to the next one of the same subject: between them nothing
    became known, and its sums only fade (`engine.texts.credibility`).
    """

    source: str
    """Configured name of the source."""
    level: CredibilityLevel
    """What of it."""
    name: str
    """The class of engagement or the author's hash; empty for the whole source."""
    model: str
    """Name and version of the model whose scores were judged."""
    version: str
    """Of the definition, and the settings that decide the values."""
    as_of: int
    """Only what was known by then is in it, UTC nanoseconds."""
    right: float
    """Opinions that came true, each worth less the longer ago it was known; >= 0."""
    wrong: float
    """Opinions that did not, likewise."""
    opinions: int
    """How many there were at all, undiminished."""
    prior: float
    """Credibility without these opinions, in [0, 1]: the configured one; of an author or a class
    that of the source without them."""
    credibility: float
    """In [0, 1]: the mean of a Beta distribution around the prior, with the opinions in it."""
