"""Who goes first where the cores are few: streams and rankings before what can wait."""

from __future__ import annotations

import os

import ray


def give_way(niceness: int) -> None:
    """Lower the priority of an actor's own process; one that is lower already stays.

    In a process that is not an actor's alone, a test's or a command's, nothing happens.
    """
    if ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None:
        lower_priority(niceness)


def lower_priority(niceness: int) -> None:
    """Lower this process's priority; one that is lower already stays."""
    os.nice(max(0, niceness - os.nice(0)))
