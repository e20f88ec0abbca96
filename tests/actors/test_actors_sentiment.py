"""The sentiment replica, the pool of them and how many there are, without Ray."""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from actors_fakes import config_for
from ray.exceptions import ActorUnavailableError

from engine.actors import sentiment_pool, supervisor
from engine.actors.base import ActorReport, Phase
from engine.actors.plan import make_plan
from engine.actors.sentiment_pool import SentimentPool
from engine.actors.sentiment_replica import SentimentReplica
from engine.actors.sentiment_scaling import FEWER_AFTER_S, MORE_AFTER_S, SentimentScaling
from engine.actors.supervisor import Supervisor
from engine.clock import DataClock
from engine.domain.text import TextItem
from engine.errors import ConfigError, SentimentUnavailable, StartError
from engine.sentiment.readers import ReadTexts, Reloaded
from engine.sentiment.reading import TextQuery


def item(name: str, title: str) -> TextItem:
    return TextItem(name, "news", "news", title, "", "", "", 1, 1, 0.0, 0.5, ("BTC-USDT",))


# The replica ------------------------------------------------------------------------------


@pytest.fixture
def replica(tmp_path: Path) -> SentimentReplica:
    return SentimentReplica("sentiment-0", config_for(tmp_path), DataClock(77))


async def test_replica_scores_what_it_can_read(replica: SentimentReplica) -> None:
    items = [item("a", "Bitcoin soars"), item("b", "   "), item("c", "Exchange hacked")]
    scores = await replica.score([*items, item("d", "Цена биткоина упала")])
    assert [(s.text_id, s.label, s.model, s.scored_at) for s in scores] == [
        ("a", "bullish", "lexicon-1", 77),
        ("c", "bearish", "lexicon-1", 77),
    ]
    assert replica.details() == {
        "model": "lexicon-1",
        "models": {"lexicon": "lexicon-1"},
        "texts": 4,
        "waiting": 0,
    }


async def test_replica_reads_and_scores_alike(replica: SentimentReplica) -> None:
    found = await replica.read("lexicon", [TextQuery("Bitcoin soars")])
    (score,) = await replica.score([item("a", "Bitcoin soars")])
    assert found.readings[0].sentiment is not None
    assert found.readings[0].sentiment.row("a", found.model, 77) == score


async def test_replica_that_was_started_runs_and_keeps_no_model_from_a_reload_that_fails(
    replica: SentimentReplica,
) -> None:
    assert replica.phase is Phase.CREATED
    await replica.start()
    assert replica.phase is Phase.RUNNING
    assert await replica.prepare("lexicon") == "lexicon-1"
    assert await replica.switch("lexicon") == Reloaded("lexicon-1", "lexicon-1")
    with pytest.raises(ConfigError, match="not loaded"):
        await replica.prepare("minilm")


async def test_replica_being_drained_finishes_and_takes_nothing_more(
    replica: SentimentReplica,
) -> None:
    await replica.start()
    asked = asyncio.create_task(replica.score([item(str(n), "Bitcoin soars") for n in range(99)]))
    await asyncio.sleep(0)
    await replica.drain()
    assert len(await asked) == 99
    with pytest.raises(ConnectionError, match="sentiment-0 is being drained"):
        await replica.score([item("a", "up")])
    with pytest.raises(ConnectionError):
        await replica.read("lexicon", [TextQuery("up")])


# The pool ---------------------------------------------------------------------------------


class Method:
    """An actor's method: called by ``remote``, awaited for its answer."""

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run

    def remote(self, *arguments: Any) -> Any:
        return self._run(*arguments)


class Actor:
    """A replica's handle: answers with its own version, when it is there."""

    def __init__(self, version: str = "lexicon-1") -> None:
        self.version = version
        self.prepared = ""
        self.broken: Exception | None = None
        self.asked: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Method:
        return Method(getattr(self, f"_{name}"))

    async def _answer(self) -> None:
        await self.open.wait()
        if self.error is not None:
            raise self.error

    async def _versions(self) -> dict[str, str]:
        await self._answer()
        return {"lexicon": self.version}

    async def _read(self, model: str, queries: Sequence[TextQuery]) -> ReadTexts:
        self.asked += [query.text for query in queries]
        await self._answer()
        return ReadTexts(self.version, ())

    async def _prepare(self, model: str) -> str:
        await self._answer()
        if self.broken is not None:
            raise self.broken
        self.prepared = "lexicon-2"
        return self.prepared

    async def _switch(self, model: str) -> Reloaded:
        await self._answer()
        before, self.version = self.version, self.prepared or self.version
        self.prepared = ""
        return Reloaded(before, self.version)

    async def _forget(self, model: str) -> None:
        await self._answer()
        self.prepared = ""


