"""Pieces of work as tasks of Ray, as many at a time as the cluster does well."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import ray

from jobs.priority import give_way

T = TypeVar("T")
C = TypeVar("C")
R = TypeVar("R")

RETRIES = 3
"""How often a task is tried again whose process or node is lost. What it raises is final."""


def in_parallel(
    work: Callable[[T, C], R], things: Sequence[T], common: C, at_a_time: int
) -> Iterator[tuple[T, R]]:
    """Do something to each of several things, and yield each with what came of it when it is done.

    Parameters
    ----------
    work
        What to do; it travels to the workers.
    things
        What to do it to.
    common
        What every call is given as well: sent once.
    at_a_time
        Most tasks at a time; a Ray CPU is asked for each.

    Raises
    ------
    ray.exceptions.RayTaskError
        What a task raised.
    """

    def one(thing: T, common: C) -> R:
        give_way()
        return work(thing, common)

    task: Any = ray.remote(num_cpus=1, max_retries=RETRIES)(one)
    shared = ray.put(common)
    waiting = iter(things)
    flying: dict[Any, T] = {}
    while True:
        for thing in islice(waiting, at_a_time - len(flying)):
            flying[task.remote(thing, shared)] = thing
        if not flying:
            return
        ready, _ = ray.wait(list(flying), num_returns=1)
        yield flying.pop(ready[0]), ray.get(ready[0])
