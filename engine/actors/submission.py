"""Jobs through Ray's job API: what ``engine submit`` and the schedule have in common.

A job gets the configuration that was checked where it was asked for, in its environment, and runs
``python -m jobs.NAME``. On a cluster of this machine that is this very interpreter; elsewhere it is
the cluster's, and the code of the checkout travels along.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from engine.actors.job_environment import (
    entrypoint,
    job_environment,
    token_header,
    travelling_code,
)
from engine.config import Config
from engine.errors import NotRunningError, StartError
from engine.job_request import JOBS, new_run_id, portable

State = Literal["waiting", "running", "done", "failed", "stopped"]

REQUEST_PATIENCE_S = 30.0
"""For one answer: Ray's own client would wait for ever."""

AGENT_PATIENCE_S = 90.0
"""How long a cluster that has just started may take until it accepts jobs."""

RETRY_EVERY_S = 1.0

_STATES: Mapping[str, State] = {
    JobStatus.PENDING: "waiting",
    JobStatus.RUNNING: "running",
    JobStatus.SUCCEEDED: "done",
    JobStatus.FAILED: "failed",
    JobStatus.STOPPED: "stopped",
}
_PREAMBLE = re.compile(
    r"Running entrypoint for job |.*job_manager\.py:\d+ -- Runtime env is setting"
)
_NO_AGENT = ("No available agent", "Agent info not found", "Head node id has not")
_JOB = re.compile(r"-m\s+jobs\.(\w+)")
_TAKEN = "already exists"
_OVERRIDES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Submission:
    """A job as Ray knows it."""

    submission_id: str
    job: str
    """Which of `engine.job_request.JOBS`; empty where it is none of them."""
    state: State
    started_at: int | None
    """When it was submitted, UTC nanoseconds."""
    ended_at: int | None
    exit_code: int | None
    """Of its process; None while it runs, and where it was killed together with its node."""
    message: str
    """What Ray says about it."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended, however."""
        return self.state not in ("waiting", "running")


