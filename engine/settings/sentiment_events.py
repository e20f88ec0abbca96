"""``sentiment.events``: what of the aggregates is worth telling."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from engine.domain.sentiment import Window
from engine.settings.section import Section


class SentimentEventsConfig(Section):
    """When sentiment has flipped, and when an instrument is suddenly spoken of."""

    flip_windows: tuple[Window, ...] = (Window.D1,)
    """Windows whose score is watched for flips; none for no flips."""
    flip_band: float = Field(0.2, gt=0.0, le=1.0)
    """A score beyond plus or minus this takes a side; between them the last side stays."""
    flip_weight: NonNegativeFloat = 2.0
    """Least weight of the texts behind a score that takes a side."""
    spike_windows: tuple[Window, ...] = (Window.H1, Window.D1)
    """Windows whose mention volume is watched for spikes; none for no spikes."""
    spike_surprise: PositiveFloat = 2.5
    """Surprise at which a volume is a spike, standard deviations."""
    spike_rest: float = 1.0
    """Surprise below which the next spike may come: one storm is told once."""
    spike_volume: PositiveInt = 5
    """Fewest texts of a spike."""
    cooldown_windows: NonNegativeFloat = 1.0
    """Least time between two events of a kind about an instrument over a window, in windows."""

    @model_validator(mode="after")
    def _apart(self) -> SentimentEventsConfig:
        if self.spike_rest >= self.spike_surprise:
            raise ValueError(
                f"spike_rest {self.spike_rest:g} is not below spike_surprise "
                f"{self.spike_surprise:g}: a spike could follow itself"
            )
        return self
