"""A whole training of `minilm`: parts in, an adapter and its test out, or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.errors import ConfigError
from engine.sentiment.base import LABELS, TextSentiment
from engine.sentiment.encoder.adapter import Adapter
from engine.sentiment.encoder.base_model import Encoder, Linear
from engine.sentiment.encoder.session import EncoderSession
from engine.sentiment.encoder.tokens import Tokenizer
from engine.sentiment.encoder.wording import is_readable
from engine.sentiment.probabilities import reading_of, softmax
from engine.sentiment.training.batches import Batches, logits_of
from engine.sentiment.training.examples import Example
from engine.sentiment.training.loop import Epoch, LoopSettings, State, Training
from engine.sentiment.training.measures import fitted_temperature
from engine.sentiment.training.network import AdaptedEncoder
from engine.sentiment.training.teaching import opinions_of


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """What `minilm`'s adapter is."""

    rank: int = 32
    dropout: float = 0.1
    version: str = "own"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training gave."""

    adapter: Adapter
    epochs: tuple[Epoch, ...]
    stopped_early: bool


def train_minilm(
    training: Sequence[Example],
    validation: Sequence[Example],
    settings: LoopSettings,
    about: AdapterSettings,
    base: Encoder,
    tokenizer: Tokenizer,
    folder: Path | None = None,
    device: str = "cpu",
    init: Adapter | None = None,
    teachers: Sequence[Adapter] = (),
    notes: dict[str, Any] | None = None,
    tell: Callable[[Epoch], None] = lambda epoch: None,
) -> Outcome:
    """Train an adapter.

    Parameters
    ----------
    training, validation
        Disjoint parts.
    settings
        Of the loop.
    about
        What the adapter is.
    base, tokenizer
        The base model.
    folder
        Where checkpoints go; None keeps none.
    device
        ``cpu`` or ``cuda``.
    init
        Adapter to begin with; a fresh one by default.
    teachers
        Adapters whose opinions are learnt beside the labels.
    notes
        Written into the adapter, as JSON values.
    tell
        Called after each epoch.

    Raises
    ------
    ConfigError
        Where `init` has another rank.
    """
    # The fresh adapter is drawn from torch's global source.
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(settings.seed)
        network = AdaptedEncoder(base, about.rank, about.dropout)
    if init is not None:
        _begin_with(network, init, about.rank)
    texts = [one.text for one in training]
    opinions = opinions_of(teachers, base, tokenizer, texts) if teachers else None
    begun = [one.fingerprint for one in ([init] if init else [])]
    origin = repr((about, begun, [one.fingerprint for one in teachers]))
    run = Training(
        network, training, validation, tokenizer, settings, folder, device, opinions, origin
    )
    trained = run.run(tell)
    network.load_state_dict(trained.state, strict=False)
    logits = logits_of(network, Batches(validation, tokenizer, settings.batch), device)
    labels = np.array([LABELS.index(one.label) for one in validation])
    temperature = fitted_temperature(labels, logits)
    adapter = adapter_of(trained.state, temperature, about.version, notes or {})
    run.checkpoint.remove()
    return Outcome(adapter, trained.epochs, trained.stopped_early)


def device_of(asked: str) -> str:
    """Return where to train: ``cpu`` or ``cuda``.

    Parameters
    ----------
    asked
        ``auto`` takes a GPU if there is one.

    Raises
    ------
    ConfigError
        Where a GPU is asked for and there is none.
    """
    if asked == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is cuda, and torch finds no GPU here: set device to auto or cpu")
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return asked


def adapter_of(state: State, temperature: float, version: str, notes: dict[str, Any]) -> Adapter:
    """Return trained parameters as an adapter, rounded as its file will be."""
    changes = {
        name.removeprefix("blocks."): one.float().numpy()
        for name, one in state.items()
        if name.startswith("blocks.")
    }
    head = Linear(state["head.weight"].float().numpy().T.copy(), state["head.bias"].float().numpy())
    marks = state["marks"].float().numpy()
    return Adapter(changes, marks, head, temperature, version, notes).rounded()


def state_of(adapter: Adapter) -> State:
    """Return an adapter as the parameters of a network."""
    state = {
        f"blocks.{name}": torch.from_numpy(one.copy()) for name, one in adapter.changes.items()
    }
    state["marks"] = torch.from_numpy(adapter.marks.copy())
    state["head.weight"] = torch.from_numpy(adapter.head.weight.T.copy())
    state["head.bias"] = torch.from_numpy(adapter.head.bias.copy())
    return state


def _begin_with(network: AdaptedEncoder, init: Adapter, rank: int) -> None:
    found = len(next(one for name, one in init.changes.items() if name.endswith(".down")))
    if found != rank:
        raise ConfigError(f"init is an adapter of rank {found}, rank is {rank}: set rank={found}")
    network.load_state_dict(state_of(init), strict=False)


class TrainedReader:
    """Reads examples, marked ones too, with an adapter as it will be shipped: in integers.

    Parameters
    ----------
    adapter
        Rounded, as its file will be.
    base, tokenizer
        The base model.
    """

    def __init__(self, adapter: Adapter, base: Encoder, tokenizer: Tokenizer) -> None:
        self.name = f"minilm-{adapter.version}"
        self._session = EncoderSession(base, adapter)
        self._tokenizer = tokenizer

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        """Read texts, marked or not; None where one cannot be read."""
        tokens = self._tokenizer(texts)
        found = self._session.logits(tokens)
        return [
            reading_of(softmax(logits)) if is_readable(text) else None
            for text, logits in zip(texts, found, strict=True)
        ]