GONE = ActorUnavailableError("the actor is unavailable", None)


class World:
    """Replicas by name, and a pool that finds them."""

    def __init__(self) -> None:
        self.actors = {"sentiment-0": Actor(), "sentiment-1": Actor()}
        self.pool = SentimentPool(3, 0.3, self.actors.get)

    async def read(self, text: str) -> str:
        return (await self.pool.read("lexicon", [TextQuery(text)])).model

    async def found(self, *names: str) -> None:
        """Look until these are known."""
        while set(self.pool.replicas) != set(names):
            await self.pool._look()
            await asyncio.sleep(0.001)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(sentiment_pool, "RETRY_S", 0.001)
    made = World()
    yield made
    await made.pool.close()


async def test_pool_shares_calls_among_replicas(world: World) -> None:
    await world.found("sentiment-0", "sentiment-1")
    for number in range(6):
        assert await world.read(str(number)) == "lexicon-1"
    assert [len(actor.asked) for actor in world.actors.values()] == [3, 3]


async def test_pool_gives_a_call_to_the_one_with_the_fewest_in_flight(world: World) -> None:
    await world.found("sentiment-0", "sentiment-1")
    busy, free = world.actors.values()
    busy.open.clear()
    held = [asyncio.create_task(world.read("held")) for _ in range(2)]
    await asyncio.sleep(0)
    for _ in range(5):
        await world.read("quick")
    assert len(busy.asked) == 1
    assert free.asked.count("quick") == 5
    busy.open.set()
    await asyncio.gather(*held)


async def test_pool_drops_no_call_when_a_replica_dies_or_drains(world: World) -> None:
    await world.found("sentiment-0", "sentiment-1")
    first, second = world.actors.values()
    for error in (GONE, ConnectionError("sentiment-0 is being drained")):
        first.error = error
        second.asked.clear()
        assert [await world.read(str(n)) for n in range(4)] == ["lexicon-1"] * 4
        assert second.asked == ["0", "1", "2", "3"]
        first.error = None
        await world.found("sentiment-0", "sentiment-1")


async def test_pool_finds_a_replica_that_was_started_but_waits_until_it_answers(
    world: World,
) -> None:
    await world.found("sentiment-0", "sentiment-1")
    late = world.actors["sentiment-2"] = Actor()
    late.open.clear()
    await world.pool._look()
    for number in range(6):
        await world.read(str(number))
    assert (late.asked, len(world.pool.replicas)) == ([], 2)
    late.open.set()
    await world.found("sentiment-0", "sentiment-1", "sentiment-2")


async def test_pool_forgets_a_replica_that_was_ended(world: World) -> None:
    await world.found("sentiment-0", "sentiment-1")
    del world.actors["sentiment-1"]
    await world.found("sentiment-0")
    assert await world.read("a") == "lexicon-1"


async def test_pool_without_replicas_says_so_and_comes_back(world: World) -> None:
    actors = dict(world.actors)
    world.actors.clear()
    with pytest.raises(SentimentUnavailable, match="no sentiment replica runs"):
        await world.read("a")
    with pytest.raises(ConnectionError):
        await world.pool.model()
    world.actors.update(actors)
    assert await world.read("a") == "lexicon-1"


async def test_pool_error_of_the_model_itself_is_not_tried_elsewhere(world: World) -> None:
    await world.found("sentiment-0", "sentiment-1")
    for actor in world.actors.values():
        actor.error = ConfigError("the model is broken")
    with pytest.raises(ConfigError, match="the model is broken"):
        await world.read("a")
    assert sum(len(actor.asked) for actor in world.actors.values()) == 1


async def test_pool_reloads_one_replica_after_the_other_and_knows_the_new_version(
    world: World,
) -> None:
    await world.found("sentiment-0", "sentiment-1")
    assert await world.pool.model() == "lexicon-1"
    reloaded = await world.pool.reload("lexicon")
    assert reloaded == dict.fromkeys(
        ("sentiment-0", "sentiment-1"), Reloaded("lexicon-1", "lexicon-2")
    )
    assert await world.pool.versions() == {"lexicon": "lexicon-2"}


