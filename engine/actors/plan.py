"""Addresses and passwords of one run, decided before anything starts.

They are fixed for the life of the engine, so that a part that restarts comes back where
everybody expects it.
"""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass

from engine.config import Config
from engine.errors import StartError
from engine.store.endpoint import EmbeddedHome, StoreEndpoint, parse_store_url

LOOPBACK = "127.0.0.1"

PORTS = range(20_000, 32_000)
"""Above those that Ray gives its workers, below those that a system hands out for connections:
between the choice of a port and its use, Ray's processes take dozens of either."""

PORT_TRIES = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything will be."""

    store: StoreEndpoint
    store_path: str | None
    """Folder of the embedded store; None where a server is used."""
    viewer_password: str
    bus_url: str
    bus_port: int | None
    """Port of the embedded Redis; None where a server is used."""
    bus_password: str
    metrics_port: int
    http_port: int
    jobs_url: str = ""
    """Where Ray's job API answers; empty where the cluster has no dashboard, and until it runs."""
    jobs_here: bool = True
    """Whether its jobs run on this machine, and so read its files."""

    @property
    def viewer_url(self) -> str:
        """The embedded store for a user who can only read; empty for a server."""
        if self.store_path is None:
            return ""
        host, port, database = self.store.host, self.store.port, self.store.database
        return f"http://viewer:{self.viewer_password}@{host}:{port}/{database}"


def make_plan(config: Config) -> Plan:
    """Choose ports and passwords for what is embedded; take the rest from the configuration."""
    home = parse_store_url(config.store_url)
    store_path = None
    if isinstance(home, EmbeddedHome):
        store_path = str(home.path)
        endpoint = StoreEndpoint(
            host=LOOPBACK,
            port=config.store.port or free_port(),
            username="engine",
            password=secrets.token_urlsafe(24),
            database="engine",
            secure=False,
        )
    else:
        endpoint = home
    bus_port, bus_password, bus_url = None, "", config.bus.url
    if config.bus.url == "embedded":
        bus_port, bus_password = free_port(), secrets.token_urlsafe(24)
        bus_url = f"redis://:{bus_password}@{LOOPBACK}:{bus_port}/0"
    return Plan(
        store=endpoint,
        store_path=store_path,
        viewer_password=secrets.token_urlsafe(24),
        bus_url=bus_url,
        bus_port=bus_port,
        bus_password=bus_password,
        metrics_port=config.metrics.port or free_port(),
        http_port=config.serve.port or free_port(),
    )


def free_port() -> int:
    """Return a loopback port that nobody listens on now, and that nobody is given unasked.

    Raises
    ------
    StartError
        Where none of those tried is free.
    """
    for _ in range(PORT_TRIES):
        port = PORTS[secrets.randbelow(len(PORTS))]
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise StartError(f"{PORT_TRIES} ports from {PORTS.start} to {PORTS.stop} were tried: all taken")
