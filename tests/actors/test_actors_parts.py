"""Small parts of the streams: thinning of book tops, the hand-over of candles."""

from __future__ import annotations

import asyncio

import pytest
from actors_samples import MINUTE, candle, top

from engine.actors.candle_feed import BACKLOG_CANDLES, CandleFeed
from engine.actors.messages import CandleBatch
from engine.actors.top_sampler import TopSampler
from engine.actors.wiring import markets_of, ranked_markets, reference_market, resolve, shard_of
from engine.config import Config, load_config
from engine.domain.delisting import Delisting
from engine.domain.instrument import Market
from engine.errors import ConfigError


class Worker:
    """Takes batches like a feature worker; can be slow, absent or restarted."""

    def __init__(self) -> None:
        self.batches: list[CandleBatch] = []
        self.incarnation = "first"
        self.open = asyncio.Event()
        self.open.set()
        self.failures = 0

    async def ingest(self, batch: CandleBatch) -> str:
        await self.open.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("restarting")
        self.batches.append(batch)
        return self.incarnation

    @property
    def closed(self) -> list[int]:
        return [bar.open_time for batch in self.batches for bar in batch.closed]


def offer(feed: CandleFeed, *closed: int, forming: tuple[float, ...] = ()) -> None:
    feed.offer(
        [candle(time) for time in closed],
        [candle(0, price, is_closed=False) for price in forming],
        max(closed, default=0),
        {"BTC-USDT": 1, "XRP-USDT": 2},
        ["XRP-USDT"],
    )


@pytest.fixture
async def fed() -> tuple[CandleFeed, Worker]:
    worker = Worker()
    feed = CandleFeed("stream-binance-0", "binance", {"BTC-USDT"}, {"1m"}, worker)
    task = asyncio.create_task(feed.run())
    yield feed, worker
    task.cancel()


def test_top_sampler_keeps_the_last_of_every_interval() -> None:
    sampler = TopSampler(100)
    told = [found for time in (10, 50, 99, 100, 350) for found in sampler.sample(top(time))]
    assert [found.receive_time for found in told + sampler.flush()] == [99, 100, 350]
    assert sampler.flush() == []


def test_top_sampler_gives_what_is_due_once_its_interval_is_over() -> None:
    sampler = TopSampler(100)
    sampler.sample(top(50))
    sampler.sample(top(120, instrument="ETH-USDT"))
    assert sampler.due(99) == []
    assert [found.receive_time for found in sampler.due(199)] == [50]
    assert sampler.due(199) == []
    assert [found.receive_time for found in sampler.flush()] == [120]


def test_top_sampler_keeps_markets_apart() -> None:
    sampler = TopSampler(100)
    assert sampler.sample(top(10)) == sampler.sample(top(20, instrument="ETH-USDT")) == []
    assert len(sampler.flush()) == 2


def test_top_sampler_of_zero_keeps_all() -> None:
    sampler = TopSampler(0)
    assert [len(sampler.sample(top(10))) for _ in range(3)] == [1, 1, 1]


async def test_candle_feed_hands_on_only_what_the_worker_wants(
    fed: tuple[CandleFeed, Worker],
) -> None:
    feed, worker = fed
    others = [candle(0, instrument="ETH-USDT"), candle(0, timeframe="1h")]
    ended = Delisting(ended=5, known_at=7)
    feed.offer(
        [candle(0), *others], [], MINUTE, {"BTC-USDT": 1, "XRP-USDT": 2}, ["XRP-USDT"],
        delisted={"BTC-USDT": ended, "XRP-USDT": ended},
    )  # fmt: skip
    await feed.wait_until_idle()
    (batch,) = worker.batches
    assert batch.closed == (candle(0),)
    assert batch.last_receive == {"BTC-USDT": 1}
    assert batch.unhealthy == ()
    assert batch.instruments == ("BTC-USDT",)
    assert batch.delisted == {"BTC-USDT": ended}


