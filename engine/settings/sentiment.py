"""``sentiment``: which model reads texts, and how many hold it."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from engine.settings.section import FilePath, Section
from engine.settings.sentiment_events import SentimentEventsConfig
from engine.settings.sentiment_models import EnsembleConfig, HuggingFaceConfig


class SentimentConfig(Section):
    """Texts to sentiment."""

    model: str = Field("auto", min_length=1)
    """Which model scores; ``docs/sentiment.md`` names them. ``auto`` takes the best that runs well
    on the machine that starts the engine or the job."""
    models: tuple[str, ...] = ()
    """Further models that a request may name (`POST /v1/sentiment`); every replica holds them."""
    languages: tuple[str, ...] = ("en",)
    """Languages that the models read, ISO 639-1: a text that is surely in another has no score.
    Empty reads all."""
    min_replicas: PositiveInt = 1
    """Fewest actors that hold the models and share the work."""
    max_replicas: PositiveInt = 2
    """Most of them: more are started while texts wait, and end when they are idle."""
    num_cpus: NonNegativeFloat = 0.1
    """Logical CPUs that each takes of the cluster."""
    num_gpus: NonNegativeFloat = 0.0
    """Share of a GPU that each takes, where a model of theirs can use one; 0 scores on the CPU."""
    batch_texts: PositiveInt = 32
    """Most texts that a model is given at once: what waits together is scored together."""
    cache_s: NonNegativeFloat = 900.0
    """How long the bus keeps a text's reading, s; 0 keeps none."""
    hf: HuggingFaceConfig = HuggingFaceConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    minilm: FilePath = ""
    """Adapter of the model ``minilm`` that `train_sentiment` wrote; the shipped one where it is
    empty."""
    tfidf: FilePath = ""
    """Weights of the model ``tfidf`` that `train_sentiment` wrote; the shipped ones where it is
    empty."""
    lstm: FilePath = ""
    """Weights of the model ``lstm`` that `train_sentiment` wrote; the shipped ones where it is
    empty."""
    calibration: FilePath = ""
    """File that `calibrate_sentiment` wrote for `model`; its readings go through it."""
    half_life_share: PositiveFloat = 0.5
    """Half-life of a text's weight, as a share of the window."""

    events: SentimentEventsConfig = SentimentEventsConfig()

    @model_validator(mode="after")
    def _ordered(self) -> SentimentConfig:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas {self.min_replicas} is more than max_replicas {self.max_replicas}"
            )
        return self

    @property
    def served(self) -> tuple[str, ...]:
        """Every model that replicas hold, the one that scores first."""
        return tuple(dict.fromkeys((self.model, *self.models)))
