"""``engine lineage``: where a signal or a data set came from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from engine.cli.options import ConfigOption, SetOption
from engine.cli.stores import store_to_read
from engine.errors import ConfigError

if TYPE_CHECKING:
    from engine.store.client import Store
    from engine.store.lineage import Origin


def lineage(
    name: Annotated[str, typer.Argument(metavar="ID", help="Of a stored signal or a data set.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a tree.")] = False,
    config: ConfigOption = None,
    override: SetOption = None,
) -> None:
    """Walk from a signal back to its candles, trades and texts, or from a data set to its runs.

    Example: **engine lineage SIGNAL_ID** (`engine signals --json` shows the ids)
    """
    from engine.store.opening import reading

    url, _ = store_to_read(config, override)
    with reading(url) as store:
        origin = _found(store, name)
    if as_json:
        typer.echo(json.dumps(origin.as_dict(), indent=2))
    else:
        Console(highlight=False).print(tree(origin))


def _found(store: Store, name: str) -> Origin:
    from engine.store.dataset_lineage import dataset_lineage
    from engine.store.signal_lineage import signal_lineage

    origin = signal_lineage(store, name) or dataset_lineage(store, name)
    if origin is None:
        raise ConfigError(
            f"there is neither a stored signal nor a data set {name!r}; rankings of forming bars "
            'are served and not stored, engine sql "SELECT signal_id FROM v_latest_signals" '
            "lists those that are"
        )
    return origin


def tree(origin: Origin) -> Tree:
    """Return an origin as a tree to print."""
    branch = Tree(_line(origin))
    for each in origin.origins:
        branch.add(tree(each))
    return branch


def _line(origin: Origin) -> Text:
    line = Text(origin.title, "bold")
    told = [
        Text(f"{name.replace('_', ' ')} ", "dim").append(_plain(value), "not dim")
        for name, value in origin.facts.items()
        if value is not None
    ]
    if told:
        line.append("\n").append_text(Text(" · ", "not bold").join(told))
    return line


def _plain(value: str | float | bool) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