async def test_candle_feed_while_the_worker_is_slow_queues_closed_and_replaces_forming(
    fed: tuple[CandleFeed, Worker],
) -> None:
    feed, worker = fed
    worker.open.clear()
    offer(feed, 0)
    await asyncio.sleep(0)
    offer(feed, MINUTE, forming=(1.0,))
    offer(feed, 2 * MINUTE, forming=(2.0,))
    assert feed.backlog == 2
    worker.open.set()
    await feed.wait_until_idle()
    assert worker.closed == [0, MINUTE, 2 * MINUTE]
    assert [bar.close for bar in worker.batches[-1].forming] == [2.0]


async def test_candle_feed_repeats_a_batch_until_the_worker_answers(
    fed: tuple[CandleFeed, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.actors.candle_feed.RETRY_S", 0.0)
    feed, worker = fed
    worker.failures = 3
    offer(feed, 0)
    await feed.wait_until_idle()
    assert worker.closed == [0]


async def test_candle_feed_tells_a_restarted_worker_the_last_candles_again(
    fed: tuple[CandleFeed, Worker],
) -> None:
    feed, worker = fed
    offer(feed, 0)
    await feed.wait_until_idle()
    worker.incarnation = "second"
    offer(feed, MINUTE)
    await feed.wait_until_idle()
    assert worker.closed == [0, MINUTE, 0, MINUTE]


async def test_candle_feed_names_the_worker_it_speaks_to_and_tells_the_newest_versions(
    fed: tuple[CandleFeed, Worker],
) -> None:
    feed, worker = fed
    for version in (1, 2):
        feed.offer([candle(0, version=version)], [], MINUTE, {}, [])
        await feed.wait_until_idle()
    worker.incarnation = "second"
    offer(feed, MINUTE)
    await feed.wait_until_idle()
    assert [batch.recipient for batch in worker.batches] == ["", "first", "first", "second"]
    again = [(bar.open_time, bar.version) for bar in worker.batches[-1].closed]
    assert again == [(0, 2), (MINUTE, 1)]


async def test_candle_feed_backlog_stops_the_stream_until_it_shrinks(
    fed: tuple[CandleFeed, Worker],
) -> None:
    feed, worker = fed
    worker.open.clear()
    offer(feed, 0)
    await asyncio.sleep(0)
    offer(feed, *range(0, (BACKLOG_CANDLES + 1) * MINUTE, MINUTE))
    waiting = asyncio.create_task(feed.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    worker.open.set()
    await asyncio.wait_for(waiting, 5)


def test_universe_takes_the_first_market_of_every_base() -> None:
    config = load_config(
        overrides=[
            "exchanges.kraken.instruments=[BTC-USD, XMR-USD]",
            "exchanges.binance.instruments=[BTC-USDT, ETH-USDT]",
            "exchanges.coinbase={instruments: [SOL-USD], enabled: false}",
        ],
        environment={},
    )
    universe = ranked_markets(markets_of(config))
    assert [str(market) for market in universe] == [
        "kraken:BTC-USD",
        "kraken:XMR-USD",
        "binance:ETH-USDT",
    ]
    assert reference_market(universe, "BTC") == Market("kraken", "BTC-USD")
    assert reference_market(universe, "DOGE") is None


def test_shard_of_a_market_never_changes() -> None:
    assert [shard_of(Market("binance", name), 4) for name in ("BTC-USDT", "ETH-USDT")] == [2, 0]


def test_resolve_gives_simulated_venues_what_they_list() -> None:
    tree = {"simulator": {"enabled": True}, "exchanges": {"binance": {}, "kraken": {}}}
    found = resolve(Config.model_validate(tree))
    bases = {market.instrument.split("-")[0] for market in markets_of(found)}
    assert "BTC-USDT" in found.exchanges["binance"].instruments
    assert len(bases) > 20


def test_resolve_refuses_a_venue_the_simulator_does_not_speak() -> None:
    tree = {"simulator": {"enabled": True}, "exchanges": {"bitstamp": {}}}
    with pytest.raises(ConfigError, match=r"exchanges\.bitstamp: the simulator speaks only"):
        resolve(Config.model_validate(tree))
