"""export_dataset: what was known when, from a real store, the same bytes every time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.clock import NS_PER_S, parse_iso_utc
from engine.config import Config, RetentionConfig, load_config
from engine.datasets.manifest import manifest_of
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.market import Candle, Listing, PerpetualTick
from engine.domain.outcome import BarOutcome
from engine.domain.sentiment import SentimentAggregate
from engine.domain.text import MarketMood, TextItem
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError, StoreError
from engine.features.catalogue import FEATURE_NAMES, FEATURE_VERSION, feature_columns
from engine.job_request import load_job_config
from engine.store.client import Store
from engine.store.dataset_lineage import dataset_lineage
from engine.store.dataset_plan import parameters_of, plan_dataset, queries_of, selection_of
from engine.store.dataset_reader import DatasetReader
from engine.store.dataset_rows import part_rows
from engine.store.embedded import EmbeddedStore
from engine.store.lineage import stored_rows
from engine.store.schema import migrate
from jobs import export_dataset

pytestmark = [
    # Ray leaves sockets and processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

HOUR = Timeframe.H1.ns
T0 = parse_iso_utc("2022-05-30T00:00:00Z")
BARS = 72
END = T0 + BARS * HOUR
WATERMARK = "2022-06-02T00:00:00Z"
BTC, ETH = Market("binance", "BTC-USDT"), Market("binance", "ETH-USDT")
SWAP = Market("binance_perp", "BTC-USDT-PERP")
KEPT = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))
LABELS = "1 cost 10 bps, barriers 2 sigma of 48 bars"


def candle(market: Market, hour: int) -> Candle:
    opened, price = T0 + hour * HOUR, 100.0 + hour % 7
    return Candle(
        *market, timeframe="1h", open_time=opened, close_time=opened + HOUR, open=price,
        high=price + 1, low=price - 1, close=price, volume=1.0, quote_volume=price, trade_count=1,
        vwap=price, twap=price, taker_buy_volume=0.5, source="trades", is_closed=True, version=1,
    )  # fmt: skip


def features(market: Market, hour: int, late_s: int = 0) -> FeatureRow:
    opened = T0 + hour * HOUR
    return FeatureRow(
        *market, timeframe="1h", open_time=opened, close_time=opened + HOUR,
        available_at=opened + HOUR + late_s * NS_PER_S, close=100.0 + hour % 7,
        values=tuple(float(hour % 3) for _ in FEATURE_NAMES), version=FEATURE_VERSION,
        is_closed=True, last_receive_time=opened + HOUR,
    )  # fmt: skip


def aggregate(as_of: int, score: float, instrument: str = "BTC-USDT", model: str = "lexicon-1"
              ) -> SentimentAggregate:  # fmt: skip
    return SentimentAggregate(
        instrument, "1d", as_of, score, 0.1, 2, 1, 0, 1.5, model, 4, 0.75, None, -0.5
    )


def outcome(market: Market, hour: int, version: str = LABELS) -> BarOutcome:
    opened = T0 + hour * HOUR
    return BarOutcome(
        *market, timeframe="1h", open_time=opened, horizon="4h", known_at=opened + 5 * HOUR,
        status="whole", forward_return=hour / 1000, net_return_long=hour / 1000 - 0.001,
        net_return_short=-hour / 1000 - 0.001, barrier="vertical", barrier_time=opened + 5 * HOUR,
        volatility=0.01, version=version,
    )  # fmt: skip


def fill(store: Store) -> None:
    """Store three days of two markets over the end of a month, and what was known of them."""
    markets, hours = (BTC, ETH), range(BARS)
    store.insert("candles", [candle(market, hour) for market in markets for hour in hours])
    store.insert("features", [features(market, hour) for market in markets for hour in hours])
    store.insert("outcomes", [outcome(market, hour) for market in markets for hour in hours])
    store.insert("sentiment_aggregates", [
        aggregate(T0 + hour * HOUR, hour / 100) for hour in range(0, BARS, 6)
    ])  # fmt: skip
    store.insert("market_mood", [
        MarketMood("fear_greed", T0, 20.0, T0 + 9 * HOUR),
        MarketMood("fear_greed", T0 + 24 * HOUR, 30.0, T0 + 33 * HOUR),
    ])  # fmt: skip
    store.insert("perpetuals", [
        PerpetualTick(*SWAP, mark_price=100.5 if minute % 20 else None, index_price=None,
                      funding_rate=minute / 1e6, next_funding_time=None, open_interest=None,
                      exchange_time=None, receive_time=T0 + minute * 60 * NS_PER_S)
        for minute in range(0, 600, 10)
    ])  # fmt: skip
    store.insert("instruments", [
        Listing(*BTC, "BTCUSDT", "trading", None, None, 1.0, None, None, T0 + 3 * HOUR)
    ])  # fmt: skip


TABLES = (
    "candles", "features", "outcomes", "sentiment_aggregates", "market_mood", "perpetuals",
    "instruments", "datasets", "job_blocks", "job_runs", "texts",
)  # fmt: skip


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
        for table in TABLES:
            store.command(f"TRUNCATE TABLE {table}")
        fill(store)
        yield store


@pytest.fixture
def config(home: EmbeddedStore, tmp_path: Path) -> Config:
    return configured(home, tmp_path)


def configured(home: EmbeddedStore, tmp_path: Path, **keys: object) -> Config:
    told = {
        "out": tmp_path / "dataset", "features": "[rsi_14,momentum_7d]", "horizons": "[4h]",
        "watermark": WATERMARK, "force": "true",
    }  # fmt: skip
    chosen = {**told, "features": f"[{','.join(FEATURE_NAMES[:2])}]", **keys}
    overrides = [f"export_dataset.{name}={value}" for name, value in chosen.items()]
    return load_config(
        None, [f"store.url={home.endpoint.url}", f"data_dir={tmp_path}", *overrides], {}
    )


def exported(store: Store, config: Config) -> pa.Table:
    """Return the rows of an export without writing any."""
    section = config.export_dataset
    request = plan_dataset(
        store, section, section.timeframe or Timeframe.H1, section.watermark_ns() or 0
    )
    parts = DatasetReader(store).ranges(selection_of(request))
    return pa.concat_tables([part_rows(store, request, part) for part in parts])


def asked(store: Store, manifest: dict[str, Any], name: str) -> pa.Table:
    """Return what the store answers to a query of a manifest, as anybody may ask it."""
    return store.query_arrow(manifest["queries"][name], manifest["parameters"][name])


def assert_asked_bars_are_those_of(rows: pa.Table, store: Store, manifest: dict[str, Any]) -> None:
    bars = asked(store, manifest, "bars")
    assert bars.column_names == [*rows.column_names[:6], *FEATURE_NAMES[:2]]
    mine = rows.select(bars.column_names)
    assert bars.cast(mine.schema).equals(mine)


def of(rows: pa.Table, name: str, market: Market = BTC) -> list[Any]:
    mine = rows.filter(pa.compute.equal(rows.column("instrument"), market.instrument))
    return mine.column(name).to_pylist()


def test_rows_are_all_bars_in_order_with_what_was_known(store: Store, config: Config) -> None:
    rows = exported(store, config)
    assert rows.num_rows == 2 * BARS
    assert rows.column("instrument").to_pylist() == ["BTC-USDT", "ETH-USDT"] * BARS
    # Bar 5 closes at hour 6, when an aggregate is as of; the bar before it sees the one of hour 0.
    assert of(rows, "sentiment_score")[4:6] == [0.0, 0.06]
    assert of(rows, "sentiment_score", ETH) == [None] * BARS
    measures = ("volume", "coverage", "surprise", "momentum")
    assert [of(rows, f"sentiment_{name}")[5] for name in measures] == [4, 0.75, None, -0.5]
    assert [of(rows, f"sentiment_{name}", ETH)[5] for name in measures] == [None] * 4
    assert of(rows, "mood_fear_greed") == [None] * 8 + [20.0] * 24 + [30.0] * 40
    assert of(rows, "listing_status") == [None] * 2 + ["trading"] * 70
    assert of(rows, "funding_rate")[:3] == [60 / 1e6, 120 / 1e6, 180 / 1e6]
    assert of(rows, "mark_price")[:2] == [100.5, 100.5]
    assert of(rows, "forward_return_4h")[:2] == [0.0, 0.001]


def test_queries_of_the_manifest_give_the_bars_and_labels_of_the_export(
    store: Store, config: Config
) -> None:
    section = config.export_dataset
    request = plan_dataset(store, section, Timeframe.H1, section.watermark_ns() or 0)
    store.insert("features", [features(BTC, BARS)])  # after the watermark
    manifest = json.loads(json.dumps(manifest_of(
        request, [], run_id="r", code_version="1", created_at=0, quality={},
        queries=queries_of(request), parameters=parameters_of(request),
    )))  # fmt: skip
    rows = exported(store, config)
    assert_asked_bars_are_those_of(rows, store, manifest)
    labels = asked(store, manifest, "outcomes")
    assert labels.num_rows == 2 * 68 == BARS * 2 - rows.column("known_at_4h").null_count
    assert set(manifest["queries"]) == {
        "bars", "sentiment", "mood", "ticks", "listings", "outcomes"
    }  # fmt: skip


def test_labels_that_were_not_known_by_the_watermark_are_null(store: Store, config: Config) -> None:
    found = of(exported(store, config), "known_at_4h")
    assert [one is None for one in found] == [False] * 68 + [True] * 4


def test_bars_that_became_available_after_the_watermark_are_left_out(
    store: Store, home: EmbeddedStore, tmp_path: Path
) -> None:
    early = configured(home, tmp_path, watermark="2022-05-31T00:00:00Z")
    assert exported(store, early).num_rows == 2 * 24
    store.insert("features", [features(BTC, 23, late_s=1)])
    assert exported(store, early).num_rows == 2 * 24 - 1


def test_bar_whose_row_was_made_anew_is_joined_with_what_was_known_at_its_close(
    store: Store, config: Config
) -> None:
    before = exported(store, config)
    store.insert("features", [features(BTC, 5, late_s=40 * 3_600)])
    after = exported(store, config)
    assert _known_at(after) != _known_at(before)
    unmoved = ["available_at"]
    assert after.drop_columns(unmoved).equals(before.drop_columns(unmoved))


def test_what_became_available_after_the_watermark_changes_nothing(
    store: Store, config: Config
) -> None:
    before = exported(store, config)
    later = END + 1
    store.insert("sentiment_aggregates", [aggregate(later, 0.9)])
    store.insert("market_mood", [MarketMood("vix", T0, 13.0, later)])
    store.insert("perpetuals", [
        PerpetualTick(*SWAP, 1.0, None, 0.5, None, None, None, later)
    ])  # fmt: skip
    store.insert("instruments", [
        Listing(*BTC, "BTCUSDT", "delisted", None, None, 1.0, None, later, later)
    ])  # fmt: skip
    store.insert("features", [features(BTC, BARS)])
    assert exported(store, config).equals(before)


@pytest.mark.parametrize("hour", [0, 12, 40])
def test_aggregate_that_became_available_late_changes_nothing_earlier(
    store: Store, config: Config, hour: int
) -> None:
    before = exported(store, config)
    at = T0 + hour * HOUR + 1
    store.insert("sentiment_aggregates", [aggregate(at, -0.77)])
    after = exported(store, config)
    known = np.array([one < at for one in _known_at(before)])
    assert after.filter(pa.array(known)).equals(before.filter(pa.array(known)))
    changed = of(after, "sentiment_score")
    assert changed.count(-0.77) > 0
    assert changed.index(-0.77) == hour


def _known_at(rows: pa.Table) -> list[int]:
    return rows.column("available_at").cast(pa.int64()).to_pylist()


def test_bar_that_claims_to_be_known_before_its_close_is_refused(
    store: Store, config: Config
) -> None:
    store.insert("features", [features(BTC, 5, late_s=-1)])
    told = r"binance:BTC-USDT at 2022-05-30T05:00:00.*known before the bar closed"
    with pytest.raises(StoreError, match=told):
        exported(store, config)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"features": "[rsi_15]"}, "features: 'rsi_15' is no feature"),
        ({"horizons": "[1h]"}, "no label over 1h of these bars was known by the watermark; run "),
        ({"sentiment_model": "bert-9"}, "of bert-9 over 1d are stored; there are those of lexic"),
        ({"instruments": "[SOL-USDT]"}, "no features of 1h bars of SOL-USDT"),
        ({"timeframe": "4h", "horizons": "[]"}, "no features of 4h bars of any market"),
    ],
)
def test_what_is_not_there_is_refused_with_what_to_do(
    store: Store, home: EmbeddedStore, tmp_path: Path, keys: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        exported(store, configured(home, tmp_path, **keys))


def test_labels_of_two_versions_are_refused(store: Store, config: Config) -> None:
    store.insert("outcomes", [outcome(BTC, 3, "1 cost 5 bps")])
    with pytest.raises(ConfigError, match=r"of several versions: 1 cost 10 bps.*; 1 cost 5 bps"):
        exported(store, config)


def test_sentiment_of_two_models_has_to_be_named(
    store: Store, home: EmbeddedStore, config: Config, tmp_path: Path
) -> None:
    store.insert("sentiment_aggregates", [aggregate(T0, 0.5, model="bert-9")])
    with pytest.raises(ConfigError, match="aggregates of bert-9, lexicon-1; name one"):
        exported(store, config)
    named = exported(store, configured(home, tmp_path, sentiment_model="bert-9"))
    assert of(named, "sentiment_score")[0] == 0.5


def test_quality_gate_that_fails_refuses_and_writes_nothing(
    store: Store, home: EmbeddedStore, tmp_path: Path
) -> None:
    strict = configured(home, tmp_path, force="false")
    store.command(
        "ALTER TABLE candles DELETE WHERE toHour(open_time) < 20 SETTINGS mutations_sync = 2"
    )
    with pytest.raises(ConfigError, match=r"quality gate fails: .*--set force=true"):
        export_dataset.main(strict)
    assert not (tmp_path / "dataset").exists()


def test_history_that_ended_long_ago_passes_the_quality_gate(
    store: Store, home: EmbeddedStore, tmp_path: Path
) -> None:
    # Its last month is not whole: the bars that were never there are no holes, and not old either.
    whole = configured(home, tmp_path, force="false", watermark="''")
    to_and_fro = whole.quality.model_copy(update={"outlier_share": 1.0})  # as these prices go
    whole = whole.model_copy(update={"quality": to_and_fro})
    assert export_dataset.main(whole).notes["quality"].startswith("passed")


def test_quality_gate_reads_the_texts_that_the_first_aggregate_is_made_of(
    store: Store, home: EmbeddedStore, tmp_path: Path
) -> None:
    strict = configured(home, tmp_path, force="false", begin="2022-05-31")
    store.insert("texts", [
        TextItem(f"text-{hour}", "newswire", "news", "Up", "", "", "", at, at, 0.0, 1.0, ())
        for hour in range(1, 24)
        for at in [T0 + hour * HOUR]
    ])  # fmt: skip
    with pytest.raises(ConfigError, match=r"quality gate fails: .*newswire"):
        export_dataset.main(strict)


def test_watermark_in_the_future_is_refused(
    store: Store, home: EmbeddedStore, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="watermark 2222-01-01 lies in the future"):
        export_dataset.main(configured(home, tmp_path, watermark="2222-01-01"))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("watermark=yesterday", "watermark 'yesterday' is no time"),
        ("horizons=[soon]", "horizons: 'soon' is not a number with m, h or d"),
        ("out=''", "out is empty: name a folder"),
        ("sentiment_window=2d", "sentiment_window"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_submission(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_job_config("export_dataset", None, [override], {})


# The job itself


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_export_job_writes_the_same_bytes_every_time_and_goes_on_where_it_was_killed(
    store: Store, home: EmbeddedStore, config: Config, tmp_path: Path
) -> None:
    done = export_dataset.main(config)
    folder = tmp_path / "dataset"
    manifest = json.loads((folder / "manifest.json").read_text())
    content = files_of(folder)
    assert sorted(content) == ["2022-05.parquet", "2022-06.parquet"]
    assert done.written == {"dataset": 2 * BARS}
    assert manifest["rows"] == 2 * BARS
    assert [file["rows"] for file in manifest["files"]] == [96, 48]
    read = pa.concat_tables([pq.read_table(folder / name) for name in sorted(content)])
    assert read.equals(exported(store, config))
    assert_asked_bars_are_those_of(read, store, manifest)

    # The same again elsewhere, with more known since: the same bytes.
    store.insert("sentiment_aggregates", [aggregate(END + 1, 0.9)])
    again = configured(home, tmp_path, out=tmp_path / "again")
    export_dataset.main(again)
    assert files_of(tmp_path / "again") == content
    told = json.loads((tmp_path / "again" / "manifest.json").read_text())
    assert (told["sha256"], told["dataset_id"]) == (manifest["sha256"], manifest["dataset_id"])

    # Killed before the second month: a run without a watermark goes on as of the first one's.
    (folder / "manifest.json").unlink()
    (folder / "2022-06.parquet").unlink()
    rest = export_dataset.main(configured(home, tmp_path, watermark="''"))
    assert rest.written == {"dataset": 48}
    assert rest.skipped == {"months that are written already": 1}
    assert files_of(folder) == content

    # Done is done; and another data set has no place there.
    assert export_dataset.main(config).skipped == {"months that are written already": 2}
    with pytest.raises(ConfigError, match="holds another data set"):
        export_dataset.main(configured(home, tmp_path, horizons="[]"))

    rows = stored_rows(store, "datasets", "ORDER BY created_at")
    assert [row.dataset_id for row in rows] == [manifest["dataset_id"]] * 3
    assert (rows[0].rows, rows[0].files, rows[0].label_version) == (2 * BARS, 2, LABELS)
    origin = dataset_lineage(store, manifest["dataset_id"])
    assert origin is not None
    assert origin.facts["exports"] == 3
    assert origin.origins[0].title == f"run {rows[-1].run_id}"
    assert origin.origins[0].facts["job"] == "export_dataset"
