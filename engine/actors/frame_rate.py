"""How many frames a second."""

from __future__ import annotations

import time


class FrameRate:
    """Frames a second between two looks."""

    def __init__(self) -> None:
        self._count, self._at = 0, time.monotonic()
        self._rate = 0.0

    def measure(self, count: int) -> float:
        """Return the rate since the last look; looks closer than half a second repeat it."""
        now = time.monotonic()
        if now - self._at >= 0.5:
            self._rate = round((count - self._count) / (now - self._at), 1)
            self._count, self._at = count, now
        return self._rate
