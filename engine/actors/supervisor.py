"""The actor that starts every other one, watches it, mends it, and stops it in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from ray.exceptions import RayActorError, RayError

from engine.actors.base import ActorReport, EngineActor, Phase
from engine.actors.bus_server import BusServer
from engine.actors.exposition import MetricsServer
from engine.actors.feature_worker import FeatureWorker
from engine.actors.handles import (
    RemoteFeatureWorker,
    RemoteRanker,
    RemoteStream,
)
from engine.actors.market_stream import MarketStream
from engine.actors.placement import Handle, alive_nodes, find, gpus, kill, place
from engine.actors.plan import Plan
from engine.actors.ranker import Ranker
from engine.actors.relay import Relay
from engine.actors.scheduler import Scheduler
from engine.actors.sentiment_pool import NAME as REPLICA
from engine.actors.sentiment_pool import SentimentPool
from engine.actors.sentiment_replica import SentimentReplica
from engine.actors.sentiment_scaling import SentimentScaling
from engine.actors.status import engine_status
from engine.actors.store_server import StoreServer
from engine.actors.text_stream import TextStream
from engine.actors.venues import Replay, Simulator
from engine.actors.wiring import (
    VenueEndpoint,
    Wiring,
    markets_of,
    ranked_markets,
    reference_market,
    shard_of,
    shares,
)
from engine.bus.client import Bus
from engine.clock import SystemClock
from engine.config import Config
from engine.domain.instrument import ExchangeName, Market
from engine.domain.signal import Alert
from engine.errors import BusError, EngineError, StartError
from engine.exchanges.registry import exchange as adapter_of
from engine.features.catalogue import feature_columns
from engine.metrics import ERRORS
from engine.sentiment.registry import can_use_gpu
from engine.store.client import Store
from engine.store.endpoint import StoreEndpoint
from engine.store.schema import migrate

WATCH_EVERY_S = 1.0
REPORT_PATIENCE_S = 5.0
HANGING_S = 30.0
"""An actor that has not reported for so long is killed and started anew."""

REPLICA_PATIENCE_S = 5.0
"""How long a text waits for a sentiment replica before it is said that none answers."""

DRAIN_PATIENCE_S = 5.0
"""How long one group of actors may take to write down what it holds."""


Worker = tuple[RemoteFeatureWorker, frozenset[Market]]
"""A feature worker, and the markets whose candles it wants."""


@dataclass(slots=True)
class Part:
    """One actor under supervision."""

    name: str
    handle: Handle
    bring_up: Callable[[], Awaitable[object]]
    """Starts it from the store's state: at first, and after every restart of its process."""
    last_seen: float = field(default_factory=time.monotonic)
    report: ActorReport | None = None
    restarts: int = 0
    mending: bool = False


