"""How many sentiment replicas are wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass

MORE_AFTER_S = 3.0
"""More are wanted where texts have waited so long for them."""

FEWER_AFTER_S = 60.0
"""Fewer, where they were not needed for so long: loading a model takes seconds."""


@dataclass(slots=True)
class SentimentScaling:
    """Decides from how many texts wait; one replica more or less at a time.

    Parameters
    ----------
    least, most
        Bounds.
    batch_texts
        Texts that a replica works on at once: it has enough to do while so many wait.
    """

    least: int
    most: int
    batch_texts: int
    _short_since: float | None = None
    _idle_since: float | None = None

    def wanted(self, replicas: int, waiting: int, now: float) -> int:
        """Say how many replicas there should be.

        Parameters
        ----------
        replicas
            How many there are.
        waiting
            Texts without an answer, at all of them together.
        now
            Monotonic seconds.
        """
        needed = max(self.least, min(self.most, math.ceil(waiting / self.batch_texts)))
        self._short_since = _since(self._short_since, needed > replicas, now)
        self._idle_since = _since(self._idle_since, needed < replicas, now)
        if self._short_since is not None and now - self._short_since >= MORE_AFTER_S:
            self._short_since = None
            return replicas + 1
        if self._idle_since is not None and now - self._idle_since >= FEWER_AFTER_S:
            self._idle_since = None
            return replicas - 1
        return replicas


def _since(before: float | None, lasts: bool, now: float) -> float | None:
    """Return since when something has been so; None where it is not."""
    if not lasts:
        return None
    return now if before is None else before
