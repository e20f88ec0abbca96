"""Which streams the supervisor places, with which shares, and where their seconds go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from actors_fakes import WIRING, config_for

from engine.actors import supervisor as supervisor_module
from engine.actors.plan import Plan
from engine.actors.supervisor import Supervisor

NODES = ["node-a", "node-b", "node-c"]


class Placed:
    """What would have been placed: by name, the share and the options."""

    def __init__(self) -> None:
        self.shares: dict[str, tuple[str, ...]] = {}
        self.options: dict[str, dict[str, Any]] = {}

    def __call__(self, kind: type, name: str, *arguments: Any, **options: Any) -> Any:
        self.options[name] = options
        if name.startswith(("stream-", "relay-")):
            self.shares[name] = arguments[3]
        return Handle()


class Handle:
    """Stands for an actor: every method has a `remote`."""

    def __getattr__(self, name: str) -> Handle:
        return self


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> Placed:
    found = Placed()
    monkeypatch.setattr(supervisor_module, "place", found)
    monkeypatch.setattr(supervisor_module, "alive_nodes", lambda: NODES)
    return found


def place_streams(folder: Path, *overrides: str) -> None:
    plan = Plan(WIRING.store, None, "", WIRING.bus_url, None, "", 1, 2)
    config = config_for(folder, *overrides)
    Supervisor("supervisor", config, plan, None)._place_streams([])


def test_streams_are_dealt_to_shards_and_one_of_them_writes_the_listings(
    placed: Placed, tmp_path: Path
) -> None:
    place_streams(
        tmp_path,
        "exchanges.binance.instruments=[A-USDT, B-USDT, C-USDT]",
        "exchanges.binance.shards=2",
    )
    assert placed.shares == {
        "stream-binance-0": ("A-USDT", "C-USDT"),
        "stream-binance-1": ("B-USDT",),
    }
    assert [options["writes_listings"] for options in placed.options.values()] == [True, False]
    assert {options["node"] for options in placed.options.values()} == {None}, "Ray decides"


def test_streams_of_a_venue_with_two_sockets_never_mix_its_groups(
    placed: Placed, tmp_path: Path
) -> None:
    place_streams(tmp_path, "exchanges.bybit.instruments=[A-USDT, A-USDT-PERP, B-USDT]")
    assert placed.shares == {
        "stream-bybit-0": ("A-USDT", "B-USDT"),
        "stream-bybit-1": ("A-USDT-PERP",),
    }


def test_redundant_streams_have_a_second_of_the_same_share_on_another_node(
    placed: Placed, tmp_path: Path
) -> None:
    place_streams(
        tmp_path,
        "exchanges.binance.instruments=[A-USDT, B-USDT, C-USDT, D-USDT]",
        "exchanges.binance.shards=4",
        "exchanges.binance.redundancy=2",
    )
    nodes = {name: options["node"] for name, options in placed.options.items()}
    for shard in range(4):
        first, second = f"stream-binance-{shard}", f"relay-binance-{shard}"
        assert placed.shares[first] == placed.shares[second]
        assert nodes[first] != nodes[second]
    assert nodes["stream-binance-0"] == nodes["stream-binance-3"] == "node-a"


def test_redundant_streams_on_one_node_are_placed_beside_one_another(
    placed: Placed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "alive_nodes", lambda: ["only"])
    place_streams(
        tmp_path, "exchanges.binance.instruments=[A-USDT]", "exchanges.binance.redundancy=2"
    )
    assert {name: options["node"] for name, options in placed.options.items()} == {
        "stream-binance-0": "only",
        "relay-binance-0": "only",
    }


def test_venue_that_is_not_enabled_has_no_stream(placed: Placed, tmp_path: Path) -> None:
    place_streams(
        tmp_path, "exchanges.binance.instruments=[A-USDT]", "exchanges.binance.enabled=false"
    )
    assert placed.shares == {}
