"""What the labels of somebody else's classifier mean."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engine.domain.sentiment import Label
from engine.errors import ConfigError
from engine.sentiment.base import LABELS

_MEANINGS: Mapping[Label, tuple[str, ...]] = {
    "bearish": ("bearish", "negative", "neg", "bear", "sell", "down"),
    "neutral": ("neutral", "neu", "hold", "mixed"),
    "bullish": ("bullish", "positive", "pos", "bull", "buy", "up"),
}
_WORD = re.compile(r"[a-z]+")
_NUMBERED = re.compile(r"label[_ ]?\d+|\d+", re.IGNORECASE)


def label_places(
    model: str, id2label: Mapping[int, str], asked: Mapping[str, Label]
) -> tuple[int, ...]:
    """Return for each output of a classifier which of our labels it speaks for.

    Parameters
    ----------
    model
        What to call it in errors.
    id2label
        Its outputs, from 0, and what it calls them.
    asked
        The configuration's ``sentiment.hf.labels``: its label, or the output's number -> ours.

    Returns
    -------
    tuple of int
        Places in `engine.sentiment.base.LABELS`. Several outputs may speak for one label.

    Raises
    ------
    ConfigError
        Where the names leave doubt, or the mapping misses one or names what is not there.
    """
    if sorted(id2label) != list(range(len(id2label))) or len(id2label) < 2:
        raise ConfigError(
            f"the model {model} has {len(id2label)} output(s): a classifier with two or more is "
            "needed, not one that was trained for something else"
        )
    names = {number: id2label[number].strip() for number in sorted(id2label)}
    found = _mapped(model, names, asked) if asked else _guessed(model, names)
    if not {"bearish", "bullish"} <= set(found):
        raise ConfigError(
            f"the labels of the model {model} ({', '.join(names.values())}) do not tell bullish "
            "from bearish: map at least one output to each in sentiment.hf.labels"
        )
    return tuple(LABELS.index(label) for label in found)


def _mapped(model: str, names: Mapping[int, str], asked: Mapping[str, Label]) -> list[Label]:
    given = {name.strip().lower(): label for name, label in asked.items()}
    known = {name.lower() for name in names.values()} | {str(number) for number in names}
    for name in given:
        if name not in known:
            raise ConfigError(
                f"sentiment.hf.labels.{name}: the model {model} has no such label; it has "
                f"{', '.join(names.values())}"
            )
    found = []
    for number, name in names.items():
        label = given.get(name.lower(), given.get(str(number)))
        if label is None:
            raise ConfigError(
                f"sentiment.hf.labels does not say what {name!r} of the model {model} means: add "
                f"it (bearish, neutral or bullish)"
            )
        found.append(label)
    return found


def _guessed(model: str, names: Mapping[int, str]) -> list[Label]:
    found = []
    for name in names.values():
        words = set(_WORD.findall(name.lower()))
        meant = [label for label, same in _MEANINGS.items() if words & set(same)]
        if len(meant) != 1:
            why = "are numbers" if _NUMBERED.fullmatch(name) else f"leave {name!r} in doubt"
            raise ConfigError(
                f"what the labels of the model {model} mean is not known, they {why}: say it in "
                f"sentiment.hf.labels, for example {{'{name}': bearish, …}}; it has "
                f"{', '.join(names.values())}"
            )
        found.append(meant[0])
    return found
