"""From what each member says of a text to what the ensemble says of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from engine.sentiment.ensemble.kinds import kind_of
from engine.sentiment.ensemble.parameters import EnsembleParameters, Member, Method
from engine.sentiment.probabilities import Triple, logs, shares, softmax

Said = Sequence[Triple | None]
"""Probabilities by each member, None where it could not read the text."""

Vote = Callable[[EnsembleParameters, Said, str], Triple]


def mean(said: Said, weights: Sequence[float]) -> Triple:
    """Return the weighted mean of those that could read the text.

    Where these all have the weight 0 they count the same.
    """
    heard = [(one, weight) for one, weight in zip(said, weights, strict=True) if one is not None]
    if not any(weight for _, weight in heard):
        heard = [(one, 1.0) for one, _ in heard]
    bearish, neutral, bullish = (
        math.fsum(one[label] * weight for one, weight in heard) for label in range(3)
    )
    return shares((bearish, neutral, bullish))


def soft(parameters: EnsembleParameters, said: Said, text: str) -> Triple:
    """Return the mean."""
    del text
    return mean(said, [1.0] * len(parameters.members))


def weighted(parameters: EnsembleParameters, said: Said, text: str) -> Triple:
    """Return the mean, weighted by how well each member did."""
    del text
    return mean(said, [member.weight for member in parameters.members])


def dynamic(parameters: EnsembleParameters, said: Said, text: str) -> Triple:
    """Return the mean, weighted by how well each member did on this kind of text."""
    kind = kind_of(text)
    return mean(said, [member.kinds[kind] for member in parameters.members])


def stacking(parameters: EnsembleParameters, said: Said, text: str) -> Triple:
    """Return what the model of the members' probabilities says; without one, the weighted vote."""
    whole = [one for one in said if one is not None]
    if len(whole) < len(said):
        return weighted(parameters, said, text)
    return softmax(stacked_logits(parameters.members, parameters.shifts, whole))


def stacked_logits(
    members: Sequence[Member], shifts: Triple, said: Sequence[Triple]
) -> list[float]:
    """Return the stacked model's logits."""
    heard = [(member.slopes, logs(one)) for member, one in zip(members, said, strict=True)]
    return [
        shifts[label] + math.fsum(slopes[label] * log[label] for slopes, log in heard)
        for label in range(3)
    ]


VOTES: Mapping[Method, Vote] = {
    "soft": soft,
    "weighted": weighted,
    "stacking": stacking,
    "dynamic": dynamic,
}


def combined(
    parameters: EnsembleParameters, method: Method, said: Said, text: str
) -> Triple | None:
    """Return what the ensemble says of a text.

    Parameters
    ----------
    parameters
        With the members in the order of `said`.
    method
        How they are put together.
    said
        What each member says, before its calibration.
    text
        The text, for its kind.

    Returns
    -------
    tuple or None
        None where no member can read the text.
    """
    own = [
        None if one is None else member.calibration.apply(one)
        for member, one in zip(parameters.members, said, strict=True)
    ]
    if all(one is None for one in own):
        return None
    together = VOTES[method](parameters, own, text)
    return parameters.calibrations[method].apply(together)
