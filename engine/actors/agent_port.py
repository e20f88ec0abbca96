"""What keeps the jobs of several clusters on one machine apart: a port, and an address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import ray
from ray._private import parameter
from ray._private.utils import write_ray_address

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


def note_own_address(folder: Path) -> None:
    """Write down the address of the cluster that this process has started, for its jobs.

    Ray tells a job its cluster by looking for one that runs on the machine. Where it sees several
    it takes any, unless the folder of the job's own cluster names one. ``ray start`` writes that
    file, ``ray.init`` does not: so a job could join another engine's cluster, and write into that
    engine's store.

    Parameters
    ----------
    folder
        The cluster's: what `ray.init` was given as ``_temp_dir``.
    """
    write_ray_address(ray.get_runtime_context().gcs_address, str(folder))
