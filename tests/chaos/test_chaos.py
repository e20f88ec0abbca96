"""Everything at once, and then the axe: what is stored equals what happened, to the last trade.

Run by ``make chaos``. The venues commit every fault they can but one, seeded (a deaf
subscription has tests of its own: connections here are cut too soon for it); meanwhile every
kind of process is killed at a random moment. After each the stored trades and candles equal the
venues' own ledger, and every gap of trades is closed.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from chaos_world import ChaosWorld, until

from engine.clock import NS_PER_S, SKEW_NS, SystemClock
from engine.store.completeness import Selection, verify

pytestmark = [pytest.mark.ray, pytest.mark.chaos, pytest.mark.timeout(600)]

SEED = 20261121

SIMULATOR = {
    "simulator": {
        "seed": SEED,
        "trades_per_second": 120.0,
        "faults": {
            "garbage_per_minute": 6.0,
            "truncated_per_minute": 6.0,
            "duplicate_share": 0.02,
            "late_share": 0.02,
            "swapped_share": 0.02,
            "lost_share": 0.005,
            "disconnect_every_s": 40.0,
            "cut_after_s": 45.0,
            "stall_every_s": 90.0,
            "stall_s": 8.0,
            "rest_slow_ms": 300.0,
            "rest_busy_share": 0.05,
            "rest_ban_s": 2,
            "rest_error_share": 0.03,
            "clock_skew_ms": {"binance": 2000, "coinbase": -2000, "kraken": 700, "okx": -1200},
        },
    },
    "exchanges": {
        "binance": {
            "instruments": ["BTC-USDT", "ETH-USDT", "SOL-USDT"],
            "channels": ["trades", "book_top", "book"],
            "redundancy": 2,
            "rotate_after_s": 30.0,
        },
        "binance_perp": {
            "instruments": ["BTC-USDT-PERP", "ETH-USDT-PERP"],
            "channels": ["trades", "book", "perpetual"],
        },
        "coinbase": {
            "instruments": ["BTC-USD", "ETH-USD"],
            "channels": ["trades", "book"],
            "redundancy": 2,
        },
        "kraken": {"instruments": ["BTC-USD", "ETH-USD"], "channels": ["trades", "book"]},
        "bybit": {
            # It keeps the last 60 trades of a spot market: in a quiet one these are minutes.
            "instruments": ["LRC-USDT", "BTC-USDT-PERP"],
            "channels": ["trades", "book", "perpetual"],
            "audit_every_s": 5.0,
            "redundancy": 2,
        },
        "okx": {
            "instruments": ["BTC-USDT", "ETH-USDT", "BTC-USDT-PERP"],
            "channels": ["trades", "book", "perpetual"],
        },
    },
}

ENGINE = ["reconnect.stable_ms=3000", "store.flush_ms=500", "ranking.min_universe=2"]

KILLED = [
    "stream-binance-0",
    "stream-coinbase-0",
    "stream-bybit-1",
    "relay-binance-0",
    "features-0",
    "ranker",
    "texts",
    "sentiment-0",
    "bus",
    "store",
    "supervisor",
]

SPARED = ["stream-binance_perp-0", "stream-kraken-0"]
"""Never killed by name: their memory is compared."""

GROWTH = 1.25
"""A process of some minutes still fills what it keeps by design (two minutes of trades, and the
ids of more); `make soak` measures for longer."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChaosWorld]:
    made = ChaosWorld(tmp_path_factory.mktemp("chaos"), SIMULATOR, ENGINE)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def memory() -> dict[str, int]:
    """Resident memory of the spared streams after the bad weather."""
    return {}


@pytest.fixture(scope="module")
def dice() -> random.Random:
    return random.Random(SEED)


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def whole(world: ChaosWorld, what: str) -> None:
    """Wait until all that happened up to now is stored, once, with its candles."""
    wait(3.0)
    end = SystemClock().now_ns() - 2 * NS_PER_S
    # Longer than a start on a slow machine takes.
    until(f"after {what} all is stored", lambda: world.differences(end), 180.0)


