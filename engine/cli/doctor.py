"""``engine doctor``: is this machine ready, and if not, how to mend it."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table

from engine.cli.options import ConfigOption, SetOption, read_config
from engine.cli.runfile import running


def doctor(config: ConfigOption = None, override: SetOption = None) -> None:
    """Check Python, Ray, ports, disk, store, bus, token and GPU; say how to mend each.

    Exits with 3 where something that is needed is wrong.

    Example: **engine doctor --set serve.port=8001**
    """
    from engine.cli.checks import all_checks

    checks = all_checks(read_config(config, override))
    table = Table(box=None, pad_edge=False, show_header=False)
    for check in checks:
        mark = "[green]ok[/green]" if check.ok else "[red]wrong[/red]"
        table.add_row(mark, f"[bold]{check.name}[/bold]", check.found)
        if check.mend:
            table.add_row("", "", f"[yellow]→ {check.mend}[/yellow]")
    console = Console()
    console.print(table)
    for run in running():
        console.print(
            f"An engine is running (process {run.pid}): the ports and the store in use are its own."
        )
    if any(check.needed and not check.ok for check in checks):
        raise typer.Exit(3)
