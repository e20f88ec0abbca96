"""Which cluster a command about jobs means, and with which configuration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from engine.cli.runfile import Run, running, running_here
from engine.config import Config
from engine.errors import ConfigError, NotRunningError, StartError
from engine.job_request import load_job_config, section_of

if TYPE_CHECKING:
    from engine.actors.submission import JobServer

AddressOption = Annotated[
    str,
    typer.Option(
        metavar="URL",
        envvar="RAY_API_SERVER_ADDRESS",
        help="Dashboard of another cluster, such as http://head:8265; its token is read from "
        "RAY_AUTH_TOKEN or ~/.ray/auth_token.",
    ),
]


@dataclass(frozen=True, slots=True)
class Target:
    """A cluster that takes jobs."""

    url: str
    """Of its dashboard; empty where none is there to take jobs."""
    is_here: bool
    """Whether its jobs run on this machine."""
    engine: Run | None
    """The engine of this user that runs on it, where one does."""

    def connect(self) -> JobServer:
        """Return its job API.

        Raises
        ------
        NotRunningError
            Where no engine runs here and no address is given.
        StartError
            Where it takes no jobs, does not answer, or refuses the token.
        """
        from engine.actors.submission import JobServer

        if not self.url and self.engine is None:
            raise NotRunningError(
                "no engine is running here to take a job: start one with engine up, name a "
                "cluster with --address, or run the job by itself with python -m jobs.NAME"
            )
        if not self.url:
            raise StartError(
                "this engine takes no jobs: it was started without Ray's dashboard; start it "
                "with --set ray.dashboard=true"
            )
        return JobServer(self.url, is_here=self.is_here)


def find_target(address: str) -> Target:
    """Return the cluster at an address; where none is given, that of the engine of this folder.

    Raises
    ------
    ConfigError
        Where the address is not one of a dashboard.
    """
    if not address:
        here = running_here()
        return Target(here.jobs_url, here.jobs_here, here) if here else Target("", True, None)
    url = _dashboard_url(address)
    mine = next((run for run in running() if run.jobs_url == url), None)
    return Target(url, mine is not None and mine.jobs_here, mine)


def read_job_config(
    job: str, path: Path | None, overrides: list[str] | None, target: Target
) -> Config:
    """Return the configuration of a job: the running engine's where no file is named.

    Raises
    ------
    ConfigError
        Where there is no such job or key, a value is wrong, or one that is needed is missing.
    """
    section_of(job, Config())
    base: dict[str, Any] | None = None
    if path is None and target.engine is not None and target.engine.settings:
        base = json.loads(target.engine.settings)
    return load_job_config(job, path, overrides or (), base=base)


def _dashboard_url(address: str) -> str:
    url = address if "://" in address else f"http://{address}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"--address {address}: jobs are submitted to the cluster's dashboard, "
            "for example http://head:8265"
        )
    return url.rstrip("/")
