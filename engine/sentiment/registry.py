"""Sentiment models by the name the configuration gives them."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from engine.errors import ConfigError
from engine.sentiment.base import SentimentModel

_MODULES = {"lexicon": "engine.sentiment.lexicon"}
"""Where each one lives: imported only when asked for, since some load heavy libraries."""

_FACTORIES: dict[str, Callable[[], SentimentModel]] = {}


def register(name: str) -> Callable[[type], type]:
    """Enter a model's class under the name the configuration uses.

    Parameters
    ----------
    name
        Without the version, for example ``lexicon``.

    Returns
    -------
    decorator
        Gives back the class unchanged; the class is built without arguments.
    """

    def enter(model: type) -> type:
        _FACTORIES[name] = model
        return model

    return enter


def sentiment_model(name: str) -> SentimentModel:
    """Load a model.

    Parameters
    ----------
    name
        As in the configuration's ``sentiment.model``.

    Raises
    ------
    ConfigError
        Where no model has that name; it lists those that exist.
    """
    if name not in _FACTORIES and name in _MODULES:
        importlib.import_module(_MODULES[name])
    factory = _FACTORIES.get(name)
    if factory is None:
        known = ", ".join(sorted(_MODULES | _FACTORIES))
        raise ConfigError(f"sentiment model {name!r} is unknown; known: {known}")
    return factory()
