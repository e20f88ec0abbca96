"""label_outcomes: from stored candles to stored labels, each once, extended when more is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from engine.clock import parse_iso_utc
from engine.config import Config, RetentionConfig, load_config
from engine.domain.market import Candle, Listing
from engine.domain.outcome import BarOutcome
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.evaluation.labels import LabelRules, label_panel
from engine.evaluation.panel import PRICES, lay_panel
from engine.features.catalogue import feature_columns
from engine.job_request import load_job_config
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.lineage import stored_rows
from engine.store.outcome_plan import LabelScope, LabelUnit, plan_outcomes
from engine.store.outcome_rows import todo
from engine.store.schema import migrate
from jobs import label_outcomes
from jobs.label_outcomes import make_unit, rules_of, scope_of

pytestmark = [
    # Ray leaves sockets and processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

HOUR = Timeframe.H1.ns
T0 = parse_iso_utc("2022-05-30T00:00:00Z")
KEPT = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))
RULES = LabelRules(cost_bps=10.0, barrier_volatilities=1.0, volatility_bars=6)


def scope(**changes: object) -> LabelScope:
    told = {
        "timeframe": Timeframe.H1,
        "horizons": {"1h": 1, "4h": 4},
        "bars_before": RULES.bars_before,
        "version": RULES.version,
    }
    return LabelScope(**{**told, **changes})  # type: ignore[arg-type]  # checked by the tests


def candle(hour: int, close: float, instrument: str = "BTC-USDT", *, version: int = 1,
           is_closed: bool = True, exchange: str = "binance") -> Candle:  # fmt: skip
    opened = T0 + hour * HOUR
    return Candle(
        exchange=exchange, instrument=instrument, timeframe="1h", open_time=opened,
        close_time=opened + HOUR, open=close, high=close * 1.002, low=close * 0.998, close=close,
        volume=1.0, quote_volume=None, trade_count=None, vwap=None, twap=None,
        taker_buy_volume=None, source="rest", is_closed=is_closed, version=version,
    )  # fmt: skip


def walk(hours: int, seed: int = 1, instrument: str = "BTC-USDT") -> list[Candle]:
    steps = np.random.default_rng(seed).normal(0.0, 0.01, hours)
    closes = 100.0 * np.exp(np.cumsum(steps))
    return [candle(hour, float(close), instrument) for hour, close in enumerate(closes)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    home = EmbeddedStore(tmp_path_factory.mktemp("store") / "db")
    home.start()
    with Store(home.endpoint) as store:
        migrate(store, KEPT, feature_columns())
    yield home
    home.stop()


@pytest.fixture
def store(home: EmbeddedStore) -> Iterator[Store]:
    with Store(home.endpoint) as store:
        for table in ("candles", "instruments", "outcomes", "job_blocks"):
            store.command(f"TRUNCATE TABLE {table}")
        yield store


def do(store: Store, units: Sequence[LabelUnit], wanted: LabelScope) -> tuple[int, int]:
    """Do units here, and return how many rows were written and how many left alone."""
    written = left = 0
    for unit in units:
        rows, equal, _ = make_unit(store, unit, scope=wanted, rules=RULES)
        store.insert_arrow("outcomes", rows)
        written, left = written + rows.num_rows, left + equal
    return written, left


def label(store: Store, wanted: LabelScope | None = None) -> tuple[int, int]:
    wanted = wanted or scope()
    units = plan_outcomes(store, wanted)
    counted = do(store, units, wanted)
    assert todo(store, units, noted(units), wanted) == []
    return counted


def noted(units: Sequence[LabelUnit]) -> dict[str, set[str]]:
    return {unit.name: {unit.fingerprint} for unit in units}


def outcomes(store: Store, horizon: str, instrument: str = "BTC-USDT") -> list[BarOutcome]:
    return stored_rows(
        store, "outcomes",
        "WHERE horizon = {h:String} AND instrument = {i:String} ORDER BY open_time",
        h=horizon, i=instrument,
    )  # fmt: skip


def test_label_job_writes_what_followed_every_bar(store: Store) -> None:
    store.insert("candles", [candle(0, 100.0), candle(1, 102.0), candle(2, 51.0)])
    assert label(store) == (2, 0)
    first, second = outcomes(store, "1h")
    assert first == BarOutcome(
        exchange="binance", instrument="BTC-USDT", timeframe="1h", open_time=T0, horizon="1h",
        known_at=T0 + 2 * HOUR, status="whole", forward_return=102.0 / 100.0 - 1.0,
        net_return_long=102.0 / 100.0 - 1.0 - 0.001,
        net_return_short=-(102.0 / 100.0 - 1.0) - 0.001,
        barrier="", barrier_time=None, volatility=None, version=RULES.version,
    )  # fmt: skip
    assert second.forward_return == -0.5


def test_bars_that_still_form_are_neither_labelled_nor_looked_at(store: Store) -> None:
    store.insert("candles", [candle(0, 100.0), candle(1, 102.0), candle(2, 51.0, is_closed=False)])
    assert label(store) == (1, 0)


def test_labels_do_not_depend_on_where_a_month_ends(store: Store) -> None:
    candles = walk(96)
    store.insert("candles", candles)
    units = plan_outcomes(store, scope())
    assert [unit.name for unit in units] == ["binance 1h 2022-05", "binance 1h 2022-06"]
    do(store, units, scope())
    panel = lay_panel(
        np.array([one.open_time for one in candles]), np.zeros(96, dtype=np.intp),
        {name: np.array([getattr(one, name) for one in candles]) for name in PRICES},
        markets=1, start=T0, end=T0 + 96 * HOUR, step=HOUR,
    )  # fmt: skip
    for horizon, bars in (("1h", 1), ("4h", 4)):
        whole, stored = label_panel(panel, bars, RULES), outcomes(store, horizon)
        assert [one.forward_return for one in stored] == whole.forward_return[:, 0].tolist()
        assert [one.volatility for one in stored] == [
            None if np.isnan(value) else value for value in whole.volatility[:, 0].tolist()
        ]
        touched = [
            -1 if one.barrier_time is None else (one.barrier_time - one.open_time) // HOUR - 1
            for one in stored
        ]
        assert touched == whole.barrier_bars[:, 0].tolist()


def test_labels_are_extended_by_what_became_known_and_the_rest_left_alone(store: Store) -> None:
    candles = walk(40)
    store.insert("candles", candles[:30])
    assert label(store) == (29 + 26, 0)
    store.insert("candles", candles[30:])
    assert label(store) == (10 + 10, 29 + 26)
    assert len(outcomes(store, "4h")) == 36


def test_units_of_unchanged_candles_keep_their_fingerprint(store: Store) -> None:
    store.insert("candles", walk(100))
    before = {unit.name: unit.fingerprint for unit in plan_outcomes(store, scope())}
    store.insert("candles", [candle(100, 99.0)])
    after = {unit.name: unit.fingerprint for unit in plan_outcomes(store, scope())}
    assert before["binance 1h 2022-05"] == after["binance 1h 2022-05"]
    assert before["binance 1h 2022-06"] != after["binance 1h 2022-06"]


@pytest.mark.parametrize(
    "changed",
    [{"version": "other"}, {"horizons": {"1h": 1}}, {"bars_before": 30}, {"begin": T0 + HOUR}],
)
def test_fingerprint_covers_everything_that_decides_the_rows(
    store: Store, changed: dict[str, object]
) -> None:
    store.insert("candles", walk(40))
    plain, other = plan_outcomes(store, scope())[0], plan_outcomes(store, scope(**changed))[0]
    assert plain.name == other.name
    if "bars_before" not in changed:  # all there is was covered before too
        assert plain.fingerprint != other.fingerprint


def test_corrected_candle_writes_only_labels_that_look_at_it_again(store: Store) -> None:
    candles = walk(60)
    store.insert("candles", candles)
    label(store)
    changed = msgspec.structs.replace(candles[30], close=candles[30].close * 1.001, version=2)
    store.insert("candles", [changed])
    written, left = label(store)
    # Of 1h: bars 29 (its horizon) and 30 to 36 (their volatility). Of 4h: bars 26 to 36, but a
    # barrier's label may stand on other bars: its return ends at 30 only for bar 26.
    assert 8 + 1 <= written <= 8 + 11
    assert written + left == 59 + 56
    assert outcomes(store, "1h")[29].forward_return == changed.close / candles[29].close - 1.0


def test_units_of_which_labels_are_gone_are_to_be_done_again(store: Store) -> None:
    store.insert("candles", walk(96))
    label(store)
    units = plan_outcomes(store, scope())
    store.command(
        "ALTER TABLE outcomes DELETE WHERE horizon = '4h' AND "
        f"toUnixTimestamp64Nano(open_time) = {T0 + 60 * HOUR} SETTINGS mutations_sync = 2"
    )
    left = todo(store, units, noted(units), scope())
    assert [unit.name for unit in left] == ["binance 1h 2022-06"]
    assert do(store, left, scope()) == (1, 47 + 44 - 1)
    store.command("TRUNCATE TABLE outcomes")
    assert todo(store, units, noted(units), scope()) == units
    assert todo(store, units, {}, scope()) == units


def test_gap_is_a_label_without_a_return(store: Store) -> None:
    store.insert("candles", [candle(hour, 100.0 + hour) for hour in (0, 1, 3, 4, 5)])
    label(store)
    assert [(one.open_time, one.status) for one in outcomes(store, "1h")] == [
        (T0, "whole"), (T0 + HOUR, "gap"), (T0 + 3 * HOUR, "whole"), (T0 + 4 * HOUR, "whole"),
    ]  # fmt: skip
    assert outcomes(store, "1h")[1].net_return_long is None


def test_reused_ticker_is_never_joined(store: Store) -> None:
    old = [candle(hour, 80.0 / (hour + 1), "LUNA-USDT") for hour in range(5)]
    new = [candle(hour, 9.0, "LUNA~2-USDT") for hour in range(5, 12)]
    store.insert("candles", [*old, *new])
    label(store)
    ends = [one.status for one in outcomes(store, "1h", "LUNA-USDT")]
    assert ends == ["whole"] * 4 + ["gap"]
    returns = [one.forward_return for one in outcomes(store, "4h", "LUNA~2-USDT")]
    assert returns == [0.0, 0.0, 0.0]


def test_delisted_market_is_followed_to_its_last_price_once_that_is_known(store: Store) -> None:
    told = Listing(
        exchange="binance", instrument="LUNA-USDT", symbol="LUNAUSDT", status="delisted",
        tick_size=None, lot_size=None, contract_size=1.0, listed_at=None,
        delisted_at=T0 + 5 * HOUR, valid_from=T0 + 9 * HOUR,
    )  # fmt: skip
    luna = [candle(hour, 80.0 - 10 * hour, "LUNA-USDT") for hour in range(5)]
    store.insert("instruments", [told])
    store.insert("candles", [*luna, *(candle(hour, 1.0, "ETH-USDT") for hour in range(12))])
    label(store)
    found = outcomes(store, "4h", "LUNA-USDT")
    assert [one.status for one in found] == ["whole"] + ["delisted"] * 4
    assert [one.forward_return for one in found] == [
        40.0 / price - 1.0 for price in (80.0, 70.0, 60.0, 50.0, 40.0)
    ]
    assert [one.known_at - T0 for one in found] == [5 * HOUR] + [9 * HOUR] * 4


def test_one_venue_behind_does_not_hold_back_another(store: Store) -> None:
    store.insert("candles", walk(10))
    store.insert("candles", [candle(hour, 5.0, exchange="kraken") for hour in range(3)])
    label(store)
    counted = store.query_arrow(
        "SELECT exchange, count() AS n FROM outcomes FINAL WHERE horizon = '1h' "
        "GROUP BY exchange ORDER BY exchange"
    )
    assert counted.column("n").to_pylist() == [9, 2]


def test_stretch_and_instruments_narrow_what_is_labelled(store: Store) -> None:
    store.insert("candles", walk(10))
    store.insert("candles", walk(10, 2, "ETH-USDT"))
    begin, end = T0 + 2 * HOUR + 1, T0 + 5 * HOUR - 1
    narrow = scope(instruments=("ETH-USDT",), begin=begin, end=end)
    label(store, narrow)
    assert outcomes(store, "1h") == []
    assert [one.open_time - T0 for one in outcomes(store, "1h", "ETH-USDT")] == [
        3 * HOUR, 4 * HOUR,
    ]  # fmt: skip


def test_rows_of_a_unit_fit_the_table(store: Store) -> None:
    store.insert("candles", walk(20))
    (unit,) = plan_outcomes(store, scope())
    rows = make_unit(store, unit, scope=scope(), rules=RULES).rows
    assert isinstance(rows, pa.Table)
    assert set(rows.column_names) == {*BarOutcome.__struct_fields__}


# Settings


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("horizons=[4x]", "horizons: '4x' is not a number with m, h or d, as 4h"),
        ("horizons=[0h]", "horizons: '0h' is not a number"),
        ("volatility_bars=1", "volatility_bars"),
        ("horizon=[1h]", "horizons"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_submission(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_job_config("label_outcomes", None, [override], {})


@pytest.mark.parametrize(
    ("horizons", "told"),
    [("[30m]", "30m is not whole bars of 1h"), ("[24h,1d]", "24h and 1d are the same")],
)
def test_horizons_that_are_not_whole_bars_or_the_same_are_refused(horizons: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_job_config("label_outcomes", None, ["timeframe=1h", f"horizons={horizons}"], {})


def test_scope_and_rules_follow_the_configuration() -> None:
    config = load_job_config(
        "label_outcomes", None, ["horizons=[1d,4h]", "cost_bps=5", "volatility_bars=24"], {}
    )
    assert dict(scope_of(config).horizons) == {"4h": 4, "1d": 24}
    assert rules_of(config) == LabelRules(5.0, 2.0, 24)
    assert scope_of(config).bars_before == 24


# The job itself


def config_for(home: EmbeddedStore, tmp_path: Path) -> Config:
    return load_config(None, [
        f"store.url={home.endpoint.url}", f"data_dir={tmp_path}", "label_outcomes.horizons=[1h,4h]",
        "label_outcomes.volatility_bars=6",
    ], {})  # fmt: skip


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_label_job_runs_in_tasks_and_does_only_the_rest_the_second_time(
    home: EmbeddedStore, store: Store, tmp_path: Path
) -> None:
    config = config_for(home, tmp_path)
    store.insert("candles", walk(96))
    first = label_outcomes.main(config)
    assert first.outcome == "done"
    assert first.written == {"outcomes": 95 + 92}
    assert first.skipped == {}
    second = label_outcomes.main(config)
    assert second.written == {}
    assert second.skipped == {"stretches that are labelled already": 2}
    store.command("ALTER TABLE outcomes DELETE WHERE true SETTINGS mutations_sync = 2")
    lost = label_outcomes.main(config)
    assert (lost.written, lost.skipped) == ({"outcomes": 95 + 92}, {})
    assert len(outcomes(store, "1h")) == 95
    store.insert("candles", [candle(96, 101.0)])
    third = label_outcomes.main(config)
    assert third.written == {"outcomes": 2}
    assert third.skipped["stretches that are labelled already"] == 1


def test_label_job_without_candles_says_what_to_do(
    home: EmbeddedStore, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="import_candles or build_candles makes them"):
        label_outcomes.main(config_for(home, tmp_path))
