"""Ray for tests: small, silent, in a folder of its own that is removed.

Most tests share one Ray (the fixture ``shared_ray``); those that kill its nodes, submit jobs to it
or serve from it start their own.
"""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

OBJECT_STORE_BYTES = 100 * 2**20

_shared = ExitStack()


@contextmanager
def ray_folder() -> Iterator[str]:
    """A folder whose name is short: paths of the sockets below it may have 107 bytes."""
    with tempfile.TemporaryDirectory(
        prefix="ray-", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        yield folder


@contextmanager
def own_ray(**options: Any) -> Iterator[Any]:
    """Ray on this machine, ended when the test is done with it; what `ray.init` returned.

    Parameters
    ----------
    options
        Of `ray.init`, beside two cores, no dashboard and silence.
    """
    import ray

    end_shared_ray()
    with ray_folder() as folder:
        try:
            yield ray.init(
                **{
                    "num_cpus": 2,
                    "object_store_memory": OBJECT_STORE_BYTES,
                    "include_dashboard": False,
                    "log_to_driver": False,
                    "logging_level": "error",
                    "_temp_dir": folder,
                    **options,
                }
            )
        finally:
            ray.shutdown()
            gc.collect()  # what Ray left, while its warnings are still expected


@contextmanager
def cluster_of_nodes(num_cpus: float) -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster`, which can lose nodes, with its first one.

    Parameters
    ----------
    num_cpus
        Logical, of the first node.
    """
    import ray
    from ray.cluster_utils import Cluster

    end_shared_ray()
    before = os.environ.get("RAY_TMPDIR")
    with ray_folder() as folder:
        # There Ray writes the address of the first node, into a folder that it takes for granted.
        os.environ["RAY_TMPDIR"] = folder
        (Path(folder) / "ray").mkdir()
        head = {
            "num_cpus": num_cpus,
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
            "temp_dir": folder,
        }
        nodes = None
        try:
            nodes = Cluster(initialize_head=True, head_node_args=head)
            yield nodes
        finally:
            ray.shutdown()
            if nodes is not None:
                nodes.shutdown()
            gc.collect()
            os.environ.pop("RAY_TMPDIR")
            if before is not None:
                os.environ["RAY_TMPDIR"] = before


def start_shared_ray() -> None:
    """Start the Ray that tests share, unless it runs."""
    import ray

    if not ray.is_initialized():
        _shared.enter_context(own_ray())
        ray.data.DataContext.get_current().enable_progress_bars = False


def end_shared_ray() -> None:
    """End it, where it runs."""
    _shared.close()
