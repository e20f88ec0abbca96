"""``engine up`` and ``engine down``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import psutil
import typer
from rich.console import Console
from rich.live import Live

from engine.cli.folder_lock import HANDED_ON, FolderLock
from engine.cli.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    SetOption,
    read_config,
    require_instruments,
    require_schedules,
)
from engine.cli.runfile import running, running_here, running_on, starting_here, sweep
from engine.cli.tables import live_view, rows_for_signals
from engine.config import Config
from engine.errors import ConfigError, NotRunningError, StartError

if TYPE_CHECKING:
    from engine.cli.session import Session

REFRESH_S = 1.0
TEND_EVERY_S = 5.0
STOP_PATIENCE_S = 20.0
NO_TROUBLE = "worker processes have been started on node"
"""Ray counts every actor as a sign of trouble, on the terminal; ours are meant to be many."""

DETACHED = "ENGINE_DETACHED"
"""Set in the environment of the process that ``--detach`` leaves behind."""


def up(
    config: ConfigOption = None,
    override: SetOption = None,
    replay: Annotated[
        str | None,
        typer.Option(metavar="FILE_OR_DIR[,…]", help="Recorded frames instead of venues."),
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(metavar="X|max", help="Of a replay, times real time. Default 1."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is ready.")] = False,
) -> None:
    """Start everything, say when the first ranking is served, and show it live.

    Ctrl-C stops every process it started; the next start goes on from what is stored.

    Example: **engine up --config configs/local.yaml --set serve.port=8001**
    """
    from engine.cli.replaying import parse_speed, with_replay

    # Ray reads it when first imported, which the checks do.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", NO_TROUBLE)
    settings = read_config(config, override)
    starts_at = None
    if replay is not None:
        files = tuple(file for file in replay.split(",") if file)
        if not files:
            raise ConfigError("--replay names no file; give recordings or folders of them")
        settings, starts_at = with_replay(settings, files, parse_speed(speed or "1"))
    elif speed is not None:
        raise ConfigError("--speed belongs to --replay; live data comes at its own pace")
    require_instruments(settings)
    require_schedules(settings)
    with FolderLock(Path(settings.data_dir)) as lock:
        _require_only_one(lock, Path(settings.data_dir))
        # Imported here: it takes a second, in which another engine could begin to start.
        from engine.cli.checks import require

        sweep()
        require(settings)
        if detach:
            _detach(settings, lock)
            return
        path = str(config or (DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else "defaults"))
        _run(settings, path, starts_at)


def _require_only_one(lock: FolderLock, data_dir: Path) -> None:
    """Take the lock, or refuse to start a second engine on a data folder.

    Raises
    ------
    StartError
        Saying which engine is there, and what to do.
    """
    is_free = lock.take()
    run = running_on(data_dir)
    if is_free and run is None:
        return
    where = "in this folder"
    if not data_dir.resolve().is_relative_to(Path.cwd().resolve()):
        where = f"on {data_dir.resolve()}"
    if run is not None and run.ready:
        raise StartError(
            f"an engine is already running {where}: {run.http_url} (process {run.pid}); "
            "engine status shows it, engine down stops it"
        )
    holder = lock.holder()
    pid = run.pid if run is not None else holder.pid if holder is not None else "unknown"
    raise StartError(
        f"another engine is starting {where} (process {pid}); "
        "engine status shows it, engine down stops it"
    )


class SteadyConsole(Console):
    """A console whose reader may leave (``engine up | head``): nobody reads on, we go on."""

    def on_broken_pipe(self) -> None:
        """Write into the void from now on; Rich would end the process, and leave all running."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(config: Config, path: str, starts_at: int | None) -> None:
    console = SteadyConsole(highlight=False, soft_wrap=True)
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    def tell(line: str) -> None:
        console.print(f"[dim]{line} …[/dim]")

    def listen() -> None:
        # Both signals mean: write everything down and stop.
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, stop)

    listen()
    # The web application is run by its import path, like any deployment of Ray Serve. Its
    # environment must be in force before Ray is imported, hence the imports here.
    serve = import_module("serve.run")
    haproxy = config.serve.haproxy and serve.haproxy_available()
    os.environ.update(serve.environment(haproxy))
    from engine.cli.session import Interrupted, Session

    config = config.model_copy(
        update={"serve": config.serve.model_copy(update={"haproxy": haproxy})}
    )
    session = Session(config, path, starts_at, tell, stopping, serve)
    try:
        session.start(listen)
        console.print(f"[bold green]ready[/bold green]: {session.http_url}")
        _show(session, console, stopping)
        ended = "stopped; the next start goes on from what is stored"
    except Interrupted:
        ended = "stopped before it was ready"
    finally:
        console.print("[dim]stopping …[/dim]")
        session.stop()
    console.print(ended)


