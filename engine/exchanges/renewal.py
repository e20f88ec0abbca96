"""How often a connection is replaced because a subscription of it is gone."""

from __future__ import annotations

FIRST_S = 60.0
"""A connection younger than this is not replaced: its subscriptions were just asked for."""

MOST_S = 3_600.0
"""Each renewal doubles that age, up to this: what the venue refuses for good costs a connection an
hour."""

FORGOTTEN_S = 2 * MOST_S
"""After so long without a renewal the age is the first again."""


class RenewalPace:
    """Says from which age on a connection may be replaced for its subscriptions.

    All times are seconds of one monotonic clock.

    Examples
    --------
    >>> pace = RenewalPace()
    >>> pace.due(began=100.0, now=100.0)
    160.0
    >>> pace.renewed(now=160.0)
    >>> pace.due(began=160.0, now=160.0)
    280.0
    """

    def __init__(self) -> None:
        self._age_s = FIRST_S
        self._renewed_at: float | None = None

    def due(self, began: float, now: float) -> float:
        """Return when a connection that began then may be replaced."""
        return began + self._age(now)

    def renewed(self, now: float) -> None:
        """Take note that a connection is replaced."""
        self._age_s = min(2 * self._age(now), MOST_S)
        self._renewed_at = now

    def _age(self, now: float) -> float:
        if self._renewed_at is None or now - self._renewed_at > FORGOTTEN_S:
            return FIRST_S
        return self._age_s
