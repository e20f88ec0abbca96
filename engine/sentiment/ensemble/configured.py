"""The ensemble that a configuration asks for."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.sentiment.base import SentimentModel
from engine.sentiment.ensemble.by_subject import SubjectEnsemble
from engine.sentiment.ensemble.model import EnsembleModel
from engine.sentiment.ensemble.parameters import STOCKS, EnsembleParameters, equal_members
from engine.sentiment.ensemble.subject import StockWords
from engine.sentiment.registry import can_use_gpu, register_configured, sentiment_model
from engine.settings.sentiment import SentimentConfig


def _some_member_can_use_gpu(config: SentimentConfig) -> bool:
    asked, names = config.ensemble, config.ensemble.members
    if asked.parameters and not names:
        found = EnsembleParameters.load(Path(asked.parameters))
        names = tuple(member.name for member in found.members)
    # None of the shipped ones can.
    return any(can_use_gpu(name, config) for name in names)


@register_configured("ensemble", can_use_gpu=_some_member_can_use_gpu)
def ensemble_of(config: SentimentConfig) -> SentimentModel:
    """Return the ensemble that the configuration asks for.

    Where it names neither members nor parameters: the shipped one, which has an ensemble for
    texts about coins and one for texts about stocks.

    Raises
    ------
    ConfigError
        Where its parameters do not fit its members, or a member cannot be loaded.
    """
    asked = config.ensemble
    if not asked.parameters and not asked.members:
        wanted = EnsembleParameters.shipped(), EnsembleParameters.shipped(STOCKS)
        coins, stocks = _ensembles(config, *wanted)
        return SubjectEnsemble(coins, stocks, StockWords.shipped())
    if asked.parameters:
        parameters = EnsembleParameters.load(Path(asked.parameters))
    elif asked.method == "soft":
        parameters = equal_members(asked.members)
    else:
        parameters = EnsembleParameters.shipped()
    if asked.members:
        chosen = parameters.chosen(asked.members)
        parameters = msgspec.structs.replace(parameters, members=chosen)
    return _ensembles(config, parameters)[0]


def _ensembles(config: SentimentConfig, *wanted: EnsembleParameters) -> list[EnsembleModel]:
    """Return an ensemble for each of the parameters; a member of several is loaded once."""
    # A calibration in the configuration is of the model that scores, not of a member.
    inside = config.model_copy(update={"calibration": ""})
    names = dict.fromkeys(member.name for one in wanted for member in one.members)
    loaded = {name: sentiment_model(name, inside) for name in names}
    return [
        EnsembleModel([loaded[member.name] for member in one.members], one, config.ensemble.method)
        for one in wanted
    ]
