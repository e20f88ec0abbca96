"""``engine doctor``: is this machine ready, and if not, how to mend it."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from engine.cli.options import ConfigOption, SetOption, read_config
from engine.cli.runfile import running, running_on


def doctor(config: ConfigOption = None, override: SetOption = None) -> None:
    """Check Python, Ray, ports, disk, store, bus, token and GPU; say how to mend each.

    What the running engine of the same data folder has in use is in order. Exits with 3 where
    something that is needed is wrong.

    Example: **engine doctor --set serve.port=8001**
    """
    from engine.cli.checks import all_checks
    from engine.cli.own_engine import allowing

    settings = read_config(config, override)
    own = running_on(Path(settings.data_dir))
    checks = allowing(all_checks(settings), settings, own)
    table = Table(box=None, pad_edge=False, show_header=False)
    for check in checks:
        mark = "[green]ok[/green]" if check.ok else "[red]wrong[/red]"
        table.add_row(mark, f"[bold]{check.name}[/bold]", check.found)
        if check.mend:
            table.add_row("", "", f"[yellow]→ {check.mend}[/yellow]")
    console = Console()
    console.print(table)
    for run in running():
        where = "of this data folder" if run == own else f"on {run.data_dir}"
        console.print(
            f"The engine {where} is running: {run.http_url} (process {run.pid}).", soft_wrap=True
        )
    if any(check.needed and not check.ok for check in checks):
        raise typer.Exit(3)
