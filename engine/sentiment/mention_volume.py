"""How many texts speak of an instrument, and how unusual that is.

The volume of a window is compared with those of the windows of the same length before it, end to
end, point in time:

    surprise = (ln(1 + volume) - mean) / max(deviation, exp(-mean / 2))

with the mean and the standard deviation of ``ln(1 + volume)`` over the windows before. The second
term below is what chance alone would give (a Poisson count of mean *v* varies by about
``1 / sqrt(1 + v)`` in its logarithm), so that a first mention after silence is no sensation.

A window in which nothing at all was read, of any instrument, says nothing: perhaps nobody was
listening. It is left out. Where too few are left, or the very window before is one of them (what
was published while we were away then comes at once, and would look like a storm), there is no
surprise to speak of: None.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from engine.domain.sentiment import Window


@dataclass(frozen=True, slots=True)
class Trailing:
    """Which windows a window is compared with."""

    most: int
    """How many windows before it."""
    fewest: int
    """How many of them must have been watched."""


TRAILING: Mapping[Window, Trailing] = {
    Window.H1: Trailing(168, 48),
    Window.H4: Trailing(42, 18),
    Window.D1: Trailing(28, 7),
    Window.W1: Trailing(8, 4),
}
"""A whole week for the short windows: nights and weekends are quieter."""


def reach_ns(window: Window) -> int:
    """Return how far back texts matter to a window's surprise, nanoseconds."""
    return (TRAILING[window].most + 1) * window.ns


def volumes(times: Sequence[int], window: Window, as_of: int) -> list[int]:
    """Count the texts of a window and of those before it.

    Parameters
    ----------
    times
        When texts became available, UTC nanoseconds, ascending.
    window
        Length of each.
    as_of
        End of the newest, which is part of it; its start is not.

    Returns
    -------
    list of int
        The window's own, then the one before, and so on: ``TRAILING[window].most + 1``.
    """
    length, edges = window.ns, range(TRAILING[window].most + 2)
    counts = [bisect_right(times, as_of - number * length) for number in edges]
    return [newer - older for newer, older in pairwise(counts)]


def surprise(own: Sequence[int], every: Sequence[int], fewest: int) -> float | None:
    """Return how unusual the newest volume is; see the module's formula.

    Parameters
    ----------
    own
        Volumes of an instrument, newest first, as `volumes` gives them.
    every
        Volumes of all texts, whatever they speak of, likewise: where 0, nothing was read.
    fewest
        Windows that must have been watched before.

    Examples
    --------
    >>> surprise([0, 0, 0], [1, 1, 1], 2), surprise([3, 3, 3], [9, 9, 9], 2)
    (0.0, 0.0)
    >>> surprise([9, 1, 1], [9, 0, 5], 1) is None
    True
    """
    if not (every[0] and every[1]):
        return None
    pairs = zip(own[1:], every[1:], strict=True)
    before = [math.log1p(volume) for volume, any_text in pairs if any_text]
    if len(before) < fewest:
        return None
    mean = math.fsum(before) / len(before)
    squares = math.fsum((each - mean) ** 2 for each in before)
    deviation = math.sqrt(squares / len(before))
    return (math.log1p(own[0]) - mean) / max(deviation, math.exp(-mean / 2))
