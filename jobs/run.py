"""A run of a job: its configuration, the store, Ray, and the record that it leaves behind.

A job is a module with ``main(config) -> Summary``, which does its work inside `running`::

    def main(config: Config) -> Summary:
        with running("build_features", config) as run:
            ...
            return run.summary

    if __name__ == "__main__":
        raise SystemExit(command("build_features", main))

The row in ``job_runs`` is written when the run begins and again when it ends, however it ends.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import RayError, RayTaskError
from rich.console import Console

from engine.actors.placement import NAMESPACE
from engine.clock import SystemClock
from engine.config import Config
from engine.domain.job import JobRun, Outcome
from engine.errors import EngineError, StartError
from engine.job_request import JOBS, job_config_from, load_job_config, section_of
from engine.store.client import Store
from engine.store.endpoint import StoreEndpoint
from engine.store.opening import writing
from engine.store.ray_data import Ledger
from engine.store.units import done_units
from jobs.summary import Summary

AGAIN = "ENGINE_JOB_AGAIN"
"""Set in the environment where units that are done are to be done again."""

TREE = "ENGINE_JOB_CONFIG"
"""In the environment of a submitted job: the configuration, checked where it was submitted."""


class Stopped(BaseException):
    """Somebody asked the job to stop."""


class Run:
    """One run, while it lasts.

    Parameters
    ----------
    job
        One of `engine.job_request.JOBS`.
    config
        The whole configuration.
    store
        Open, and brought to this version's schema.
    """

    def __init__(self, job: str, config: Config, store: Store) -> None:
        self.job = job
        self.config = config
        self.store = store
        self.started_at = SystemClock().now_ns()
        self.run_id = f"{job}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid4().hex[:6]}"
        self.summary = Summary(job, self.run_id)
        self._began = time.monotonic()
        self._cleanup = ExitStack()

    @property
    def section(self) -> Any:
        """The job's own section of the configuration."""
        return section_of(self.job, self.config)

    @property
    def endpoint(self) -> StoreEndpoint:
        """Where workers reach the store."""
        return self.store.endpoint

    @property
    def ledger(self) -> Ledger:
        """Under whose name `ClickHouseSink` notes units."""
        return Ledger(self.job, self.run_id)

    def done_units(self) -> Mapping[str, set[str]]:
        """Return what earlier runs have stored: unit -> fingerprints; nothing with ``--again``."""
        return {} if os.environ.get(AGAIN) else done_units(self.store, self.job)

    def wrote(self, table: str, rows: int) -> None:
        """Count rows that are stored."""
        self.summary.written[table] = self.summary.written.get(table, 0) + rows

    def skip(self, why: str, number: int = 1) -> None:
        """Count rows or units that are left out."""
        self.summary.skipped[why] = self.summary.skipped.get(why, 0) + number

    def note(self, key: str, value: object) -> None:
        """Say something more in the summary; a plain value."""
        self.summary.notes[key] = value

    def ray(self) -> int:
        """Join the engine's cluster, or start one on this machine for as long as the run lasts.

        Returns
        -------
        int
            How many pieces of work the cluster does well at a time: its real cores.
        """
        if not ray.is_initialized():
            join_ray(self.config, self._cleanup)
        context = ray.data.DataContext.get_current()
        # We show our own progress, in units of the job.
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.enable_operator_progress_bars = False
        cores = _cores()
        self.summary.startup_seconds = time.monotonic() - self._began
        return cores

    def record(self, outcome: Outcome, problem: str = "") -> None:
        """Write the run's row."""
        now = SystemClock().now_ns()
        self.summary.outcome, self.summary.problem = outcome, problem
        self.summary.seconds = time.monotonic() - self._began
        row = JobRun(
            run_id=self.run_id,
            job=self.job,
            submission_id=os.environ.get("RAY_JOB_SUBMISSION_ID", "") or _submission_id(),
            config=json.dumps(_without_secrets(self.config)),
            code_version=code_version(),
            started_at=self.started_at,
            ended_at=None if outcome == "running" else now,
            outcome=outcome,
            problem=problem,
            rows=self.summary.rows,
            skipped=sum(self.summary.skipped.values()),
            details=json.dumps(self.summary.as_dict(), default=str),
            version=now,
        )
        self.store.insert("job_runs", [row])

    def close(self) -> None:
        """Leave Ray, and stop it where it was started here."""
        self._cleanup.close()


@contextmanager
def running(job: str, config: Config) -> Iterator[Run]:
    """Run a job: open the store, record that it began and how it ended.

    Raises
    ------
    EngineError
        What the job raised, or why it could not begin.
    """
    with ExitStack() as stack:
        stack.enter_context(_stoppable())
        store = stack.enter_context(_opened(config, stack))
        run = Run(job, config, store)
        stack.callback(run.close)
        run.record("running")
        try:
            yield run
        except (Stopped, KeyboardInterrupt):
            run.record("stopped", "stopped before it was done; submit it again to do the rest")
            raise
        except EngineError as error:
            run.record("failed", str(error))
            raise
        except RayTaskError as error:
            cause = _cause(error)
            run.record("failed", str(cause))
            raise cause from error
        except BaseException as error:
            with suppress(EngineError):
                run.record("failed", f"{type(error).__name__}: {error}")
            raise
        run.record("done")


