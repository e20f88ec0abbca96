"""The page about adding a model: its example is a model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.sentiment import registry
from engine.sentiment.registry import sentiment_model

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding" / "sentiment_model.md"


def test_adding_page_example_is_a_model(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    exec(compile(example.group(1), str(PAGE), "exec"), {"__name__": "first_word"})  # our own page
    model = sentiment_model("first-word")
    up, strange, empty = model.score(["Up it goes", "sideways", ""])
    assert model.name == "first-word-1"
    assert up is not None
    assert (up.label, strange, empty) == ("bullish", None, None)
