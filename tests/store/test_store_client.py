"""The engine's own client: what it returns, what it raises, and what a token does."""

from __future__ import annotations

import concurrent.futures
import pickle

import pyarrow as pa
import pytest
from store_samples import letter, trade

from engine.errors import StoreQueryError, StoreUnavailable
from engine.store.client import Store
from engine.store.columns import TIME
from engine.store.embedded import EmbeddedStore
from engine.store.tables import content_token, table_named

FAILING = (
    "SELECT throwIf(1, 'as told', toInt16({code:Int16})) "
    "SETTINGS allow_custom_error_code_in_throwif = 1"
)


@pytest.mark.parametrize("code", [159, 202, 241, 243, 252, 394])
def test_errors_that_pass_by_themselves_are_an_outage(home: EmbeddedStore, code: int) -> None:
    """Among them 243, a full disk: the writer keeps the rows and tries again."""
    outage = pytest.raises(StoreUnavailable, match=r"cannot answer now: .*as told")
    with Store(home.endpoint) as store, outage:
        store.command(FAILING, {"code": code})


@pytest.mark.parametrize("code", [27, 60, 164])
def test_other_errors_are_refusals_with_their_code(home: EmbeddedStore, code: int) -> None:
    refusal = pytest.raises(StoreQueryError, match="as told")
    with Store(home.endpoint) as store, refusal as caught:
        store.command(FAILING, {"code": code})
    assert caught.value.code == code


def test_answers_come_as_text_arrow_or_bytes(store: Store) -> None:
    assert store.command("SELECT {a:Int8} + 1, 'x'", {"a": 1}) == "2"
    assert store.query_raw("SELECT {a:String} AS a", "CSVWithNames", {"a": "x"}) == b'"a"\n"x"\n'
    found = store.query_arrow("SELECT fromUnixTimestamp64Nano({t:Int64}) AS t", {"t": 12_345})
    assert found.schema.field("t").type == TIME
    assert found.column("t").cast(pa.int64()).to_pylist() == [12_345]


def test_inserts_with_one_token_count_once(store: Store) -> None:
    rows = [letter(1), letter(2)]
    for token in ("a", "a", "b"):
        assert store.insert("dead_letters", rows, token) == 2
    assert store.command("SELECT count() FROM dead_letters") == "4"
    assert store.insert("dead_letters", []) == 0


def test_batch_over_many_partitions_is_taken_whole_and_once(store: Store) -> None:
    """A backfill of 150 months in one batch; its repetition adds nothing."""
    month = 31 * 86_400 * 10**9
    table = table_named("trades")
    sample = trade(1)
    fields = {f: getattr(sample, f) for f in sample.__struct_fields__}
    many = [
        type(sample)(
            **fields | {"trade_id": str(n), "exchange_time": sample.exchange_time - n * month}
        )
        for n in range(150)
    ]
    rows = table.to_arrow(many)
    for _ in range(2):
        store.insert_arrow("trades", rows, content_token("trades", rows))
    assert store.command("SELECT count() FROM trades") == "150"


def test_store_is_shared_by_threads_and_travels_by_pickle(store: Store) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = pool.map(lambda n: store.command("SELECT {n:Int64}", {"n": n}), range(64))
        assert list(asked) == [str(n) for n in range(64)]
    with pickle.loads(pickle.dumps(store)) as copy:
        assert copy.endpoint == store.endpoint
        assert copy.ping()
