"""``score_texts``."""

from __future__ import annotations

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from engine.settings.span import SpanSection


class ScoreTextsSection(SpanSection):
    """Sentiment of the stored texts, by a pool of model replicas."""

    model: str = ""
    """Which model; ``sentiment.model`` where it is not given."""
    replicas: NonNegativeInt = 0
    """Most replicas at a time; 0 for one on each core, or as many as fit on the GPUs."""
    batch_texts: PositiveInt = 16384
    """Most texts that a replica scores and then stores; what is done again when it dies."""
    num_gpus: NonNegativeFloat | None = None
    """Share of a GPU that each replica takes; a whole one where the cluster has any and the model
    can use it, if it is not given; 0 scores on the CPU."""
