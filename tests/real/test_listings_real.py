"""The registry fed with what really traded: LUNAUSDT, its end in May 2022 and its reuse."""

from __future__ import annotations

from collections import defaultdict

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine.clock import NS_PER_S, iso_utc
from engine.domain.market import SymbolMetadata
from engine.exchanges.base import split_symbol
from engine.exchanges.listings import as_of, current, observe

pytestmark = pytest.mark.real
DAY_S = 86_400


@pytest.fixture(scope="module")
def registry(real_data):
    """Look once a day, at the midnight that ends it, at which symbols have traded in it."""
    path = real_data / "candles" / "binance_spot_1h_60sym_2021_2023.parquet"
    table = pq.read_table(path, columns=["symbol", "ts"])
    seconds = pc.divide(table["ts"].cast("int64"), 1_000_000)
    days = defaultdict(set)
    for symbol, second in zip(table["symbol"].to_pylist(), seconds.to_pylist(), strict=True):
        days[second // DAY_S].add(symbol)
    known = []
    for day in sorted(days):
        seen = [
            SymbolMetadata("binance", split_symbol(symbol), symbol, "trading", None, None)
            for symbol in days[day]
        ]
        known += observe(known, seen, (day + 1) * DAY_S * NS_PER_S)
    return known


def test_daily_looks_at_real_candles_find_two_lunas(registry):
    luna = [
        (row.instrument, row.status, iso_utc(row.valid_from)[:10])
        for row in registry
        if row.symbol == "LUNAUSDT"
    ]
    assert luna == [
        ("LUNA-USDT", "trading", "2021-04-05"),
        ("LUNA-USDT", "halted", "2022-05-15"),
        ("LUNA-USDT", "delisted", "2022-05-16"),
        ("LUNA~2-USDT", "trading", "2022-06-01"),
    ]


def test_daily_looks_at_real_candles_split_nothing_else(registry):
    names = {row.instrument for row in registry}
    assert len(names) == 61
    assert {name for name in names if "~" in name} == {"LUNA~2-USDT"}


def test_as_of_real_registry_answers_with_the_luna_of_the_day(registry):
    def luna(moment):
        row = as_of(registry, moment)["LUNA-USDT"]
        return row.instrument, row.status

    day_ns = DAY_S * NS_PER_S
    relisted = current(registry)["LUNA-USDT"].valid_from
    assert luna(relisted) == ("LUNA~2-USDT", "trading")
    assert luna(relisted - day_ns) == ("LUNA-USDT", "delisted")
    assert luna(relisted - 30 * day_ns) == ("LUNA-USDT", "trading")
