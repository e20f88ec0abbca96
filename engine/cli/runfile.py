"""Run files: how the other commands find the running engine, whatever its configuration.

``engine up`` writes one into the state folder (``$ENGINE_STATE_DIR``, else
``$XDG_STATE_HOME/signal-engine``, else ``~/.local/state/signal-engine``), readable by its user
only, for it holds the store's password. It is removed on the way out; one whose process is
gone is stale and ignored.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import psutil

from engine.errors import NotRunningError, StartError


class Run(msgspec.Struct, frozen=True):
    """A running engine."""

    pid: int
    """Of ``engine up``."""
    created: float
    """When that process began (seconds since 1970): a number used again is not the engine."""
    config: str
    """Which file it was started with."""
    data_dir: str
    """Where its data is, absolute."""
    http_url: str
    """Where the signals are served."""
    store_url: str
    """The store, password included."""
    viewer_url: str
    """The same for a user who can only read; empty where the store is not ours."""
    metrics_url: str
    ray_address: str
    children: tuple[int, ...]
    """Processes to look for if ``engine up`` died without stopping them."""
    log_path: str
    """Where a detached engine logs; empty in the foreground."""
    ready: bool
    """Whether a ranking has been served."""


def state_dir() -> Path:
    """Return the folder of the run files."""
    chosen = os.environ.get("ENGINE_STATE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "signal-engine"


def write_run(run: Run) -> Path:
    """Write or replace the run file of this engine; only its user may read it."""
    folder = state_dir()
    path = folder / f"run-{run.pid}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(run))
        fresh.replace(path)
    except OSError as error:
        raise StartError(
            f"the state folder {folder} cannot be written ({error.strerror}); "
            "set ENGINE_STATE_DIR to a folder that can"
        ) from None
    return path


def running() -> list[Run]:
    """Return the engines that run, newest first; stale run files are removed."""
    found = []
    for path in state_dir().glob("run-*.json"):
        try:
            run = msgspec.json.decode(path.read_bytes(), type=Run)
        except (OSError, msgspec.DecodeError):
            continue
        if is_alive(run):
            found.append(run)
        else:
            path.unlink(missing_ok=True)
    return sorted(found, key=lambda run: run.created, reverse=True)


def is_alive(run: Run) -> bool:
    """Say whether the process that wrote the run file still lives."""
    try:
        return abs(psutil.Process(run.pid).create_time() - run.created) < 1.0
    except psutil.Error:
        return False


def newest_run() -> Run:
    """Return the engine started last.

    Raises
    ------
    NotRunningError
        Where none runs.
    """
    runs = running()
    if not runs:
        raise NotRunningError("no engine is running here; start one with: engine up")
    return runs[0]
