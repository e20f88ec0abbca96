"""Texts of the simulated world: headlines of a wire service and posts of a social feed.

`engine.simulator.planted` draws when a text comes, whom it is about and what tone it has; here
it gets words. Tone and impact are ground truth for tests and are never sent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np

from engine.config import SimulatorConfig
from engine.simulator.draws import Stream, generator
from engine.simulator.listing import ASSETS, Asset
from engine.simulator.planted import DAY_NS, MARKET_WIDE, TextProcess

Kind = Literal["news", "post"]
Tone = Literal["bullish", "neutral", "bearish"]


class _Phrases(NamedTuple):
    asset: dict[str, dict[str, list[str]]]
    market: dict[str, list[str]]
    bodies: dict[str, list[str]]
    openers: list[str]
    closers: list[str]
    days: list[str]


@cache
def phrases() -> _Phrases:
    """Return the templates, read once from ``phrases.json``."""
    text = resources.files(__package__).joinpath("phrases.json").read_text(encoding="utf-8")
    return _Phrases(**json.loads(text))


class TextEvent(NamedTuple):
    """One text with its ground truth."""

    text_id: str
    time_ns: int
    """When it was published, UTC nanoseconds."""
    base: str | None
    """Base currency it is about; None for the whole market."""
    kind: Kind
    author: str
    title: str
    """The headline; for a post its whole text."""
    body: str
    """What follows a headline; empty for a post."""
    likes: int
    reposts: int
    tone: float
    """What it says, in [-1, 1]; never on the wire."""
    impact: float
    """What it adds to the log price in the end, in daily standard deviations; never on
    the wire."""


class NewsProcess:
    """Random access to the texts.

    Parameters
    ----------
    config
        The simulator's.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        self._config = config
        self.epoch_ns = config.epoch_ns
        self.draws = TextProcess(config, config.epoch_ns - config.epoch_ns % DAY_NS)

    def texts(
        self, start_ns: int, end_ns: int, kind: Kind | None = None, count: int | None = None
    ) -> list[TextEvent]:
        """Return the texts published in ``[start_ns, end_ns)``, oldest first.

        Parameters
        ----------
        start_ns, end_ns
            UTC nanoseconds.
        kind
            Only these; None for all.
        count
            At most so many, the oldest; None for all.
        """
        start_ns = max(start_ns, self.epoch_ns)
        places = (
            (day, number)
            for day in self._days(start_ns, end_ns)
            for number in self._numbers(day, start_ns, end_ns, kind)
        )
        # Words take most of the time: only of what is asked for.
        return [self._render(*place) for place in islice(places, count)]

    def latest(self, end_ns: int, count: int, kind: Kind) -> list[TextEvent]:
        """Return the last `count` texts of a kind before `end_ns`, oldest first."""
        places = (
            (day, number)
            for day in reversed(self._days(self.epoch_ns, end_ns))
            for number in reversed(self._numbers(day, self.epoch_ns, end_ns, kind))
        )
        return [self._render(*place) for place in islice(places, count)][::-1]

    def mood(self, day: int) -> int:
        """Return a Fear & Greed value for a day since the epoch's: 50 plus its texts' mean tone.

        Returns
        -------
        0 (fear) to 100 (greed).
        """
        tone = self.draws.day(day).tone
        mean = float(tone.mean()) if len(tone) else 0.0
        return round(min(max(50 + 600 * mean, 0), 100))

    def _days(self, start_ns: int, end_ns: int) -> range:
        first = (start_ns - self.draws.first_day_ns) // DAY_NS
        return range(first, (end_ns - 1 - self.draws.first_day_ns) // DAY_NS + 1)

    def _numbers(self, day: int, start_ns: int, end_ns: int, kind: Kind | None) -> list[int]:
        """Return the places in a day of its texts of a time and kind, in order."""
        drawn = self.draws.day(day)
        first, last = np.searchsorted(drawn.time_ns, (start_ns, end_ns)).tolist()
        if kind is None:
            return list(range(first, last))
        is_wanted = drawn.is_news[first:last] == (kind == "news")
        numbers: list[int] = (first + np.flatnonzero(is_wanted)).tolist()
        return numbers

    def _render(self, day: int, number: int) -> TextEvent:
        drawn = self.draws.day(day)
        rng = generator(self._config.seed, Stream.WORDS, day, number)
        place, tone = int(drawn.asset[number]), float(drawn.tone[number])
        asset = None if place == MARKET_WIDE else ASSETS[place]
        kind: Kind = "news" if drawn.is_news[number] else "post"
        title, body = _words(rng, asset, kind, _class_of(tone))
        identity = f"{self._config.seed}/{self.epoch_ns}/{day}/{number}"
        reach = float(rng.pareto(1.2)) * 4.0
        impact = tone * self._config.sentiment_strength if drawn.informative[number] else 0.0
        return TextEvent(
            hashlib.sha256(identity.encode()).hexdigest()[:16],
            int(drawn.time_ns[number]),
            asset.base if asset else None,
            kind,
            "Simulated Wire" if kind == "news" else f"trader{int(rng.integers(5_000)):04d}",
            title,
            body,
            min(int(reach), 200_000),
            min(int(reach * rng.random() * 0.4), 80_000),
            tone,
            impact,
        )


def _class_of(tone: float) -> Tone:
    if abs(tone) < 0.2:
        return "neutral"
    return "bullish" if tone > 0 else "bearish"


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _words(rng: np.random.Generator, asset: Asset | None, kind: str, tone: Tone) -> tuple[str, str]:
    """Return title and body."""
    known = phrases()
    template = _pick(rng, known.asset[tone][kind] if asset else known.market[tone])
    values = {
        "pct": int(rng.integers(2, 18)),
        "weeks": int(rng.integers(3, 12)),
        "millions": int(rng.integers(5, 900)),
        "day": _pick(rng, known.days),
    }
    if asset:
        values["name"] = _pick(rng, asset.names)
        values["tag"] = f"${asset.base}"
    title = template.format(**values)
    if kind == "news":
        return title, _pick(rng, known.bodies[tone])
    return f"{_pick(rng, known.openers)}{title}{_pick(rng, known.closers)}", ""
