"""A run of a job: its configuration, the store, Ray, and the record that it leaves behind.

A job is a module with ``main(config) -> Summary``, which does its work inside `running`::

    def main(config: Config) -> Summary:
        with running("build_features", config) as run:
            ...
            return run.summary

    if __name__ == "__main__":
        raise SystemExit(command("build_features", main))

The row in ``job_runs`` is written when the run begins and again when it ends, however it ends.
One whose process was killed is found by the next run on that machine, and recorded as lost.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from rich.console import Console

from engine.clock import Clock, SystemClock
from engine.config import Config
from engine.domain.job import JobRun, Outcome
from engine.errors import EngineError
from engine.job_request import (
    AGAIN,
    JOBS,
    RUN_ID,
    TREE,
    config_text,
    job_config_from,
    load_job_config,
    new_run_id,
    section_of,
    takes_skip_bad,
    with_skip_bad,
)
from engine.log import set_up_logging
from engine.sentiment.choice import settled
from engine.store.client import Store
from engine.store.endpoint import StoreEndpoint
from engine.store.job_runs import bury
from engine.store.ray_data import Ledger
from engine.store.units import done_units
from jobs.cluster import cores, join_ray, quieten
from jobs.failure import as_engine_error
from jobs.opening import opened
from jobs.provenance import code_version, submission_id
from jobs.stopping import stop_listening, stoppable
from jobs.summary import Summary

STOPPED = "stopped before it was done; submit it again to do the rest"
STOPPED_EXIT_CODE = 130


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
    clock
        What time it is.
    began
        When it began to join the cluster and to open the store, by ``time.monotonic``.
    """

    def __init__(
        self,
        job: str,
        config: Config,
        store: Store,
        clock: Clock | None = None,
        began: float | None = None,
    ) -> None:
        self.job = job
        self.config = config
        self.store = store
        self._clock = clock or SystemClock()
        self.started_at = self._clock.now_ns()
        self.run_id = os.environ.get(RUN_ID) or new_run_id(job)
        self.summary = Summary(job, self.run_id)
        self._began = time.monotonic() if began is None else began
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
        quieten()
        found = cores()
        self.summary.startup_seconds = time.monotonic() - self._began
        return found

    def record(self, outcome: Outcome, problem: str = "") -> None:
        """Write the run's row.

        Raises
        ------
        StoreError
            Where the store does not take it.
        """
        now = self._clock.now_ns()
        self.summary.outcome, self.summary.problem = outcome, problem
        self.summary.seconds = time.monotonic() - self._began
        row = JobRun(
            run_id=self.run_id,
            job=self.job,
            submission_id=submission_id(),
            config=config_text(self.config),
            code_version=code_version(),
            started_at=self.started_at,
            ended_at=None if outcome == "running" else now,
            outcome=outcome,
            problem=problem,
            rows=self.summary.rows,
            skipped=sum(self.summary.skipped.values()),
            details=json.dumps(self.summary.as_dict(), default=str),
            version=now,
            host=socket.gethostname(),
            pid=os.getpid(),
        )
        # A connection of its own: the run's may have been interrupted in the middle of an answer.
        with Store(self.endpoint) as store:
            store.insert("job_runs", [row])

    def close(self) -> None:
        """Leave Ray, and stop it where it was started here."""
        self._cleanup.close()


@contextmanager
def running(job: str, config: Config, clock: Clock | None = None) -> Iterator[Run]:
    """Run a job: open the store, record that it began and how it ended.

    A job that sets ``run.summary.problem`` and returns is recorded as failed, with its counts.

    Raises
    ------
    EngineError
        What the job raised, in one sentence, or why it could not begin.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(stoppable())
        store = stack.enter_context(opened(config, stack))
        run = Run(job, config, store, clock, began)
        stack.callback(run.close)
        bury(store, run.started_at)
        run.record("running")
        try:
            yield run
        except KeyboardInterrupt:  # Ctrl-C, and SIGTERM
            stop_listening()
            _record_at_the_end(run, "stopped", STOPPED)
            raise
        except BaseException as error:
            known = as_engine_error(error)
            if known is None:
                _record_at_the_end(run, "failed", f"{type(error).__name__}: {error}")
                raise
            _record_at_the_end(run, "failed", str(known))
            raise known from error
        problem = run.summary.problem
        run.record("failed" if problem else "done", problem)


def _record_at_the_end(run: Run, outcome: Outcome, problem: str) -> None:
    """Write down how it ended, where the store still can: why it ended is worth more."""
    with suppress(EngineError):
        run.record(outcome, problem)


def command(
    job: str, main: Callable[[Config], Summary], arguments: Sequence[str] | None = None
) -> int:
    """Run a job from the command line, and return its exit code.

    0 done; 1 it failed; 2 what was asked for is wrong; 3 the machine lacks something; 130 stopped.
    """
    given = _arguments(job, arguments)
    if given.again:
        os.environ[AGAIN] = "1"
    try:
        config = _config(job, given)
        set_up_logging(config.log.level, config.log.format)
        summary = main(config)
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:  # Ctrl-C, and SIGTERM
        print(STOPPED, file=sys.stderr)
        return STOPPED_EXIT_CODE
    if given.json:
        print(json.dumps(summary.as_dict(), indent=2, default=str))
    else:
        summary.show(Console(highlight=False, width=None if sys.stdout.isatty() else 100))
    return 1 if summary.problem else 0


def _arguments(job: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m jobs.{job}", description=JOBS[job])
    parser.add_argument("--config", type=Path, help="YAML file; the defaults where there is none")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of the job, or SECTION.KEY"
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="import what is sound; bad rows go to quarantine"
        if takes_skip_bad(job)
        else argparse.SUPPRESS,
    )
    parser.add_argument("--again", action="store_true", help="also what is done already")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser.parse_args(arguments)


def _config(job: str, given: argparse.Namespace) -> Config:
    tree = os.environ.get(TREE)
    overrides = with_skip_bad(job, given.set) if given.skip_bad else given.set
    if tree and given.config is None and not overrides:
        return settled(job_config_from(job, json.loads(tree)))
    return settled(load_job_config(job, given.config, overrides))
