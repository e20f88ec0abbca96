"""The processes that a session started: named so that no others are ended with them."""

from __future__ import annotations

from contextlib import suppress

import psutil

KILL_PATIENCE_S = 2.0


def family_of_this() -> set[psutil.Process]:
    """Return every process that descends from this one."""
    return set(psutil.Process().children(recursive=True))


def identity(process: psutil.Process) -> tuple[int, float]:
    """Name a process so that a later one of the same number is not taken for it."""
    try:
        return process.pid, process.create_time()
    except psutil.Error:
        return process.pid, 0.0


def end(family: set[psutil.Process]) -> None:
    """End what is left of the processes this session started, by their ids."""
    _, left = psutil.wait_procs(family, timeout=KILL_PATIENCE_S)
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=KILL_PATIENCE_S)