class Supervisor(EngineActor):
    """Places the engine's actors and keeps them running.

    Parameters
    ----------
    name
        Stable name.
    config
        The whole configuration, resolved.
    plan
        Addresses and passwords of this run.
    starts_at
        First moment of a replay, UTC nanoseconds; None for live.
    """

    def __init__(self, name: str, config: Config, plan: Plan, starts_at: int | None) -> None:
        super().__init__(name, config)
        self._config = config
        self._plan = plan
        self._wiring = Wiring(plan.store, plan.bus_url, starts_at)
        self._bus = Bus(plan.bus_url, config.bus.prefix)
        self._metrics = MetricsServer(plan.metrics_port)
        self._universe = ranked_markets(markets_of(config))
        self._parts: dict[str, Part] = {}
        self._venues: dict[str, VenueEndpoint] = {}
        self._news_url = ""
        self._is_up = False
        sentiment = config.sentiment
        self._scaling = SentimentScaling(
            sentiment.min_replicas, sentiment.max_replicas, sentiment.batch_texts
        )
        self._replica_gpus = 0.0

    async def start(self) -> None:
        """Start everything, in the order in which the parts need one another.

        Raises
        ------
        EngineError
            Where a part cannot start; nothing is left half started for long, for whoever
            called then drains.
        """
        if self.phase is Phase.RUNNING:
            return
        await self._metrics.start()
        self._place_all()
        await self._up("store", "bus", "venues")
        await asyncio.to_thread(self._migrate)
        streams = self._named("stream-")
        await self._up(*streams, *self._named("relay-"), *self._named(REPLICA))
        await self._up("ranker", "texts", *self._named("features-"))
        await asyncio.gather(*(self._parts[name].handle.run.remote() for name in streams))
        self._is_up = True
        self.phase = Phase.RUNNING
        self._place_scheduler()
        self.spawn(self._watch(), "watching the actors")

    def _place_all(self) -> None:
        """Place every actor at once, so that their processes start side by side."""
        config, plan = self._config, self._plan
        if plan.store_path is not None:
            store = place(
                StoreServer,
                "store",
                config,
                plan.store_path,
                plan.store,
                plan.viewer_password,
                near_head=True,
            )
            self._add("store", store, store.start.remote)
        if plan.bus_port is not None:
            bus = place(BusServer, "bus", config, plan.bus_port, plan.bus_password, near_head=True)
            self._add("bus", bus, bus.start.remote)
        self._place_venues()
        ranker = place(Ranker, "ranker", config, self._wiring, config.features.shards)
        self._add("ranker", ranker, ranker.start.remote)
        self._place_streams(self._place_workers(ranker))
        self._place_replicas()
        self._place_texts(ranker)

    def _add(self, name: str, handle: Handle, bring_up: Callable[[], Awaitable[object]]) -> None:
        self._parts[name] = Part(name, handle, bring_up)

    def _place_venues(self) -> None:
        if self._config.replay.files:
            kind: type[EngineActor] = Replay
        elif self._config.simulator.enabled:
            kind = Simulator
        else:
            return
        handle = place(kind, "venues", self._config, near_head=True)

        async def listen() -> None:
            self._venues, self._news_url = await handle.start.remote()

        self._add("venues", handle, listen)

    def _place_workers(self, ranker: Handle) -> list[Worker]:
        shards = self._config.features.shards
        reference = reference_market(self._universe, self._config.features.reference)
        workers: list[Worker] = []
        for shard in range(shards):
            name = f"features-{shard}"
            mine = [market for market in self._universe if shard_of(market, shards) == shard]
            handle = place(
                FeatureWorker,
                name,
                self._config,
                self._wiring,
                mine,
                reference,
                RemoteRanker(ranker, "ranker"),
            )
            self._add(name, handle, handle.start.remote)
            wanted = frozenset([*mine, *([reference] if reference else [])])
            workers.append((RemoteFeatureWorker(handle, name), wanted))
        return workers

    def _place_streams(self, workers: list[Worker]) -> None:
        for exchange, venue in self._config.exchanges.items():
            if not venue.enabled:
                continue
            group = adapter_of(exchange).group
            for shard, share in enumerate(shares(venue.instruments, venue.shards, group)):
                self._place_stream(exchange, shard, share, workers)

    def _place_stream(
        self, exchange: ExchangeName, shard: int, share: tuple[str, ...], workers: list[Worker]
    ) -> None:
        """Place one stream; where it is to be redundant, its second on another node."""
        is_redundant = self._config.exchanges[exchange].redundancy > 1
        nodes = alive_nodes() if is_redundant else []
        name = f"stream-{exchange}-{shard}"
        handle = place(
            MarketStream,
            name,
            self._config,
            self._wiring,
            exchange,
            share,
            workers,
            writes_listings=shard == 0,
            node=nodes[shard % len(nodes)] if nodes else None,
        )
        self._add(name, handle, partial(self._bring_up_stream, handle, exchange))
        if not is_redundant or self._config.replay.files:
            return
        relay = place(
            Relay,
            f"relay-{exchange}-{shard}",
            self._config,
            self._wiring,
            exchange,
            share,
            RemoteStream(handle, name),
            node=nodes[(shard + 1) % len(nodes)],
        )

        async def bring_up() -> None:
            await relay.start.remote(self._endpoint(exchange))

        self._add(f"relay-{exchange}-{shard}", relay, bring_up)

    def _endpoint(self, exchange: ExchangeName) -> VenueEndpoint:
        """Return where a venue is reached: a stand-in's address, else what is configured."""
        venue = self._config.exchanges[exchange]
        return self._venues.get(exchange, VenueEndpoint(venue.ws_url, venue.rest_url))

    async def _bring_up_stream(self, handle: Handle, exchange: ExchangeName) -> None:
        await handle.prepare.remote(self._endpoint(exchange))
        if self._is_up:
            # At the first start all streams are prepared before any of them runs.
            await handle.run.remote()

    def _place_replicas(self) -> None:
        """Place the fewest sentiment replicas, and find those that ran before us.

        Raises
        ------
        StartError
            Where they are to be on GPUs, and the cluster has too few.
        """
        sentiment = self._config.sentiment
        self._replica_gpus = self._gpu_share()
        if self._replica_gpus:
            fitting = int(gpus() / sentiment.num_gpus)
            if fitting < sentiment.min_replicas:
                raise StartError(
                    f"sentiment.min_replicas is {sentiment.min_replicas} and each takes "
                    f"sentiment.num_gpus {sentiment.num_gpus:g}, but the cluster has {gpus():g} "
                    "GPUs; set sentiment.num_gpus to 0 to score on the CPU"
                )
            self._scaling.most = min(sentiment.max_replicas, fitting)
        for number in range(sentiment.max_replicas):
            if number < sentiment.min_replicas or find(f"{REPLICA}{number}") is not None:
                self._place_replica(number)

    def _gpu_share(self) -> float:
        """Return what of a GPU each replica takes: none where no model could use it."""
        sentiment = self._config.sentiment
        if not sentiment.num_gpus:
            return 0.0
        if any(can_use_gpu(name, sentiment) for name in sentiment.served):
            return sentiment.num_gpus
        self.log.warning(
            "sentiment.num_gpus is %g, but %s cannot use a GPU: replicas are placed without; "
            "an hf: model can (docs/sentiment.md)",
            sentiment.num_gpus,
            ", ".join(sentiment.served),
        )
        return 0.0

    def _place_replica(self, number: int) -> Part:
        name, sentiment = f"{REPLICA}{number}", self._config.sentiment
        replica = place(
            SentimentReplica,
            name,
            self._config,
            num_cpus=sentiment.num_cpus,
            num_gpus=self._replica_gpus,
        )
        self._add(name, replica, replica.start.remote)
        return self._parts[name]

    def _scale_replicas(self) -> None:
        """Start a sentiment replica where texts wait, end one where none is needed."""
        parts = [self._parts[name] for name in self._named(REPLICA)]
        waiting = sum(part.report.details["waiting"] for part in parts if part.report)
        wanted = self._scaling.wanted(len(parts), waiting, time.monotonic())
        if wanted > len(parts):
            number = next(n for n in range(wanted) if f"{REPLICA}{n}" not in self._parts)
            self.log.info("%d texts wait: starting %s%d", waiting, REPLICA, number)
            self.spawn(self._begin(self._place_replica(number)), f"starting {REPLICA}{number}")
        elif wanted < len(parts):
            last = max(parts, key=lambda part: int(part.name.removeprefix(REPLICA)))
            self.log.info("ending %s: it is not needed", last.name)
            self.spawn(self._drain_part(self._parts.pop(last.name)), f"ending {last.name}")

    def _place_texts(self, ranker: Handle) -> None:
        if not self._config.sources:
            return
        instruments = [market.instrument for market in self._universe]
        texts = place(
            TextStream,
            "texts",
            self._config,
            self._wiring,
            instruments,
            SentimentPool(self._config.sentiment.max_replicas, REPLICA_PATIENCE_S),
            RemoteRanker(ranker, "ranker"),
        )
        self._add("texts", texts, lambda: texts.start.remote(self._news_url))

    def _place_scheduler(self) -> None:
        """Place it last: nobody waits for it, and others start sooner without it.

        A replay has none: it is over before a job is due, and its time is not ours.
        """
        if not self._plan.jobs_url or self._config.replay.files:
            return
        scheduler = place(
            Scheduler,
            "scheduler",
            self._config,
            self._wiring,
            self._plan.jobs_url,
            self._plan.jobs_here,
            near_head=True,
        )
        self._add("scheduler", scheduler, scheduler.start.remote)
        self.spawn(self._begin(self._parts["scheduler"]), "beginning the schedules")

    async def _begin(self, part: Part) -> None:
        """Bring up a part that was placed later than the others."""
        part.mending = True
        try:
            await self._up(part.name)
        except (EngineError, RayError) as error:
            # It stays as it was made, so whoever watches brings it up again.
            last = str(error).splitlines()[-1]
            self.log.warning("%s is not up yet: %s", part.name, last)
        finally:
            part.mending = False

    async def stop_submitting(self) -> None:
        """End the schedules: before running jobs are stopped, or others would follow them."""
        for name in self._named("scheduler"):
            await self._drain_part(self._parts.pop(name))

    async def _up(self, *names: str) -> None:
        """Bring parts up side by side; those that this configuration lacks are passed over."""
        parts = [self._parts[name] for name in names if name in self._parts]
        began = time.monotonic()
        await asyncio.gather(*(part.bring_up() for part in parts))
        up = ", ".join(part.name for part in parts)
        self.log.info("up after %.1f s: %s", time.monotonic() - began, up)

    def _named(self, prefix: str) -> list[str]:
        return [name for name in self._parts if name.startswith(prefix)]

    def _migrate(self) -> None:
        with closing(Store(self._wiring.store)) as store:
            migrate(store, self._config.store.retention, feature_columns())

    async def _watch(self) -> None:
        while True:
            started = time.monotonic()
            await asyncio.gather(*(self._look_at(part) for part in self._parts.values()))
            self._scale_replicas()
            await self._publish_status()
            await asyncio.sleep(max(0.0, WATCH_EVERY_S - (time.monotonic() - started)))

    async def _look_at(self, part: Part) -> None:
        """Take a part's report; mend what has died, failed or hangs."""
        if part.mending and part.report is None:
            return  # it comes up for the first time, beside all others
        try:
            report: ActorReport = await asyncio.wait_for(
                part.handle.report.remote(), REPORT_PATIENCE_S
            )
        except RayActorError as error:
            # Ray starts its process anew; until then there is nobody to ask.
            self.log.warning("%s is down: %s", part.name, str(error).splitlines()[0])
            return
        except (TimeoutError, RayError) as error:
            # Whatever one part answers, watching goes on.
            if time.monotonic() - part.last_seen > HANGING_S:
                why = f"has not reported for {HANGING_S:.0f} s ({type(error).__name__})"
                await self._restart(part, why)
            return
        part.report, part.last_seen = report, time.monotonic()
        phase = Phase(report.phase)
        if phase is Phase.FAILED:
            await self._restart(part, report.problem)
        elif phase is Phase.CREATED and not part.mending:
            self.spawn(self._mend(part), f"mending {part.name}")

    async def _restart(self, part: Part, why: str) -> None:
        self.log.warning("%s: %s; starting it anew", part.name, why)
        ERRORS.labels("supervisor", "restart").inc()
        part.last_seen = time.monotonic()
        kill(part.handle, restart=True)

    async def _mend(self, part: Part) -> None:
        """Bring up a part whose process is new, and those that held its addresses."""
        part.mending = True
        part.restarts += 1
        try:
            await self._alert(part)
            await part.bring_up()
            if part.name == "venues":
                # The stand-in venues listen on new ports: everybody has to connect anew.
                for name in [
                    *self._named("stream-"),
                    *self._named("relay-"),
                    *self._named("texts"),
                ]:
                    await self._restart(self._parts[name], "its venue moved")
        except (EngineError, RayError) as error:
            last = str(error).splitlines()[-1]
            self.log.warning("%s did not come up (%s); trying again", part.name, last)
            kill(part.handle, restart=True)
        finally:
            part.mending = False

    async def _alert(self, part: Part) -> None:
        now = SystemClock().now_ns()
        alert = Alert(
            alert_id=f"restart-{part.name}-{now}",
            kind="actor_restarted",
            severity="warning",
            subject=part.name,
            message=f"{part.name} was started anew ({part.restarts} times so far)",
            raised_at=now,
        )
        try:
            await self._bus.publish_alert(alert)
        except BusError as error:
            self.log.warning("alert not published: %s", error)

    async def _publish_status(self) -> None:
        reports = [part.report for part in self._parts.values() if part.report is not None]
        restarts = {part.name: part.restarts for part in self._parts.values()}
        own = await self.report()
        self._metrics.show([own, *reports])
        status = engine_status(self._config, own, reports, restarts, SystemClock().now_ns())
        try:
            await self._bus.publish_status(status)
        except BusError as error:
            ERRORS.labels("supervisor", "bus").inc()
            self.log.warning("status not published: %s", error)

    async def store_endpoint(self) -> StoreEndpoint:
        """Return where the store is, for jobs that run on this cluster."""
        return self._plan.store

    async def bus_address(self) -> tuple[str, str]:
        """Return the URL of the bus and the first part of its keys, for jobs on this cluster."""
        return self._plan.bus_url, self._config.bus.prefix

    async def drain(self) -> None:
        """Stop everything in the order of the data, so that each part can still write.

        Streams and texts first, then features, the ranker, the venues' stand-ins, the bus, and
        the store last. A part that does not finish in time is left to be killed.
        """
        if self.phase is Phase.DRAINED:
            return
        await self.stop_tasks()
        await self.stop_submitting()
        for group in (
            self._named("relay-"),
            [*self._named("stream-"), *self._named("texts")],
            self._named("features-"),
            self._named("ranker"),
            [*self._named(REPLICA), *self._named("venues")],
            self._named("bus"),
            self._named("store"),
        ):
            await asyncio.gather(*(self._drain_part(self._parts[name]) for name in group))
        await self._bus.close()
        await self._metrics.stop()
        self.phase = Phase.DRAINED

    async def _drain_part(self, part: Part) -> None:
        try:
            await asyncio.wait_for(part.handle.drain.remote(), DRAIN_PATIENCE_S)
        except (TimeoutError, EngineError, RayError) as error:
            # The others have rows to write down too.
            last = (str(error) or "too slow").splitlines()[-1]
            self.log.warning("%s did not drain: %s", part.name, last)
        kill(part.handle, restart=False)
