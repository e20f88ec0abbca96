"""The engine as a user runs it: the command, in a folder and with ports of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

ROOT = Path(__file__).parents[2]
FREE_PORTS = ("--set", "serve.port=0", "--set", "metrics.port=0")
Found = TypeVar("Found")


class Command:
    """Runs ``engine`` in a folder; its state folder is below it too.

    Parameters
    ----------
    folder
        Where it runs.
    model
        What scores texts: the quickest to load, unless it matters; "auto" leaves it to the engine.
    """

    def __init__(self, folder: Path, model: str = "lexicon") -> None:
        self.folder = folder
        self.url = ""
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ENGINE_")},
            "ENGINE_STATE_DIR": str(folder / "state"),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "160",
            "ENGINE__SENTIMENT__MODEL": model,
        }

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "engine.cli.main", *arguments],
            cwd=self.folder,
            env=self.environment,
            text=True,
            **options,
        )

    def run(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        process = self.popen(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def up(self, *arguments: str, config: str = "local.yaml") -> str:
        """Start a detached engine; return where it serves."""
        path = str(ROOT / "configs" / config)
        done = self.run("up", "--detach", "--config", path, *FREE_PORTS, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr + self.log()
        self.url = done.stdout.split("ready: ")[1].split()[0]
        return self.url

    def log(self) -> str:
        path = self.folder / "data" / "logs" / "engine.log"
        return path.read_text() if path.exists() else ""

    def sql(self, query: str) -> list[dict[str, Any]]:
        done = self.run("sql", query, "--format", "json")
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    def pid(self) -> int:
        (path,) = (self.folder / "state").glob("run-*.json")
        return int(json.loads(path.read_text())["pid"])

    def family(self) -> set[psutil.Process]:
        leader = psutil.Process(self.pid())
        return {leader, *leader.children(recursive=True)}


def until(look: Callable[[], Found | None], seconds: float = 60) -> Found:
    """Look again and again until there is something to see."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"nothing seen in {seconds} s; the last look gave {found!r}")


def get(url: str) -> Any:
    """Fetch JSON; None where there is no answer yet."""
    try:
        answer = httpx.get(url, timeout=5)
    except httpx.HTTPError:
        return None
    return answer.json() if answer.is_success else None
