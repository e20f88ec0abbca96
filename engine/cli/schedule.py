"""``engine schedule``: jobs that a running engine submits by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cli.options import ConfigOption, SetOption, read_config
from engine.cli.runfile import Run, running_here
from engine.cli.stores import store_to_read, store_to_write
from engine.cli.tables import age
from engine.clock import NS_PER_MS, SystemClock, iso_utc
from engine.config import Config
from engine.domain.schedule import GOING, Schedule, ScheduledRun
from engine.errors import ConfigError, NotRunningError, StoreQueryError
from engine.recurrence import parse_recurrence
from engine.schedules import as_schedule, configured_schedules, planned_job, require_works

if TYPE_CHECKING:
    from engine.store.schedule_book import ScheduleBook

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Which schedule.")]
UNKNOWN_TABLE = 60
"""ClickHouse's code."""

_STYLES = {"done": "green", "failed": "red", "lost": "red", "stopped": "yellow"}

app = typer.Typer(help="Jobs that a running engine submits by itself.", no_args_is_help=False)


@app.callback(invoke_without_command=True)
def schedule(context: typer.Context) -> None:
    """Show the schedules; **add**, **remove**, **run**, **pause** or **resume** one.

    Example: **engine schedule add hourly report --every 1h --set top=5**
    """
    if context.invoked_subcommand is None:
        show()


@app.command("list")
def show(
    as_json: JsonOption = False, config: ConfigOption = None, override: SetOption = None
) -> None:
    """Show each schedule: its job, how often, its last run and how it ended, and the next.

    Example: **engine schedule list --json**
    """
    run = running_here() if config is None and not override else None
    lines = _lines(config, override, run)
    if as_json:
        typer.echo(json.dumps(lines, indent=2))
        return
    console = Console(highlight=False)
    if not lines:
        console.print("nothing is on a schedule; see: engine schedule add --help")
        return
    console.print(_table(lines), *_problems(lines), sep="\n")
    if run is None:
        console.print("[dim]no engine is running here: jobs are submitted once one is[/dim]")


@app.command("add")
def add(
    name: NameArgument,
    job: Annotated[str, typer.Argument(metavar="JOB", help="Which job.")],
    every: Annotated[
        str, typer.Option(help='15m, 1h, 1d from midnight UTC, or cron in UTC: "5 * * * *".')
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Of the job; may be repeated."),
    ] = None,
    catch_up: Annotated[
        int, typer.Option(min=1, help="How many missed runs are made up for, the newest.")
    ] = 1,
    config: ConfigOption = None,
) -> None:
    """Put a job on a schedule; one of this name is replaced.

    Example: **engine schedule add nightly build_features --every 1d**
    """
    planned = planned_job(name, job, every, settings or (), catch_up)
    with _writing(config) as (book, whole):
        require_works(planned, whole)
        held = book.schedules().get(name)
        if held is not None and held.origin == "configuration":
            raise ConfigError(
                f"schedule {name!r} is one of the configuration: change it there, or choose "
                "another name"
            )
        now = SystemClock().now_ns()
        book.put(as_schedule(planned, "command", now))
        first = parse_recurrence(every, "--every").after(now)
    Console(highlight=False).print(f"{name}: {job}, first due {_shortly(first)}")


@app.command("remove")
def remove(name: NameArgument, config: ConfigOption = None) -> None:
    """Take a job off its schedule. A run that is going goes on."""
    with _writing(config) as (book, _):
        held = _held(book, name)
        if held.origin == "configuration":
            raise ConfigError(
                f"schedule {name!r} is one of the configuration: take it out there, or pause it"
            )
        _change(book, held, is_removed=True)
    Console(highlight=False).print(f"{name}: removed")


@app.command("pause")
def pause(name: NameArgument, config: ConfigOption = None) -> None:
    """Submit nothing of a schedule until it is resumed; what falls due meanwhile is not made up."""
    with _writing(config) as (book, _):
        _change(book, _held(book, name), is_paused=True)
    Console(highlight=False).print(f"{name}: paused; go on with: engine schedule resume {name}")


@app.command("resume")
def resume(name: NameArgument, config: ConfigOption = None) -> None:
    """Go on with a schedule that was paused."""
    with _writing(config) as (book, _):
        held = _held(book, name)
        now = SystemClock().now_ns()
        if held.is_paused:
            _change(book, held, is_paused=False, since=now)
        due = parse_recurrence(held.every, "every").after(now)
    Console(highlight=False).print(f"{name}: next due {_shortly(due)}")


@app.command("run")
def run_now(name: NameArgument) -> None:
    """Run a scheduled job now, besides its schedule.

    Needs a running engine. Where a run of it is still going, that one is named.
    """
    if running_here() is None:
        raise NotRunningError(
            "no engine is running here to run it; start one with engine up, or run the job by "
            "itself: python -m jobs.JOB"
        )
    with _writing(None) as (book, _):
        held = _held(book, name)
        last = {run.name: run for run in [*book.going(), *book.asked(0)]}.get(held.name)
        if last is not None:
            raise ConfigError(
                f"a run of {name!r} is still going ({last.submission_id or 'asked for'}); wait "
                "for it, or stop it with: engine stop ID"
            )
        now = SystemClock().now_ns()
        book.note(ScheduledRun(name, now, True, "asked", "", 1, 0, None, None, "", now))
    Console(highlight=False).print(
        f"{name}: asked for; it is submitted within seconds (engine schedule, engine jobs)"
    )


