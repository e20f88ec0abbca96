"""``engine config``: what the configuration is, and whether it is right."""

from __future__ import annotations

import json
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from engine.cli.options import ConfigOption, SetOption, read_config, require_instruments
from engine.config import described_keys

app = typer.Typer(help="Show or check the configuration.", no_args_is_help=True)


@app.command()
def show(
    config: ConfigOption = None,
    override: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of YAML.")] = False,
) -> None:
    """Print the whole configuration in force: file, environment and overrides merged.

    Example: **engine config show --set ranking.sentiment_share=0.3**
    """
    tree = read_config(config, override).model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps(tree, indent=2))
        return
    typer.echo(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), nl=False)


@app.command()
def keys(
    markdown: Annotated[bool, typer.Option("--markdown", help="As docs/configuration.md.")] = False,
) -> None:
    """List every key, its default, and what it is for.

    Example: **engine config keys**
    """
    if markdown:
        typer.echo(markdown_table())
        return
    table = Table("key", "default", "what it is for", header_style="bold", box=None)
    for key in described_keys():
        table.add_row(key.name, key.default, key.doc)
    Console().print(table, markup=False)


def markdown_table() -> str:
    """Write every key as a Markdown table."""
    lines = ["| key | default | what it is for |", "|---|---|---|"]
    for key in described_keys():
        doc = key.doc.replace("|", "\\|").replace("``", "`")
        lines.append(f"| `{key.name}` | `{key.default}` | {doc} |")
    return "\n".join(lines)


@app.command()
def check(config: ConfigOption = None, override: SetOption = None) -> None:
    """Check the configuration; exit 0 only if it is right.

    Example: **engine config check --config configs/live.yaml**
    """
    found = read_config(config, override)
    require_instruments(found)
    venues = [name for name, venue in found.exchanges.items() if venue.enabled]
    markets = sum(len(found.exchanges[name].instruments) for name in venues)
    Console().print(
        f"right: {markets} markets on {', '.join(venues) or 'no exchange'}, "
        f"{len(found.sources)} text sources",
        highlight=False,
    )
