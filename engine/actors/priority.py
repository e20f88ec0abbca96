"""Who goes first where the cores are few: streams and rankings before what can wait."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import ray

PATIENT = 10
"""Niceness of the embedded store and of models; streams, features, rankings and Serve have 5
(`serve.run.environment`), jobs 15 (`jobs.priority`). A frame that nobody takes from its socket is
lost in the end, but rows wait in memory or on disk, and merges take all cores at once when they are
let; a start with a week of texts takes a core for half a minute."""

_THREADS = Path("/proc/self/task")


def give_way(niceness: int) -> None:
    """Lower the priority of an actor's own process; one that is lower already stays.

    In a process that is not an actor's alone, a test's or a command's, nothing happens.
    """
    if ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None:
        lower_priority(niceness)


def lower_priority(niceness: int) -> None:
    """Lower this process's priority; one that is lower already stays."""
    # Linux keeps a niceness for each thread; those that start later have their starter's.
    threads = [int(thread.name) for thread in _THREADS.iterdir()] if _THREADS.is_dir() else [0]
    for thread in threads:
        with suppress(ProcessLookupError):
            held = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, max(held, niceness))
