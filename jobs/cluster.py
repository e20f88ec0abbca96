"""The Ray cluster that a job runs on: the one it was submitted to, a named one, or its own."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import warnings
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import AuthenticationError, RayError

from engine.actors.placement import NAMESPACE
from engine.config import Config
from engine.errors import StartError
from engine.machine import affinity_cores
from engine.store.endpoint import StoreEndpoint
from jobs.priority import give_way
from jobs.stopping import Stopped, listen

if TYPE_CHECKING:
    from engine.backfill.run import BackfillConfig

PATIENCE_S = 60.0
"""For the engine's answer to where its store is, or its bus."""

_LOGGER = logging.getLogger(__name__)


def address_of(config: Config) -> str | None:
    """Return the cluster to join; None where the job starts its own."""
    return os.environ.get("RAY_ADDRESS") or config.ray.address


def join_ray(config: Config, cleanup: ExitStack) -> None:
    """Join the cluster that is named or that this job was submitted to, or start one here.

    Raises
    ------
    StartError
        Where it cannot be joined or started.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address_of(config)
    common: dict[str, Any] = {
        "namespace": NAMESPACE,
        "log_to_driver": False,
        "logging_level": "error",
    }
    if address is None:
        folder = tempfile.mkdtemp(prefix="engine-job-")
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        common |= {
            "num_cpus": affinity_cores(),
            "object_store_memory": config.ray.object_store_mb * 2**20,
            "include_dashboard": False,
            "_temp_dir": folder,
        }
    try:
        ray.init(address=address, **common)
    except AuthenticationError:
        raise StartError(
            f"the cluster {address} refuses the token, or none is here: set RAY_AUTH_TOKEN, or "
            "copy the cluster's ~/.ray/auth_token here"
        ) from None
    except SystemExit:  # Ray's own answer to SIGTERM, until we listen again
        raise Stopped from None
    except Exception as error:  # noqa: BLE001 - Ray raises it bare where its start takes too long
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        where = f"the cluster {address} cannot be joined" if address else "Ray cannot be started"
        raise StartError(f"{where}: {first}") from None
    cleanup.callback(ray.shutdown)
    listen()
    if address is not None:
        give_way()


def quieten() -> None:
    """Leave Ray Data's own accounts of what it does to its log files: the job gives its own."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.print_on_execution_start = False
    # An error keeps its type and its text on its way here.
    context.raise_original_map_exception = True
    # What goes wrong arrives as an exception, and is said once.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\.data")
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def engines_store() -> StoreEndpoint | None:
    """Ask the engine on this cluster for its store; None where none runs there.

    Raises
    ------
    StartError
        Where one runs and does not answer: another store would not be the one that is meant.
    """
    supervisor = _supervisor()
    if supervisor is None:
        return None
    try:
        found: StoreEndpoint = ray.get(supervisor.store_endpoint.remote(), timeout=PATIENCE_S)
    except RayError as error:
        raise StartError(
            f"the engine on this cluster does not say where its store is ({type(error).__name__})"
        ) from None
    return found


def with_engines_bus(request: BackfillConfig) -> BackfillConfig:
    """Have a backfill keep the pauses that a venue asks the engine on this cluster for.

    Without an answer from the engine it is left as it is: it still keeps those asked of itself.
    """
    supervisor = _supervisor()
    if supervisor is None:
        return request
    try:
        url, prefix = ray.get(supervisor.bus_address.remote(), timeout=PATIENCE_S)
    except RayError as error:
        _LOGGER.warning("the engine does not say where its bus is (%s)", type(error).__name__)
        return request
    return replace(request, bus_url=url, bus_prefix=prefix)


def _supervisor() -> Any:
    """Return the supervisor of the engine on this cluster, None where there is none."""
    if not ray.is_initialized():
        return None
    try:
        return ray.get_actor("supervisor", namespace=NAMESPACE)
    except ValueError:
        return None


def cores() -> int:
    """Return the real cores of all nodes: logical CPUs may be more, for idle actors' sake.

    Machines are taken to be as large as this one.
    """
    nodes: Any = ray.nodes
    alive = [node for node in nodes() if node["Alive"] and node["Resources"].get("CPU")]
    logical = sum(int(node["Resources"]["CPU"]) for node in alive)
    machines = {node["NodeManagerHostname"] for node in alive}
    return max(1, min(logical, affinity_cores() * len(machines)))
