"""The ranker: what is stored, what is only served, what a restart takes up, how it drains."""

from __future__ import annotations

import asyncio
from math import isnan
from pathlib import Path

import msgspec
import pytest
from actors_fakes import WIRING, Memory, config_for, install
from actors_samples import MINUTE, features, row, sentiment

from engine.actors.base import Phase
from engine.actors.board import KEPT_BARS
from engine.actors.messages import FeatureBatch
from engine.actors.ranker import Ranker
from engine.clock import DataClock
from engine.domain.features import FeatureRow
from engine.domain.signal import Ranking
from engine.errors import StoreUnavailable
from engine.features.catalogue import FEATURE_INDEX, FEATURES

MARKETS = ("ADA-USDT", "BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT")
RANKED = next(feature.name for feature in FEATURES if feature.ranks)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    # Bars of the samples closed long ago.
    monkeypatch.setattr("engine.actors.ranker.RESTORED_NS", 2**62)
    return install(monkeypatch, "ranker")


def ranker_over(folder: Path, *overrides: str) -> Ranker:
    config = config_for(folder, "features.timeframes=[1m]", "ranking.timeframe=1m", *overrides)
    return Ranker("ranker", config, WIRING, workers=1)


def bar(open_time: int, *, step: float = 1.0, is_closed: bool = True) -> list[FeatureRow]:
    """Rows of every market; with a negative step the last is the weakest."""
    return [
        row(open_time, instrument=name, value=place * step, is_closed=is_closed)
        for place, name in enumerate(MARKETS)
    ]


def closing(open_time: int, *, step: float = 1.0) -> FeatureBatch:
    return features(*bar(open_time, step=step), through=open_time + MINUTE)


async def test_ranker_closed_bar_is_stored_and_served(memory: Memory, tmp_path: Path) -> None:
    ranker = ranker_over(tmp_path)
    assert await ranker.ingest(closing(0)) == ranker.incarnation
    await ranker.drain()
    (ranking,) = memory.rankings
    assert (ranking.as_of, ranking.is_closed_bar, ranking.sequence) == (MINUTE, True, 1)
    assert memory.rows["signals"] == list(ranking.signals)
    assert {signal.instrument for signal in ranking.signals} == set(MARKETS)
    ranks = [found.values[FEATURE_INDEX[RANKED]] for found in memory.rows["features"]]
    assert sorted(ranks) == [0.0, 0.25, 0.5, 0.75, 1.0]


async def test_ranker_forming_bar_is_served_and_not_stored(memory: Memory, tmp_path: Path) -> None:
    ranker = ranker_over(tmp_path, "ranking.every_ms=1")
    await ranker.start()
    previews = tuple(bar(0, is_closed=False))
    await ranker.ingest(features(previews=previews))
    await asyncio.wait_for(memory.ranked.wait(), 5)
    await ranker.drain()
    assert memory.rankings[0].is_closed_bar is False
    assert "signals" not in memory.rows
    assert "features" not in memory.rows


async def test_ranker_signal_of_a_closed_bar_does_not_know_what_came_after_it(
    memory: Memory, tmp_path: Path
) -> None:
    ranker = ranker_over(tmp_path)
    rows = [
        msgspec.structs.replace(found, last_receive_time=MINUTE - 7_000_000) for found in bar(0)
    ]
    batch = msgspec.structs.replace(
        features(*rows, through=MINUTE),
        last_receive={f"binance:{name}": 2 * MINUTE for name in MARKETS},
    )
    await ranker.ingest(batch)
    await ranker.drain()
    assert {signal.data_age_ms for signal in memory.rows["signals"]} == {7}


async def test_ranker_direction_that_turns_around_raises_an_alert(
    memory: Memory, tmp_path: Path
) -> None:
    ranker = ranker_over(tmp_path)
    for moment, step in ((0, 1.0), (MINUTE, 1.0), (2 * MINUTE, -1.0)):
        await ranker.ingest(closing(moment, step=step))
        for ready in ranker._board.ready(0.0):
            await ranker._rank_closed(ready)
    await ranker.drain()
    before, after = memory.rankings[1], memory.rankings[2]
    turned = {
        signal.instrument
        for signal in after.signals
        for old in before.signals
        if old.instrument == signal.instrument
        and {old.direction, signal.direction} == {"bullish", "bearish"}
    }
    assert turned
    assert {alert.subject for alert in memory.alerts} == turned
    assert {alert.raised_at for alert in memory.alerts} == {3 * MINUTE}


