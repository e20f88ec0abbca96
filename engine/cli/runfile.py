"""Run files: how the other commands find the running engine, whatever its configuration.

``engine up`` writes one into the state folder (``$ENGINE_STATE_DIR``, else
``$XDG_STATE_HOME/signal-engine``, else ``~/.local/state/signal-engine``), readable by its user
only, for it holds the store's and the bus' passwords. It is removed on the way out. One whose
process is gone tells the next command what that process could not stop any more.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from engine.cli.folder_lock import Holder, holders
from engine.cli.state_folder import state_dir, unwritable
from engine.errors import NotRunningError


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
    children: tuple[tuple[int, float], ...]
    """Processes to look for if ``engine up`` died without stopping them: pid and when each
    began."""
    folders: tuple[str, ...]
    """Temporary folders to remove then."""
    log_path: str
    """Where a detached engine logs; empty in the foreground."""
    ready: bool
    """Whether a ranking has been served."""
    jobs_url: str = ""
    """Where Ray's job API answers; empty where the cluster has no dashboard."""
    jobs_here: bool = True
    """Whether its jobs run on this machine, and so read its files."""
    settings: str = ""
    """The configuration, JSON: passwords masked, paths written out."""
    bus_url: str = ""
    """Its Redis, password included."""


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
        raise unwritable(folder, error) from None
    return path


def running() -> list[Run]:
    """Return the engines that run, newest first."""
    return sorted(filter(is_alive, _known()), key=lambda run: run.created, reverse=True)


def running_here() -> Run | None:
    """Return the engine whose data lies in this folder, else the one started last, if any."""
    runs = running()
    here = str(Path.cwd())
    return next((run for run in runs if run.data_dir.startswith(here + os.sep)), None) or next(
        iter(runs), None
    )


def running_on(data_dir: Path) -> Run | None:
    """Return the engine of a data folder, if it runs."""
    wanted = data_dir.resolve()
    return next((run for run in running() if Path(run.data_dir).resolve() == wanted), None)


def starting_here() -> Holder | None:
    """Return the engine of this folder that has begun to start and has no run file yet."""
    here, known = Path.cwd().resolve(), {run.pid for run in running()}
    for one in holders():
        is_new = one.pid not in known and _is_same_process(one.pid, one.created)
        if is_new and Path(one.data_dir).is_relative_to(here):
            return one
    return None


def sweep() -> int:
    """End what engines left behind that were killed before they could stop it themselves.

    Only processes that a run file names are ended, and only where they began when it says.

    Returns
    -------
    int
        How many processes were ended.
    """
    ended = 0
    for run in _known():
        if is_alive(run):
            continue
        for pid, created in run.children:
            if _is_same_process(pid, created):
                with suppress(psutil.Error):
                    psutil.Process(pid).kill()
                    ended += 1
        for folder in run.folders:
            shutil.rmtree(folder, ignore_errors=True)
        (state_dir() / f"run-{run.pid}.json").unlink(missing_ok=True)
    return ended


def is_alive(run: Run) -> bool:
    """Say whether the process that wrote the run file still lives."""
    return _is_same_process(run.pid, run.created)


def needed_run() -> Run:
    """Return the engine of this folder, else the one started last.

    Raises
    ------
    NotRunningError
        Where none runs.
    """
    run = running_here()
    starting = starting_here() if run is None else None
    if starting is not None:
        raise NotRunningError(
            f"the engine of this folder (process {starting.pid}) is still starting; try again in "
            "a few seconds"
        )
    if run is None:
        raise NotRunningError("no engine is running here; start one with: engine up")
    return run


def _known() -> list[Run]:
    found = []
    for path in state_dir().glob("run-*.json"):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Run))
        except (OSError, msgspec.DecodeError):
            continue
    return found


def _is_same_process(pid: int, created: float) -> bool:
    try:
        process = psutil.Process(pid)
        is_same = abs(process.create_time() - created) < 1.0
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
