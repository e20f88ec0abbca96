"""The training loop: steps, evaluation after each epoch, early stopping, checkpoints.

A run is a function of its examples, its settings and the machine's arithmetic: batches are
drawn from (seed, epoch) and dropout from (seed, step), so a run that was stopped and taken up
again goes the way it would have gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from engine.sentiment.base import LABELS
from engine.sentiment.encoder.tokens import Tokenizer
from engine.sentiment.training.batches import Batches, logits_of
from engine.sentiment.training.checkpoint import Checkpoint
from engine.sentiment.training.examples import Example
from engine.sentiment.training.measures import macro_f1
from engine.sentiment.training.network import AdaptedEncoder

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How to train."""

    epochs: int = 4
    batch: int = 32
    """Texts a step."""
    learning_rate: float = 1e-3
    warmup: float = 0.06
    """Share of the steps in which the rate rises; then it falls as a cosine to 0."""
    weight_decay: float = 0.01
    smoothing: float = 0.05
    """Share of each label given to all three."""
    hiding: float = 0.0
    """Share of the words that are hidden, drawn anew each time: so no single one is relied on."""
    teaching: float = 0.7
    """What the teachers' opinions count beside the labels, of 1; where there are teachers."""
    averaging: float = 0.995
    """Weight of the past in the running mean of the parameters, which is what is kept."""
    clip: float = 1.0
    """Largest norm of a step's gradient."""
    patience: int = 2
    """Epochs without a better result after which it stops."""
    class_weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    seed: int = 7
    checkpoint_steps: int = 200
    threads: int = 1
    """Each takes a share of every batch; with torch itself on one thread this beats torch's own
    division of every single operation."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What is told after each epoch."""

    number: int
    """From 1."""
    training_loss: float
    validation_loss: float
    macro_f1: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The best parameters, and the way there."""

    state: State
    epochs: tuple[Epoch, ...]
    stopped_early: bool


class Training:
    """One run.

    Parameters
    ----------
    network
        With fresh parameters; it is trained in place.
    training, validation
        Examples of the two parts.
    tokenizer
        That of the model.
    settings
        How to train.
    folder
        Where checkpoints go; None keeps none. A checkpoint found there of the same settings and
        examples is taken up.
    device
        ``cpu`` or ``cuda``.
    opinions
        What teachers say of the training examples: a row of probabilities for each.
    origin
        Says what the network began with and who its teachers are: a checkpoint of a run from
        elsewhere is not taken up.
    """

    def __init__(
        self,
        network: AdaptedEncoder,
        training: Sequence[Example],
        validation: Sequence[Example],
        tokenizer: Tokenizer,
        settings: LoopSettings,
        folder: Path | None = None,
        device: str = "cpu",
        opinions: npt.NDArray[np.float32] | None = None,
        origin: str = "",
    ) -> None:
        self._network = network.to(device)
        self._threads = ThreadPoolExecutor(settings.threads)
        self._settings = settings
        self._device = device
        self._batches = Batches(training, tokenizer, settings.batch, opinions)
        self._checked = Batches(validation, tokenizer, settings.batch)
        self._labels = np.array([LABELS.index(each.label) for each in validation])
        self._parameters = dict(network.named_parameters())
        self._mean = {name: one.detach().clone() for name, one in self._parameters.items()}
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._class_weights = torch.tensor(settings.class_weights, device=device)
        self.checkpoint = Checkpoint.of(folder, (settings, origin), training, validation)
        self._losses: list[float] = []
        self._epochs: list[Epoch] = []
        self._best: State = {}

    def run(self, tell: Callable[[Epoch], None] = lambda epoch: None) -> Trained:
        """Train to the end, or until it gets no better.

        Parameters
        ----------
        tell
            Called after each epoch.
        """
        per_epoch = len(self._batches)
        step = self._take_up()
        while step < self._settings.epochs * per_epoch:
            epoch, place = divmod(step, per_epoch)
            drawn = self._batches.drawn(self._settings.seed * 1_000 + epoch)
            for places in drawn[place:]:
                self._step(step, places)
                step += 1
                if step % self._settings.checkpoint_steps == 0 and step % per_epoch:
                    self._keep(step)
            self._close_epoch(epoch + 1)
            self._keep(step)
            tell(self._epochs[-1])
            if self._is_over():
                break
        early = step < self._settings.epochs * per_epoch
        return Trained(self._best, tuple(self._epochs), early)

    def _step(self, step: int, places: npt.NDArray[np.int64]) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate(step)
        shares = np.array_split(places, min(self._settings.threads, len(places)))
        found = list(self._threads.map(self._gradients, shares, count(step * len(shares))))
        # Added in the order of the shares, whichever was ready first.
        for place, parameter in enumerate(self._parameters.values()):
            total = sum((gradients[place] for _, gradients in found), torch.zeros(()))
            parameter.grad = total / len(places)
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._settings.clip)
        self._optimizer.step()
        self._losses.append(sum(loss for loss, _ in found) / len(places))
        self._average(step)

    def _gradients(
        self, places: npt.NDArray[np.int64], number: int
    ) -> tuple[float, tuple[Tensor, ...]]:
        """Return the loss of some examples, summed, and its gradients."""
        draw = torch.Generator(self._device).manual_seed(self._settings.seed * 1_000_003 + number)
        batch = self._batches.batch(places)
        hiding = self._settings.hiding
        numbers = self._batches.hidden(batch, hiding, draw) if hiding else batch.numbers
        numbers, lengths = numbers.to(self._device), batch.lengths.to(self._device)
        labels = batch.labels.to(self._device)
        logits = self._network(numbers, lengths, draw)
        losses = functional.cross_entropy(
            logits, labels, reduction="none", label_smoothing=self._settings.smoothing
        )
        if batch.opinions is not None:
            told = functional.cross_entropy(
                logits, batch.opinions.to(self._device), reduction="none"
            )
            losses = losses.lerp(told, self._settings.teaching)
        loss = (losses * batch.weights.to(self._device) * self._class_weights[labels]).sum()
        return float(loss.detach()), torch.autograd.grad(loss, tuple(self._parameters.values()))

    def _rate(self, step: int) -> float:
        total = self._settings.epochs * len(self._batches)
        rising = max(1, round(self._settings.warmup * total))
        if step < rising:
            return self._settings.learning_rate * (step + 1) / rising
        done = (step - rising) / max(1, total - rising)
        return self._settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))

    def _average(self, step: int) -> None:
        # Early on the mean is short: it must not remember the random start.
        past = min(self._settings.averaging, (1.0 + step) / (10.0 + step))
        with torch.no_grad():
            for name, one in self._parameters.items():
                self._mean[name].lerp_(one, 1.0 - past)

    def _close_epoch(self, number: int) -> None:
        current = {name: one.detach().clone() for name, one in self._parameters.items()}
        self._network.load_state_dict(self._mean, strict=False)
        logits = logits_of(self._network, self._checked, self._device)
        self._network.load_state_dict(current, strict=False)
        loss = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(self._labels))
        result = Epoch(
            number,
            float(np.mean(self._losses)),
            float(loss),
            macro_f1(self._labels, logits.argmax(1)),
        )
        if all(result.macro_f1 > earlier.macro_f1 for earlier in self._epochs):
            self._best = {name: one.cpu().clone() for name, one in self._mean.items()}
        self._epochs.append(result)
        self._losses = []

    def _is_over(self) -> bool:
        scores = [epoch.macro_f1 for epoch in self._epochs]
        return len(scores) - 1 - scores.index(max(scores)) >= self._settings.patience

    def _keep(self, step: int) -> None:
        self.checkpoint.save(
            {
                "step": step,
                "parameters": dict(self._parameters),
                "mean": self._mean,
                "best": self._best,
                "optimizer": self._optimizer.state_dict(),
                "losses": self._losses,
                "epochs": [(e.number, e.training_loss, e.validation_loss, e.macro_f1)
                           for e in self._epochs],
            }
        )  # fmt: skip

    def _take_up(self) -> int:
        found = self.checkpoint.load(self._device)
        if found is None:
            return 0
        self._network.load_state_dict(found["parameters"], strict=False)
        self._mean, self._best = found["mean"], found["best"]
        self._optimizer.load_state_dict(found["optimizer"])
        self._losses = found["losses"]
        self._epochs = [Epoch(*values) for values in found["epochs"]]
        return int(found["step"])
