"""What decides the credibility of a source: the formula, and its settings."""

from __future__ import annotations

from dataclasses import dataclass

from engine.clock import NS_PER_S
from engine.domain.timeframe import Timeframe
from engine.settings.label_outcomes import horizon_ns
from engine.settings.measure_credibility import MeasureCredibilitySection

DEFINITION = "2"
"""Changes with any bit of the results."""

DAY_NS = 86_400 * NS_PER_S


@dataclass(frozen=True, slots=True)
class CredibilityRules:
    """What decides the values.

    Parameters
    ----------
    horizon
        How far forward an opinion looks, and over which bars: for example ``24h of 1h bars``.
    horizon_ns
        Its length, nanoseconds.
    half_life_days
        After so many days what is known is worth half, above 0.
    prior_opinions
        How many opinions the prior weighs as much as, above 0.
    author_opinions
        An author with fewer is not told from the source.
    """

    horizon: str
    horizon_ns: int
    half_life_days: float = 90.0
    prior_opinions: float = 50.0
    author_opinions: int = 5

    @property
    def version(self) -> str:
        """Names the definition with its settings: values of different versions never mix."""
        return (
            f"{DEFINITION} {self.horizon}, half-life {self.half_life_days:g} d, prior "
            f"{self.prior_opinions:g}, authors {self.author_opinions}"
        )

    def faded(self, age_ns: int) -> float:
        """Return what an opinion is worth so long after it became known, in (0, 1]."""
        return float(2.0 ** (-age_ns / (self.half_life_days * DAY_NS)))

    def prior_within(
        self, configured: float, whole: tuple[float, float], own: tuple[float, float]
    ) -> float:
        """Return a source's credibility without the opinions of a part of it, in [0, 1].

        Parameters
        ----------
        configured
            The source's configured credibility.
        whole, own
            Right and wrong opinions of the source, and of the part. A part may have some that the
            source has not: which one is the first within a horizon is told for each by itself.
        """
        others = (max(0.0, all_ - part) for all_, part in zip(whole, own, strict=True))
        return self.credibility(configured, *others)

    def credibility(self, prior: float, right: float, wrong: float) -> float:
        """Return the mean of the Beta distribution, in [0, 1].

        Examples
        --------
        >>> CredibilityRules("24h", DAY_NS, prior_opinions=10.0).credibility(0.5, 8.0, 2.0)
        0.65
        """
        weight = self.prior_opinions
        return (weight * prior + right) / (weight + right + wrong)


def credibility_rules(section: MeasureCredibilitySection, timeframe: Timeframe) -> CredibilityRules:
    """Return the rules of a configuration.

    Parameters
    ----------
    section
        What the job is told.
    timeframe
        Of the labelled bars, where the section names none.
    """
    bars = section.timeframe or timeframe
    return CredibilityRules(
        f"{section.horizon} of {bars.value} bars",
        horizon_ns(section.horizon),
        section.half_life_days,
        section.prior_opinions,
        section.author_opinions,
    )
