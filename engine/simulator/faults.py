"""Faults that a connection suffers on purpose, seeded and per connection, and their count."""

from __future__ import annotations

import heapq
from collections import Counter
from functools import cache, partial
from typing import Literal, NamedTuple, get_args

import numpy as np

from engine.clock import NS_PER_S
from engine.config import FaultsConfig
from engine.simulator.draws import Stream, generator
from engine.simulator.listing import VENUES

FaultKind = Literal[
    "garbage",  # a frame that is no JSON
    "truncated",  # a frame cut in the middle; the whole one follows
    "duplicate",  # a trade frame sent twice
    "late",  # a trade frame held back
    "swapped",  # two frames in each other's place
    "lost",  # a trade or book frame not sent
    "disconnect",  # a connection broken without a closing handshake
    "cut",  # a connection closed for its age
    "stall",  # an open connection that falls silent
    "unsent",  # a trade or book frame that falls due in a stall: lost
    "rest_slow",  # an answer held back
    "rest_busy",  # 429
    "rest_banned",  # 418
    "rest_error",  # 5xx
    "deaf",  # a subscription that brings nothing any more
    "slow_client",  # the venue's own rules, from here on: a client that reads too slowly
    "no_pong",  # a client that does not answer pings
    "quiet",  # a connection on which nothing is sent
    "idle",  # a client that says nothing
    "chatty",  # a client that says too much
]
"""What is counted. The last five are no faults of the venue: it enforces its rules."""

FaultCounts = Counter[tuple[str, FaultKind]]
"""How often each happened, by venue and kind."""


class Ending(NamedTuple):
    """How a connection ends."""

    kind: Literal["disconnect", "cut"]
    is_abrupt: bool
    """Whether there is no closing handshake."""


LATE_NS = 2 * NS_PER_S
"""Longest time a late frame is held back."""

SWAP_NS = NS_PER_S
"""A frame that waits to change places goes out after this long if none follows it."""

GARBAGE = ("\x00\x01garbage", "{", "[]", "not json at all", '{"stream":', "<html>502</html>", '"')

_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)


def draws(seed: int, venue: str, number: int, kind: FaultKind) -> np.random.Generator:
    """Return the random numbers of one kind of fault of one connection.

    Each kind has its own, so that one fault's settings do not move another's moments.

    Parameters
    ----------
    seed
        The simulation's seed.
    venue
        Our name of it.
    number
        Number of the connection there, from 1; 0 stands for its REST.
    kind
        What is drawn for.
    """
    return generator(seed, Stream.FAULTS, VENUES.index(venue), number, _KINDS.index(kind))


