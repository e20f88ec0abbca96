"""What a sentiment model is: texts in, probabilities out, the same ones every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from engine.domain.sentiment import Label, SentimentScore, TargetScore
from engine.domain.text import Mention

LABELS: tuple[Label, Label, Label] = ("bearish", "neutral", "bullish")


@dataclass(frozen=True, slots=True)
class TextSentiment:
    """A model's reading of one text.

    The three probabilities are in [0, 1] and sum to 1; `score` is ``bullish - bearish``.
    """

    bearish: float
    neutral: float
    bullish: float
    score: float
    """In [-1, 1]."""
    label: Label
    """The most probable of the three; neutral where they tie."""
    confidence: float
    """The label's probability."""

    @classmethod
    def of(cls, score: float, neutral: float) -> TextSentiment:
        """Make one from a score and the probability of neutral.

        Parameters
        ----------
        score
            ``P(bullish) - P(bearish)``, in [-1, 1].
        neutral
            In [0, 1 - abs(score)].

        Raises
        ------
        ValueError
            Where the two cannot belong to three probabilities.

        Examples
        --------
        >>> reading = TextSentiment.of(0.5, 0.25)
        >>> reading.bullish, reading.bearish, reading.label
        (0.625, 0.125, 'bullish')
        >>> TextSentiment.of(0.0, 0.25).label
        'neutral'
        """
        if not (abs(score) <= 1.0 and 0.0 <= neutral <= 1.0 - abs(score)):
            raise ValueError(f"no three probabilities have score {score} and neutral {neutral}")
        bullish = max(0.0, (1.0 - neutral + score) / 2)
        bearish = max(0.0, (1.0 - neutral - score) / 2)
        label: Label = "neutral"
        confidence = neutral
        if score != 0.0 and max(bullish, bearish) > neutral:
            label, confidence = ("bullish", bullish) if score > 0 else ("bearish", bearish)
        return cls(bearish, neutral, bullish, score, label, confidence)

    def row(
        self, text_id: str, model: str, scored_at: int, targets: tuple[TargetScore, ...] = ()
    ) -> SentimentScore:
        """Return it as a row of the store.

        Parameters
        ----------
        text_id
            Of the text that was read.
        model
            Name and version of the model that read it.
        scored_at
            UTC nanoseconds.
        targets
            What the text feels about each instrument; empty where that is the same for all.
        """
        return SentimentScore(
            text_id=text_id,
            model=model,
            score=self.score,
            bearish=self.bearish,
            neutral=self.neutral,
            bullish=self.bullish,
            label=self.label,
            confidence=self.confidence,
            scored_at=scored_at,
            targets=targets,
        )


class SentimentModel(Protocol):
    """Reads texts. Loading happens in the constructor, so that `score` is ready at once.

    A model is deterministic: the same text gives the same reading, alone or in any batch. It
    never raises for what a text holds. Anything that changes a reading changes `name`. One that
    computes on a GPU where it is given one says so when it is entered
    (`engine.sentiment.registry.register`): none is reserved for others.
    """

    @property
    def name(self) -> str:
        """Name and version, for example ``lexicon-1``: rows and caches are keyed by it."""
        ...

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        """Read texts.

        Parameters
        ----------
        texts
            Any number, of any length and language.

        Returns
        -------
        list of TextSentiment or None
            One per text, in order. None where the model cannot read the text at all (empty, a
            bare link, another script): unknown is never coded as a score of 0.
        """
        ...


@runtime_checkable
class TargetModel(Protocol):
    """A model that also reads what a text feels about each asset that it names.

    For models without it, `engine.sentiment.targets` reads clause by clause.
    """

    def score_targets(
        self, text: str, mentions: Sequence[Mention]
    ) -> Mapping[str, TextSentiment | None]:
        """Read a text once for each asset.

        Parameters
        ----------
        text
            As for `SentimentModel.score`.
        mentions
            Where it names which assets, in order.

        Returns
        -------
        mapping
            A reading for the name of every mention; None where there is none.
        """
        ...


@runtime_checkable
class BoundedModel(Protocol):
    """A model that reads a text up to a length of its own."""

    def truncates(self, text: str) -> bool:
        """Whether the text goes on behind what the model reads."""
        ...
