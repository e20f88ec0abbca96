"""``engine jobs``, ``engine logs`` and ``engine stop``."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from engine.cli.job_listing import Listed, jobs_table, join, problems
from engine.cli.job_target import AddressOption, Target, find_target
from engine.cli.options import ConfigOption, SetOption
from engine.cli.stores import store_to_read
from engine.cli.submit import exit_code, run_recorded, surviving
from engine.clock import SystemClock
from engine.errors import ConfigError, NotRunningError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from engine.actors.submission import JobServer, Submission
    from engine.domain.job import JobRun

STOP_PATIENCE_S = 25.0
TABLE_WIDTH = 120

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="As engine jobs shows it, or how it begins, such as a job's name."
    ),
]


def jobs(
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    address: AddressOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigOption = None,
    override: SetOption = None,
) -> None:
    """List the jobs that run and that ran, newest first; also what ran before the engine started.

    A job that is **lost** was killed before it could say how it ended: submit it again, and it does
    the rest.

    Example: **engine jobs --limit 5**
    """
    target = find_target(address)
    listed = _listed(target, limit, config, override)
    if as_json:
        typer.echo(json.dumps([each.as_dict() for each in listed], indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    if listed:
        # Ids are there to be copied: a narrow terminal wraps its lines, and cuts none.
        console.width = max(console.width, TABLE_WIDTH)
        console.print(jobs_table(listed, SystemClock().now_ns()))
        for line in problems(listed):
            console.print(line)
    else:
        console.print("no job has run yet; engine submit --help shows how to start one")


def logs(
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until it is over.")] = False,
    address: AddressOption = "",
) -> None:
    """Print what a submitted job has written; Ray keeps it as long as the cluster runs.

    Example: **engine logs build_features --follow**
    """
    from engine.cli.job_following import follow as show
    from engine.cli.job_following import view_on

    target = find_target(address)
    server = target.connect()
    found = _matching(server, target, name)[0]
    if not follow:
        typer.echo(server.log(found.submission_id), nl=False)
        return
    if not found.is_over:
        # A job may have nothing to say for a while; and its log alone goes to the output.
        typer.echo(f"{found.submission_id} is {found.state}; Ctrl-C ends the watching", err=True)
    with (
        surviving(found.submission_id),
        view_on(Console(highlight=False), only_progress=False) as view,
    ):
        ended = show(server, found.submission_id, view)
    raise typer.Exit(exit_code(ended))


def stop(name: NameArgument, address: AddressOption = "") -> None:
    """Stop a job; what it has stored stays, and submitted again it does only the rest.

    Example: **engine stop build_features**
    """
    target = find_target(address)
    server = target.connect()
    found = _one_to_stop(_matching(server, target, name), name)
    console = Console(highlight=False, soft_wrap=True)
    if found.is_over or not server.stop(found.submission_id):
        state = _how_it_ended(target, found)
        console.print(f"{found.submission_id} is over already: {state}")
        return
    with console.status(f"stopping {found.submission_id}"):
        ended = server.wait(found.submission_id, STOP_PATIENCE_S)
    if not ended.is_over:
        raise ConfigError(
            f"{found.submission_id} has not ended within {STOP_PATIENCE_S:.0f} s; "
            "engine jobs shows whether it still runs"
        )
    state = _how_it_ended(target, ended)
    if state == "done":
        # It was on its way out: Ray counts it as stopped, though all is stored.
        console.print(f"{found.submission_id} is over already: done")
        return
    console.print(f"{found.submission_id}: {state}; submitted again it does the rest")


def _how_it_ended(target: Target, ended: Submission) -> str:
    """Return what a job recorded of its end; where it recorded none, what Ray says."""
    run = run_recorded(target, ended.submission_id)
    return ended.state if run is None or run.outcome == "running" else run.outcome


def _listed(
    target: Target, limit: int, config: Path | None, override: list[str] | None
) -> list[Listed]:
    """Ask the cluster first and the record then: a job records its end before it ends."""
    from engine.store.job_runs import is_gone

    submissions: list[Submission] = []
    if target.url:
        submissions = list(target.connect().all())
    return join(submissions, _recorded(target, limit, config, override), is_gone)[:limit]


def _recorded(
    target: Target, limit: int, config: Path | None, override: list[str] | None
) -> list[JobRun]:
    from engine.store.job_runs import recent_runs
    from engine.store.opening import reading

    if target.engine is not None and config is None and not override:
        url = target.engine.viewer_url or target.engine.store_url
    elif target.url and target.engine is None and config is None and not override:
        return []  # another cluster, whose store nobody has named
    else:
        url, _ = store_to_read(config, override)
    with ExitStack() as stack:
        store = stack.enter_context(reading(url))
        return list(recent_runs(store, limit))


def _matching(server: JobServer, target: Target, name: str) -> Sequence[Submission]:
    """Return the job of this id, else those of this name or beginning, newest first.

    Raises
    ------
    ConfigError
        Where the cluster knows none.
    """
    exact = server.one(name)
    if exact is not None:
        return (exact,)
    known = server.all()
    matching = [each for each in known if each.submission_id.startswith(name) or each.job == name]
    if not matching:
        raise _unknown(target, name)
    return matching


def _one_to_stop(matching: Sequence[Submission], name: str) -> Submission:
    """Return the one that still runs, else the newest.

    Raises
    ------
    ConfigError
        Where several run: which of them is meant, nobody said.
    """
    going = [each for each in matching if not each.is_over]
    if len(going) > 1:
        ids = ", ".join(each.submission_id for each in going)
        raise ConfigError(f"{name!r} may mean any of {ids}, which all run; name one")
    return (going or matching)[0]


def _unknown(target: Target, name: str) -> Exception:
    from engine.store.job_runs import run_of
    from engine.store.opening import reading

    if target.engine is not None:
        with reading(target.engine.viewer_url or target.engine.store_url) as store:
            run = run_of(store, name)
        if run is not None:
            how = (
                "was submitted to a cluster that no longer runs"
                if run.submission_id
                else f"was started by hand, as process {run.pid} on {run.host}"
            )
            return NotRunningError(f"{name} {how}; engine jobs shows what came of it")
    return ConfigError(f"there is no job {name!r} on {target.url}; engine jobs lists them")
