"""What no sound model can come from, refused before hours are spent on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.errors import ConfigError
from engine.sentiment.base import LABELS
from engine.sentiment.encoder.wording import is_readable
from engine.sentiment.training.examples import Example

FEWEST_READABLE = 0.5
"""Share of a part's texts that must hold something to read."""


def check_parts(parts: Mapping[str, Sequence[Example]], least_per_label: int) -> None:
    """Refuse what no sound model can come from.

    Parameters
    ----------
    parts
        By name, in the order in which they are looked at.
    least_per_label
        Fewest texts of each label in each part.

    Raises
    ------
    ConfigError
        Where a part holds mostly empty texts, or too few of a label.
    """
    for name, examples in parts.items():
        said = sum(is_readable(one.origin or one.text) for one in examples)
        if said < FEWEST_READABLE * len(examples):
            raise ConfigError(
                f"{len(examples) - said} of the {len(examples)} texts for {name} are empty or "
                "cannot be read: name the right column in columns.text"
            )
        for label in LABELS:
            count = sum(one.label == label for one in examples)
            if count < least_per_label:
                raise ConfigError(
                    f"{count} of the {len(examples)} texts for {name} are {label}, at least "
                    f"{least_per_label} are needed: give more texts, or change validation and test"
                )
