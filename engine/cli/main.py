"""The ``engine`` command.

Exit codes: 0 done; 1 something failed; 2 what you wrote is wrong (a key, a file, a query);
3 the machine lacks something (a port, a permission, space, an answer); 4 no engine runs.
"""

from __future__ import annotations

import difflib
import os
import sys

import typer
from rich.console import Console

from engine.cli import (
    backfill,
    bench,
    config_command,
    doctor,
    jobs,
    lineage,
    parity,
    read,
    record,
    schedule,
    sentiment,
    sql,
    submit,
    up,
    verify,
)
from engine.errors import ConfigError, EngineError

app = typer.Typer(
    name="engine",
    help=__doc__.replace("``", ""),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("down")(up.down)
app.command("status")(read.status)
app.command("signals")(read.signals)
app.command("sentiment")(sentiment.sentiment)
app.command("sql")(sql.sql)
app.command("verify")(verify.verify)
app.command("parity")(parity.parity)
app.command("lineage")(lineage.lineage)
app.command("record")(record.record)
app.command("backfill")(backfill.backfill)
app.command("bench", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    bench.bench
)
app.command("submit")(submit.submit)
app.command("jobs")(jobs.jobs)
app.command("logs")(jobs.logs)
app.command("stop")(jobs.stop)
app.command("doctor")(doctor.doctor)
app.add_typer(config_command.app, name="config")
app.add_typer(schedule.app, name="schedule")


def run() -> None:
    """Run the command; a person's mistake ends in one clear sentence, never in a trace."""
    try:
        _require_known(sys.argv[1:])
        app()
    except EngineError as error:
        console = Console(stderr=True, highlight=False)
        for line in str(error).splitlines():
            console.print(f"[red]error[/red]: {line}", soft_wrap=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has seen enough (engine sql … | head).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _require_known(arguments: list[str]) -> None:
    """Refuse a command that is none, and name the nearest one, or all."""
    known = [one.name or "" for one in app.registered_commands]
    known += [one.name or "" for one in app.registered_groups]
    if not arguments or arguments[0].startswith("-") or arguments[0] in known:
        return
    close = difflib.get_close_matches(arguments[0], known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
    raise ConfigError(f"No such command {arguments[0]!r}; {hint}")


if __name__ == "__main__":
    run()
