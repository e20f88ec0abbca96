"""Three probabilities of one text: from logits and back, in plain floats.

One text at a time and without a vector library: the last bit then cannot depend on which other
texts were in the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.sentiment.base import TextSentiment

Triple = tuple[float, float, float]
"""Of bearish, neutral and bullish, in this order."""

FLOOR = 1e-6
"""Least probability of which a logarithm is taken: a model that is sure may still be wrong."""


def triple_of(reading: TextSentiment) -> Triple:
    """Return a reading's probabilities."""
    return reading.bearish, reading.neutral, reading.bullish


def reading_of(probabilities: Triple) -> TextSentiment:
    """Return the reading that has these probabilities.

    Parameters
    ----------
    probabilities
        At least 0 each, 1 together up to rounding.

    Examples
    --------
    >>> reading_of((0.125, 0.25, 0.625)).score
    0.5
    """
    bearish, neutral, bullish = probabilities
    score = min(1.0, max(-1.0, bullish - bearish))
    # Rounding may leave a last bit too much for the three to fit together.
    return TextSentiment.of(score, min(max(0.0, neutral), 1.0 - abs(score)))


def logs(probabilities: Triple) -> Triple:
    """Return natural logarithms; of `FLOOR` where a probability is less."""
    bearish, neutral, bullish = (math.log(max(FLOOR, one)) for one in probabilities)
    return bearish, neutral, bullish


def softmax(logits: Sequence[float]) -> Triple:
    """Return the probabilities of three logits.

    Examples
    --------
    >>> softmax((0.0, 0.0, 0.0))
    (0.3333333333333333, 0.3333333333333333, 0.3333333333333333)
    """
    most = max(logits)
    bearish, neutral, bullish = (math.exp(one - most) for one in logits)
    total = bearish + neutral + bullish
    return bearish / total, neutral / total, bullish / total


def shares(weights: Sequence[float]) -> Triple:
    """Return three numbers of at least 0, divided by their sum; thirds where all are 0."""
    bearish, neutral, bullish = weights
    total = bearish + neutral + bullish
    if total <= 0.0:
        return 1 / 3, 1 / 3, 1 / 3
    return bearish / total, neutral / total, bullish / total