@pytest.mark.parametrize("broken", ["sentiment-0", "sentiment-1"])
async def test_pool_reload_that_one_replica_cannot_do_leaves_all_as_they_are(
    world: World, broken: str
) -> None:
    await world.found("sentiment-0", "sentiment-1")
    world.actors[broken].broken = ConfigError("the weights are damaged")
    with pytest.raises(ConfigError, match="the weights are damaged"):
        await world.pool.reload("lexicon")
    for actor in world.actors.values():
        assert (actor.version, actor.prepared) == ("lexicon-1", "")
    world.actors[broken].broken = None
    assert set(await world.pool.reload("lexicon")) == {"sentiment-0", "sentiment-1"}
    assert {actor.version for actor in world.actors.values()} == {"lexicon-2"}


async def test_pool_reload_passes_over_a_replica_that_died(world: World) -> None:
    await world.found("sentiment-0", "sentiment-1")
    first, second = world.actors.values()
    first.broken = GONE
    assert await world.pool.reload("lexicon") == {"sentiment-1": Reloaded("lexicon-1", "lexicon-2")}
    assert second.version == "lexicon-2"


async def test_pool_two_reloads_at_once_come_one_after_the_other(world: World) -> None:
    await world.found("sentiment-0", "sentiment-1")
    first, second = await asyncio.gather(world.pool.reload("lexicon"), world.pool.reload("lexicon"))
    assert set(first.values()) == {Reloaded("lexicon-1", "lexicon-2")}
    assert set(second.values()) == {Reloaded("lexicon-2", "lexicon-2")}


async def test_pool_can_be_sent_to_another_process_before_it_is_used() -> None:
    sent = pickle.loads(pickle.dumps(SentimentPool(3, 0.3)))
    assert sent.replicas == ()


async def test_pool_learns_of_a_version_that_others_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.found("sentiment-0", "sentiment-1")
    for actor in world.actors.values():
        actor.version = "lexicon-9"
    monkeypatch.setattr(sentiment_pool, "LOOK_EVERY_S", 0.0)
    async with asyncio.timeout(5):
        while await world.pool.versions() != {"lexicon": "lexicon-9"}:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_pool_call_does_not_wait_for_a_look_while_replicas_are_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.found("sentiment-0", "sentiment-1")
    monkeypatch.setattr(sentiment_pool, "LOOK_EVERY_S", 0.0)
    asked = []

    def never(name: str) -> None:
        asked.append(name)
        time.sleep(0.2)

    monkeypatch.setattr(world.pool, "_find", never)
    assert await asyncio.wait_for(world.pool.model(), 0.1) == "lexicon-1"
    monkeypatch.setattr(sentiment_pool, "LONGEST_UNSEEN_S", 0.0)
    with pytest.raises(SentimentUnavailable):
        await world.pool.model()
    assert asked[0] == "sentiment-0"


# How many ---------------------------------------------------------------------------------


def test_scaling_starts_one_more_after_texts_have_waited() -> None:
    scaling = SentimentScaling(1, 3, 10)
    assert scaling.wanted(1, 25, 0.0) == 1
    assert scaling.wanted(1, 25, MORE_AFTER_S - 0.1) == 1
    assert scaling.wanted(1, 25, MORE_AFTER_S) == 2
    assert scaling.wanted(2, 25, MORE_AFTER_S + 1) == 2, "it waits anew"
    assert scaling.wanted(2, 25, 2 * MORE_AFTER_S + 1) == 3
    assert scaling.wanted(3, 9_999, 99.0) == 3, "never more than allowed"


def test_scaling_a_short_rush_changes_nothing() -> None:
    scaling = SentimentScaling(1, 3, 10)
    assert scaling.wanted(1, 25, 0.0) == 1
    assert scaling.wanted(1, 5, 1.0) == 1
    assert scaling.wanted(1, 25, MORE_AFTER_S) == 1


def test_scaling_ends_one_after_it_was_not_needed() -> None:
    scaling = SentimentScaling(1, 3, 10)
    assert scaling.wanted(3, 0, 0.0) == 3
    assert scaling.wanted(3, 0, FEWER_AFTER_S) == 2
    assert scaling.wanted(2, 15, FEWER_AFTER_S + 1) == 2
    assert scaling.wanted(2, 0, FEWER_AFTER_S + 2) == 2
    assert scaling.wanted(2, 0, 2 * FEWER_AFTER_S + 2) == 1
    assert scaling.wanted(1, 0, 9 * FEWER_AFTER_S) == 1, "never fewer than allowed"


# The supervisor's part --------------------------------------------------------------------


