"""Units of features against a real store: what is planned, read, computed, and written again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from engine.clock import parse_iso_utc
from engine.config import RetentionConfig
from engine.domain.delisting import Delisting
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.market import Listing
from engine.domain.timeframe import Timeframe
from engine.features.batch import compute_segment
from engine.features.catalogue import FEATURE_INDEX, FEATURE_VERSION, FEATURES, feature_columns
from engine.features.grid import regular_grid
from engine.features.warm_up import WARM_UP_BARS
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.feature_plan import FeatureUnit, plan_units, todo
from engine.store.feature_segments import AMONG_OTHERS, REPLACED, new_rows
from engine.store.reader import Reader
from engine.store.schema import migrate
from tests.features.stored_world import (
    NOW,
    SCOPE,
    World,
    candles_of,
    live_of,
    made_of,
    put,
    same,
)

H1 = Timeframe.H1
JANUARY = parse_iso_utc("2024-01-01T00:00:00Z")
FEBRUARY = parse_iso_utc("2024-02-01T00:00:00Z")
MARCH = parse_iso_utc("2024-03-01T00:00:00Z")
BTC, ETH = Market("binance", "BTC-USDT"), Market("binance", "ETH-USDT")
END = MARCH + 40 * H1.ns


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = EmbeddedStore(tmp_path_factory.mktemp("units") / "db")
    try:
        with Store(home.start()) as store:
            kept = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))
            migrate(store, kept, feature_columns())
            yield store
    finally:
        home.stop()


@pytest.fixture(scope="module")
def candles(walk):
    count = (END - JANUARY) // H1.ns
    return [
        *candles_of(BTC, walk(1, count, start_ns=JANUARY)),
        *candles_of(ETH, walk(2, count, start_ns=JANUARY, quiet=0.2)),
    ]


@pytest.fixture
def world(store, candles):
    put(store, World(candles))
    return candles


def units(store: Store, **scope) -> dict[str, FeatureUnit]:
    return {unit.name: unit for unit in plan_units(store, H1, replace(SCOPE, **scope))}


def write(store: Store, **scope) -> dict[str, tuple[int, int]]:
    """Do every unit, and return rows written and left alone of each."""
    counts = {}
    for name, unit in units(store, **scope).items():
        rows, equal, _ = new_rows(store, unit, NOW)
        store.insert_arrow("features", rows)
        counts[name] = rows.num_rows, equal
    return counts


def changed(store: Store, before: dict[str, FeatureUnit]) -> set[str]:
    return {
        name for name, unit in units(store).items()
        if name not in before or unit.fingerprint != before[name].fingerprint
    }  # fmt: skip


def test_plan_of_three_months_has_a_unit_each(store, world):
    found = units(store)
    assert list(found) == ["1h 2024-01", "1h 2024-02", "1h 2024-03"]
    assert {m.market for m in found["1h 2024-02"].members} == {BTC, ETH}
    assert found["1h 2024-02"].reference == BTC
    assert found["1h 2024-02"].through == {"binance": MARCH}
    assert found["1h 2024-03"].through == {"binance": END}
    assert [unit.stored for unit in found.values()] == [0, 0, 0]
    assert list(units(store, begin=FEBRUARY, end=MARCH)) == ["1h 2024-02"]


@pytest.mark.parametrize(
    ("timeframe", "name"),
    [
        (Timeframe.M5, "5m 2024-02-01"),
        (Timeframe.S1, "1s 2024-02-01T00"),
        (Timeframe.D1, "1d 2024-02"),
    ],
)
def test_plan_of_other_timeframes_is_cut_by_their_segments(store, walk, timeframe, name):
    bars = walk(3, 4, timeframe=timeframe, start_ns=FEBRUARY)
    put(store, World(candles_of(BTC, bars, timeframe)))
    (unit,) = plan_units(store, timeframe, SCOPE)
    assert (unit.name, unit.start) == (name, FEBRUARY)
    assert unit.through == {"binance": FEBRUARY + 4 * timeframe.ns}


def test_fingerprint_without_a_change_stays(store, world):
    assert changed(store, units(store)) == set()


def test_fingerprint_changes_where_a_candle_is_read(store, world):
    before = units(store)
    # Of the last days of January, which are February's warm-up, and not March's.
    late = next(c for c in world if c.instrument == ETH.instrument and c.open_time >= FEBRUARY
                - 100 * H1.ns)  # fmt: skip
    store.insert("candles", [msgspec.structs.replace(late, volume=1.5, version=late.version + 1)])
    assert changed(store, before) == {"1h 2024-01", "1h 2024-02"}


def test_fingerprint_of_a_candle_written_again_with_equal_numbers_stays(store, world):
    before = units(store)
    store.insert("candles", [msgspec.structs.replace(c, version=c.version + 1) for c in world[:9]])
    assert changed(store, before) == set()


def test_fingerprint_changes_with_books_and_with_what_is_asked_for(store, world, book_walk):
    before = units(store)
    store.insert("book_snapshots", book_walk(1, 5, start_ns=FEBRUARY, instrument="ETH-USDT"))
    assert changed(store, before) == {"1h 2024-02"}
    for scope in ({"exchange": "binance"}, {"instruments": ("ETH-USDT",)}, {"silence_ns": 5},
                  {"configured": (ETH, BTC)}, {"reference": "ETH"}):  # fmt: skip
        other = units(store, **scope)
        assert {u.fingerprint for u in other.values()}.isdisjoint(
            {u.fingerprint for u in units(store).values()}
        )


def test_fingerprint_of_a_month_is_not_changed_by_a_later_delisting(store, world):
    before = units(store)
    store.insert("instruments", [Listing(*ETH, "ETHUSDT", "delisted", 0.1, 0.1, 1.0, None,
                                         MARCH + 50 * H1.ns, valid_from=END)])  # fmt: skip
    assert changed(store, before) == {"1h 2024-03"}


def test_plan_knows_a_delisting_from_when_it_was_certain(store, world):
    def listing(status, ended, known_at):
        return Listing(*ETH, "ETHUSDT", status, 0.1, 0.1, 1.0, None, ended, valid_from=known_at)

    def of_eth():
        (eth,) = (m for m in units(store)["1h 2024-03"].members if m.market == ETH)
        return eth.delisted_at, eth.known_at

    missed = MARCH + 3 * H1.ns
    store.insert(
        "instruments", [listing("trading", None, MARCH), listing("halted", missed, missed)]
    )
    assert of_eth() == (None, 0), "missing from one look: it may be back"
    store.insert("instruments", [listing("delisted", missed, MARCH + 9 * H1.ns)])
    store.insert("instruments", [listing("delisted", missed, MARCH + 20 * H1.ns)])
    assert of_eth() == (missed, MARCH + 9 * H1.ns)
    store.insert("instruments", [listing("trading", None, MARCH + 30 * H1.ns)])
    assert of_eth() == (None, 0)
    again, certain = MARCH + 32 * H1.ns, MARCH + 38 * H1.ns
    store.insert("instruments", [listing("delisted", again, certain)])
    assert of_eth() == (again, certain), "the first delisting told nothing of the second"


def test_todo_leaves_out_what_is_noted_and_stored(store, world):
    planned = list(units(store).values())
    done = {unit.name: {unit.fingerprint} for unit in planned}
    # Nothing of it is stored: its rows have expired, or were dropped.
    assert todo(planned, done) == planned
    write(store)
    assert todo(list(units(store).values()), done) == []
    done["1h 2024-02"] = {"another"}
    assert [unit.name for unit in todo(list(units(store).values()), done)] == ["1h 2024-02"]


def test_new_rows_of_an_empty_store_are_all_bars(store, world):
    counts = write(store)
    assert counts == {
        "1h 2024-01": (2 * 31 * 24, 0),
        "1h 2024-02": (2 * 29 * 24, 0),
        "1h 2024-03": (2 * 40, 0),
    }
    last = Reader(store).latest_features("ETH-USDT", "1h")
    start = FEBRUARY + (29 * 24 - WARM_UP_BARS) * H1.ns
    of = {m: [c for c in world if c.instrument == m.instrument] for m in (BTC, ETH)}
    grids = {m: regular_grid(its, start, END) for m, its in of.items()}
    expected = compute_segment(grids[ETH], H1, MARCH, grids[BTC])[-1]
    assert isinstance(last, FeatureRow)
    values = np.array(last.values)
    ranks = [FEATURE_INDEX[f.name] for f in FEATURES if f.ranks]
    expected[ranks] = values[ranks]
    assert values.tobytes() == expected.tobytes()
    # Of two markets: and alone where the other one's value is missing.
    assert set(values[ranks][~np.isnan(values[ranks])]) <= {0.0, 0.5, 1.0}
    assert values[FEATURE_INDEX["rank_return_24"]] in (0.0, 1.0)
    assert (last.open_time, last.close_time) == (END - H1.ns, END)
    assert (last.available_at, last.last_receive_time) == (END, END)
    assert (last.version, last.close) == (FEATURE_VERSION, grids[ETH].column("close")[-1])


def test_new_rows_around_a_delisting_are_those_of_the_live_run(store, candles):
    """The other market's ranks are made without it from when the end was known."""
    ended = Delisting(MARCH + 3 * H1.ns, MARCH + 9 * H1.ns)
    traded = [c for c in candles if c.instrument == "BTC-USDT" or c.close_time <= ended.ended]
    listing = Listing(*ETH, "ETHUSDT", "delisted", 0.1, 0.1, 1.0, None, *ended)
    put(store, World(traded, listings=[listing]))
    live = live_of(traded, H1, BTC, delisted={ETH: ended})
    batch = {
        key: tuple(float("nan") if value is None else value for value in row.values)
        for key, row in made_of(store, H1).items()
    }
    assert batch.keys() == live.keys()
    assert [key for key in live if not same(live[key], batch[key])] == []
    assert max(at for market, at in live if market == ETH) == MARCH + 7 * H1.ns


