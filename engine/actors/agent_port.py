"""A port of its own for the agent that starts a cluster's jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from ray._private import parameter

from engine.actors.plan import free_port


@contextmanager
def own_agent_port() -> Iterator[None]:
    """Let a cluster that is started meanwhile put its job agent on a free port.

    Ray's own choice is one fixed port (52365). The second cluster of a machine finds it taken,
    starts all the same, and takes no job. ``ray start`` has an option for it, ``ray.init`` has
    none: so the parameters that it makes are given one.
    """
    original = parameter.RayParams
    changed = partial(original, dashboard_agent_listen_port=free_port())
    parameter.RayParams = changed  # type: ignore[misc, assignment]  # see above: no other way in
    try:
        yield
    finally:
        parameter.RayParams = original  # type: ignore[misc]  # as it was
