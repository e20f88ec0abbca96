"""Plain classes to Ray actors: named, detached, restarted without end."""

from __future__ import annotations

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from engine.actors.base import EngineActor

Handle = Any
"""A Ray actor's handle: Ray does not type the methods behind it."""

NAMESPACE = "engine"

# An idle actor needs next to no CPU; what it reserves only bounds how many share a node.
CPU_SHARE = 0.01


def place(
    kind: type[EngineActor],
    name: str,
    *arguments: Any,
    near_head: bool = False,
    node: str | None = None,
    num_cpus: float = CPU_SHARE,
    num_gpus: float = 0.0,
    **options_of_kind: Any,
) -> Handle:
    """Start an actor, or find it where it runs already.

    Parameters
    ----------
    kind
        The plain class.
    name
        Its stable name, unique in the engine's namespace.
    *arguments
        What its constructor takes after the name.
    near_head
        Keep it on this node: it owns files or addresses of this machine.
    node
        Where it is best; it goes elsewhere when that node is lost.
    num_cpus, num_gpus
        What it takes of the cluster; parts of a GPU are possible.
    **options_of_kind
        Keyword arguments of its constructor.
    """
    strategy: Any = "DEFAULT"
    if node is not None:
        strategy = NodeAffinitySchedulingStrategy(node, soft=True)
    if near_head:
        strategy = NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
    options = {
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "max_restarts": -1,
        # A lost call is made again by whoever keeps the data: never blindly by Ray.
        "max_task_retries": 0,
        "max_concurrency": 100,
        "scheduling_strategy": strategy,
    }
    actor: Any = ray.remote(kind)
    return actor.options(**options).remote(name, *arguments, **options_of_kind)


def find(name: str) -> Handle | None:
    """Return an actor by its name, or None where there is none. Blocking."""
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return None


def gpus() -> float:
    """Return how many GPUs the cluster has."""
    resources: Any = ray.cluster_resources  # which Ray does not type
    return float(resources().get("GPU", 0.0))


def alive_nodes() -> list[str]:
    """Return the ids of the cluster's nodes that are alive, in a stable order."""
    listed: Any = ray.nodes  # which Ray does not type
    return sorted(node["NodeID"] for node in listed() if node["Alive"])


def is_head_node() -> bool:
    """Say whether this process is on the cluster's head node, where submitted jobs run."""
    listed: Any = ray.nodes
    mine = ray.get_runtime_context().get_node_id()
    return any(
        node["NodeID"] == mine and "node:__internal_head__" in node["Resources"]
        for node in listed()
    )


def kill(handle: Handle, *, restart: bool) -> None:
    """End an actor's process; with `restart` Ray starts it anew."""
    ray.kill(handle, no_restart=not restart)
