"""What many texts feel together, per instrument and window, as of a moment: the definition.

Every text that speaks of an instrument and became available in ``(as_of - window, as_of]``
counts with

    weight = credibility x (1 + ln(1 + engagement)) x 2 ** (-age / half_life)

where age runs from `available_at` (never from `published_at`: what we could not yet read
must not count) and ``half_life = half_life_share x window``. Its score and label are what it
feels about that instrument (`engine.sentiment.targets`). A text of zero weight does not
count at all, one without a score only in the volume and the coverage. The sums are correctly
rounded (`math.fsum`), so that neither the order of the texts nor how they arrived changes a bit
of the result.

Momentum is the score less the score of the window before, as of its end. Surprise is
`engine.sentiment.mention_volume`'s. Both need texts from before the window.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.domain.sentiment import (
    Label,
    SentimentAggregate,
    SentimentScore,
    TargetScore,
    Window,
)
from engine.domain.text import TextItem
from engine.sentiment.mention_volume import TRAILING, surprise, volumes

HALF_LIFE_SHARE = 0.5
"""Half-life of a text's weight as a share of the window, by default."""


@dataclass(frozen=True, slots=True)
class ScoredText:
    """What an aggregate needs to know of a text."""

    text_id: str
    instruments: tuple[str, ...]
    available_at: int
    """UTC nanoseconds."""
    score: float | None
    """In [-1, 1]; None where the model could not read it."""
    label: Label | None
    """None where `score` is."""
    credibility: float
    """In [0, 1]."""
    engagement: float
    """At least 0."""
    targets: tuple[TargetScore, ...] = ()
    """As in `SentimentScore`: what it feels about instruments that it tells apart."""

    def toward(self, instrument: str) -> tuple[float | None, Label | None]:
        """Return score and label of what it feels about one of its instruments."""
        for target in self.targets:
            if target.instrument == instrument:
                return target.score, target.label
        return self.score, self.label

    @classmethod
    def of(cls, item: TextItem, score: SentimentScore | None) -> ScoredText:
        """Join a text with its score.

        Parameters
        ----------
        item
            The text; one that repeats another weighs nothing.
        score
            None where the model could not read it.

        Raises
        ------
        ValueError
            Where the score is another text's.
        """
        if score is not None and item.text_id != score.text_id:
            raise ValueError(f"score of text {score.text_id} given for text {item.text_id}")
        return cls(
            item.text_id,
            item.instruments,
            item.available_at,
            None if score is None else score.score,
            None if score is None else score.label,
            0.0 if item.duplicate_of else item.credibility,
            item.engagement,
            () if score is None else score.targets,
        )


def lasting_weight(text: ScoredText) -> float:
    """Return the part of a text's weight that does not decay, at least 0."""
    return text.credibility * (1.0 + math.log1p(text.engagement))


def text_weight(text: ScoredText, age_ns: int, half_life_ns: float) -> float:
    """Return a text's weight; see the module's formula.

    Parameters
    ----------
    text
        The text.
    age_ns
        Time since it became available, at least 0.
    half_life_ns
        Above 0.
    """
    return lasting_weight(text) * math.exp2(-age_ns / half_life_ns)


class Mention(NamedTuple):
    """A text that speaks of an instrument, as a timeline keeps it."""

    time: int
    """When it became available, UTC nanoseconds."""
    text_id: str
    lasting: float
    """The part of its weight that does not decay, above 0."""
    score: float | None
    label: Label | None


@dataclass(slots=True)
class Timeline:
    """The texts about one instrument that count, in the order of time."""

    times: list[int] = field(default_factory=list)
    """Of all of them, as far back as surprise reaches."""
    recent: list[Mention] = field(default_factory=list)
    """Those that scores and momentum need."""

    def add(self, text: ScoredText, instrument: str) -> bool:
        """Take in a text that speaks of the instrument; False where it has no weight."""
        lasting = lasting_weight(text)
        if not lasting > 0.0:
            return False
        insort(self.times, text.available_at)
        score, label = text.toward(instrument)
        mention = Mention(text.available_at, text.text_id, lasting, score, label)
        insort(self.recent, mention, key=by_time)
        return True

    def until(self, moment: int) -> int:
        """Return how many of the recent ones became available by a moment, UTC nanoseconds."""
        return bisect_right(self.recent, moment, key=_time)

    def between(self, start: int, end: int) -> list[Mention]:
        """Return the recent ones of ``(start, end]``."""
        return self.recent[self.until(start) : self.until(end)]


def by_time(mention: Mention) -> tuple[int, str]:
    """Return what mentions are ordered by."""
    return mention[:2]


