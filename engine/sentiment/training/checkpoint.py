"""Where a training run stands, on disk: written whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from engine.sentiment.training.examples import Example

NAME = "checkpoint.pt"


class Checkpoint:
    """The one checkpoint of a run.

    Parameters
    ----------
    folder
        Where it lies; None keeps nothing.
    run
        Says which run it is: that of other examples or settings is never taken up.
    """

    def __init__(self, folder: Path | None, run: str) -> None:
        self._path = None if folder is None else folder / NAME
        self._run = run

    @classmethod
    def of(cls, folder: Path | None, settings: object, *parts: Sequence[Example]) -> Checkpoint:
        """Return the checkpoint of a run with these settings and examples."""
        digest = hashlib.sha256(repr(settings).encode())
        for part in parts:
            for one in part:
                row = (one.text, one.label, one.weight)
                digest.update(repr(row).encode("utf-8", "backslashreplace"))
            digest.update(b"\n")
        return cls(folder, digest.hexdigest())

    def save(self, state: dict[str, Any]) -> None:
        """Write it in place of the one before."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(f".{os.getpid()}.partial")
        torch.save({"run": self._run, **state}, partial)
        partial.replace(self._path)

    def load(self, device: str) -> dict[str, Any] | None:
        """Return what was written, None where there is none of this run."""
        if self._path is None or not self._path.exists():
            return None
        # Tensors and plain values alone: a checkpoint from elsewhere can run no code.
        found: dict[str, Any] = torch.load(self._path, map_location=device, weights_only=True)
        return found if found.pop("run", None) == self._run else None

    def remove(self) -> None:
        """Take it away once the run is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
