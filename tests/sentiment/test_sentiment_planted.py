"""The simulator's tone is found again through text, mentions, lexicon and aggregate alone."""

import math
import statistics

import numpy as np
import pytest
from scipy.stats import spearmanr

from engine.clock import NS_PER_S
from engine.config import SimulatorConfig
from engine.domain.sentiment import Window
from engine.sentiment.aggregate import ScoredText
from engine.sentiment.aggregator import Aggregator
from engine.sentiment.lexicon import LexiconModel
from engine.simulator.listing import ASSETS
from engine.simulator.market import MarketProcess
from engine.simulator.news import NewsProcess
from engine.sources.mentions import MentionFinder

DAY = 24 * 3_600 * NS_PER_S
DAYS = 25


def mean_rank_ic(strength):
    """Return the mean daily rank IC of the 1d aggregate with the next day's return, and its t."""
    config = SimulatorConfig(seed=11, texts_per_hour=60.0, sentiment_strength=strength)
    market, model = MarketProcess(config), LexiconModel()
    bases = [asset.base for asset in ASSETS]
    finder = MentionFinder(f"{base}-USDT" for base in bases)
    aggregator = Aggregator(model.name, windows=[Window.D1])
    start = config.epoch_ns
    prices = market.log_prices(bases, [start + day * DAY for day in range(DAYS + 2)])
    prices = np.asarray(prices).reshape(len(bases), DAYS + 2)
    events = NewsProcess(config).texts(start, start + DAYS * DAY)
    coefficients = []
    for day in range(1, DAYS + 1):
        as_of = start + day * DAY
        today = [event for event in events if as_of - DAY <= event.time_ns < as_of]
        readings = model.score([f"{event.title}\n{event.body}" for event in today])
        for event, reading in zip(today, readings, strict=True):
            found = finder.find(f"{event.title}\n{event.body}")
            if reading is not None and found:
                aggregator.add(
                    ScoredText(
                        event.text_id, found, event.time_ns, reading.score, reading.label,
                        0.5, event.likes + event.reposts,
                    )
                )  # fmt: skip
        scores = {one.instrument: one.score for one in aggregator.aggregates(as_of)}
        pairs = [
            (scores[f"{base}-USDT"], prices[row, day + 1] - prices[row, day])
            for row, base in enumerate(bases)
            if scores.get(f"{base}-USDT") is not None
        ]
        coefficients.append(spearmanr(*zip(*pairs, strict=True)).statistic)
    mean = statistics.fmean(coefficients)
    return mean, mean / (statistics.stdev(coefficients) / math.sqrt(len(coefficients)))


def test_planted_strength_zero_gives_no_rank_ic():
    _, t_value = mean_rank_ic(0.0)
    assert abs(t_value) < 2


@pytest.mark.parametrize("strength", [0.5])
def test_planted_default_strength_is_found(strength):
    mean, t_value = mean_rank_ic(strength)
    assert mean > 0
    assert t_value > 3
