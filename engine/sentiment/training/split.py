"""Parts of a set: for learning, for choosing, for the final word."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from engine.errors import ConfigError
from engine.sentiment.training.examples import Example, by_source


class Parts(NamedTuple):
    """Disjoint parts: no text, nor one that differs only in case or a link, is in two."""

    training: list[Example]
    validation: list[Example]
    """Chooses the epoch and the temperature."""
    test: list[Example]
    """Touched once, at the end."""


def stratified(examples: Sequence[Example], validation: float, test: float, seed: int = 0) -> Parts:
    """Split each source and label alike.

    Parameters
    ----------
    examples
        All of them.
    validation, test
        Shares, in [0, 1), together below 1.
    seed
        Another one draws another split.
    """
    parts = Parts([], [], [])
    strata: dict[tuple[str, str], dict[str, list[Example]]] = {}
    stratum_of: dict[str, tuple[str, str]] = {}
    for one in examples:
        stratum = stratum_of.setdefault(one.key, (one.source, one.label))
        strata.setdefault(stratum, {}).setdefault(one.key, []).append(one)
    for texts in strata.values():
        drawn = sorted(texts, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
        tested, checked = round(len(drawn) * test), round(len(drawn) * (test + validation))
        for place, key in enumerate(drawn):
            part = parts.training
            if place < checked:
                part = parts.test if place < tested else parts.validation
            part.extend(texts[key])
    return parts


def temporal(examples: Sequence[Example], validation: float, test: float) -> Parts:
    """Split each source by time: the newest are the test, those before them the validation.

    Parameters
    ----------
    examples
        Each with its time.
    validation, test
        Shares, in [0, 1), together below 1.

    Raises
    ------
    ConfigError
        Where a source does not say when its texts were published.
    """
    parts = Parts([], [], [])
    for source, some in by_source(examples).items():
        times = sorted(one.time for one in some if one.time is not None)
        if len(times) < len(some):
            raise ConfigError(
                f"{source}: {len(some) - len(times)} texts have no time, so they cannot be split "
                "by time; name the column in `time`, or set split to stratified"
            )
        # One moment behind the last, for parts that are empty.
        moments = [*times, times[-1] + 1]
        tested = moments[round(len(times) * (1.0 - test))]
        checked = moments[round(len(times) * (1.0 - test - validation))]
        late = {one.key for one in some if (one.time or 0) >= tested}
        middle = {one.key for one in some if (one.time or 0) >= checked} - late
        for one in some:
            part = parts.test if one.key in late else parts.training
            (parts.validation if one.key in middle else part).append(one)
    return parts