class FaultInjector:
    """Decides what one connection really gets.

    The same settings, seed, venue, number and calls bring the same faults.

    Parameters
    ----------
    config
        How often what goes wrong.
    seed
        The simulation's seed.
    venue
        Our name of the venue.
    number
        Number of the connection there, from 1, so that each has its own faults.
    now_ns
        When it was opened, UTC nanoseconds.
    counts
        Where what happens is counted.
    """

    def __init__(
        self,
        config: FaultsConfig,
        seed: int,
        venue: str,
        number: int,
        now_ns: int,
        counts: FaultCounts,
    ) -> None:
        self._config = config
        self._venue = venue
        self._counts = counts
        self._rng = cache(partial(draws, seed, venue, number))
        self._late: list[tuple[int, int, str]] = []
        self._held = 0
        self._swapping: list[str] = []
        self._swap_by = 0
        self._next: dict[FaultKind, int | None] = {
            "garbage": self._after("garbage", now_ns, _mean_s(config.garbage_per_minute)),
            "truncated": self._after("truncated", now_ns, _mean_s(config.truncated_per_minute)),
            "disconnect": self._after("disconnect", now_ns, config.disconnect_every_s),
            "stall": self._after("stall", now_ns, config.stall_every_s),
            "deaf": self._after("deaf", now_ns, config.deaf_every_s),
            "cut": now_ns + int(config.cut_after_s * NS_PER_S) if config.cut_after_s else None,
        }
        self._stalled_until = 0

    # -- the connection ------------------------------------------------------------------

    def ending(self, now_ns: int) -> Ending | None:
        """Return how the connection ends now, None while it lasts."""
        if self._is_due("cut", now_ns):
            return Ending("cut", self._config.cut_abruptly)
        return Ending("disconnect", True) if self._is_due("disconnect", now_ns) else None

    def stalled(self, now_ns: int) -> bool:
        """Whether the connection is open and silent now."""
        if self._is_due("stall", now_ns):
            share = float(self._rng("stall").uniform(2 / 3, 4 / 3))
            self.stall(now_ns, share * self._config.stall_s)
            every_s = self._config.stall_every_s
            self._next["stall"] = self._after("stall", self._stalled_until, every_s)
        return now_ns < self._stalled_until

    def stall(self, now_ns: int, seconds: float) -> None:
        """Let the connection be open and silent from now on for so long."""
        self._stalled_until = max(self._stalled_until, now_ns + int(seconds * NS_PER_S))
        self.count("stall")

    def deafened(self, now_ns: int, subscriptions: int) -> int | None:
        """Return the place of the subscription that is forgotten now, None where none is.

        Parameters
        ----------
        now_ns
            The time, UTC nanoseconds.
        subscriptions
            How many the connection has.
        """
        if not subscriptions or not self._is_due("deaf", now_ns):
            return None
        self._again("deaf", now_ns, self._config.deaf_every_s)
        return int(self._rng("deaf").integers(subscriptions))

    def calm(self) -> None:
        """Commit no more faults; what is held back comes out at the next `due`."""
        self._config = FaultsConfig()
        self._next = dict.fromkeys(self._next)
        self._late = [(0, number, frame) for _, number, frame in self._late]
        self._swap_by = 0
        self._stalled_until = 0

    @property
    def touches_frames(self) -> bool:
        """Whether frames may suffer anything; where not, `deliver` would return each as it is."""
        config = self._config
        return bool(
            config.garbage_per_minute
            or config.truncated_per_minute
            or config.duplicate_share
            or config.late_share
            or config.swapped_share
            or config.lost_share
            or self._swapping
        )

    def count(self, kind: FaultKind, times: int = 1) -> None:
        """Count what happened to this connection."""
        self._counts[self._venue, kind] += times

    # -- its frames ----------------------------------------------------------------------

    def deliver(
        self, frame: str, now_ns: int, *, is_trade: bool = False, is_book: bool = False
    ) -> list[str]:
        """Return what arrives now instead of `frame`; one held back comes from `due`."""
        noise = self._noise(frame, now_ns)
        if not is_trade and not is_book:
            return [*noise, frame]
        if self._happens("lost", self._config.lost_share):
            return noise
        if is_trade and self._happens("late", self._config.late_share):
            self._held += 1
            wait = float(self._rng("late").uniform(0.1, 1.0)) * LATE_NS
            heapq.heappush(self._late, (now_ns + int(wait), self._held, frame))
            return noise
        frames = [frame]
        if is_trade and self._happens("duplicate", self._config.duplicate_share):
            frames.append(frame)
        return noise + self._swap(frames, now_ns)

    def due(self, now_ns: int) -> list[str]:
        """Return the frames held back whose time has come."""
        frames = []
        while self._late and self._late[0][0] <= now_ns:
            frames.append(heapq.heappop(self._late)[2])
        if self._swapping and self._swap_by <= now_ns:
            frames += self._swapping
            self._swapping = []
        return frames

    def _noise(self, frame: str, now_ns: int) -> list[str]:
        frames = []
        if self._is_due("garbage", now_ns):
            frames.append(GARBAGE[int(self._rng("garbage").integers(len(GARBAGE)))])
            self._again("garbage", now_ns, _mean_s(self._config.garbage_per_minute))
        if len(frame) > 1 and self._is_due("truncated", now_ns):
            frames.append(frame[: int(self._rng("truncated").integers(1, len(frame)))])
            self._again("truncated", now_ns, _mean_s(self._config.truncated_per_minute))
        return frames

    def _swap(self, frames: list[str], now_ns: int) -> list[str]:
        if self._swapping:
            self.count("swapped")
            frames, self._swapping = frames + self._swapping, []
        elif self._chance("swapped", self._config.swapped_share):
            self._swapping, self._swap_by = frames, now_ns + SWAP_NS
            frames = []
        return frames

    # -- draws ---------------------------------------------------------------------------

    def _is_due(self, kind: FaultKind, now_ns: int) -> bool:
        moment = self._next[kind]
        return moment is not None and now_ns >= moment

    def _again(self, kind: FaultKind, now_ns: int, mean_s: float) -> None:
        self.count(kind)
        self._next[kind] = self._after(kind, now_ns, mean_s)

    def _happens(self, kind: FaultKind, share: float) -> bool:
        happens = self._chance(kind, share)
        if happens:
            self.count(kind)
        return happens

    def _chance(self, kind: FaultKind, share: float) -> bool:
        return share > 0 and self._rng(kind).random() < share

    def _after(self, kind: FaultKind, now_ns: int, mean_s: float) -> int | None:
        """Draw when a rare thing happens next; never where `mean_s` is 0."""
        if not mean_s:
            return None
        return now_ns + int(self._rng(kind).exponential(mean_s) * NS_PER_S)


def _mean_s(per_minute: float) -> float:
    return 60.0 / per_minute if per_minute else 0.0