def _show(session: Session, console: Console, stopping: threading.Event) -> None:
    """Show the live table until the user wants to stop; without a terminal, only wait."""
    if not console.is_terminal or os.environ.get(DETACHED):
        while not stopping.wait(TEND_EVERY_S):
            session.tend()
        return
    with Live(console=console, auto_refresh=False, screen=False, transient=True) as live:
        while not stopping.is_set():
            status = _ask(session, "/v1/status")
            engine = status["engine"] if status else None
            room = rows_for_signals(console.height, engine)
            ranking = _ask(session, f"/v1/signals?limit={room}")
            live.update(live_view(engine, ranking, session.http_url), refresh=True)
            session.tend()
            stopping.wait(REFRESH_S)


def _ask(session: Session, path: str) -> dict[str, Any] | None:
    """Ask the engine over HTTP as any client would; None while it does not answer."""
    with suppress(httpx.HTTPError, ValueError):
        answer = httpx.get(session.http_url + path, timeout=2.0)
        if answer.is_success:
            found: dict[str, Any] = answer.json()
            return found
    return None


def _detach(config: Config, lock: FolderLock) -> None:
    """Leave a process behind that runs the engine, and return when it is ready."""
    console = Console(highlight=False, soft_wrap=True)
    log_path = Path(config.data_dir).absolute() / "logs" / "engine.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    arguments = [argument for argument in sys.argv[1:] if argument != "--detach"]
    environment = {**os.environ, DETACHED: "1", "ENGINE_LOG_PATH": str(log_path)}
    environment[HANDED_ON] = str(lock.descriptor)
    with log_path.open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "engine.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
            pass_fds=(lock.descriptor,),
        )
    lock.name(child.pid)
    try:
        while child.poll() is None:
            mine = [run for run in running() if run.pid == child.pid and run.ready]
            if mine:
                console.print(f"[bold green]ready[/bold green]: {mine[0].http_url}")
                console.print(f"process {child.pid}, log {log_path}; stop it with: engine down")
                return
            time.sleep(0.2)
    except KeyboardInterrupt:
        # It is out of the terminal's reach: nobody else would end it.
        console.print("stopping what has started …")
        _stop(psutil.Process(child.pid))
        raise
    said = log_path.read_text(errors="replace").strip().splitlines()
    reasons = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    raise StartError("; ".join(reasons or said[-1:]) or f"it ended at once; see {log_path}")


def down() -> None:
    """Stop the engine of this folder, else the one started last, and all it started.

    Where an engine was killed, what it left behind is ended.

    Example: **engine down**
    """
    console = Console(highlight=False, soft_wrap=True)
    # Its run file comes only when Ray runs.
    found = starting_here() or running_here()
    swept = sweep()
    if swept:
        console.print(f"ended {swept} processes that a killed engine had left behind")
    if found is None and swept:
        return
    if found is None:
        raise NotRunningError("no engine is running here: there is nothing to stop")
    left = _stop(psutil.Process(found.pid))
    if left:
        console.print(f"{left} processes did not stop in time and were killed")
    console.print(f"stopped the engine (process {found.pid})")


def _stop(process: psutil.Process) -> int:
    """End an engine with all it started; return how many processes had to be killed."""
    family = {process, *process.children(recursive=True)}
    process.terminate()
    _, left = psutil.wait_procs(family, timeout=STOP_PATIENCE_S)
    for straggler in left:
        with suppress(psutil.Error):
            straggler.kill()
    return len(left)
