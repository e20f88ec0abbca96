"""Every struct through every table and back, to the bit."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import SAMPLES, T0, features, trade

from engine.domain.market import Trade
from engine.errors import StoreError
from engine.store.client import Store
from engine.store.tables import TABLES, content_token, table_named


def _comparable(row: Any) -> Any:
    """Return a row's fields with NaN, which equals nothing, replaced."""
    fields = msgspec.structs.asdict(row)
    if "values" in fields:
        fields["values"] = [None if math.isnan(value) else value for value in fields["values"]]
    return fields


def _read(store: Store, name: str) -> list[Any]:
    table = TABLES[name]
    return table.from_arrow(store.query_arrow(f"SELECT {table.select} FROM {name}"))


def test_samples_cover_every_table() -> None:
    assert set(SAMPLES) == set(TABLES)


def test_rows_through_clickhouse_come_back_equal(store: Store) -> None:
    for name, rows in SAMPLES.items():
        assert store.insert(name, rows) == len(rows)
        key = repr
        got = sorted(map(_comparable, _read(store, name)), key=key)
        assert got == sorted(map(_comparable, rows), key=key), name


_TIMES = st.integers(T0 - 10**18, T0 + 10**18)
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_TRADES = st.builds(
    Trade,
    exchange=_TEXTS,
    instrument=_TEXTS,
    trade_id=_TEXTS,
    sequence=st.integers(-(2**63), 2**63 - 1),
    price=_NUMBERS,
    amount=_NUMBERS,
    side=st.sampled_from(["buy", "sell"]),
    exchange_time=_TIMES,
    receive_time=_TIMES,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(_TRADES, min_size=1, max_size=8))
def test_trades_of_any_content_come_back_equal(store: Store, rows: list[Trade]) -> None:
    store.command("TRUNCATE TABLE trades")
    store.insert("trades", rows)
    assert sorted(_read(store, "trades"), key=repr) == sorted(rows, key=repr)


def test_rows_of_another_struct_are_refused() -> None:
    with pytest.raises(StoreError, match="table candles takes Candle rows, not Trade"):
        TABLES["candles"].to_arrow([trade(1)])


@pytest.mark.parametrize(
    "bad",
    [
        msgspec.structs.replace(trade(1), sequence=2**63),
        msgspec.structs.replace(trade(1), trade_id="\ud83d"),
        msgspec.structs.replace(trade(1), price="60000"),
        msgspec.structs.replace(features(1), values=(1.0,)),
    ],
    ids=["too large", "half a surrogate", "text for a number", "too few features"],
)
def test_a_value_that_does_not_fit_is_named(bad: msgspec.Struct) -> None:
    name = "trades" if isinstance(bad, Trade) else "features"
    with pytest.raises(StoreError, match=f"a row does not fit table {name}"):
        TABLES[name].to_arrow([bad])


def test_unknown_table_lists_the_known_ones() -> None:
    with pytest.raises(StoreError, match=r"no table 'trade'; there are trades, book_tops"):
        table_named("trade")


def test_content_token_depends_on_table_rows_and_order_alone() -> None:
    rows = TABLES["trades"].to_arrow([trade(1), trade(2)])
    again = pa.concat_tables([rows.slice(0, 1), rows.slice(1)])
    assert content_token("trades", rows) == content_token("trades", again)
    assert content_token("trades", rows) != content_token("book_tops", rows)
    assert content_token("trades", rows) != content_token("trades", rows.take([1, 0]))