def are_closed(world: ChaosWorld, instrument: str, cause: str) -> bool:
    """Whether gaps of an instrument's trades were opened for a cause, and all are closed."""
    found = [gap for gap in world.gaps() if (gap.instrument, gap.cause) == (instrument, cause)]
    return bool(found) and all(gap.repaired_at is not None for gap in found)


def test_chaos_venues_that_misbehave_in_every_way(
    world: ChaosWorld, memory: dict[str, int]
) -> None:
    wait(45.0)
    whole(world, "bad weather")
    memory |= world.memory(SPARED)


@pytest.mark.parametrize("name", KILLED)
def test_chaos_kill_of_an_actor(world: ChaosWorld, dice: random.Random, name: str) -> None:
    wait(dice.uniform(0.2, 2.0))
    world.kill(name)
    whole(world, f"the death of {name}")


def test_chaos_kill_of_redis(world: ChaosWorld, dice: random.Random) -> None:
    wait(dice.uniform(0.2, 2.0))
    world.kill_redis()
    whole(world, "the death of Redis")


def test_chaos_loss_of_a_node(world: ChaosWorld, dice: random.Random) -> None:
    wait(dice.uniform(0.2, 2.0))
    world.kill_node()
    wait(8.0)
    whole(world, "the loss of a node")


def test_chaos_reused_ticker_is_another_instrument(world: ChaosWorld) -> None:
    world.venues.order("delist", exchange="okx", instrument="ETH-USDT")
    # A stall may have swallowed the last trades, and no later one will show it.
    until("its last trades are there", lambda: are_closed(world, "ETH-USDT", "delisting"))
    # What is lost between the last question and the next listing nobody can ask for any more.
    world.venues.order("calm")
    until("okx is up", lambda: world.report("stream-okx-0").details["connected"] is True)
    # The list is looked at some times more: a late trade behind them, or a connection that was
    # lost meanwhile, has them asked for again; and the symbol is used again late enough for the
    # last question not to cover its new begin.
    wait(SKEW_NS / NS_PER_S + 2.0)
    until("its last trades are there", lambda: are_closed(world, "ETH-USDT", "delisting"))
    world.venues.order("relist", exchange="okx", instrument="ETH-USDT")
    wait(8.0)
    whole(world, "a delisting and a reused ticker")
    names = {market.instrument for market in world.markets() if market.exchange == "okx"}
    assert {"ETH-USDT", "ETH~2-USDT"} <= names
    world.kill("stream-okx-0")
    whole(world, "the death of a stream whose ticker was reused")


def test_chaos_ends_whole_and_verified(
    world: ChaosWorld, memory: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    world.venues.order("calm")
    whole(world, "everything")
    # Books, best prices and perpetuals too: a quiet one says nothing until it moves again.
    until("no gap of any channel is open", world.lasting_gaps, 120.0)
    now = world.memory(SPARED)
    assert {name: now[name] for name in now if now[name] > GROWTH * memory[name]} == {}
    injected = world.venues.injected()
    for venue in SIMULATOR["exchanges"]:
        assert len(injected[venue]) >= 10, f"{venue} committed only {sorted(injected[venue])}"
    end = SystemClock().now_ns() - 5 * NS_PER_S
    problems = {
        str(report.market): report.problems
        for report in verify(world.store, Selection(end=end), patience_s=5.0)
        if not report.is_complete
    }
    assert problems == {}
    totals: Counter[str] = Counter()
    for faults in injected.values():
        totals.update(faults)
    trades = sum(len(world.stored(market, world.began, end)) for market in world.markets())
    with capsys.disabled():
        print(f"\n{trades} trades, none lost, none twice; {len(world.gaps())} gaps, all closed")
        print("faults:", ", ".join(f"{kind} {count}" for kind, count in sorted(totals.items())))