async def test_ranker_restarted_knows_the_stored_directions(memory: Memory, tmp_path: Path) -> None:
    first = ranker_over(tmp_path)
    await first.ingest(closing(0))
    await first.drain()
    memory.ranking = memory.rankings[0]
    second = ranker_over(tmp_path)
    await second.start()
    await second.ingest(closing(MINUTE, step=-1.0))
    await second.drain()
    assert memory.alerts


async def test_ranker_restarted_joins_a_bar_with_the_stored_sentiment_of_its_moment(
    memory: Memory, tmp_path: Path
) -> None:
    memory.rows["sentiment_aggregates"] = [
        aggregate
        for moment, score in ((MINUTE, 0.25), (2 * MINUTE, 0.75))
        for aggregate in sentiment(moment, score).aggregates
    ]
    ranker = ranker_over(
        tmp_path,
        "sources=[{name: news, kind: rss, location: 'http://x'}]",
        "exchanges.binance.instruments=[BTC-USDT]",
    )
    ranker._clock = DataClock(3 * MINUTE)
    await ranker.start()
    assert ranker._board.sentiment("1d", MINUTE)["BTC-USDT"].score == 0.25
    assert ranker._board.sentiment("1d", 3 * MINUTE)["BTC-USDT"].score == 0.75
    await ranker.drain()


async def test_ranker_takes_nothing_meant_for_its_predecessor(
    memory: Memory, tmp_path: Path
) -> None:
    ranker = ranker_over(tmp_path)
    meant_for_another = msgspec.structs.replace(closing(0), recipient="the one before")
    assert await ranker.ingest(meant_for_another) == ranker.incarnation
    await ranker.drain()
    assert memory.rows == {}


async def test_ranker_correction_of_a_forgotten_bar_has_no_ranks_rather_than_wrong_ones(
    memory: Memory, tmp_path: Path
) -> None:
    ranker = ranker_over(tmp_path)
    for index in range(KEPT_BARS + 1):
        await ranker.ingest(closing(index * MINUTE))
    for ready in ranker._board.ready(0.0):
        await ranker._rank_closed(ready)
    memory.rows["features"].clear()
    unranked = msgspec.structs.replace(row(0), values=(1.0, *[float("nan")] * (len(FEATURES) - 1)))
    await ranker.ingest(features(unranked))
    (corrected,) = memory.rows["features"]
    assert isnan(corrected.values[FEATURE_INDEX[RANKED]])
    await ranker.ingest(features(row(KEPT_BARS * MINUTE, value=9.0, instrument="ADA-USDT")))
    assert len(memory.rows["features"]) == 1 + len(MARKETS), "one known in whole is ranked anew"
    await ranker.drain()


async def test_ranker_drain_ranks_bars_that_still_wait(memory: Memory, tmp_path: Path) -> None:
    ranker = ranker_over(tmp_path)
    await ranker.start()
    await ranker.ingest(features(*bar(0), through=0))
    await ranker.drain()
    assert [ranking.as_of for ranking in memory.rankings if ranking.is_closed_bar] == [MINUTE]
    assert memory.closed == ["writer", "bus", "store"]


async def test_ranker_drain_closes_everything_though_the_store_is_gone(
    memory: Memory, tmp_path: Path
) -> None:
    ranker = ranker_over(tmp_path)
    memory.store_is_down = True
    with pytest.raises(StoreUnavailable, match="3 rows"):
        await ranker.drain()
    assert memory.closed == ["writer", "bus", "store"]


async def test_ranker_without_a_bus_still_stores(memory: Memory, tmp_path: Path) -> None:
    ranker = ranker_over(tmp_path)
    memory.bus_is_down = True
    await ranker.ingest(closing(0))
    await ranker.drain()
    assert len(memory.rows["signals"]) == len(MARKETS)
    assert ranker.details()["rankings"] == 0


async def test_ranker_that_cannot_take_rows_has_failed_and_keeps_the_worker_waiting(
    memory: Memory, tmp_path: Path
) -> None:
    ranker = ranker_over(tmp_path)
    wrong = msgspec.structs.replace(row(0), timeframe="7m")
    with pytest.raises(ConnectionError, match="taking rows: ValueError"):
        await ranker.ingest(features(wrong))
    assert ranker.phase is Phase.FAILED
    await ranker.drain()


async def test_ranker_of_too_few_markets_gives_no_ranking(memory: Memory, tmp_path: Path) -> None:
    ranker = ranker_over(tmp_path)
    await ranker.ingest(features(row(0), through=MINUTE))
    await ranker.drain()
    none: list[Ranking] = []
    assert memory.rankings == none
    assert len(memory.rows["features"]) == 1
