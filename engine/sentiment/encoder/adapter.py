"""The adapter: what training changed in the base encoder, small enough to ship.

A file holds, for each layer and each linear part ``P`` of it, ``N.P.down`` (rank by inputs) and
``N.P.up`` (outputs by rank), the two rows of the marks and the classifier, all in half
precision; its metadata say the version, the temperature and how it was trained.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Self

import numpy as np

from engine.errors import ConfigError
from engine.sentiment.encoder.base_model import WIDTH, Array, Encoder, Layer, Linear

PARTS = ("query_key_value", "attended", "widen", "narrow")
"""Linear parts of a layer, by their names in `Layer`."""

SHIPPED, STOCKS = "minilm.safetensors", "minilm_stocks.safetensors"
"""Those that come with the package."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """Changes to the encoder, and the classifier on top of it."""

    changes: dict[str, Array]
    """``N.P.down`` and ``N.P.up``."""
    marks: Array
    """A row for each mark."""
    head: Linear
    """From the mean vector to bearish, neutral, bullish."""
    temperature: float
    """Logits are divided by it; above 0."""
    version: str
    """Names the model: ``minilm-VERSION``."""
    notes: dict[str, Any]
    """How it was trained, as JSON values."""

    @classmethod
    def shipped(cls, name: str = SHIPPED) -> Self:
        """Read one that comes with the package."""
        with as_file(files("engine.sentiment").joinpath("artifacts", name)) as path:
            return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read an adapter's file.

        Raises
        ------
        ConfigError
            Where it is missing, damaged or no adapter.
        """
        from safetensors import SafetensorError, safe_open  # noqa: PLC0415  (only who runs it)

        try:
            with safe_open(path, framework="numpy") as file:
                names = file.keys()
                found = {name: file.get_tensor(name).astype(np.float32) for name in names}
                about = json.loads((file.metadata() or {})["adapter"])
            head = Linear(found.pop("head.weight"), found.pop("head.bias"))
            marks = found.pop("marks")
            temperature, version = float(about["temperature"]), str(about["version"])
            notes = dict(about["notes"])
        except FileNotFoundError:
            raise ConfigError(
                f"{path}: there is no such adapter; give the folder or file that train_sentiment "
                "wrote"
            ) from None
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ConfigError(
                f"{path} is no adapter for minilm ({error}); train it again with train_sentiment"
            ) from error
        adapter = cls(found, marks, head, temperature, version, notes)
        adapter.check(str(path))
        return adapter

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        from safetensors.numpy import save  # noqa: PLC0415  (only who trains it)

        tensors = {**self.changes, "marks": self.marks, "head.weight": self.head.weight,
                   "head.bias": self.head.bias}  # fmt: skip
        halves = {name: np.ascontiguousarray(one, np.float16) for name, one in tensors.items()}
        about = {"version": self.version, "temperature": self.temperature, "notes": self.notes}
        data = save(halves, {"adapter": json.dumps(about, sort_keys=True)})
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(data)
        partial.replace(path)

    def rounded(self) -> Self:
        """Return it as it will be when it was written and read again."""
        return replace(
            self,
            changes={name: _half(one) for name, one in self.changes.items()},
            marks=_half(self.marks),
            head=Linear(_half(self.head.weight), _half(self.head.bias)),
        )

    def check(self, where: str) -> None:
        """Refuse shapes that do not fit the base encoder, and numbers that are none.

        Raises
        ------
        ConfigError
            It names the tensor.
        """
        wanted = {f"{n}.{part}.{side}" for n in range(self.layers) for part in PARTS
                  for side in ("down", "up")}  # fmt: skip
        if set(self.changes) != wanted:
            odd = sorted(wanted ^ set(self.changes))[0]
            raise ConfigError(f"{where}: tensor {odd} is missing, or there is one too many")
        named = {**self.changes, "marks": self.marks, "head.weight": self.head.weight,
                 "head.bias": self.head.bias}  # fmt: skip
        for name, one in named.items():
            if not np.isfinite(one).all():
                raise ConfigError(f"{where}: tensor {name} holds values that are no numbers")
        if self.marks.shape != (2, WIDTH) or self.head.weight.shape != (WIDTH, 3):
            raise ConfigError(f"{where}: its marks or its head have not the shapes of minilm's")
        if not self.temperature > 0.0:
            raise ConfigError(f"{where}: temperature {self.temperature} is not above 0")

    @property
    def layers(self) -> int:
        """How many layers of the encoder it changes."""
        return len({name.split(".")[0] for name in self.changes})

    def merged(self, base: Encoder) -> Encoder:
        """Return the encoder with the changes added to its weights.

        Parameters
        ----------
        base
            The base encoder; it is left as it is.

        Raises
        ------
        ConfigError
            Where it has another number of layers.
        """
        if len(base.layers) != self.layers:
            raise ConfigError(
                f"the adapter is for {self.layers} layers, the base model has {len(base.layers)}"
            )
        return replace(
            base,
            words=np.concatenate((base.words, self.marks)),
            layers=tuple(self._merged(number, layer) for number, layer in enumerate(base.layers)),
        )

    def _merged(self, number: int, layer: Layer) -> Layer:
        return replace(
            layer,
            query_key_value=self._changed(layer.query_key_value, f"{number}.query_key_value"),
            attended=self._changed(layer.attended, f"{number}.attended"),
            widen=self._changed(layer.widen, f"{number}.widen"),
            narrow=self._changed(layer.narrow, f"{number}.narrow"),
        )

    def _changed(self, linear: Linear, name: str) -> Linear:
        change = self.changes[f"{name}.down"].T @ self.changes[f"{name}.up"].T
        return Linear(linear.weight + change, linear.bias)

    @property
    def fingerprint(self) -> str:
        """Differs between adapters that read any text differently."""
        digest = hashlib.sha256(repr(self.temperature).encode())
        named: Mapping[str, Array] = {**self.changes, "marks": self.marks,
                                      "w": self.head.weight, "b": self.head.bias}  # fmt: skip
        for name in sorted(named):
            digest.update(name.encode() + named[name].tobytes())
        return digest.hexdigest()[:16]


def _half(array: Array) -> Array:
    return array.astype(np.float16).astype(np.float32)
