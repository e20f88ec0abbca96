"""Commands that ask the running engine over HTTP: ``status`` and ``signals``."""

from __future__ import annotations

import json
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from engine.cli.runfile import needed_run
from engine.cli.tables import actors_table, explained, streams_table, summary
from engine.errors import NotRunningError, StartError, StoreQueryError

POST_TIMEOUT_S = 120.0
"""What is posted is worked on before the answer comes."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def fetch(
    path: str, parameters: dict[str, Any] | None = None, body: dict[str, Any] | None = None
) -> Any:
    """Ask the running engine over HTTP.

    Parameters
    ----------
    path
        Of the endpoint.
    parameters
        Of the query.
    body
        JSON to post; without one it is only asked.

    Raises
    ------
    NotRunningError
        Where none runs.
    StartError
        Where it runs and does not answer as it should.
    """
    run = needed_run()
    try:
        answer = httpx.request(
            "GET" if body is None else "POST",
            f"{run.http_url}{path}",
            params=parameters,
            json=body,
            timeout=10.0 if body is None else POST_TIMEOUT_S,
        )
    except httpx.HTTPError as error:
        if not run.ready:
            raise NotRunningError(
                f"the engine (process {run.pid}) is still starting; try again in a few seconds"
            ) from None
        raise StartError(f"the engine at {run.http_url} does not answer: {error}") from None
    if answer.is_error:
        problem = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        detail = problem.get("detail") or problem.get("title") or answer.text[:200]
        kind = StoreQueryError if answer.status_code == 422 else StartError
        raise kind(f"{detail} (HTTP {answer.status_code})")
    return answer.json()


def status(as_json: JsonOption = False) -> None:
    """Show the running engine: its actors, streams, and how fresh they are.

    Exits with 4 where none runs, and with 1 where a part of it is not well.

    Example: **engine status --json**
    """
    run = needed_run()
    found = fetch("/v1/status")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _show_status(found["engine"], run.http_url)
    if found["engine"] is None or not found["engine"]["healthy"]:
        raise typer.Exit(1)


def _show_status(engine: dict[str, Any] | None, url: str) -> None:
    console = Console()
    if engine is None:
        console.print("the engine is starting, or its bus is away: its supervisor is not heard")
        return
    console.print(summary(engine, url), highlight=False)
    console.print(streams_table(engine))
    console.print(actors_table(engine))


def signals(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, from the top.")] = 10,
    timeframe: Annotated[str | None, typer.Option(help="Of the bars ranked, such as 1h.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the top of the ranking, with the reasons.

    Example: **engine signals --limit 5**
    """
    parameters: dict[str, Any] = {"limit": limit}
    if timeframe:
        parameters["timeframe"] = timeframe
    found = fetch("/v1/signals", parameters)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        Console().print(explained(found))
