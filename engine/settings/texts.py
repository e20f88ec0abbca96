"""``texts``: what happens to a text before it is scored."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt

from engine.settings.section import Section


class TextsSection(Section):
    """From the text of a source to one that counts (docs/texts.md)."""

    reject_spam: bool = True
    """Whether spam is kept out of ``texts``, and put in ``quarantine`` with its reason."""
    duplicate_similarity: float = Field(0.75, ge=0.5, le=1.0)
    """Least share of pairs of words that a near-duplicate has in common with its original."""
    duplicate_window_h: PositiveFloat = 24.0
    """How long after its original a text counts as a near-duplicate, hours."""
    duplicate_memory: PositiveInt = 20_000
    """Most originals that texts are compared with, the newest."""
    measured_credibility: bool = True
    """Whether texts weigh as much as their source was right (``measure_credibility``), as far as
    that was measured; else as much as the source's configured credibility."""
