"""Which model scores where nobody says so."""

from __future__ import annotations

import pytest

from engine.config import Config
from engine.sentiment import choice
from engine.sentiment.choice import AUTO, BEST, LEAST_MEMORY_BYTES, NEXT, best_model, settled
from engine.sentiment.registry import check_model_name, sentiment_model

ROOMY = LEAST_MEMORY_BYTES


def test_best_model_needs_cores_memory_and_packages() -> None:
    assert best_model(2, ROOMY) == BEST
    assert best_model(1, ROOMY) == NEXT
    assert best_model(2, ROOMY - 1) == NEXT
    assert best_model(2, ROOMY, ("no_such_package",)) == NEXT


@pytest.mark.parametrize(
    ("cores", "memory", "model"),
    [(2.0, float(ROOMY), BEST), (1.5, float(ROOMY), NEXT), (2.0, ROOMY - 1.0, NEXT)],
)
def test_best_model_is_of_what_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch, cores: float, memory: float, model: str
) -> None:
    monkeypatch.setattr(choice, "granted_cores", lambda: cores)
    monkeypatch.setattr(choice, "granted_memory_bytes", lambda: memory)
    assert best_model() == model


def test_configuration_leaves_the_choice_to_the_machine_unless_it_names_a_model() -> None:
    assert Config().sentiment.model == AUTO
    check_model_name(AUTO)
    chosen = settled(Config())
    assert chosen.sentiment.model == best_model()
    assert settled(chosen) is chosen
    named = Config.model_validate({"sentiment": {"model": "tfidf"}})
    assert settled(named).sentiment.served == ("tfidf",)


def test_auto_loads_the_best_model() -> None:
    model = sentiment_model(AUTO)
    assert model.name.startswith(f"{best_model()}-")
    (reading,) = model.score(["Bitcoin breaks above $70k, so bullish"])
    assert reading is not None
    assert reading.label == "bullish"
