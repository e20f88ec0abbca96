"""What many texts feel together, per instrument and window, as of a moment.

Every text that speaks of an instrument and became available in ``(as_of - window, as_of]``
counts with

    weight = credibility x (1 + ln(1 + engagement)) x 2 ** (-age / half_life)

where age runs from `available_at` (never from `published_at`: what we could not yet read
must not count) and ``half_life = half_life_share x window``. A text of zero weight does not
count at all. The sums are correctly rounded (`math.fsum`), so that neither the order of the
texts nor how they arrived changes a bit of the result.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from engine.clock import NS_PER_S
from engine.domain.sentiment import Label, SentimentAggregate, SentimentScore, Window
from engine.domain.text import TextItem

HALF_LIFE_SHARE = 0.5
"""Half-life of a text's weight as a share of the window, by default."""

SLACK_NS = 3_600 * NS_PER_S
"""Texts are kept this much longer than the longest window: clocks step back."""


@dataclass(frozen=True, slots=True)
class ScoredText:
    """What an aggregate needs to know of a text."""

    text_id: str
    instruments: tuple[str, ...]
    available_at: int
    """UTC nanoseconds."""
    score: float
    """In [-1, 1]."""
    label: Label
    credibility: float
    """In [0, 1]."""
    engagement: float
    """At least 0."""

    @classmethod
    def of(cls, item: TextItem, score: SentimentScore) -> ScoredText:
        """Join a text with its score.

        Raises
        ------
        ValueError
            Where the score is another text's.
        """
        if item.text_id != score.text_id:
            raise ValueError(f"score of text {score.text_id} given for text {item.text_id}")
        return cls(
            item.text_id,
            item.instruments,
            item.available_at,
            score.score,
            score.label,
            item.credibility,
            item.engagement,
        )


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
    reach = 1.0 + math.log1p(text.engagement)
    return text.credibility * reach * math.exp2(-age_ns / half_life_ns)


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
        Texts in any order; those about other instruments, outside the window or seen before
        (same `text_id`: the first one counts) are left out.
    instrument
        Canonical name.
    window
        How far back it looks.
    as_of
        UTC nanoseconds.
    half_life_share
        Half-life of the weight as a share of the window, above 0.
    model
        Name and version of the model that scored.

    Returns
    -------
    SentimentAggregate
        With score and dispersion None where no text counts.
    """
    texts: dict[str, ScoredText] = {}
    for text in scored:
        if instrument in text.instruments:
            texts.setdefault(text.text_id, text)
    inside = [text for text in texts.values() if as_of - window.ns < text.available_at <= as_of]
    return _weigh(inside, instrument, window, as_of, half_life_share, model)


def _weigh(
    texts: Sequence[ScoredText],
    instrument: str,
    window: Window,
    as_of: int,
    half_life_share: float,
    model: str,
) -> SentimentAggregate:
    half_life = half_life_share * window.ns
    weighted = [(text_weight(text, as_of - text.available_at, half_life), text) for text in texts]
    weighted = [(weight, text) for weight, text in weighted if weight > 0.0]
    labels = [text.label for _, text in weighted]
    total = math.fsum(weight for weight, _ in weighted)
    mean = dispersion = None
    if weighted:
        # Shares first: weights may be so small that their products with scores vanish.
        shares = [(weight / total, text.score) for weight, text in weighted]
        mean = max(-1.0, min(1.0, math.fsum(share * score for share, score in shares)))
        dispersion = math.sqrt(math.fsum(share * (score - mean) ** 2 for share, score in shares))
    return SentimentAggregate(
        instrument=instrument,
        window=window.value,
        as_of=as_of,
        score=mean,
        dispersion=dispersion,
        bullish=labels.count("bullish"),
        bearish=labels.count("bearish"),
        neutral=labels.count("neutral"),
        weight=total,
        model=model,
    )


class Aggregator:
    """Keeps the texts of the longest window and aggregates them whenever asked.

    It gives the same bits as `aggregate` over the same texts. Adding a text twice changes
    nothing, so that it may be rebuilt from the store and fed at least once. It forgets texts
    older than the longest window (and an hour), counted from the latest time it was asked
    about, and holds `max_texts` at most: the oldest leave first, counted in `dropped`.

    Parameters
    ----------
    model
        Name and version of the model that scored.
    half_life_share
        Half-life of the weight as a share of the window, above 0.
    instruments
        Answered for even before any text speaks of them.
    windows
        Which to aggregate over.
    max_texts
        Most texts held.
    """

    def __init__(
        self,
        model: str,
        *,
        half_life_share: float = HALF_LIFE_SHARE,
        instruments: Iterable[str] = (),
        windows: Collection[Window] = tuple(Window),
        max_texts: int = 200_000,
    ) -> None:
        self.dropped = 0
        self._model = model
        self._half_life_share = half_life_share
        self._windows = tuple(windows)
        self._max_texts = max_texts
        self._kept_ns = max(window.ns for window in windows) + SLACK_NS
        self._ids: set[str] = set()
        self._by_time: list[tuple[int, str, ScoredText]] = []
        self._timelines: dict[str, list[tuple[int, str, ScoredText]]] = {
            instrument: [] for instrument in instruments
        }
        self._horizon: int | None = None

    def __len__(self) -> int:
        return len(self._by_time)

    def add(self, text: ScoredText) -> bool:
        """Take in a text.

        Returns
        -------
        bool
            False where it was known already, or is too old to count again.
        """
        too_old = self._horizon is not None and text.available_at <= self._horizon
        if text.text_id in self._ids or too_old:
            return False
        entry = (text.available_at, text.text_id, text)
        self._ids.add(text.text_id)
        insort(self._by_time, entry, key=_order)
        for instrument in dict.fromkeys(text.instruments):
            insort(self._timelines.setdefault(instrument, []), entry, key=_order)
        if len(self._by_time) > self._max_texts:
            self.dropped += 1
            self._forget(1)
        return True

    def expire(self, as_of: int) -> int:
        """Forget what no window reaches any more at `as_of`.

        Returns
        -------
        int
            How many texts were forgotten.
        """
        horizon = as_of - self._kept_ns
        if self._horizon is not None and horizon <= self._horizon:
            return 0
        self._horizon = horizon
        count = bisect_right(self._by_time, horizon, key=_time)
        self._forget(count)
        return count

    def aggregates(self, as_of: int) -> list[SentimentAggregate]:
        """Aggregate every instrument that was named or spoken of, over every window.

        Parameters
        ----------
        as_of
            UTC nanoseconds. It may go back an hour from the latest one asked about.

        Returns
        -------
        list of SentimentAggregate
            By instrument, in alphabetical order, then by window. An instrument whose texts
            have all expired is still there, with None.

        Raises
        ------
        ValueError
            Where texts that `as_of` needs are forgotten already.
        """
        self.expire(as_of)
        if self._horizon is not None and as_of - self._kept_ns + SLACK_NS < self._horizon:
            raise ValueError(
                f"as_of {as_of} lies more than an hour before the latest one asked about; "
                "use engine.sentiment.aggregate.aggregate over stored texts for the past"
            )
        return [
            self._one(instrument, window, as_of)
            for instrument in sorted(self._timelines)
            for window in self._windows
        ]

    def _one(self, instrument: str, window: Window, as_of: int) -> SentimentAggregate:
        timeline = self._timelines[instrument]
        first = bisect_right(timeline, as_of - window.ns, key=_time)
        last = bisect_right(timeline, as_of, key=_time)
        texts = [text for _, _, text in timeline[first:last]]
        return _weigh(texts, instrument, window, as_of, self._half_life_share, self._model)

    def _forget(self, count: int) -> None:
        """Forget the `count` oldest. Every timeline has the same order, so they lead there too."""
        gone = self._by_time[:count]
        del self._by_time[:count]
        led = Counter(name for _, _, text in gone for name in set(text.instruments))
        for instrument, texts in led.items():
            del self._timelines[instrument][:texts]
        self._ids.difference_update(text_id for _, text_id, _ in gone)


def _time(entry: tuple[int, str, ScoredText]) -> int:
    return entry[0]


def _order(entry: tuple[int, str, ScoredText]) -> tuple[int, str]:
    return entry[:2]
