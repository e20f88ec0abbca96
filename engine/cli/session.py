"""One run of the engine: a Ray cluster (ours or a given one), the supervisor, and Serve."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import psutil
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from engine.actors.placement import kill, place
from engine.actors.plan import Plan, make_plan
from engine.actors.supervisor import Supervisor
from engine.cli.runfile import Run, write_run
from engine.config import Config
from engine.errors import EngineError, StartError

DRAIN_PATIENCE_S = 9.0
"""Of the 15 s that a stop may take; Ray's own way out needs the rest."""

KILL_PATIENCE_S = 2.0
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
                ray.init(address=ray_config.address, **common)
            except (ConnectionError, RuntimeError, ValueError) as error:
                first = str(error).strip().splitlines()[0]
                raise StartError(
                    f"the cluster {ray_config.address} cannot be joined: {first}"
                ) from None
            return
        self._tell("starting a local Ray cluster")
        # Short: Ray puts sockets below it, whose paths may have 107 bytes.
        self._temp_dir = tempfile.mkdtemp(prefix="engine-")
        try:
            ray.init(
                num_cpus=ray_config.num_cpus,
                object_store_memory=ray_config.object_store_mb * 2**20,
                include_dashboard=ray_config.dashboard,
                dashboard_host="127.0.0.1",
                _temp_dir=self._temp_dir,
                **common,
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            first = str(error).strip().splitlines()[0]
            raise StartError(f"a local Ray cluster cannot be started: {first}") from None

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
                children=tuple(_began(child) for child in _family()),
                folders=tuple(folder for folder in (self._temp_dir, self._serve.home()) if folder),
                log_path=os.environ.get("ENGINE_LOG_PATH", ""),
                ready=ready,
            )
        )

    def stop(self) -> None:
        """Write everything down and stop every process this session started."""
        family = _family()
        if self._supervisor is not None:
            with suppress(Exception):
                self._drain()
        # Ray tells of its own way out on standard output, as if it were an error.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            if self._is_connected:
                with suppress(Exception):
                    self._serve.remove()
            self._pool.shutdown(wait=False, cancel_futures=True)
            family |= _family()
            ray.shutdown()
        _end(family)
        if self._temp_dir is not None:
            shutil.rmtree(self._temp_dir, ignore_errors=True)
        if self._run_path is not None:
            self._run_path.unlink(missing_ok=True)

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


def _family() -> set[psutil.Process]:
    """Return every process that descends from this one."""
    return set(psutil.Process().children(recursive=True))


def _began(process: psutil.Process) -> tuple[int, float]:
    """Name a process so that a later one of the same number is not taken for it."""
    try:
        return process.pid, process.create_time()
    except psutil.Error:
        return process.pid, 0.0


def _end(family: set[psutil.Process]) -> None:
    """End what is left of the processes this session started, by their ids."""
    _, left = psutil.wait_procs(family, timeout=KILL_PATIENCE_S)
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=KILL_PATIENCE_S)
