"""Ports that are decided before anything starts."""

from __future__ import annotations

import socket

import pytest

from engine.actors import plan
from engine.errors import StartError


def test_free_port_is_none_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind((plan.LOOPBACK, 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(plan, "PORTS", range(port, port + 1))
        with pytest.raises(StartError, match=f"ports from {port} to .* were tried: all taken"):
            plan.free_port()
    assert plan.free_port() == port


def test_free_port_is_none_that_a_connection_is_given_meanwhile() -> None:
    with socket.socket() as given:
        given.bind((plan.LOOPBACK, 0))
        assert given.getsockname()[1] not in plan.PORTS
    assert plan.free_port() in plan.PORTS
