"""``score_texts``."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveInt

from engine.settings.span import SpanSection


class ScoreTextsSection(SpanSection):
    """Sentiment of the stored texts, by a pool of model replicas."""

    model: str = ""
    """Which model; ``sentiment.model`` where it is not given."""
    replicas: PositiveInt = 2
    """Most replicas at a time."""
    batch_texts: PositiveInt = 512
    """Texts that a replica scores at once."""
    num_gpus: NonNegativeFloat = 0.0
    """Share of a GPU that each replica takes; 0 scores on the CPU."""
