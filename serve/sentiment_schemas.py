"""What `POST /v1/sentiment` and its neighbours take and answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from engine.domain.sentiment import Label
from serve.schemas import Answer, Score, Share

MAX_TEXTS = 256
"""Most texts in one request."""
MAX_EXPLAINED = 16
"""Most texts in one request that asks for words: some models read a text once for each word."""

Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class TextsRequest(BaseModel):
    """Texts to score."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [{"texts": ["Bitcoin breaks $70k 🚀", "ETH will flip BTC"]}]
        },
    )

    texts: list[Text] = Field(min_length=1, max_length=MAX_TEXTS)
    """Of any language and length: each is read up to 4,000 characters."""
    instrument: Name | None = None
    """Whose sentiment is asked for, such as `BTC-USDT`; the whole text's where it is null."""
    model: Name | None = None
    """One of those that are loaded (`/v1/status` names them); the default where it is null."""
    explain: StrictBool = False
    """Whether to answer with the words that drove each reading, for 16 texts at most."""


class Probabilities(Answer):
    """They sum to 1."""

    bearish: Share
    neutral: Share
    bullish: Share


class InstrumentAnswer(Answer):
    """What a text feels about one instrument."""

    instrument: str
    score: Score | None
    """Null where the text says nothing of it that can be read."""


class WordAnswer(Answer):
    """A word, and what it did to the score: above 0 more bullish, below 0 more bearish."""

    word: str
    weight: float


class EmotionsAnswer(Answer):
    """How strongly the writer feels each; 0 where nothing says so."""

    fear: Share
    greed: Share
    excitement: Share


class TextAnswer(Answer):
    """One text's reading; label, score, probabilities, confidence null where it has none."""

    label: Label | None
    score: Score | None
    """P(bullish) - P(bearish); of the instrument that was asked for, else of the whole text."""
    probabilities: Probabilities | None
    confidence: Share | None
    """Probability of the label."""
    language: str | None
    """ISO 639-1; null where it cannot be told."""
    truncated: bool
    """Whether the text goes on behind what was read."""
    instruments: list[InstrumentAnswer]
    """Those the text speaks of, in order of first mention; the one asked for comes first."""
    topics: list[str]
    emotions: EmotionsAnswer | None
    explanation: list[WordAnswer] | None = None
    """The strongest first; only where it was asked for."""


class TextsAnswer(Answer):
    """Readings, in the order of the texts."""

    model: str
    """Name and version of the model that made all of them."""
    results: list[TextAnswer]


class ClearedAnswer(Answer):
    """What was dropped from the cache."""

    dropped: int = Field(ge=0)
    """Readings that were kept."""


class ReloadRequest(BaseModel):
    """Which model to load anew."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    model: Name | None = None
    """The default where it is null."""


class ReloadedReplica(Answer):
    """One holder of a model that has loaded it anew."""

    replica: str
    before: str
    """Name and version that it held."""
    after: str
    """Name and version that it holds now."""


class ReloadAnswer(Answer):
    """Who has loaded the model anew."""

    model: str
    replicas: list[ReloadedReplica]
