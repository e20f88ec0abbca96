"""``engine parity`` as a person runs it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from engine.cli.main import app
from engine.cli.parity import show
from engine.config import RetentionConfig
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.features.catalogue import FEATURE_INDEX, feature_columns
from engine.features.rows import feature_row
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.parity import Audit, bits
from engine.store.schema import migrate
from tests.features.conftest import random_walk
from tests.features.stored_world import World, candles_of, live_of, put

M1 = Timeframe.M1
BARS = 120
END = M1.floor(time.time_ns()) - 5 * M1.ns
BTC, ETH = Market("binance", "BTC-USDT"), Market("binance", "ETH-USDT")


@pytest.fixture(scope="module")
def world() -> World:
    start = END - BARS * M1.ns
    walks = {
        market: random_walk(seed, BARS, timeframe=M1, start_ns=start)
        for seed, market in enumerate((BTC, ETH))
    }
    return World([c for market, bars in walks.items() for c in candles_of(market, bars, M1)])


@pytest.fixture(scope="module")
def live(world) -> list[FeatureRow]:
    return [
        feature_row(
            market, M1, at, 1.0, values, available_at=at + M1.ns + 5, last_receive_time=at + M1.ns,
            is_closed=True,
        )
        for (market, at), values in live_of(world.candles, M1, BTC).items()
    ]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = EmbeddedStore(tmp_path_factory.mktemp("parity") / "db")
    try:
        with Store(home.start()) as store:
            migrate(store, RetentionConfig(), feature_columns())
            yield store
    finally:
        home.stop()


def ask(store: Store, *arguments: str) -> Result:
    named = ["--set", f"store.url={store.endpoint.url}", "--hours", "3"]
    return CliRunner().invoke(app, ["parity", *named, *arguments])


def test_parity_of_equal_rows_exits_with_0(store, world, live):
    put(store, world)
    store.insert("features", live)
    answer = ask(store, "--timeframe", "1m")
    assert answer.exit_code == 0, answer.output
    assert "equal: every live row, to the bit" in answer.output
    plain = json.loads(ask(store, "--timeframe", "1m", "--json").stdout)
    assert plain["equal"] is True
    assert plain["timeframes"][0]["rows"] == 2 * BARS


def test_parity_of_a_planted_bit_exits_with_1_and_names_it(store, world, live, monkeypatch):
    monkeypatch.setattr("engine.cli.parity.PATIENCE_S", 0.0)
    put(store, world)
    index = FEATURE_INDEX["rsi_14"]
    row = live[-1]
    values = list(row.values)
    values[index] = float(np.nextafter(values[index], 0.0))
    store.insert("features", [*live[:-1], msgspec.structs.replace(row, values=tuple(values))])
    answer = ask(store, "--timeframe", "1m")
    assert answer.exit_code == 1
    told = " ".join(answer.output.split())
    assert f"{row.exchange}:{row.instrument}" in told
    assert (
        f"rsi_14: stored {values[index]!r} ({bits(values[index])}), "
        f"recomputed {row.values[index]!r} ({bits(row.values[index])})"
    ) in told
    (found,) = json.loads(ask(store, "--timeframe", "1m", "--json").stdout)["timeframes"]
    assert [each["feature"] for each in found["differences"]] == ["rsi_14"]


def test_parity_of_nothing_says_so(store, world):
    put(store, world)
    answer = ask(store, "--timeframe", "1h")
    assert isinstance(answer.exception, ConfigError)
    assert "no features of 1h of the last 3 hours were stored by a live run" in str(
        answer.exception
    )


def test_parity_tells_of_ranks_among_rows_that_are_replaced(capsys):
    found = Audit(M1, rows=10, batch_rows=1, replaced_rows=1, among_replaced_rows=2)
    show(Console(width=200), [found])
    told = capsys.readouterr().out
    assert "2 live rows have other ranks and are no differences: they were ranked among" in told
    assert "equal: every live row, to the bit, but for those ranks" in told
