"""What several files hold together: bars told twice, silences, missing bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.domain.timeframe import Timeframe
from engine.imports.census import DUPLICATES, Census
from engine.imports.generations import Span
from engine.imports.problem import Flaw
from engine.imports.runs import NO_RUNS, Runs, Times, holes, overlap, union

PLAUSIBLE_SHARE = 0.5
"""Where more than this share of the other instruments is silent at the same time, the files have
a hole; no ticker was used again."""

Keys = tuple[NDArray[np.int64], Times, NDArray[np.uint64]]
"""Places, times and digests of rows; see `engine.imports.census.keys_within`."""


@dataclass(slots=True)
class Shared:
    """Bars of one instrument and timeframe that several files may tell."""

    runs: dict[int, Runs] = field(default_factory=dict)
    """Number of the file -> where it overlaps with others."""


def shared(censuses: Sequence[Census]) -> dict[tuple[str, Timeframe], Shared]:
    """Return where files overlap, by instrument and timeframe."""
    found: dict[tuple[str, Timeframe], Shared] = {}
    for key, covers in _covers(censuses).items():
        reach: list[tuple[int, Runs]] = []
        for number, runs in sorted(covers.items(), key=lambda cover: int(cover[1][0, 0])):
            reach = [(other, theirs) for other, theirs in reach if theirs[-1, 1] > runs[0, 0]]
            for other, theirs in reach:
                both = overlap(runs, theirs)
                if len(both):
                    into = found.setdefault(key, Shared()).runs
                    for each in (number, other):
                        into[each] = union([into.get(each, NO_RUNS), both])
            reach.append((number, runs))
    return found


def settle(censuses: Sequence[Census], keys: Mapping[int, Keys]) -> None:
    """Keep the first of equal rows of several files; mark rows that contradict each other.

    Parameters
    ----------
    censuses
        Of all files; changed in place.
    keys
        Number of the file -> its rows of one instrument and timeframe where files overlap.
    """
    numbers = sorted(keys)
    owners = np.concatenate([np.full(len(keys[n][0]), n) for n in numbers])
    places, times, digests = (np.concatenate([keys[n][i] for n in numbers]) for i in range(3))
    order = np.lexsort((places, owners, times))
    same = np.concatenate([[False], np.diff(times[order]) == 0])
    groups = np.cumsum(~same) - 1
    firsts = np.flatnonzero(~same)
    differs = digests[order] != digests[order][firsts[groups]]
    torn = np.isin(groups, groups[differs])
    for number in numbers:
        mine = owners[order] == number
        censuses[number].mark(places[order][mine & torn], Flaw.CONTRADICTS)
        censuses[number].drop(places[order][mine & same & ~torn], DUPLICATES)


def spans(censuses: Sequence[Census], silence: int) -> dict[str, list[Span]]:
    """Return when each instrument traded, cut where it was silent for longer than `silence`.

    It is not cut where most of the others were silent too. It has ended where the file that holds
    its last bar goes on with others for longer than that.
    """
    traded = {
        name: union(each.traded[name] for each in censuses if name in each.traded)
        for name in sorted({name for census in censuses for name in census.traded})
    }
    traded = {name: runs for name, runs in traded.items() if len(runs)}
    found: dict[str, list[Span]] = {}
    for name, runs in traded.items():
        joined = union([runs], bridge=silence)
        breaks = [hole for hole in holes(joined) if not _all_silent(name, hole, traded)]
        edges = [int(joined[0, 0]), *(int(t) for hole in breaks for t in hole), int(joined[-1, 1])]
        pairs = list(zip(edges[::2], edges[1::2], strict=True))
        found[name] = [Span(start, end, has_ended=True) for start, end in pairs[:-1]]
        start, end = pairs[-1]
        found[name].append(Span(start, end, has_ended=_goes_on(name, end, censuses, silence)))
    return found


def missing(
    censuses: Sequence[Census], seams: Mapping[str, Sequence[int]]
) -> dict[tuple[str, Timeframe], int]:
    """Return how many bars lie between the first and the last and are not told, where any are.

    Parameters
    ----------
    censuses
        Of all files.
    seams
        Instrument -> where another one begins: the silence before is not missing.
    """
    found: dict[tuple[str, Timeframe], int] = {}
    for (name, timeframe), covers in _covers(censuses).items():
        between = holes(union(covers.values()))
        starts = np.array(seams.get(name, ()), np.int64)
        if len(starts):
            # A seam lies at the end of its silence, or inside where another timeframe is finer.
            is_seam = [bool(((starts > low) & (starts <= high)).any()) for low, high in between]
            between = between[~np.array(is_seam, bool)] if len(between) else between
        number = int((between[:, 1] - between[:, 0]).sum()) // timeframe.ns
        if number:
            found[name, timeframe] = number
    return found


def _covers(censuses: Sequence[Census]) -> dict[tuple[str, Timeframe], dict[int, Runs]]:
    covers: dict[tuple[str, Timeframe], dict[int, Runs]] = {}
    for number, census in enumerate(censuses):
        for name, runs in census.told.items():
            covers.setdefault((name, census.timeframe), {})[number] = runs
    return covers


def _all_silent(name: str, hole: NDArray[np.int64], traded: Mapping[str, Runs]) -> bool:
    """Say whether most of the others that trade before and after it are silent too."""
    others = [
        runs
        for other, runs in traded.items()
        if other != name and runs[0, 0] < hole[0] and runs[-1, 1] > hole[1]
    ]
    silent = sum(not len(overlap(runs, hole[None, :])) for runs in others)
    return bool(others) and silent > PLAUSIBLE_SHARE * len(others)


def _goes_on(name: str, end: int, censuses: Sequence[Census], silence: int) -> bool:
    """Say whether the file with an instrument's last bar goes on without it."""
    holders = [c for c in censuses if name in c.traded and len(c.traded[name])]
    last = max(holders, key=lambda census: int(census.traded[name][-1, 1]))
    reach = max(int(runs[-1, 1]) for runs in last.traded.values() if len(runs))
    return reach - end > silence
