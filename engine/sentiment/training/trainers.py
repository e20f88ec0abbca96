"""Every model that can be trained, behind one function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.sentiment.base import LABELS, SentimentModel
from engine.sentiment.encoder.adapter import Adapter
from engine.sentiment.encoder.base_model import base_encoder
from engine.sentiment.encoder.tokens import Tokenizer
from engine.sentiment.training.examples import Example, balanced_weights, by_source
from engine.sentiment.training.split import Parts
from engine.settings.train_sentiment import TrainSentimentSection

Tell = Callable[[], None]
"""Called after each epoch."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A model that was trained, not yet written."""

    model: SentimentModel
    """Reads examples as they are, marks included."""
    save: Callable[[], Path]
    """Writes it, and returns where."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What there is to say of the training; plain values."""


def train(section: TrainSentimentSection, parts: Parts, folder: Path, tell: Tell) -> Trained:
    """Train the model that a job asks for.

    Parameters
    ----------
    section
        What the job is told.
    parts
        Checked examples.
    folder
        Where the model and its checkpoint go.
    tell
        Called after each epoch.

    Raises
    ------
    ConfigError
        Where a package is missing, or `init` does not fit.
    """
    return _TRAINERS[section.model](section, parts, folder, tell)


def _minilm(section: TrainSentimentSection, parts: Parts, folder: Path, tell: Tell) -> Trained:
    # torch takes seconds to import, and only training needs it.
    from engine.sentiment.training.loop import LoopSettings  # noqa: PLC0415
    from engine.sentiment.training.outcome import (  # noqa: PLC0415
        AdapterSettings,
        TrainedReader,
        device_of,
        train_minilm,
    )
    from engine.sentiment.training.teaching import mean_adapter  # noqa: PLC0415

    settings = LoopSettings(
        epochs=section.most_epochs,
        batch=section.batch_texts or 32,
        learning_rate=section.learning_rate or 1.2e-3,
        patience=section.patience,
        hiding=section.hiding,
        teaching=section.teaching,
        class_weights=balanced_weights(parts.training, _given(section.class_weight_power, 0.3)),
        seed=section.seed,
        threads=section.threads,
    )
    base, tokenizer = base_encoder(), Tokenizer()
    begun = [Adapter.load(Path(path)) for path in section.init]
    teachers = [Adapter.load(Path(path)) for path in section.teachers]
    outcome = train_minilm(
        parts.training,
        parts.validation,
        settings,
        AdapterSettings(section.rank, _given(section.dropout, 0.1), section.version),
        base,
        tokenizer,
        folder,
        device_of(section.device),
        mean_adapter(begun) if begun else None,
        teachers,
        {
            "texts": _counts(parts.training),
            "settings": asdict(settings),
            "init": [one.fingerprint for one in begun],
            "teachers": [one.fingerprint for one in teachers],
        },
        lambda _: tell(),
    )
    path = folder / "minilm.safetensors"

    def save() -> Path:
        outcome.adapter.save(path)
        return path

    notes = {
        "epochs": [asdict(epoch) for epoch in outcome.epochs],
        "stopped early": outcome.stopped_early,
        "temperature": outcome.adapter.temperature,
    }
    return Trained(TrainedReader(outcome.adapter, base, tokenizer), save, notes)


def _tfidf(section: TrainSentimentSection, parts: Parts, folder: Path, tell: Tell) -> Trained:
    from engine.sentiment.tfidf import TfidfModel  # noqa: PLC0415  (other models need none of it)
    from engine.sentiment.tfidf_training import train_tfidf  # noqa: PLC0415

    # It has nothing to choose by the validation, and reads no marks.
    learnt = [one for one in (*parts.training, *parts.validation) if not one.origin]
    power = section.class_weight_power or 0.0
    balance = balanced_weights(learnt, power) if power else (1.0,) * len(LABELS)
    weight_of = dict(zip(LABELS, balance, strict=True))
    weights = train_tfidf(
        [one.text for one in learnt],
        [one.label for one in learnt],
        [one.weight * weight_of[one.label] for one in learnt],
    )
    tell()
    path = folder / f"tfidf-{section.version}.npz"

    def save() -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        weights.save(path)
        return path

    return Trained(TfidfModel(weights), save)


def _lstm(section: TrainSentimentSection, parts: Parts, folder: Path, tell: Tell) -> Trained:
    from engine.sentiment.lstm import LstmModel  # noqa: PLC0415  (torch, as above)
    from engine.sentiment.lstm_training import LstmSettings, train_lstm  # noqa: PLC0415

    usual = LstmSettings()
    settings = replace(
        usual,
        epochs=section.most_epochs,
        batch=section.batch_texts or usual.batch,
        learning_rate=section.learning_rate or usual.learning_rate,
        dropout=_given(section.dropout, usual.dropout),
        patience=section.patience,
        balance=_given(section.class_weight_power, usual.balance),
        seed=section.seed,
    )
    learnt, checked = (
        [one for one in part if not one.origin] for part in (parts.training, parts.validation)
    )
    weights = train_lstm(learnt, checked, settings, lambda _: tell())
    path = folder / f"lstm-{section.version}.npz"

    def save() -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        weights.save(path)
        return path

    return Trained(LstmModel(weights), save)


def _given(value: float | None, usual: float) -> float:
    return usual if value is None else value


def _counts(examples: list[Example]) -> dict[str, int]:
    return {source: len(some) for source, some in by_source(examples).items()}


_TRAINERS: dict[str, Callable[[TrainSentimentSection, Parts, Path, Tell], Trained]] = {
    "minilm": _minilm,
    "tfidf": _tfidf,
    "lstm": _lstm,
}