@contextmanager
def _writing(config: Path | None) -> Iterator[tuple[ScheduleBook, Config]]:
    """Open the store that the schedules are in, and read the configuration that jobs will get."""
    from engine.store.opening import writing
    from engine.store.schedule_book import ScheduleBook

    url, whole, retention = store_to_write(config, None)
    run = running_here() if config is None else None
    if run is not None and run.settings:
        whole = Config.model_validate_json(run.settings)
    with writing(url, retention) as store:
        yield ScheduleBook(store), whole


def _held(book: ScheduleBook, name: str) -> Schedule:
    held = book.schedules()
    if name not in held:
        known = ", ".join(held) or "none"
        raise ConfigError(f"there is no schedule {name!r}; known: {known}")
    return held[name]


def _change(book: ScheduleBook, held: Schedule, **changes: Any) -> None:
    version = max(SystemClock().now_ns(), held.version + 1)
    book.put(msgspec.structs.replace(held, version=version, **changes))


def _lines(
    config: Path | None, override: list[str] | None, run: Run | None
) -> list[dict[str, Any]]:
    """Return a line for each schedule, those included that only the configuration knows yet."""
    from engine.store.opening import reading
    from engine.store.schedule_book import ScheduleBook

    now = SystemClock().now_ns()
    held: dict[str, Schedule] = {}
    last: dict[str, ScheduledRun] = {}
    left_out: dict[str, int] = {}
    if run is None:
        for planned in configured_schedules(read_config(config, override)):
            held[planned.name] = as_schedule(planned, "configuration", now)
    url, _ = store_to_read(config, override)
    try:
        with reading(url) as store:
            book = ScheduleBook(store)
            stored, last, left_out = book.schedules(), book.last_runs(), dict(book.passed_over())
    except NotRunningError:
        stored = {}  # no engine has run here yet
    except StoreQueryError as error:
        if error.code != UNKNOWN_TABLE:
            raise
        stored = {}  # nor has one of this version
    for name, one in stored.items():
        if one.origin == "command" or run is not None:
            held.setdefault(name, one)
        elif name in held:
            held[name] = msgspec.structs.replace(held[name], is_paused=one.is_paused)
    return [
        _line(one, last.get(name), left_out.get(name, 0), now) for name, one in sorted(held.items())
    ]


def _line(one: Schedule, last: ScheduledRun | None, left_out: int, now: int) -> dict[str, Any]:
    recurrence = parse_recurrence(one.every, f"schedule {one.name!r}: every")
    took = None
    if last is not None and last.started_at is not None and last.ended_at is not None:
        took = round((last.ended_at - last.started_at) / 1e9, 1)
    return {
        "name": one.name,
        "job": one.job,
        "every": one.every,
        "set": json.loads(one.settings),
        "catch_up": one.catch_up,
        "origin": one.origin,
        "paused": one.is_paused,
        "last_due_at": None if last is None else iso_utc(last.due_at),
        "last_by_hand": None if last is None else last.is_by_hand,
        "last_state": None if last is None else last.state,
        "last_id": None if last is None else last.submission_id,
        "took_s": took,
        "problem": "" if last is None else last.problem,
        "left_out": left_out,
        "next_due_at": None if one.is_paused else iso_utc(recurrence.after(now)),
    }


def _table(lines: list[dict[str, Any]]) -> Table:
    """Show schedules, a line each; a column that says nothing of any of them is left out."""
    was_left_out = any(line["left_out"] for line in lines)
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    for name in ("name", "job", "every", "last run", "outcome"):
        table.add_column(name, no_wrap=True)
    for name in ("took", *(("left out",) if was_left_out else ())):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("next", no_wrap=True)
    for line in lines:
        state = line["last_state"] or "–"
        if line["last_by_hand"]:
            state = f"{state}, by hand"
        took = line["took_s"]
        table.add_row(
            line["name"],
            line["job"],
            line["every"],
            _moment(line["last_due_at"])[5:] or "–",
            Text(state, style=_style(line)),
            "–" if took is None else age(took * 1e9 / NS_PER_MS),
            *((str(line["left_out"]),) if was_left_out else ()),
            Text("paused", style="yellow") if line["paused"] else _moment(line["next_due_at"])[5:],
        )
    return table


def _problems(lines: list[dict[str, Any]]) -> list[Text]:
    """Return a line for each schedule whose last run went wrong."""
    wrong = [line for line in lines if line["problem"]]
    return [Text(f"{line['name']}: ", _style(line)) + Text(line["problem"]) for line in wrong]


def _style(line: dict[str, Any]) -> str:
    return _STYLES.get(line["last_state"], "cyan" if line["last_state"] in GOING else "")


def _moment(text: str | None) -> str:
    return "–" if text is None else f"{text[:10]} {text[11:16]}"


def _shortly(moment: int) -> str:
    return f"{_moment(iso_utc(moment))} UTC"
