"""Adapters that learn from other adapters: their mean, and their opinions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import minilm_parts as parts
import numpy as np
import pytest

from engine.errors import ConfigError
from engine.sentiment.base import LABELS
from engine.sentiment.encoder.session import EncoderSession
from engine.sentiment.encoder.tokens import Tokenizer
from engine.sentiment.probabilities import shares, softmax
from engine.sentiment.training.examples import Example

torch = pytest.importorskip("torch")

from engine.sentiment.training.batches import (  # noqa: E402  (behind the check for torch)
    Batches,
    logits_of,
)
from engine.sentiment.training.loop import Epoch, LoopSettings, Training  # noqa: E402
from engine.sentiment.training.network import AdaptedEncoder  # noqa: E402
from engine.sentiment.training.outcome import AdapterSettings, train_minilm  # noqa: E402
from engine.sentiment.training.teaching import mean_adapter, opinions_of  # noqa: E402

SAID = {"bearish": "down crash rug falls", "neutral": "flat meeting report held",
        "bullish": "up rally moon wins"}  # fmt: skip
SETTINGS = LoopSettings(epochs=3, batch=16, learning_rate=5e-3, averaging=0.8, patience=3)


def _examples(count: int, seed: int = 0) -> list[Example]:
    draw = np.random.default_rng(seed)
    found = []
    for number in range(count):
        label = LABELS[number % 3]
        words = draw.choice(SAID[label].split(), 3)
        found.append(Example(" ".join(["bitcoin", *words]), label, "made"))
    return found


def _labels(examples: list[Example]) -> np.ndarray:
    return np.array([LABELS.index(one.label) for one in examples])


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return Tokenizer(parts.tokenizer_at(tmp_path))


def test_mean_adapter_is_the_mean_of_every_part() -> None:
    one, two = parts.adapter(seed=1), parts.adapter(seed=2)
    mean = mean_adapter([one, two])
    assert mean.version == one.version
    for name, change in mean.changes.items():
        assert np.allclose(change, (one.changes[name] + two.changes[name]) / 2, atol=1e-6)
    assert np.allclose(mean.head.weight, (one.head.weight + two.head.weight) / 2, atol=1e-6)
    assert np.allclose(mean.marks, (one.marks + two.marks) / 2, atol=1e-6)
    assert mean_adapter([one]).fingerprint == one.fingerprint


def test_mean_adapter_of_different_ranks_is_refused() -> None:
    with pytest.raises(ConfigError, match="adapters of different ranks"):
        mean_adapter([parts.adapter(rank=4), parts.adapter(rank=8)])


def test_opinions_of_teachers_are_their_geometric_mean(tokenizer: Tokenizer) -> None:
    base, teachers = parts.encoder(), [parts.adapter(seed=1), parts.adapter(seed=2)]
    texts = ["bitcoin up", "ether crash today"]

    found = opinions_of(teachers, base, tokenizer, texts)

    tokens = tokenizer(texts)
    one, two = (
        [softmax(logits) for logits in EncoderSession(base, each).logits(tokens)]
        for each in teachers
    )
    for row, first, second in zip(found, one, two, strict=True):
        products = [(a * b) ** 0.5 for a, b in zip(first, second, strict=True)]
        assert row.tolist() == pytest.approx(shares(tuple(products)), abs=1e-4)


def test_training_follows_opinions_against_labels_where_they_count_all(
    tokenizer: Tokenizer,
) -> None:
    right = _examples(96)
    wrong = [replace(one, label=LABELS[(LABELS.index(one.label) + 1) % 3]) for one in right]
    opinions = np.eye(3, dtype=np.float32)[_labels(right)]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        network = AdaptedEncoder(parts.encoder(), rank=4, dropout=0.0)
    settings = replace(SETTINGS, teaching=1.0)
    run = Training(network, wrong, _examples(30, 1), tokenizer, settings, opinions=opinions)

    network.load_state_dict(run.run().state, strict=False)

    unseen = _examples(60, 2)
    found = logits_of(network, Batches(unseen, tokenizer, 16)).argmax(1)
    assert np.mean(found == _labels(unseen)) > 0.9


def test_training_that_began_elsewhere_does_not_take_up_the_checkpoint(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    base, about = parts.encoder(), AdapterSettings(rank=4)
    some, checked, folder = _examples(48), _examples(30, 1), tmp_path / "run"

    class Interrupted(Exception):
        pass

    def stop(epoch: Epoch) -> None:
        raise Interrupted

    def train(tell: Callable[[Epoch], None] = lambda epoch: None, seed: int = 5) -> list[int]:
        seen: list[int] = []
        train_minilm(
            some, checked, SETTINGS, about, base, tokenizer, folder,
            init=parts.adapter(seed=seed), tell=lambda one: (seen.append(one.number), tell(one)),
        )  # fmt: skip
        return seen

    with pytest.raises(Interrupted):
        train(stop)
    assert train(seed=6) == [1, 2, 3], "another begin is another run"
    with pytest.raises(Interrupted):
        train(stop)
    assert train() == [2, 3]


def test_training_with_a_teacher_begun_elsewhere_goes_another_way(tokenizer: Tokenizer) -> None:
    base, about = parts.encoder(), AdapterSettings(rank=4)
    some, checked = _examples(48), _examples(30, 1)

    alone = train_minilm(some, checked, SETTINGS, about, base, tokenizer)
    taught = train_minilm(
        some, checked, SETTINGS, about, base, tokenizer, teachers=[parts.adapter(seed=5)]
    )

    assert taught.adapter.fingerprint != alone.adapter.fingerprint
