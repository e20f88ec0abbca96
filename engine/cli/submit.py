"""``engine submit``: a job to the cluster of the running engine, or to another."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from engine.cli.job_listing import problem_in
from engine.cli.job_target import AddressOption, Target, find_target, read_job_config
from engine.cli.options import ConfigOption
from engine.errors import ConfigError, EngineError
from engine.job_request import JOBS, with_skip_bad
from engine.job_summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.actors.submission import JobServer, Submission
    from engine.domain.job import JobRun

INTERRUPTED = 130
"""Exit code of a job that was stopped, and of waiting that was."""

LAST_LINES = 20
"""Of the log of a job that left no summary."""


def submit(
    job: Annotated[
        str,
        typer.Argument(metavar="JOB", show_default=False, help="Which; without, all are named."),
    ] = "",
    config: ConfigOption = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A key of the job, or SECTION.KEY; may be repeated."
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until it is over; show the outcome.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Wait, and show its log.")] = False,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad", help="import_candles: what is sound; bad rows go to quarantine."
        ),
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Do what is done already, too.")] = False,
    address: AddressOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Submit a job to the running engine, with its configuration unless --config names another.

    Exits as the job does where it waits: 0 done, 1 failed, 2 wrongly asked for, 130 stopped.
    Ctrl-C ends the waiting, not the job.

    Example: **engine submit build_features --set timeframes=[1h] --wait**
    """
    if not job:
        raise ConfigError(f"which job? there are {', '.join(JOBS)}; engine submit JOB submits one")
    if skip_bad:
        override = with_skip_bad(job, override or ())
    target = find_target(address)
    settings = read_job_config(job, config, override, target)
    server = target.connect()
    job_id = server.submit(job, settings, again=again)
    told = Console(stderr=as_json, highlight=False, soft_wrap=True)
    told.print(f"submitted [bold]{job_id}[/bold] to {server.url}")
    if not (wait or follow):
        if as_json:
            typer.echo(json.dumps({"id": job_id, "job": job, "url": server.url}, indent=2))
        else:
            told.print(
                f"[dim]engine logs {job_id} --follow shows it, engine stop {job_id} stops it"
            )
        return
    with surviving(job_id):
        ended = _wait(server, job_id, told, only_progress=not follow)
    found = summary_of(target, job_id)
    if as_json:
        typer.echo(json.dumps(_plain(ended, found), indent=2))
    elif not follow:
        _show(Console(highlight=False), server, ended, found)
    raise typer.Exit(exit_code(ended))


@contextmanager
def surviving(job_id: str) -> Iterator[None]:
    """Say, where somebody stops to watch a job, that it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"\n{job_id} goes on: engine logs {job_id} --follow shows it, "
            f"engine stop {job_id} stops it"
        )
        raise typer.Exit(INTERRUPTED) from None


def exit_code(ended: Submission) -> int:
    """Return what the command exits with: what the job's process did, where it came so far."""
    if ended.state == "done":
        return 0
    if ended.state == "stopped":
        return INTERRUPTED
    return ended.exit_code or 1


def summary_of(target: Target, job_id: str) -> Summary | None:
    """Return what a job recorded of itself; None where the store is not within reach."""
    run = run_recorded(target, job_id)
    return Summary.from_dict(json.loads(run.details)) if run else None


def run_recorded(target: Target, job_id: str) -> JobRun | None:
    """Return what is recorded of a job; None where the store is not within reach."""
    from engine.store.job_runs import run_of
    from engine.store.opening import reading

    if target.engine is None:
        return None
    try:
        with reading(target.engine.viewer_url or target.engine.store_url) as store:
            return run_of(store, job_id)
    except EngineError:
        return None


def _wait(server: JobServer, job_id: str, console: Console, *, only_progress: bool) -> Submission:
    from engine.cli.job_following import follow as show
    from engine.cli.job_following import view_on

    with view_on(console, only_progress=only_progress) as view:
        return show(server, job_id, view)


def _show(console: Console, server: JobServer, ended: Submission, found: Summary | None) -> None:
    """Show the summary; where none is within reach, how the log ends."""
    if found is not None and found.outcome != "running":
        found.show(console)
        return
    if found is not None:
        console.print(f"[red]lost[/red]: its process was ended without a word ({ended.message})")
    lines = server.log(ended.submission_id).splitlines()
    heads = [number for number, line in enumerate(lines) if ended.submission_id in line]
    for line in lines[heads[-1] if heads else -LAST_LINES :]:
        console.print(line, markup=False, soft_wrap=True)


def _plain(ended: Submission, found: Summary | None) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "id": ended.submission_id,
        "job": ended.job,
        "state": ended.state,
        "exit_code": exit_code(ended),
        "problem": problem_in(ended.message) if ended.state == "failed" else "",
    }
    if found is not None:
        plain["summary"] = found.as_dict()
        plain["problem"] = found.problem or plain["problem"]
    return plain
