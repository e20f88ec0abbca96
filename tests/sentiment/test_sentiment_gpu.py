"""Which models can use a GPU, told without loading them."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError
from engine.sentiment import registry
from engine.sentiment.calibration.files import write_parameters
from engine.sentiment.ensemble.parameters import equal_members
from engine.sentiment.lexicon import LexiconModel
from engine.sentiment.registry import can_use_gpu
from engine.settings.sentiment import SentimentConfig
from engine.settings.sentiment_models import EnsembleConfig


@pytest.mark.parametrize(
    ("name", "told", "can"),
    [
        ("hf:nobody/nothing", {}, True),
        ("hf:nobody/nothing", {"hf": {"device": "cuda:1"}}, True),
        ("hf:nobody/nothing", {"hf": {"device": "cpu"}}, False),
        ("auto", {}, False),
        ("lexicon-calibrated", {}, False),
        ("minilm", {}, False),
        ("ensemble", {}, False),
        ("ensemble", {"ensemble": {"members": ["tfidf", "hf:nobody/nothing"]}}, True),
        ("ensemble", {"ensemble": {"members": ["tfidf", "lexicon"]}}, False),
    ],
)
def test_gpu_can_be_used_by_hugging_face_models_and_ensembles_of_them(name, told, can):
    assert can_use_gpu(name, SentimentConfig.model_validate(told)) is can


def test_gpu_can_be_used_by_an_ensemble_whose_parameters_name_such_a_member(tmp_path):
    file = tmp_path / "ensemble.json"
    write_parameters(file, equal_members(("lexicon", "hf:nobody/nothing")))
    told = SentimentConfig(ensemble=EnsembleConfig(parameters=str(file)))
    assert can_use_gpu("ensemble", told)


def test_gpu_can_be_used_by_a_model_that_says_so_where_it_is_entered(monkeypatch):
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))
    monkeypatch.setattr(registry, "_GPU_USES", dict(registry._GPU_USES))
    registry.register("quick", can_use_gpu=True)(LexiconModel)
    registry.register_configured("told", can_use_gpu=lambda config: config.batch_texts > 1)(
        lambda config: LexiconModel()
    )
    assert can_use_gpu("quick", SentimentConfig())
    assert can_use_gpu("told", SentimentConfig())
    assert not can_use_gpu("told", SentimentConfig(batch_texts=1))


def test_gpu_of_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="sentiment model 'oracle' is unknown"):
        can_use_gpu("oracle", SentimentConfig())
