"""What texts say and do: their times, tones and the effect planted in prices.

An informative text of tone ``a`` about an asset adds ``strength * a * sigma * ramp`` to its log
price for good, where the ramp rises linearly from 0 to 1 over the lead time. The draws do not
depend on the strength: strength 0 is the same world without the effect.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.clock import NS_PER_S
from engine.config import SimulatorConfig
from engine.simulator.draws import Floats, Integers, Stream, generator
from engine.simulator.listing import ASSETS
from engine.simulator.skeleton import BLOCK_DAYS

DAY_NS = 86_400 * NS_PER_S

MARKET_WIDE = -1
"""Asset of a text about the whole market; such texts move nothing."""

_MARKET_SHARE = 0.10
_TONE_SHARES = (0.28, 0.44, 0.28)


class TextDraws(NamedTuple):
    """The texts of one day in time order, unrendered; arrays of one length."""

    time_ns: Integers
    """UTC nanoseconds."""
    asset: Integers
    """Place in `ASSETS`, or `MARKET_WIDE`."""
    tone: Floats
    """What it says, in [-1, 1]."""
    informative: NDArray[np.bool_]
    """Whether its tone moves the price."""
    is_news: NDArray[np.bool_]
    """Headline (else post)."""


class TextProcess:
    """Random access to the texts' draws, by day since the epoch's.

    Parameters
    ----------
    config
        Seed, rate and share of noise.
    first_day_ns
        Midnight (UTC) of the epoch's day.
    """

    def __init__(self, config: SimulatorConfig, first_day_ns: int) -> None:
        self._config = config
        self.first_day_ns = first_day_ns
        weights = np.sqrt(np.array([asset.activity for asset in ASSETS]))
        self._chances = np.cumsum(weights / weights.sum())
        self.day = lru_cache(64)(self._day)

    def _day(self, day: int) -> TextDraws:
        """Draw the texts of day `day`."""
        rng = generator(self._config.seed, Stream.TEXTS, day)
        count = int(rng.poisson(self._config.texts_per_hour * 24))
        offset = np.sort((rng.random(count) * DAY_NS).astype(np.int64))
        asset = np.searchsorted(self._chances, rng.random(count), side="right")
        asset = np.minimum(asset, len(ASSETS) - 1).astype(np.int64)
        asset[rng.random(count) < _MARKET_SHARE] = MARKET_WIDE
        kind = np.searchsorted(np.cumsum(_TONE_SHARES), rng.random(count), side="right") - 1
        size = rng.random(count)
        tone = np.where(kind == 0, (size - 0.5) * 0.1, kind * (0.35 + 0.65 * size))
        informative = (rng.random(count) >= self._config.sentiment_noise) & (asset != MARKET_WIDE)
        is_news = rng.random(count) < 0.35
        time_ns = self.first_day_ns + day * DAY_NS + offset
        return TextDraws(time_ns, asset, tone, informative, is_news)


class _Effect(NamedTuple):
    """One asset's informative texts with running sums, times in hours since the first day."""

    hours: list[float]
    tone: Floats
    """Sum of the tones of the first n texts, n from 0."""
    tone_hours: Floats
    """Sum of tone times hour."""


class PlantedSentiment:
    """The planted part of log prices at any time.

    Parameters
    ----------
    config
        Strength and lead time.
    texts
        The texts.
    """

    def __init__(self, config: SimulatorConfig, texts: TextProcess) -> None:
        self._strength = config.sentiment_strength
        self._lead_h = config.sentiment_lead_h
        self._texts = texts
        self._days: list[TextDraws] = []
        self._effects: list[_Effect] = []

    def log_price(self, asset: int, times: Integers) -> Floats:
        """Return what texts added to `asset`'s log price by `times`.

        Parameters
        ----------
        asset
            Place in `ASSETS`.
        times
            UTC nanoseconds, ascending, from the epoch's day on.
        """
        if self._strength == 0.0 or not len(times):
            return np.zeros(len(times))
        self._extend(int((times[-1] - self._texts.first_day_ns) // DAY_NS))
        effect = self._effects[asset]
        hours = (times - self._texts.first_day_ns) / (3_600 * NS_PER_S)
        gained = _integral(effect, hours) - _integral(effect, hours - self._lead_h)
        return self._strength * ASSETS[asset].daily_volatility / self._lead_h * gained

    def _extend(self, day: int) -> None:
        if day < len(self._days):
            return
        target = (day // BLOCK_DAYS + 1) * BLOCK_DAYS
        self._days += [self._texts.day(number) for number in range(len(self._days), target)]
        asset = np.concatenate([draws.asset[draws.informative] for draws in self._days])
        tone = np.concatenate([draws.tone[draws.informative] for draws in self._days])
        time_ns = np.concatenate([draws.time_ns[draws.informative] for draws in self._days])
        hours = (time_ns - self._texts.first_day_ns) / (3_600 * NS_PER_S)
        self._effects = [
            _Effect(
                hours[asset == index].tolist(),
                np.concatenate(([0.0], np.cumsum(tone[asset == index]))),
                np.concatenate(([0.0], np.cumsum((tone * hours)[asset == index]))),
            )
            for index in range(len(ASSETS))
        ]


def _integral(effect: _Effect, hours: Floats) -> Floats:
    """Return the sum over texts before each hour of tone times the time since."""
    first = bisect_right(effect.hours, float(hours[0]))
    last = bisect_right(effect.hours, float(hours[-1]))
    window = np.array(effect.hours[first:last])
    seen = first + np.searchsorted(window, hours, side="right")
    return np.asarray(hours * effect.tone[seen] - effect.tone_hours[seen], dtype=np.float64)
