"""The second stream of a pair keeps trades until the first has them, and tells a new one again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from actors_fakes import WIRING, config_for

from engine.actors import relay
from engine.actors.base import Phase
from engine.actors.relay import Relay
from engine.actors.wiring import VenueEndpoint
from engine.bus.hold import SharedHold
from engine.clock import SystemClock
from engine.domain.market import SymbolMetadata, Trade
from engine.errors import VenueError
from engine.exchanges.base import Exchange


class First:
    """The first stream: here, away, or started anew."""

    def __init__(self) -> None:
        self.incarnation = "one"
        self.is_away = False
        self.taken: list[list[int]] = []
        self.asked = asyncio.Event()

    async def offer(self, trades: Sequence[Trade]) -> str:
        self.asked.set()
        if self.is_away:
            raise ConnectionError("restarting")
        self.taken.append([trade.sequence for trade in trades])
        return self.incarnation


def trades(*numbers: int) -> list[Trade]:
    now = SystemClock().now_ns()
    return [Trade("binance", "BTC-USDT", str(n), n, 1.0, 1.0, "buy", now, now) for n in numbers]


@pytest.fixture
def first() -> First:
    return First()


@pytest.fixture
def second(tmp_path: Path, first: First, monkeypatch: pytest.MonkeyPatch) -> Relay:
    monkeypatch.setattr(relay, "RETRY_S", 0.0)
    config = config_for(tmp_path, "exchanges.binance.instruments=[BTC-USDT]")
    return Relay("relay-binance-0", config, WIRING, "binance", ("BTC-USDT",), first)


async def test_relay_hands_over_each_trade_once(second: Relay, first: First) -> None:
    await second.events(trades(1, 2))
    await second._relay()
    await second.events(trades(3))
    await second._relay()
    assert first.taken == [[1, 2], [3]]


async def test_relay_keeps_what_the_first_stream_cannot_take_now(
    second: Relay, first: First
) -> None:
    first.is_away = True
    await second.events(trades(1))
    await second._relay()
    await second.events(trades(2))
    first.is_away = False
    await second._relay()
    assert first.taken == [[1, 2]]


async def test_relay_tells_a_first_stream_that_was_started_anew_what_its_predecessor_had(
    second: Relay, first: First
) -> None:
    await second.events(trades(1, 2))
    await second._relay()
    first.incarnation = "two"
    await second.events(trades(3))
    await second._relay()
    assert first.taken == [[1, 2], [3], [1, 2]]
    await second.events(trades(4))
    await second._relay()
    assert first.taken[-1] == [4]


async def test_relay_drops_the_oldest_beyond_its_bound_and_counts_them(
    second: Relay, first: First, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "MOST_TRADES", 2)
    first.is_away = True
    await second.events(trades(1, 2, 3))
    assert second._dropped == 1
    first.is_away = False
    await second._relay()
    assert first.taken == [[2, 3]]


class RefusingRest:
    """A venue's REST that refuses twice, and then lists a contract."""

    refusals = 2

    def __init__(self, *_: object, hold: SharedHold) -> None:
        assert hold

    async def __aenter__(self) -> RefusingRest:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def metadata(self) -> list[SymbolMetadata]:
        if RefusingRest.refusals:
            RefusingRest.refusals -= 1
            raise VenueError("the venue is busy")
        name = "BTC-USDT-PERP"
        return [SymbolMetadata("okx", name, "X", "trading", 0.1, 1.0, contract_size=0.01)]


async def test_relay_asks_for_contract_sizes_until_it_has_them_and_only_then_streams(
    second: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = asyncio.Event()

    class Loop:
        def __init__(self, adapter: Exchange, *_: object, **__: object) -> None:
            assert adapter.contract_sizes == {"BTC-USDT-PERP": 0.01}

        async def run(self) -> None:
            opened.set()

        async def stop(self) -> None:
            return None

    monkeypatch.setattr(RefusingRest, "refusals", 2)
    monkeypatch.setattr(relay, "RestClient", RefusingRest)
    monkeypatch.setattr(relay, "CONTRACTS_RETRY_S", 0.0)
    monkeypatch.setattr(relay, "StreamLoop", Loop)
    await second.start(VenueEndpoint("ws://venue.test", "http://venue.test"))
    await asyncio.wait_for(opened.wait(), 5)
    assert RefusingRest.refusals == 0
    await second.start(VenueEndpoint())
    await second.drain()
    assert second.phase is Phase.DRAINED


async def test_relay_drained_while_its_venue_refuses_ends_at_once(
    second: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RefusingRest, "refusals", 10**9)
    monkeypatch.setattr(relay, "RestClient", RefusingRest)
    await second.start(VenueEndpoint("ws://venue.test", "http://venue.test"))
    await asyncio.sleep(0)
    assert second.details() == {"instruments": 1}
    await asyncio.wait_for(second.drain(), 1)
    assert (second.phase, second.problem) == (Phase.DRAINED, "")
