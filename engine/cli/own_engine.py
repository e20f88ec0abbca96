"""What a check finds in use that the running engine of this folder uses: that is no fault."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from engine.cli.checks import Check
from engine.cli.runfile import Run
from engine.config import Config
from engine.store.endpoint import EmbeddedHome, parse_store_url


def allowing(checks: list[Check], config: Config, run: Run | None) -> list[Check]:
    """Return the checks, those all right that only find what `run` has in use.

    Parameters
    ----------
    checks
        Of `config`.
    config
        What was checked.
    run
        The engine of the same data folder; None where none runs.
    """
    if run is None:
        return checks
    its_own = _in_use(config, run)
    return [
        replace(check, ok=True, found=f"in use by the running engine (process {run.pid})", mend="")
        if not check.ok and check.name in its_own
        else check
        for check in checks
    ]


def _in_use(config: Config, run: Run) -> set[str]:
    """Return the names of the checks whose subject the engine has."""
    serve = urlsplit(run.http_url)
    found = {
        "port serve.port": (config.serve.host, config.serve.port) == (serve.hostname, serve.port),
        "port metrics.port": config.metrics.port == urlsplit(run.metrics_url).port,
        "port store.port": config.store.port == urlsplit(run.store_url).port,
        "store": _folder(config.store_url) is not None
        and _folder(config.store_url) == _folder(_store_url_of(run)),
    }
    return {name for name, is_its_own in found.items() if is_its_own}


def _store_url_of(run: Run) -> str:
    """Return the store as its configuration named it: the run file's own is where it serves."""
    tree = json.loads(run.settings or "{}")
    url = str(tree.get("store", {}).get("url", "embedded"))
    return f"embedded:{run.data_dir}/store" if url == "embedded" else url


def _folder(url: str) -> Path | None:
    """Return the folder of an embedded store; None of a server."""
    home = parse_store_url(url)
    return home.path.resolve() if isinstance(home, EmbeddedHome) else None
