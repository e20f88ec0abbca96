"""``engine bench``: the measurements of a checkout."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import engine
from engine.errors import ConfigError


def bench(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Which one; --list shows them.")] = "",
    is_list: Annotated[bool, typer.Option("--list", help="Show what there is.")] = False,
) -> None:
    """Run a benchmark of this checkout; what follows its name is passed on.

    Example: **engine bench verify --rows 1000000**
    """
    folder = _folder()
    known = _benchmarks(folder)
    if is_list or not name:
        table = Table("name", "measures", header_style="bold", box=None)
        for one, about in known.items():
            table.add_row(one, about)
        Console(highlight=False).print(table)
        return
    if name not in known:
        raise ConfigError(f"there is no benchmark {name!r}; there are {', '.join(known)}")
    command = [sys.executable, "-m", f"benchmarks.{name}", *context.args]
    finished = subprocess.run(command, cwd=folder.parent, check=False)
    if finished.returncode:
        raise typer.Exit(finished.returncode)


def _folder() -> Path:
    """Return the folder of the benchmarks: they are not part of an installed package."""
    folder = Path(engine.__file__).parent.parent / "benchmarks"
    if not (folder / "__init__.py").is_file():
        raise ConfigError(
            f"the benchmarks are not installed; run this from a checkout of the project "
            f"(looked for {folder})"
        )
    return folder


def _benchmarks(folder: Path) -> dict[str, str]:
    """Return name -> what it measures, of every module that can be run."""
    found = {}
    for path in sorted(folder.glob("[!_]*.py")):
        text = path.read_text(encoding="utf-8")
        if '__name__ == "__main__"' in text:
            about = ast.get_docstring(ast.parse(text)) or ""
            found[path.stem] = about.splitlines()[0] if about else ""
    return found
