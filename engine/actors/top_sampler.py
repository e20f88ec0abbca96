"""Best bid and ask, thinned: the last of every interval is kept."""

from __future__ import annotations

from engine.domain.market import BookTop


class TopSampler:
    """Keeps one book top per market and interval of receive time: books coalesce, trades never.

    Parameters
    ----------
    every_ns
        Length of the interval; 0 keeps every one.
    """

    def __init__(self, every_ns: int) -> None:
        self.coalesced = 0
        """Tops that a newer one of the same interval took the place of."""
        self._every_ns = every_ns
        self._newest: dict[str, BookTop] = {}

    def sample(self, top: BookTop) -> list[BookTop]:
        """Take a top; return what an interval that is now over ended with."""
        if not self._every_ns:
            return [top]
        before = self._newest.get(top.instrument)
        self._newest[top.instrument] = top
        if before is None:
            return []
        if self._interval(before) == self._interval(top):
            self.coalesced += 1
            return []
        return [before]

    def _interval(self, top: BookTop) -> int:
        return top.receive_time // self._every_ns

    def due(self, now: int) -> list[BookTop]:
        """Return the tops whose interval is over though nothing came after them.

        Parameters
        ----------
        now
            UTC nanoseconds, by the clock that stamps receive times.
        """
        if not self._every_ns:
            return []
        current = now // self._every_ns
        over = [top for top in self._newest.values() if self._interval(top) < current]
        for top in over:
            del self._newest[top.instrument]
        return over

    def flush(self) -> list[BookTop]:
        """Return the newest top of every market not returned yet, and start afresh."""
        tops, self._newest = list(self._newest.values()), {}
        return tops
