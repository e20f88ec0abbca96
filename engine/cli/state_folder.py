"""The folder in which engines leave word of themselves for other commands."""

from __future__ import annotations

import os
from pathlib import Path

from engine.errors import StartError


def state_dir() -> Path:
    """Return the folder of the run files and locks."""
    chosen = os.environ.get("ENGINE_STATE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "signal-engine"


def unwritable(folder: Path, error: OSError) -> StartError:
    """Say that it cannot be written, and what to do."""
    return StartError(
        f"the state folder {folder} cannot be written ({error.strerror}); "
        "set ENGINE_STATE_DIR to a folder that can"
    )
