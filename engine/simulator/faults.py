"""Faults that a connection suffers on purpose, seeded and per connection."""

from __future__ import annotations

import heapq

from engine.clock import NS_PER_S
from engine.config import FaultsConfig
from engine.simulator.draws import Stream, generator

LATE_NS = 2 * NS_PER_S
"""Longest time a late frame is held back."""

STALL_S = (20.0, 40.0)
"""Shortest and longest silence of a stalled connection, seconds; what it misses is lost."""

GARBAGE = ("\x00\x01garbage", "{", "[]", "not json at all", '{"stream":', "<html>502</html>", '"')


class FaultInjector:
    """Decides what one connection really gets.

    Parameters
    ----------
    config
        How often what goes wrong.
    seed
        The simulation's seed.
    number
        Number of the connection, so that each has its own faults.
    now_ns
        When it was opened, UTC nanoseconds.
    """

    def __init__(self, config: FaultsConfig, seed: int, number: int, now_ns: int) -> None:
        self._config = config
        self._rng = generator(seed, Stream.FAULTS, number)
        self._late: list[tuple[int, int, str]] = []
        self._held = 0
        self._garbage_at = self._after(now_ns, _mean_s(config.garbage_per_minute))
        self._truncate_at = self._after(now_ns, _mean_s(config.truncated_per_minute))
        self._drop_at = self._after(now_ns, config.disconnect_every_s)
        self._stall_at = self._after(now_ns, config.stall_every_s)
        self._stalled_until = 0

    def must_drop(self, now_ns: int) -> bool:
        """Whether the connection breaks now."""
        return self._drop_at is not None and now_ns >= self._drop_at

    def stalled(self, now_ns: int) -> bool:
        """Whether the connection is open and silent now."""
        if self._stall_at is not None and now_ns >= self._stall_at:
            self._stalled_until = now_ns + int(self._rng.uniform(*STALL_S) * NS_PER_S)
            self._stall_at = self._after(self._stalled_until, self._config.stall_every_s)
        return now_ns < self._stalled_until

    def deliver(self, frame: str, now_ns: int, *, is_trade: bool) -> list[str]:
        """Return what arrives now instead of `frame`; a late one comes from `due`."""
        frames = []
        if self._garbage_at is not None and now_ns >= self._garbage_at:
            frames.append(GARBAGE[int(self._rng.integers(len(GARBAGE)))])
            self._garbage_at = self._after(now_ns, _mean_s(self._config.garbage_per_minute))
        if self._truncate_at is not None and now_ns >= self._truncate_at:
            frames.append(frame[: int(self._rng.integers(1, len(frame)))])
            self._truncate_at = self._after(now_ns, _mean_s(self._config.truncated_per_minute))
        if is_trade and self._chance(self._config.late_share):
            self._held += 1
            due = now_ns + int(self._rng.uniform(0.1, 1.0) * LATE_NS)
            heapq.heappush(self._late, (due, self._held, frame))
            return frames
        frames.append(frame)
        if is_trade and self._chance(self._config.duplicate_share):
            frames.append(frame)
        return frames

    def due(self, now_ns: int) -> list[str]:
        """Return the late frames whose time has come."""
        frames = []
        while self._late and self._late[0][0] <= now_ns:
            frames.append(heapq.heappop(self._late)[2])
        return frames

    def _chance(self, share: float) -> bool:
        return share > 0 and self._rng.random() < share

    def _after(self, now_ns: int, mean_s: float) -> int | None:
        """Draw when a rare thing happens next; never where `mean_s` is 0."""
        return now_ns + int(self._rng.exponential(mean_s) * NS_PER_S) if mean_s else None


def _mean_s(per_minute: float) -> float:
    return 60.0 / per_minute if per_minute else 0.0