def _time(mention: Mention) -> int:
    return mention[0]


@dataclass(frozen=True, slots=True)
class Moment:
    """What the aggregates of all instruments over one window have in common."""

    window: Window
    as_of: int
    half_life_ns: float
    every: Sequence[int]
    """Volumes of all texts, whatever they speak of (`mention_volume.volumes`)."""
    model: str

    @classmethod
    def of(
        cls, window: Window, as_of: int, half_life_share: float, times: Sequence[int], model: str
    ) -> Moment:
        """Make one; `times` are those of all texts, ascending."""
        every = volumes(times, window, as_of)
        return cls(window, as_of, half_life_share * window.ns, every, model)

    def aggregate(self, instrument: str, timeline: Timeline) -> SentimentAggregate:
        """Aggregate the texts about an instrument."""
        window, as_of = self.window, self.as_of
        inside = timeline.between(as_of - window.ns, as_of)
        weighted = _weighted(inside, as_of, self.half_life_ns)
        total = math.fsum([weight for weight, _, _ in weighted])
        mean = _mean(weighted, total)
        labels = [label for _, _, label in weighted]
        own = volumes(timeline.times, window, as_of)
        readable = sum(mention.score is not None for mention in inside)
        return SentimentAggregate(
            instrument=instrument,
            window=window.value,
            as_of=as_of,
            score=mean,
            dispersion=None if mean is None else _dispersion(weighted, total, mean),
            bullish=labels.count("bullish"),
            bearish=labels.count("bearish"),
            neutral=labels.count("neutral"),
            weight=total,
            model=self.model,
            volume=own[0],
            coverage=readable / own[0] if own[0] else None,
            surprise=surprise(own, self.every, TRAILING[window].fewest),
            momentum=self._momentum(mean, timeline),
        )

    def _momentum(self, mean: float | None, timeline: Timeline) -> float | None:
        if mean is None:
            return None
        end = self.as_of - self.window.ns
        weighted = _weighted(timeline.between(end - self.window.ns, end), end, self.half_life_ns)
        earlier = _mean(weighted, math.fsum([weight for weight, _, _ in weighted]))
        return None if earlier is None else mean - earlier


def aggregate(
    scored: Iterable[ScoredText],
    instrument: str,
    window: Window,
    as_of: int,
    *,
    half_life_share: float = HALF_LIFE_SHARE,
    model: str,
) -> SentimentAggregate:
    """Aggregate texts: the definition that live, batch and backtest share.

    Parameters
    ----------
    scored
        Texts in any order, those before the window too (`mention_volume.reach_ns` says how far
        back), those that could not be read and those about other instruments, which tell that
        somebody was listening. One that was seen before (same `text_id`) counts as first given.
    instrument
        Canonical name.
    window
        How far back it looks.
    as_of
        UTC nanoseconds; later texts are left out.
    half_life_share
        Half-life of the weight as a share of the window, above 0.
    model
        Name and version of the model that scored.

    Returns
    -------
    SentimentAggregate
        With None for what cannot be known: score and dispersion without a text that counts,
        coverage without one that speaks of it, momentum and surprise without enough past.
    """
    texts: dict[str, ScoredText] = {}
    for text in scored:
        texts.setdefault(text.text_id, text)
    timeline = Timeline()
    for text in texts.values():
        if instrument in text.instruments:
            timeline.add(text, instrument)
    times = sorted(text.available_at for text in texts.values())
    return Moment.of(window, as_of, half_life_share, times, model).aggregate(instrument, timeline)


_Weighted = tuple[float, float, Label | None]
"""Weight (above 0), score and label of a text that was read; plain, for there are many."""


def _weighted(mentions: Sequence[Mention], as_of: int, half_life_ns: float) -> list[_Weighted]:
    exp2 = math.exp2
    decayed = [
        (lasting * exp2((time - as_of) / half_life_ns), score, label)
        for time, _, lasting, score, label in mentions
        if score is not None
    ]
    return [each for each in decayed if each[0] > 0.0]


def _mean(weighted: Sequence[_Weighted], total: float) -> float | None:
    if not weighted:
        return None
    # Shares first: weights may be so small that their products with scores vanish.
    mean = math.fsum([weight / total * score for weight, score, _ in weighted])
    return max(-1.0, min(1.0, mean))


def _dispersion(weighted: Sequence[_Weighted], total: float, mean: float) -> float:
    return math.sqrt(
        math.fsum([weight / total * (score - mean) ** 2 for weight, score, _ in weighted])
    )