class JobServer:
    """Ray's job API at one address, with an end to every wait.

    Parameters
    ----------
    url
        Of the dashboard: ``http://127.0.0.1:8265``.
    is_here
        Whether the cluster is of this machine: then jobs run under this interpreter and read this
        machine's files.

    Raises
    ------
    StartError
        Where nothing answers there, or it refuses the token.
    """

    def __init__(self, url: str, *, is_here: bool = True) -> None:
        self.url = url.rstrip("/")
        self._is_here = is_here
        with self._explained(), _without(*_OVERRIDES):
            self._client = _Client(self.url, headers=token_header())

    def submit(
        self,
        job: str,
        config: Config,
        *,
        again: bool = False,
        metadata: Mapping[str, str] | None = None,
        folder: Path | None = None,
        run_id: str | None = None,
    ) -> str:
        """Submit a job, and return its id.

        Parameters
        ----------
        job
            One of `engine.job_request.JOBS`.
        config
            Checked: see `engine.job_request.load_job_config`.
        again
            Do what is done already, too.
        metadata
            What is noted beside the job, for example which schedule asked for it.
        folder
            Where the configuration's relative paths begin; this process's by default. Of no
            account for a cluster elsewhere, whose paths are its own.
        run_id
            Its id; a new one by default. A cluster takes an id once: a job that it has already
            been given under this one is not submitted again.

        Raises
        ------
        StartError
            Where the cluster does not answer, refuses the token or takes no jobs.
        ConfigError
            Where the configuration is too large to travel.
        """
        run_id = run_id or new_run_id(job)
        tree = portable(config, (folder or Path.cwd()) if self._is_here else None)
        environment = job_environment(tree, run_id, again=again, is_here=self._is_here)
        runtime_env: dict[str, Any] = {"env_vars": environment}
        if not self._is_here:
            runtime_env |= travelling_code()
        with self._explained():
            self._client.submit_patiently(
                entrypoint=entrypoint(job, is_here=self._is_here),
                submission_id=run_id,
                runtime_env=runtime_env,
                metadata=dict(metadata or {}),
            )
        return run_id

    def all(self) -> Sequence[Submission]:
        """Return every job that this cluster was given, newest first."""
        with self._explained():
            found = self._client.list_jobs()
        mine = [_submission(each) for each in found if each.submission_id]
        return sorted(mine, key=lambda each: each.started_at or 0, reverse=True)

    def one(self, submission_id: str) -> Submission | None:
        """Return a job; None where this cluster does not know it."""
        with self._explained():
            found = _if_known(lambda: self._client.get_job_info(submission_id))
        return None if found is None else _submission(found)

    def stop(self, submission_id: str) -> bool:
        """Ask a job to stop: SIGTERM, and SIGKILL after `STOP_PATIENCE_S`.

        Returns
        -------
        bool
            Whether it ran; False too where this cluster does not know it.
        """
        with self._explained():
            return bool(_if_known(lambda: self._client.stop_job(submission_id)))

    def stop_all(self, patience_s: float) -> Sequence[Submission]:
        """Ask every job to stop, and wait until all are over, or patience is.

        Returns
        -------
        sequence
            Those that were asked, as they are now.
        """
        asked = [each.submission_id for each in self.all() if not each.is_over]
        asked = [each for each in asked if self.stop(each)]
        deadline = time.monotonic() + patience_s
        return [
            self.wait(each, max(0.0, deadline - time.monotonic()), every_s=0.1) for each in asked
        ]

    def wait(
        self,
        submission_id: str,
        patience_s: float | None = None,
        every_s: float = 0.5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Submission:
        """Wait until a job is over, or patience is.

        Raises
        ------
        NotRunningError
            Where this cluster does not know it.
        """
        deadline = None if patience_s is None else time.monotonic() + patience_s
        while True:
            found = self.one(submission_id)
            if found is None:
                raise NotRunningError(f"the cluster at {self.url} knows no job {submission_id!r}")
            if found.is_over or (deadline is not None and time.monotonic() > deadline):
                return found
            sleep(every_s)

    def log(self, submission_id: str) -> str:
        """Return what a job has written so far, standard output and standard error together."""
        with self._explained():
            return without_preamble(str(self._client.get_job_logs(submission_id)))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what Ray's client raises into a sentence."""
        try:
            yield
        except AuthenticationError as error:
            raise StartError(_about_token(self.url, str(error))) from None
        except (OSError, requests.RequestException) as error:
            raise StartError(
                f"no Ray cluster answers at {self.url} ({type(error).__name__}); is it running, "
                "and is this the address of its dashboard?"
            ) from None
        except (RuntimeError, ValueError) as error:
            raise StartError(f"the cluster at {self.url} refuses: {_last_line(error)}") from None


class _Client(JobSubmissionClient):
    """Ray's client, which knows no time-outs, with one."""

    def _do_request(self, *arguments: Any, **options: Any) -> Any:
        return super()._do_request(*arguments, timeout=REQUEST_PATIENCE_S, **options)

    def submit_patiently(self, **job: Any) -> None:
        """Submit, and try again while a cluster that has just started takes no jobs yet."""
        deadline = time.monotonic() + AGENT_PATIENCE_S
        while True:
            try:
                self.submit_job(**job)
            except requests.Timeout:
                pass  # it may have arrived: then the next attempt finds it there
            except RuntimeError as error:
                if _TAKEN in str(error):
                    return
                if not any(reason in str(error) for reason in _NO_AGENT):
                    raise
            else:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"it took no job for {AGENT_PATIENCE_S:.0f} s")
            time.sleep(RETRY_EVERY_S)


def without_preamble(log: str) -> str:
    r"""Leave out what Ray writes before the job's own first line.

    Examples
    --------
    >>> without_preamble("Running entrypoint for job a: python -m jobs.a\nread 3 files\n")
    'read 3 files\n'
    """
    return "".join(line for line in log.splitlines(keepends=True) if not _PREAMBLE.match(line))


def _submission(found: JobDetails) -> Submission:
    return Submission(
        submission_id=str(found.submission_id),
        job=_job_of(found.entrypoint),
        state=_STATES[found.status],
        started_at=None if found.start_time is None else found.start_time * 1_000_000,
        ended_at=None if found.end_time is None else found.end_time * 1_000_000,
        exit_code=found.driver_exit_code,
        message=found.message or "",
    )


def _job_of(command: str) -> str:
    """Return the job that a command runs, also where it was submitted with Ray's own command."""
    found = _JOB.search(command)
    return found[1] if found and found[1] in JOBS else ""


def _about_token(url: str, said: str) -> str:
    if "Missing" in said or "required" in said:
        return (
            f"the cluster at {url} asks for a token: set RAY_AUTH_TOKEN, or copy the cluster's "
            "~/.ray/auth_token here"
        )
    return (
        f"the cluster at {url} does not know this token: compare RAY_AUTH_TOKEN or "
        "~/.ray/auth_token with the cluster's"
    )


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" .")]
    return lines[-1] if lines else type(error).__name__


def _if_known(ask: Callable[[], _Answer]) -> _Answer | None:
    """Return what a cluster answers about a job; None where it knows none of that name."""
    try:
        return ask()
    except RuntimeError as error:
        if "status code 404" in str(error):
            return None
        raise


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Take variables away for a moment: to Ray's client they outweigh the address it is given."""
    held = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(held)