class Placed(Actor):
    """A replica as the supervisor places it: reports how many texts wait."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.waiting = 0
        self.drained = False

    async def _start(self) -> None:
        await self._answer()

    async def _drain(self) -> None:
        self.drained = True

    def told(self) -> ActorReport:
        details = {"waiting": self.waiting}
        return ActorReport(self.name, "", Phase.RUNNING, "", 1, 1, 1.0, "", details, b"")


class Cluster:
    """Where a supervisor places replicas."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, gpus: float = 0.0) -> None:
        self.actors: dict[str, Placed] = {}
        self.killed: list[str] = []
        self.options: list[tuple[float, float]] = []
        for name in ("place", "kill"):
            monkeypatch.setattr(supervisor, name, getattr(self, name))
        monkeypatch.setattr(supervisor, "find", self.actors.get)
        monkeypatch.setattr(supervisor, "gpus", lambda: gpus)

    def place(self, kind: type, name: str, *_: Any, num_cpus: float, num_gpus: float) -> Placed:
        self.options.append((num_cpus, num_gpus))
        return self.actors.setdefault(name, Placed(name))

    def kill(self, handle: Placed, *, restart: bool) -> None:
        assert not restart
        self.killed.append(handle.name)


def supervised(folder: Path, *overrides: str) -> Supervisor:
    config = config_for(folder, "sentiment.max_replicas=3", *overrides)
    return Supervisor("supervisor", config, make_plan(config), None)


async def test_supervisor_adds_a_replica_while_texts_wait_and_ends_it_when_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, made = Cluster(monkeypatch), supervised(tmp_path)
    moments = [0.0]
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: moments[-1])
    made._place_replicas()
    assert list(cluster.actors) == ["sentiment-0"]
    cluster.actors["sentiment-0"].waiting = 100
    made._parts["sentiment-0"].report = cluster.actors["sentiment-0"].told()
    for moment in (1.0, 1.0 + MORE_AFTER_S):
        moments.append(moment)
        made._scale_replicas()
    assert list(made._parts) == ["sentiment-0", "sentiment-1"]
    cluster.actors["sentiment-0"].waiting = 0
    made._parts["sentiment-0"].report = cluster.actors["sentiment-0"].told()
    for moment in (10.0, 10.0 + FEWER_AFTER_S):
        moments.append(moment)
        made._scale_replicas()
    await asyncio.gather(*made._tasks)
    assert list(made._parts) == ["sentiment-0"]
    assert cluster.actors["sentiment-1"].drained
    assert cluster.killed == ["sentiment-1"]


def test_supervisor_finds_the_replicas_of_one_that_ran_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, made = Cluster(monkeypatch), supervised(tmp_path)
    cluster.actors["sentiment-2"] = Placed("sentiment-2")
    made._place_replicas()
    assert sorted(made._parts) == ["sentiment-0", "sentiment-2"]


def test_supervisor_places_replicas_on_shares_of_gpus_as_far_as_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(monkeypatch, gpus=1.0)
    model = "sentiment.model=hf:nobody/nothing"
    made = supervised(tmp_path, model, "sentiment.num_gpus=0.5", "sentiment.num_cpus=2")
    made._place_replicas()
    assert cluster.options == [(2.0, 0.5)]
    assert made._scaling.most == 2
    none = supervised(tmp_path, model, "sentiment.num_gpus=2")
    with pytest.raises(StartError, match=r"set sentiment\.num_gpus to 0 to score on the CPU"):
        none._place_replicas()


def test_supervisor_reserves_no_gpu_for_models_that_cannot_use_one_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(monkeypatch, gpus=1.0)
    more = ("sentiment.models=[tfidf]", "sentiment.num_gpus=0.5", "sentiment.min_replicas=3")
    made = supervised(tmp_path, *more)
    # A test before this one may have set up the engine's logging, which keeps records to itself.
    monkeypatch.setattr(logging.getLogger("engine"), "propagate", True)
    with caplog.at_level("WARNING"):
        made._place_replicas()
    assert cluster.options == [(0.1, 0.0)] * 3
    assert made._scaling.most == 3
    (said,) = [one.getMessage() for one in caplog.records if "num_gpus" in one.getMessage()]
    assert said.startswith("sentiment.num_gpus is 0.5, but lexicon, tfidf cannot use a GPU: ")


def test_supervisor_reserves_a_gpu_where_one_of_the_models_can_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(monkeypatch, gpus=1.0)
    more = ("sentiment.models=[hf:nobody/nothing]", "sentiment.num_gpus=0.5")
    supervised(tmp_path, *more)._place_replicas()
    assert cluster.options == [(0.1, 0.5)]
