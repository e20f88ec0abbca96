"""What a look at all files comes to, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from engine.domain.timeframe import Timeframe
from engine.imports.census import Census
from engine.imports.problem import REASONS, Flaw, reason_of

MOST_TOLD = 5
"""Files, rows or instruments that a sentence names."""


def verdict(censuses: Sequence[Census], unusable: Mapping[str, str]) -> str:
    """Return, in a sentence or two, why an import must not begin; empty where it may.

    Parameters
    ----------
    censuses
        Of the files that can be read.
    unusable
        File -> why it cannot be used at all; each names its file.
    """
    told = list(unusable.values())
    for census in censuses:
        if census.bad:
            samples = "; ".join(sample.text for sample in census.samples[:2])
            more = census.bad - min(2, len(census.samples))
            rest = f"; and {more:,} more" if more else ""
            told.append(f"{census.file.name}: {samples or _reasons(census)}{rest}")
    if not told:
        return ""
    shown = ". ".join(told[:MOST_TOLD])
    others = f". {len(told) - MOST_TOLD} more files are not sound" if len(told) > MOST_TOLD else ""
    return (
        f"nothing was written: {shown}{others}. Mend the files, or import what is sound with "
        "--skip-bad"
    )


def flaws(censuses: Sequence[Census]) -> Counter[str]:
    """Return how many rows of all files are no candles, by reason."""
    found: Counter[str] = Counter()
    for census in censuses:
        found[reason_of(Flaw.MALFORMED)] += len(census.lines)
        for flaw in REASONS:
            found[reason_of(flaw)] += int((census.flaws == flaw).sum())
    return +found


def worst(missing: Mapping[tuple[str, Timeframe], int]) -> str:
    """Put missing bars into words: how many, and where most of them are."""
    if not missing:
        return "none"
    ranked = sorted(missing.items(), key=lambda entry: (-entry[1], entry[0]))
    several = len({timeframe for _, timeframe in missing}) > 1
    names = [
        f"{name}{f' {timeframe}' if several else ''} {number:,}"
        for (name, timeframe), number in ranked[:MOST_TOLD]
    ]
    rest = f", {len(ranked) - MOST_TOLD} others fewer" if len(ranked) > MOST_TOLD else ""
    return f"{sum(missing.values()):,}: {', '.join(names)}{rest}"


def _reasons(census: Census) -> str:
    counted = flaws([census])
    return ", ".join(f"{number:,} rows: {reason}" for reason, number in counted.most_common())
