"""Trains the small LSTM: a deterministic loop with class weights and early stopping."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import ConfigError
from engine.sentiment.base import LABELS
from engine.sentiment.lstm import MAX_WORDS, LstmWeights
from engine.sentiment.lstm_network import FIRST_WORD, PADDING, UNKNOWN, LstmNetwork, Sizes
from engine.sentiment.tfidf_features import tokens
from engine.sentiment.training.examples import Example
from engine.sentiment.training.measures import fitted_temperature, macro_f1

Logits = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LstmSettings:
    """How to train."""

    epochs: int = 12
    batch: int = 64
    """Texts a step."""
    learning_rate: float = 2e-3
    least_texts: int = 2
    """Words that fewer texts have are unknown ones."""
    most_words: int = 20_000
    patience: int = 2
    """Epochs without a better macro-F1 on the validation part after which it stops."""
    dropout: float = 0.4
    width: int = 64
    hidden: int = 64
    balance: float = 0.5
    """How far rarer labels count more: 0 not at all, 1 in full."""
    seed: int = 7


@dataclass(frozen=True, slots=True)
class LstmEpoch:
    """What is told after each epoch."""

    number: int
    """From 1."""
    training_loss: float
    macro_f1: float
    """On the validation part."""


@dataclass(frozen=True, slots=True)
class _Text:
    numbers: list[int]
    label: int
    weight: float


def train_lstm(
    training: Sequence[Example],
    validation: Sequence[Example],
    settings: LstmSettings | None = None,
    tell: Callable[[LstmEpoch], None] = lambda _: None,
) -> LstmWeights:
    """Train the LSTM.

    Parameters
    ----------
    training
        Texts to learn from; all three labels must occur.
    validation
        Texts that choose the epoch and the temperature.
    settings
        How to train; the defaults where they are not given.
    tell
        Is told of each epoch.

    Returns
    -------
    LstmWeights
        Those of the best epoch; the same on one machine for the same texts in the same order.

    Raises
    ------
    ConfigError
        Where a label does not occur, or no text for validation has a word.
    """
    settings = settings or LstmSettings()
    for label in LABELS:
        if not any(example.label == label for example in training):
            raise ConfigError(f"no text is labelled {label}: a model needs all three to learn from")
    words = vocabulary([example.text for example in training], settings)
    numbers = {word: place for place, word in enumerate(words, FIRST_WORD)}
    learnt, checked = _texts(training, numbers), _texts(validation, numbers)
    if not checked:
        raise ConfigError("no text for validation has a word: give more texts")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        sizes = Sizes(len(words) + FIRST_WORD, settings.width, settings.hidden)
        network = LstmNetwork(sizes, settings.dropout)
        best = _loop(network, learnt, checked, settings, tell)
    # In half precision, as they are kept: what is calibrated and tested is what is loaded later.
    state = {name: tensor.half().float() for name, tensor in best.items()}
    network.load_state_dict(state)
    labels = np.array([text.label for text in checked], dtype=np.int64)
    temperature = fitted_temperature(labels, _logits(network, checked, settings.batch))
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    return LstmWeights(words, arrays, temperature)


def vocabulary(texts: Sequence[str], settings: LstmSettings) -> tuple[str, ...]:
    """Return the words that enough texts have, the most common first, then by name."""
    texts_with: Counter[str] = Counter()
    for text in texts:
        texts_with.update({token.word for token in tokens(text)[:MAX_WORDS]})
    common = [(-count, word) for word, count in texts_with.items() if count >= settings.least_texts]
    return tuple(word for _, word in sorted(common)[: settings.most_words])


def _loop(
    network: LstmNetwork,
    learnt: Sequence[_Text],
    checked: Sequence[_Text],
    settings: LstmSettings,
    tell: Callable[[LstmEpoch], None],
) -> dict[str, Tensor]:
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=0.01)
    balance = _label_weights(learnt, settings.balance)
    draw = np.random.default_rng(settings.seed)
    labels = np.array([text.label for text in checked], dtype=np.int64)
    best, best_f1, since = _copy(network), -1.0, 0
    for number in range(1, settings.epochs + 1):
        network.train()
        order = draw.permutation(len(learnt))
        losses = []
        for first in range(0, len(order), settings.batch):
            part = [learnt[place] for place in order[first : first + settings.batch]]
            optimizer.zero_grad()
            loss = _loss(network, part, balance)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        predicted = _logits(network, checked, settings.batch).argmax(axis=1)
        found = macro_f1(labels, predicted)
        tell(LstmEpoch(number, sum(losses) / len(losses), found))
        since += 1
        if found > best_f1:
            best, best_f1, since = _copy(network), found, 0
        if since >= settings.patience:
            break
    return best


def _texts(examples: Sequence[Example], numbers: dict[str, int]) -> list[_Text]:
    found = []
    for example in examples:
        words = [token.word for token in tokens(example.text)[:MAX_WORDS]]
        if words:
            row = [numbers.get(word, UNKNOWN) for word in words]
            found.append(_Text(row, LABELS.index(example.label), example.weight))
    return found


def _label_weights(texts: Sequence[_Text], balance: float) -> Tensor:
    counts = np.bincount([text.label for text in texts], minlength=3)
    weights = (len(texts) / (3.0 * counts)) ** balance
    return torch.tensor(weights, dtype=torch.float32)


def _loss(network: LstmNetwork, part: Sequence[_Text], balance: Tensor) -> Tensor:
    labels = torch.tensor([text.label for text in part])
    weights = torch.tensor([text.weight for text in part]) * balance[labels]
    losses = functional.cross_entropy(network(*_padded(part)), labels, reduction="none")
    return (losses * weights).sum() / weights.sum()


def _logits(network: LstmNetwork, texts: Sequence[_Text], batch: int) -> Logits:
    network.eval()
    with torch.inference_mode():
        rows = [
            network(*_padded(texts[first : first + batch])).double().numpy()
            for first in range(0, len(texts), batch)
        ]
    return np.concatenate(rows)


def _padded(part: Sequence[_Text]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(text.numbers) for text in part])
    numbers = torch.full((len(part), int(lengths.max())), PADDING)
    for place, text in enumerate(part):
        numbers[place, : len(text.numbers)] = torch.tensor(text.numbers)
    return numbers, lengths


def _copy(network: LstmNetwork) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
