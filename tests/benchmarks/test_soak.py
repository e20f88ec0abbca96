"""The soak's arithmetic: what counts as flat, and how fast the simulated market must run."""

from __future__ import annotations

import math

import psutil
import pyarrow as pa
import pytest

from benchmarks.soak import lags, reached
from benchmarks.soak_market import instruments, pace, quotes_per_second, simulator_config
from benchmarks.steadiness import Memory, steadiness
from engine.clock import NS_PER_S, parse_iso_utc
from engine.errors import ConfigError, EngineError
from engine.simulator.market import MarketProcess


def test_steadiness_of_a_warm_up_and_a_level_is_flat() -> None:
    values = [10.0, 60.0, *[100.0] * 8]
    found = steadiness(range(0, 600, 60), values)
    assert found == (100.0, 100.0, 0.0, 0.0)
    assert found.is_flat


@pytest.mark.parametrize(("last", "is_flat"), [(110.0, True), (110.1, False)])
def test_steadiness_allows_five_percent_either_way(last: float, is_flat: bool) -> None:
    assert steadiness(range(6), [1.0, 100.0, 100.0, 100.0, 100.0, last]).is_flat is is_flat


def test_steadiness_slope_is_per_minute_whatever_the_swing() -> None:
    found = steadiness([0, 15, 30, 45, 60], [0.0, 100.0, 101.0, 102.0, 103.0])
    assert found.slope == pytest.approx(4.0)
    assert found.swing == 3 / (2 * 101.5)


def test_memory_adds_up_the_processes_of_a_part() -> None:
    process = psutil.Process()
    memory = Memory({process: "here", process.parent() or process: "above"})
    memory.look(0.0)
    memory.look(2.0)
    assert memory.seconds == [0.0, 2.0]
    total = memory.total(["here", "above"])
    assert total == [memory.mib["here"][n] + memory.mib["above"][n] for n in range(2)]
    assert memory.cores("here") == (memory.cpu_s["here"][1] - memory.cpu_s["here"][0]) / 2


def test_memory_of_a_process_that_ended_is_refused() -> None:
    with psutil.Popen(["true"]) as ended:
        ended.wait()
        memory = Memory({ended: "store"})
        with pytest.raises(RuntimeError, match=r"store \(process \d+\) ended during the run"):
            memory.look(0.0)


def test_rate_says_whether_the_lags_goal_is_shown() -> None:
    assert reached({"trade": 3600.0, "top": 1400.0}) == "the 5,000 of the lag's goal are reached"
    assert reached({"trade": 3600.0, "top": 1323.0}) == (
        "77 fewer than the 5,000 of the lag's goal, which this run does not show; "
        "give more --events"
    )


def test_instruments_are_as_many_as_asked_for_and_of_every_venue() -> None:
    found = instruments(1000)
    assert sum(map(len, found.values())) == 1000
    assert {name: len(names) for name, names in found.items()} == {
        "binance": 159,
        "coinbase": 159,
        "kraken": 157,
        "binance_perp": 105,
        "bybit": 210,
        "okx": 210,
    }
    assert len({(venue, one) for venue, names in found.items() for one in names}) == 1000
    with pytest.raises(ConfigError, match="1064 markets are simulated, not 1065"):
        instruments(1065)


def test_quotes_follow_trades_but_not_faster_than_three_ticks() -> None:
    assert quotes_per_second(0.0) == 0.2
    assert quotes_per_second(1e-9) == pytest.approx(0.2)
    assert quotes_per_second(1000.0) == pytest.approx(1 / 0.3)
    assert quotes_per_second(1.0) == pytest.approx(1 / (0.3 + math.exp(-0.3) - math.exp(-5.0)))


def test_pace_gives_the_events_asked_for() -> None:
    rates = [0.5, 3.0, 40.0]
    factor = pace(200.0, rates)
    events = sum(factor * rate + quotes_per_second(factor * rate) for rate in rates)
    assert events == pytest.approx(200.0)
    with pytest.raises(ConfigError, match=r"3 markets quote more often than 0\.5 times a second"):
        pace(0.5, rates)


def test_simulator_config_makes_the_trades_that_pace_wants() -> None:
    markets = {"binance": ("BTC-USDT", "ETH-USDT"), "kraken": ("BTC-USD",)}
    start = parse_iso_utc("2026-11-21T08:00:00Z")
    config = simulator_config(100.0, markets, start, 5)
    assert config.epoch == "2026-11-20T00:00:00.000000Z"
    process = MarketProcess(config)
    events = 0.0
    for exchange, names in markets.items():
        for name in names:
            trades = len(process.trades(exchange, name, start, start + 300 * NS_PER_S)) / 300
            events += trades + quotes_per_second(trades)
    assert events == pytest.approx(100.0, rel=0.01)


class ThreeLooks:
    """A simulator that sent at 1.0, 1.2 and 1.5 s."""

    def looks(self, exchange: str) -> list[int]:
        assert exchange == "kraken"
        return [1_000_000_000, 1_200_000_000, 1_500_000_000]


class TwoTrades:
    """A store that holds a trade of 1.15 s and one of the very look at 1.2 s."""

    def query_arrow(self, sql: str, parameters: dict[str, object]) -> pa.Table:
        assert parameters == {"exchange": "kraken", "start": 1, "end": 2}
        columns = [[1_150_000_000, 1_200_000_000], [1_230_000_000, 1_210_000_000], [0.5, 1.5]]
        return pa.table(columns, names=["happened", "received", "written"])


def test_lag_begins_with_the_look_that_sent_the_trade() -> None:
    found = lags(ThreeLooks(), TwoTrades(), "kraken", 1, 2)  # type: ignore[arg-type]
    assert found.sent.tolist() == [30.0, 10.0]
    assert found.happened.tolist() == [80.0, 10.0]
    assert found.written.tolist() == [0.5, 1.5]


def test_lag_of_a_trade_before_all_looks_is_not_guessed() -> None:
    venues = ThreeLooks()
    venues.looks = lambda exchange: [1_180_000_000, 1_500_000_000]  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="no longer knows when it sent kraken's first trades"):
        lags(venues, TwoTrades(), "kraken", 1, 2)  # type: ignore[arg-type]
