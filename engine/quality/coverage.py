"""Which intervals should have a candle, day by day, and which sources have ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engine.clock import NS_PER_S
from engine.quality.measure import NS_PER_H
from engine.settings.check_quality import QualitySection

DAY_NS = 86_400 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Stretch:
    """When a source was there: ``[begin, end)``, UTC nanoseconds."""

    begin: int
    end: int

    @property
    def days(self) -> Iterator[tuple[int, Stretch]]:
        """Each day's begin, and what of the stretch lies in it."""
        day = self.begin - self.begin % DAY_NS
        while day < self.end:
            yield day, Stretch(max(self.begin, day), min(self.end, day + DAY_NS))
            day += DAY_NS

    def intervals(self, step_ns: int) -> int:
        """Return how many whole intervals of a timeframe begin in it, and end by its end."""
        first = -(-self.begin // step_ns)
        return max(0, self.end // step_ns - first)


def has_ended(newest: int, newest_of_all: int, end: int, quality: QualitySection) -> bool:
    """Tell whether a source has ended, rather than fallen behind.

    It has where it is silent for longer than ``ended_after_days`` while others of its kind are
    fresh. Where all are silent it is the feed that has stopped.

    Parameters
    ----------
    newest
        Of its rows, UTC nanoseconds.
    newest_of_all
        Of all rows of its kind.
    end
        End of the stretch that is looked at.
    """
    silent_days = (end - newest) / DAY_NS
    others_age_h = (end - newest_of_all) / NS_PER_H
    return silent_days > quality.ended_after_days and others_age_h <= quality.freshness_h


def present(
    first: int, newest: int, begin: int, end: int, ended: bool, quality: QualitySection
) -> Stretch:
    """Return when a market's bars should be there, within ``[begin, end)``.

    From its first bar on: it was not listed before. Up to its newest one where that is fresh, or
    was its last; else up to the end, for what lacks there is missing.

    Parameters
    ----------
    first
        Open time of the first bar that is stored of it, UTC nanoseconds.
    newest
        Close time of its newest bar before `end`.
    """
    fresh = (end - newest) / NS_PER_H <= quality.freshness_h
    return Stretch(max(first, begin), min(newest, end) if ended or fresh else end)
