"""One run of the engine: a Ray cluster (ours or a given one), the supervisor, and Serve."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import psutil
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from engine.actors.agent_port import note_own_address, own_agent_port
from engine.actors.placement import is_head_node, kill, place
from engine.actors.plan import Plan, make_plan
from engine.actors.quiet_dashboard import quiet_dashboard
from engine.actors.submission import JobServer
from engine.actors.supervisor import Supervisor
from engine.cli.processes import end, family_of_this, identity
from engine.cli.runfile import Run, write_run
from engine.clock import SystemClock
from engine.config import Config
from engine.errors import EngineError, StartError
from engine.job_request import portable
from engine.sentiment.choice import settled
from engine.store.client import Store
from engine.store.job_runs import record_ended_early

DRAIN_PATIENCE_S = 9.0
"""Of the 15 s that a stop may take; Ray's own way out needs the rest."""

JOBS_PATIENCE_S = 4.0
"""For jobs to write down that they were stopped; what they have stored stays."""

READY_HINT_S = 60.0


class Interrupted(Exception):
    """The user asked to stop before everything was up."""


class Session:
    """Starts the engine, knows when it is ready, and stops all of it.

    Parameters
    ----------
    config
        The whole configuration, resolved.
    config_path
        Where it came from, for the run file.
    starts_at
        First moment of a replay, UTC nanoseconds; None for live.
    tell
        Receives a line for the user at every step.
    stopping
        Set when the user wants to stop.
    serve
        ``serve.run``, whose environment is in force already: Ray reads it when imported.
    """

    def __init__(
        self,
        config: Config,
        config_path: str,
        starts_at: int | None,
        tell: Callable[[str], None],
        stopping: threading.Event,
        serve: ModuleType,
    ) -> None:
        config = settled(config)
        self.config = config
        self.plan: Plan = make_plan(config)
        self.http_url = f"http://{config.serve.host}:{self.plan.http_port}"
        self._config_path = config_path
        self._starts_at = starts_at
        self._tell = tell
        self._stopping = stopping
        self._supervisor: Any = None
        self._is_connected = False
        self._temp_dir: str | None = None
        self._run_path: Path | None = None
        self._serve = serve
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="serve")
        self._serving: Future[None] | None = None

    def start(self, listen: Callable[[], None]) -> None:
        """Start everything and wait until a ranking is served.

        Parameters
        ----------
        listen
            Installs the signal handlers: Ray puts its own in their place when it starts.

        Raises
        ------
        EngineError
            Where a part cannot start.
        Interrupted
            Where the user wanted to stop first.
        """
        began = time.monotonic()
        self._start_ray()
        self._is_connected = True
        listen()
        self._write_run(ready=False)
        # Serve takes seconds to start and needs nothing of ours: side by side with the rest.
        self._serving = self._pool.submit(self._deploy)
        self._start_supervisor()
        self._wait_until_ready(began)
        self._write_run(ready=True)

    def _start_ray(self) -> None:
        ray_config = self.config.ray

        common: dict[str, Any] = {
            "namespace": "engine",
            "log_to_driver": False,
            "logging_level": "error",
        }
        if ray_config.address is not None:
            self._tell(f"joining the cluster {ray_config.address}")
            try:
                context = ray.init(address=ray_config.address, **common)
            except (ConnectionError, RuntimeError, ValueError) as error:
                first = str(error).strip().splitlines()[0]
                raise StartError(
                    f"the cluster {ray_config.address} cannot be joined: {first}"
                ) from None
            self._know_jobs(context.dashboard_url, is_here=is_head_node())
            return
        self._tell("starting a local Ray cluster")
        # Whoever submits a job with Ray's own command means this interpreter by `python`.
        here = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join((here, os.environ.get("PATH", os.defpath)))
        # Short: Ray puts sockets below it, whose paths may have 107 bytes.
        self._temp_dir = tempfile.mkdtemp(prefix="engine-")
        try:
            with own_agent_port(), quiet_dashboard():
                context = ray.init(
                    num_cpus=ray_config.num_cpus,
                    object_store_memory=ray_config.object_store_mb * 2**20,
                    include_dashboard=ray_config.dashboard,
                    dashboard_host="127.0.0.1",
                    _temp_dir=self._temp_dir,
                    **common,
                )
            note_own_address(Path(self._temp_dir))
        except Exception as error:  # noqa: BLE001 - Ray raises it bare where its start takes too long
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise StartError(f"a local Ray cluster cannot be started: {first}") from None
        self._know_jobs(context.dashboard_url, is_here=True)

    def _know_jobs(self, dashboard_url: str | None, *, is_here: bool) -> None:
        """Note where jobs are submitted: Ray names the address of its dashboard without scheme."""
        url = f"http://{dashboard_url}" if dashboard_url else ""
        self.plan = replace(self.plan, jobs_url=url, jobs_here=is_here)

    def _start_supervisor(self) -> None:

        self._tell("starting store, bus, streams")
        self._supervisor = place(
            Supervisor, "supervisor", self.config, self.plan, self._starts_at, near_head=True
        )
        self._started = self._supervisor.start.remote()

    def _deploy(self) -> None:
        options = {
            "store_url": self.plan.store.url,
            "bus_url": self.plan.bus_url,
            "config": self.config.model_dump_json(),
            "scoring": "actors",
        }
        self._serve.deploy(
            options, self.config.serve.host, self.plan.http_port, self.config.serve.haproxy
        )

    def _wait_until_ready(self, began: float) -> None:

        hinted = started = False
        while True:
            if self._stopping.is_set():
                raise Interrupted
            if not started and ray.wait([self._started], timeout=0)[0]:
                _get(self._started)
                started = True
                self._tell("streams run; waiting for the first ranking")
            serving = self._serving
            if serving is not None and serving.done():
                _unwrap(serving)
                if started and self._serves_a_ranking():
                    return
            if not hinted and time.monotonic() - began > READY_HINT_S:
                hinted = True
                self._tell(
                    "no ranking yet: it needs bars of at least "
                    f"{self.config.ranking.min_universe} markets (engine status shows the streams)"
                )
            self._stopping.wait(0.1)

    def tend(self) -> None:
        """Start the supervisor again where its process had to be replaced.

        Ray makes a new one, which knows nothing; starting it finds every part where it runs.
        Where it runs already nothing happens. Call it every few seconds.
        """
        if ray.wait([self._started], timeout=0)[0]:
            with suppress(RayError, EngineError):
                _get(self._started)
            self._started = self._supervisor.start.remote()

    def _serves_a_ranking(self) -> bool:
        try:
            return httpx.get(f"{self.http_url}/v1/signals?limit=1", timeout=2.0).is_success
        except httpx.HTTPError:
            return False

    def _write_run(self, *, ready: bool) -> None:

        me = psutil.Process()
        self._run_path = write_run(
            Run(
                pid=me.pid,
                created=me.create_time(),
                config=self._config_path,
                data_dir=str(Path(self.config.data_dir).absolute()),
                http_url=self.http_url,
                store_url=self.plan.store.url,
                viewer_url=self.plan.viewer_url,
                metrics_url=f"http://127.0.0.1:{self.plan.metrics_port}/metrics",
                ray_address=ray.get_runtime_context().gcs_address,
                children=tuple(identity(child) for child in family_of_this()),
                folders=tuple(folder for folder in (self._temp_dir, self._serve.home()) if folder),
                log_path=os.environ.get("ENGINE_LOG_PATH", ""),
                ready=ready,
                jobs_url=self.plan.jobs_url,
                jobs_here=self.plan.jobs_here,
                settings=json.dumps(portable(self.config, Path.cwd())),
                bus_url=self.plan.bus_url,
            )
        )

    def stop(self) -> None:
        """Write everything down and stop every process this session started."""
        family = family_of_this()
        if self._supervisor is not None:
            with suppress(Exception):
                ray.get(self._supervisor.stop_submitting.remote(), timeout=JOBS_PATIENCE_S)
        if self._owns_store_or_cluster and self.plan.jobs_url:
            with suppress(EngineError):
                self._stop_jobs(self.plan.jobs_url)
        if self._supervisor is not None:
            with suppress(Exception):
                self._drain()
        # Ray tells of its own way out on standard output, as if it were an error.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            if self._is_connected:
                with suppress(Exception):
                    self._serve.remove()
            self._pool.shutdown(wait=False, cancel_futures=True)
            family |= family_of_this()
            ray.shutdown()
        end(family)
        if self._temp_dir is not None:
            shutil.rmtree(self._temp_dir, ignore_errors=True)
        if self._run_path is not None:
            self._run_path.unlink(missing_ok=True)

    @property
    def _owns_store_or_cluster(self) -> bool:
        """Whether jobs lose what they stand on when this session ends."""
        return self._temp_dir is not None or self.plan.store_path is not None

    def _stop_jobs(self, url: str) -> None:
        stopped = JobServer(url).stop_all(JOBS_PATIENCE_S)
        if stopped:
            with Store(self.plan.store) as store:
                jobs = {each.submission_id: each.job for each in stopped}
                record_ended_early(store, jobs, SystemClock().now_ns())

    def _drain(self) -> None:

        ray.get(self._supervisor.drain.remote(), timeout=DRAIN_PATIENCE_S)
        kill(self._supervisor, restart=False)


def _get(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, EngineError):
            raise error.cause from None
        last = str(error).strip().splitlines()[-1]
        raise StartError(f"a part of the engine did not start: {last}") from error
    except RayActorError as error:
        last = str(error).strip().splitlines()[-1]
        raise StartError(f"a part of the engine did not start: {last}") from error


def _unwrap(future: Future[None]) -> None:
    error = future.exception()
    if error is not None:
        raise error
