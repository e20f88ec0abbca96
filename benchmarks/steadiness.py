"""What a long run's figures say: is memory flat, and which process is whose."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import psutil

WARM_UP_SHARE = 0.2
"""First part of a run that is not judged: caches fill, and the interpreter's pools grow."""

FLAT_SHARE = 0.05
"""Memory is flat where it stays within plus or minus this share of its median."""


class Steadiness(NamedTuple):
    """How one figure moved over a run."""

    start: float
    """First value that is judged."""
    end: float
    """Last one."""
    slope: float
    """Least squares, per minute."""
    swing: float
    """(largest - smallest) / (2 x median): plus or minus so much."""

    @property
    def is_flat(self) -> bool:
        """Whether it stayed within `FLAT_SHARE`."""
        return self.swing <= FLAT_SHARE


def steadiness(seconds: Sequence[float], values: Sequence[float]) -> Steadiness:
    """Judge a series after its warm-up.

    Parameters
    ----------
    seconds
        When each value was taken, ascending.
    values
        The figures, positive, at least two after the warm-up.

    Examples
    --------
    >>> steadiness([0, 60, 120, 180, 240], [10, 100, 102, 104, 106])
    Steadiness(start=100, end=106, slope=2.0, swing=0.029126213592233011)
    """
    begin = seconds[0] + WARM_UP_SHARE * (seconds[-1] - seconds[0])
    kept = [(at / 60, value) for at, value in zip(seconds, values, strict=True) if at >= begin]
    minutes, judged = [at for at, _ in kept], [value for _, value in kept]
    swing = (max(judged) - min(judged)) / (2 * statistics.median(judged))
    slope = statistics.linear_regression(minutes, judged).slope
    return Steadiness(judged[0], judged[-1], slope, swing)


class Memory:
    """Resident memory of processes over time, added up by part.

    Parameters
    ----------
    parts
        Process -> the part of the engine that it belongs to.
    """

    def __init__(self, parts: Mapping[psutil.Process, str]) -> None:
        self._parts = parts
        self.seconds: list[float] = []
        self.mib: dict[str, list[float]] = {}
        """Part -> MiB, one for each of `seconds`; shared pages count in each process."""
        self.cpu_s: dict[str, list[float]] = {}
        """Part -> processor time so far, s."""

    def look(self, second: float) -> None:
        """Take one sample.

        Raises
        ------
        RuntimeError
            Where a process has ended: what follows would be another run's memory.
        """
        mib = dict.fromkeys(self._parts.values(), 0.0)
        cpu_s = dict.fromkeys(self._parts.values(), 0.0)
        for process, part in self._parts.items():
            try:
                mib[part] += process.memory_info().rss / 2**20
                cpu_s[part] += sum(process.cpu_times()[:2])
            except psutil.NoSuchProcess:
                raise RuntimeError(f"{part} (process {process.pid}) ended during the run") from None
        self.seconds.append(second)
        for part, value in mib.items():
            self.mib.setdefault(part, []).append(value)
            self.cpu_s.setdefault(part, []).append(cpu_s[part])

    def total(self, parts: Iterable[str]) -> list[float]:
        """Return the sum of some parts, sample by sample."""
        return [sum(values) for values in zip(*(self.mib[part] for part in parts), strict=True)]

    def cores(self, part: str) -> float:
        """Return the processor time of a part over the whole run, in cores."""
        used = self.cpu_s[part][-1] - self.cpu_s[part][0]
        return used / (self.seconds[-1] - self.seconds[0])
