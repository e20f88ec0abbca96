"""Sentiment models by the name the configuration gives them."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from engine.errors import ConfigError
from engine.sentiment.base import SentimentModel
from engine.sentiment.choice import AUTO, best_model
from engine.settings.sentiment import SentimentConfig

HUGGING_FACE = "hf:"
"""Begin of a name that goes on with a repository of the Hugging Face hub, or a folder."""

_MODULES: Mapping[str, str] = {
    "lexicon": "engine.sentiment.lexicon",
    "lexicon-calibrated": "engine.sentiment.calibration.model",
    "tfidf": "engine.sentiment.tfidf",
    "tfidf-stocks": "engine.sentiment.tfidf",
    "minilm": "engine.sentiment.minilm",
    "minilm-stocks": "engine.sentiment.minilm",
    "lstm": "engine.sentiment.lstm",
    "ensemble": "engine.sentiment.ensemble.configured",
}
"""Where each one lives: imported only when asked for, since some load heavy libraries."""


class Factory(Protocol):
    """Makes a model as the configuration wants it."""

    def __call__(self, config: SentimentConfig) -> SentimentModel:
        """Return the model, ready to read."""
        ...


GpuUse = Callable[[SentimentConfig], bool]
"""Whether a model, as the configuration wants it, computes on a GPU where it is given one."""

_FACTORIES: dict[str, Factory] = {}
_GPU_USES: dict[str, GpuUse] = {}
"""Of those that can use one at all."""

_Model = TypeVar("_Model", bound=Callable[[], SentimentModel])
_Configured = TypeVar("_Configured", bound=Factory)


def register(name: str, *, can_use_gpu: bool = False) -> Callable[[_Model], _Model]:
    """Enter a model's class under the name the configuration uses.

    Parameters
    ----------
    name
        Without the version, for example ``lexicon``.
    can_use_gpu
        Whether it computes on a GPU where it is given one; none is reserved for one that cannot.

    Returns
    -------
    decorator
        Gives back the class unchanged; the class is built without arguments.
    """

    def enter(model: _Model) -> _Model:
        def build(config: SentimentConfig) -> SentimentModel:
            del config
            return model()

        _FACTORIES[name] = build
        if can_use_gpu:
            _GPU_USES[name] = lambda config: True
        return model

    return enter


def register_configured(
    name: str, *, can_use_gpu: GpuUse | None = None
) -> Callable[[_Configured], _Configured]:
    """Enter a function that makes a model from the section ``sentiment``; see `register`."""

    def enter(factory: _Configured) -> _Configured:
        _FACTORIES[name] = factory
        if can_use_gpu is not None:
            _GPU_USES[name] = can_use_gpu
        return factory

    return enter


def model_names() -> tuple[str, ...]:
    """Return every name that `sentiment_model` knows, in order; ``hf:…`` is one more each."""
    return (AUTO, *sorted({*_MODULES, *_FACTORIES}))


def check_model_name(name: str) -> None:
    """Refuse a name that no model has, without loading anything.

    Raises
    ------
    ConfigError
        Where no model has that name; it lists those that exist.
    """
    if name.startswith(HUGGING_FACE):
        if name == HUGGING_FACE:
            raise ConfigError(
                "sentiment model 'hf:' names no repository and no folder: write for example "
                "hf:ProsusAI/finbert, or hf:models/finbert"
            )
        return
    known = model_names()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(
            f"sentiment model {name!r} is unknown; {hint}known: {', '.join(known)}, "
            "hf:REPOSITORY-OR-FOLDER"
        )


def sentiment_model(name: str, config: SentimentConfig | None = None) -> SentimentModel:
    """Load a model.

    Parameters
    ----------
    name
        As in the configuration's ``sentiment.model``.
    config
        What the models are told; the defaults where it is not given. Its ``calibration`` is put
        around the model that its ``model`` names.

    Raises
    ------
    ConfigError
        Where no model has that name, or a file or library that it needs is missing.
    """
    check_model_name(name)
    told = config or SentimentConfig()
    model = _load(best_model() if name == AUTO else name, told)
    if told.calibration and name == told.model:
        from engine.sentiment.calibration.model import calibrated  # noqa: PLC0415  (it loads models)

        return calibrated(model, told.calibration)
    return model


def can_use_gpu(name: str, config: SentimentConfig) -> bool:
    """Say whether a model computes on a GPU where it is given one, without loading it.

    Parameters
    ----------
    name
        As in the configuration's ``sentiment.model``.
    config
        What the models are told.

    Raises
    ------
    ConfigError
        As `sentiment_model`, where that is known without loading.
    """
    check_model_name(name)
    if name.startswith(HUGGING_FACE):
        return config.hf.device.startswith("cuda") or not config.hf.device
    known = best_model() if name == AUTO else name
    try:
        _factory(known)
    except ModuleNotFoundError as error:
        raise _lacking(known, error) from None
    return known in _GPU_USES and _GPU_USES[known](config)


def _load(name: str, config: SentimentConfig) -> SentimentModel:
    try:
        return _factory(name)(config)
    except ModuleNotFoundError as error:
        raise _lacking(name, error) from None


def _lacking(name: str, error: ModuleNotFoundError) -> ConfigError:
    return ConfigError(
        f"the sentiment model {name} needs the package {error.name}, which is not installed: "
        "install it (make setup brings what the shipped models need), or choose another in "
        "sentiment.model"
    )


def _factory(name: str) -> Factory:
    if name.startswith(HUGGING_FACE):
        module = importlib.import_module("engine.sentiment.huggingface")
        place = name.removeprefix(HUGGING_FACE)
        return lambda config: module.HuggingFaceModel.load(place, config.hf)
    if name not in _FACTORIES:
        importlib.import_module(_MODULES[name])
    return _FACTORIES[name]