def test_new_rows_of_stored_ones_are_none(store, world):
    first = write(store)
    again = write(store)
    assert again == {name: (0, rows) for name, (rows, _) in first.items()}


def test_new_rows_of_a_longer_month_are_those_behind_what_is_stored(store, candles):
    middle = MARCH + 11 * H1.ns
    put(store, World([candle for candle in candles if candle.close_time <= middle]))
    write(store)
    store.insert("candles", [candle for candle in candles if candle.close_time > middle])
    counts = write(store)
    assert counts["1h 2024-02"] == (0, 2 * 29 * 24)
    assert counts["1h 2024-03"] == (2 * 29, 2 * 11)


def test_new_rows_after_a_corrected_candle_are_those_it_changed(store, world):
    write(store)
    last = next(c for c in reversed(world) if c.instrument == ETH.instrument)
    store.insert("candles", [msgspec.structs.replace(last, volume=last.volume * 2,
                                                     version=last.version + 1)])  # fmt: skip
    counts = write(store)
    rows, _ = counts["1h 2024-03"]
    # The bar itself, the flat bars behind it, and whoever is ranked beside it.
    assert 1 <= rows <= 2 * ((END - last.open_time) // H1.ns)
    assert counts["1h 2024-02"] == (0, 2 * 29 * 24)


def test_new_rows_keep_what_a_live_run_stored_equal(store, world):
    rows = live_rows(store)
    store.insert("features", rows)
    assert write(store)["1h 2024-03"] == (2 * 40 - len(rows), len(rows))
    found = Reader(store).latest_features("ETH-USDT", "1h")
    assert found is not None
    assert found.available_at == found.close_time + 777
    assert found.last_receive_time == found.close_time - 3


def test_new_rows_of_another_value_than_live_are_known_from_now_on(store, world):
    rows = live_rows(store)
    wrong = rows[-1]
    values = list(wrong.values)
    values[0] = np.nextafter(values[0], 0.0)
    store.insert("features", [*rows[:-1], msgspec.structs.replace(wrong, values=tuple(values))])
    assert write(store)["1h 2024-03"] == (2 * 40 - len(rows) + 1, len(rows) - 1)
    found = Reader(store).latest_features(wrong.instrument, "1h")
    assert found is not None
    assert found.values[0] == rows[-1].values[0]
    assert found.available_at == NOW
    assert found.last_receive_time == wrong.last_receive_time


def test_new_rows_of_ranks_among_other_markets_than_live_leave_the_live_rows(store, world):
    rows = live_rows(store)
    rank, feature = FEATURE_INDEX["rank_return_24"], FEATURE_INDEX["ema_9"]
    store.insert("features", [spoiled(rows[0], rank), spoiled(rows[1], rank, feature)])
    made = new_rows(store, units(store)["1h 2024-03"], NOW)
    assert (made.rows.num_rows, made.equal) == (2 * 40 - 1, 0)
    assert made.told == {REPLACED: 1, AMONG_OTHERS: 1}
    store.insert_arrow("features", made.rows)
    kept, replaced = (Reader(store).latest_features(row.instrument, "1h") for row in rows)
    assert kept is not None
    assert replaced is not None
    assert (kept.values[rank], kept.available_at) == (0.123, rows[0].available_at)
    assert (replaced.values[rank], replaced.available_at) == (rows[1].values[rank], NOW)


def spoiled(row: FeatureRow, *features: int) -> FeatureRow:
    values = list(row.values)
    for feature in features:
        values[feature] = 0.123
    return msgspec.structs.replace(row, values=tuple(values))


def live_rows(store: Store) -> list[FeatureRow]:
    """The last row of each market, as a live run that was right would have stored it."""
    write(store, begin=END - H1.ns)
    rows = [Reader(store).latest_features(m.instrument, "1h") for m in (BTC, ETH)]
    store.command("TRUNCATE TABLE features")
    return [
        msgspec.structs.replace(
            row, available_at=row.close_time + 777, last_receive_time=row.close_time - 3
        )
        for row in rows
        if row is not None
    ]


def test_new_rows_where_snapshots_have_expired_keep_the_books_that_are_stored(
    store, candles, book_walk
):
    books = book_walk(5, 40, start_ns=MARCH, instrument="ETH-USDT")
    put(store, World(candles, books))
    write(store)
    store.command("TRUNCATE TABLE book_snapshots")
    assert write(store)["1h 2024-03"] == (0, 2 * 40)


def test_new_rows_of_some_markets_have_the_ranks_of_all(store, world):
    everything = made_of(store)
    few = made_of(store, scope=replace(SCOPE, instruments=("ETH-USDT",)))
    assert {market for market, _ in few} == {ETH}
    assert few == {key: row for key, row in everything.items() if key[0] == ETH}


def test_new_rows_of_a_stretch_are_its_bars_alone(store, world):
    begin, end = FEBRUARY + 3 * H1.ns, FEBRUARY + 9 * H1.ns
    everything = made_of(store)
    some = made_of(store, scope=replace(SCOPE, begin=begin, end=end))
    assert {time for _, time in some} == set(range(begin, end, H1.ns))
    assert some == {key: row for key, row in everything.items() if key in some}


def test_new_rows_of_two_venues_end_where_each_ends(store, candles, walk):
    other = Market("kraken", "SOL-USD")
    put(store, World([*candles, *candles_of(other, walk(9, 30, start_ns=FEBRUARY))]))
    rows = made_of(store)
    times = [time for market, time in rows if market == other]
    assert (min(times), max(times)) == (FEBRUARY, FEBRUARY + 29 * H1.ns)
    assert units(store)["1h 2024-02"].through == {
        "binance": MARCH,
        "kraken": FEBRUARY + 30 * H1.ns,
    }


def test_new_rows_of_an_open_candle_are_none(store, candles):
    last = candles[-1].open_time
    still = [msgspec.structs.replace(c, is_closed=c.open_time < last) for c in candles]
    put(store, World(still))
    assert max(time for _, time in made_of(store)) == last - H1.ns
