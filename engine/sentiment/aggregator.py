"""The aggregates of a stream of texts: taken in one by one, asked for at any moment."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Collection, Iterable

from engine.clock import NS_PER_S
from engine.domain.sentiment import SentimentAggregate, Window
from engine.sentiment.aggregate import (
    HALF_LIFE_SHARE,
    Moment,
    ScoredText,
    Timeline,
    by_time,
    lasting_weight,
)
from engine.sentiment.mention_volume import reach_ns

SLACK_NS = 3_600 * NS_PER_S
"""Texts are kept this much longer than any window reaches: clocks step back."""

MAX_TEXTS = 500_000


class Aggregator:
    """Keeps the texts that aggregates reach, and aggregates them whenever asked.

    It gives the same bits as `engine.sentiment.aggregate.aggregate` over the same texts. Adding a
    text twice changes nothing, so that it may be rebuilt from the store and fed at least once.
    Counted from the latest time it was asked about, it forgets scores older than two of the
    longest window, and that a text was there at all once no surprise reaches it any more, each an
    hour later. It knows of `max_texts` at most: the oldest leave first, counted in `dropped`.

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
        Most texts known of.
    """

    def __init__(
        self,
        model: str,
        *,
        half_life_share: float = HALF_LIFE_SHARE,
        instruments: Iterable[str] = (),
        windows: Collection[Window] = tuple(Window),
        max_texts: int = MAX_TEXTS,
    ) -> None:
        self.dropped = 0
        self._model = model
        self._half_life_share = half_life_share
        self._windows = tuple(windows)
        self._max_texts = max_texts
        self._kept_ns = reach_of(windows) + SLACK_NS
        self._recent_ns = recent_of(windows) + SLACK_NS
        self._ids: set[str] = set()
        self._times: list[int] = []
        self._texts: list[tuple[int, str, tuple[str, ...]]] = []
        self._timelines = {instrument: Timeline() for instrument in instruments}
        self._horizon: int | None = None

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: ScoredText) -> bool:
        """Take in a text.

        Parameters
        ----------
        text
            Also one that could not be read, or that speaks of no instrument: that it was there
            tells that somebody was listening.

        Returns
        -------
        bool
            False where it was known already, or is too old to count again.
        """
        too_old = self._horizon is not None and text.available_at <= self._horizon
        if text.text_id in self._ids or too_old:
            return False
        about = tuple(dict.fromkeys(text.instruments))
        for instrument in about:
            self._timelines.setdefault(instrument, Timeline()).add(text, instrument)
        counted = about if lasting_weight(text) > 0.0 else ()
        self._ids.add(text.text_id)
        insort(self._times, text.available_at)
        insort(self._texts, (text.available_at, text.text_id, counted))
        if len(self._texts) > self._max_texts:
            self.dropped += 1
            self._forget(1)
        return True

    def expire(self, as_of: int) -> int:
        """Forget what no window reaches any more at `as_of`.

        Returns
        -------
        int
            How many texts are not known any more.
        """
        horizon = as_of - self._kept_ns
        if self._horizon is not None and horizon <= self._horizon:
            return 0
        self._horizon = horizon
        for timeline in self._timelines.values():
            del timeline.recent[: timeline.until(as_of - self._recent_ns)]
        count = bisect_right(self._times, horizon)
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
        moments = [
            Moment.of(window, as_of, self._half_life_share, self._times, self._model)
            for window in self._windows
        ]
        return [
            moment.aggregate(instrument, self._timelines[instrument])
            for instrument in sorted(self._timelines)
            for moment in moments
        ]

    def _forget(self, count: int) -> None:
        """Forget the `count` oldest. Every timeline has the same order, so they lead there too."""
        if not count:
            return
        gone = self._texts[:count]
        del self._texts[:count]
        del self._times[:count]
        self._ids.difference_update(text_id for _, text_id, _ in gone)
        last = gone[-1][:2]
        led = Counter(instrument for _, _, about in gone for instrument in about)
        for instrument, texts in led.items():
            timeline = self._timelines[instrument]
            del timeline.times[:texts]
            del timeline.recent[: bisect_right(timeline.recent, last, key=by_time)]


def reach_of(windows: Collection[Window] = tuple(Window)) -> int:
    """Return how far back texts matter at all, nanoseconds: to a surprise, or to a momentum."""
    return max(max(reach_ns(window), 2 * window.ns) for window in windows)


def recent_of(windows: Collection[Window] = tuple(Window)) -> int:
    """Return how far back scores matter, nanoseconds: a window, and the one before it."""
    return 2 * max(window.ns for window in windows)