def command(
    job: str, main: Callable[[Config], Summary], arguments: Sequence[str] | None = None
) -> int:
    """Run a job from the command line, and return its exit code.

    0 done; 1 it failed; 2 what was asked for is wrong; 3 the machine lacks something; 130 stopped.
    """
    parser = argparse.ArgumentParser(prog=f"python -m jobs.{job}", description=JOBS[job])
    parser.add_argument("--config", type=Path, help="YAML file; the defaults where there is none")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of the job, or SECTION.KEY"
    )
    parser.add_argument("--again", action="store_true", help="also what is done already")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    given = parser.parse_args(arguments)
    if given.again:
        os.environ[AGAIN] = "1"
    try:
        tree = os.environ.get(TREE)
        if tree and given.config is None and not given.set:
            config = job_config_from(job, json.loads(tree))
        else:
            config = load_job_config(job, given.config, given.set)
        summary = main(config)
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except (Stopped, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        return 130
    if given.json:
        print(json.dumps(summary.as_dict(), indent=2, default=str))
    else:
        summary.show(Console(highlight=False, width=None if sys.stdout.isatty() else 100))
    return 1 if summary.problem else 0


def join_ray(config: Config, cleanup: ExitStack) -> None:
    """Join the cluster that is named or that this job was submitted to, or start one here.

    Raises
    ------
    StartError
        Where it cannot be joined or started.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS") or config.ray.address
    common: dict[str, Any] = {
        "namespace": NAMESPACE,
        "log_to_driver": False,
        "logging_level": "error",
    }
    if address is None:
        folder = tempfile.mkdtemp(prefix="engine-job-")
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        common |= {
            "num_cpus": os.cpu_count() or 1,
            "object_store_memory": config.ray.object_store_mb * 2**20,
            "include_dashboard": False,
            "_temp_dir": folder,
        }
    try:
        ray.init(address=address, **common)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        where = f"the cluster {address} cannot be joined" if address else "Ray cannot be started"
        raise StartError(f"{where}: {first}") from None
    cleanup.callback(ray.shutdown)


def code_version() -> str:
    """Return the package's version, with the commit where this is a checkout."""
    number = version("signal-engine")
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return number
    return f"{number}+{found.stdout.strip()}"


@contextmanager
def _opened(config: Config, stack: ExitStack) -> Iterator[Store]:
    """Open the store of the engine that runs on this cluster, else the configured one."""
    if os.environ.get("RAY_ADDRESS") and not ray.is_initialized():
        join_ray(config, stack)
    endpoint = _engines_store() if config.store.url == "embedded" else None
    if endpoint is not None:
        with Store(endpoint) as store:
            yield store
        return
    with writing(config.store_url, config.store.retention) as store:
        yield store


def _engines_store() -> StoreEndpoint | None:
    """Ask the engine on this cluster for its store; None where there is none."""
    if not ray.is_initialized():
        return None
    try:
        supervisor: Any = ray.get_actor("supervisor", namespace=NAMESPACE)
        found: Any = ray.get(supervisor.store_endpoint.remote(), timeout=30)
    except (ValueError, RayError):
        return None
    return found if isinstance(found, StoreEndpoint) else None


def _cores() -> int:
    """Return the real cores of all nodes: logical CPUs may be more, for idle actors' sake."""

    @ray.remote(num_cpus=0)
    def count() -> int:
        return os.cpu_count() or 1

    nodes: Any = ray.nodes
    alive = [node for node in nodes() if node["Alive"] and node["Resources"].get("CPU")]
    logical = sum(int(node["Resources"]["CPU"]) for node in alive)
    machines = {node["NodeManagerHostname"] for node in alive}
    here: int = ray.get(count.remote())
    return max(1, min(logical, here * len(machines)))


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn SIGTERM, by which a submitted job is stopped, into an exception."""

    def stop(*_: object) -> None:
        raise Stopped

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: whoever runs us there stops us in another way
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _cause(error: RayTaskError) -> EngineError:
    """Return what a task raised, as one sentence."""
    if isinstance(error.cause, EngineError):
        return error.cause
    last = str(error).strip().splitlines()[-1]
    return EngineError(f"a task failed: {last}")


def _submission_id() -> str:
    if not ray.is_initialized():
        return ""
    return str(ray.get_runtime_context().get_job_id() or "")


def _without_secrets(config: Config) -> dict[str, Any]:
    tree = config.model_dump(mode="json")
    for section in ("store", "bus"):
        url = tree[section]["url"]
        if "@" in url:
            scheme, _, rest = url.partition("://")
            tree[section]["url"] = f"{scheme}://…@{rest.rpartition('@')[2]}"
    return tree
