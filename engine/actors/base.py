"""What every actor is: a named part with a phase, that reports and drains.

The classes here and beside are plain Python: `placement` turns them into Ray actors, and
tests run them without Ray.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import psutil

from engine.config import Config
from engine.log import set_up_logging
from engine.metrics import exposition


class Phase(StrEnum):
    """Where an actor stands. A restarted actor is back at ``created``."""

    CREATED = "created"
    READY = "ready"
    RUNNING = "running"
    DRAINED = "drained"
    FAILED = "failed"


class ActorReport(msgspec.Struct, frozen=True):
    """What an actor says of itself, once a second."""

    name: str
    kind: str
    phase: Phase
    incarnation: str
    """New with every restart of the process behind the name."""
    pid: int
    rss_bytes: int
    uptime_s: float
    problem: str
    """Why it failed, in one sentence; empty while all is well."""
    details: dict[str, Any]
    """What this kind of actor has to tell; JSON-ready."""
    metrics: bytes
    """Its metrics in Prometheus' text format."""


class EngineActor:
    """Base of the actors.

    Parameters
    ----------
    name
        Stable name: label of its metrics, key of its report.
    config
        The whole configuration; the log goes to ``data_dir/logs/NAME.log``.
    """

    def __init__(self, name: str, config: Config) -> None:
        file = Path(config.data_dir) / "logs" / f"{name}.log"
        set_up_logging(config.log.level, config.log.format, file)
        self.name = name
        self.phase = Phase.CREATED
        self.incarnation = f"{os.getpid()}-{time.monotonic_ns()}"
        self.problem = ""
        self.log = logging.getLogger(f"engine.{name}")
        self._born = time.monotonic()
        self._process = psutil.Process()
        self._tasks: list[asyncio.Task[None]] = []

    async def report(self) -> ActorReport:
        """Say how it goes. Must never wait for anything that can hang."""
        return ActorReport(
            name=self.name,
            kind=type(self).__name__,
            phase=self.phase,
            incarnation=self.incarnation,
            pid=os.getpid(),
            rss_bytes=self._process.memory_info().rss,
            uptime_s=round(time.monotonic() - self._born, 1),
            problem=self.problem,
            details=self.details(),
            metrics=exposition(),
        )

    def details(self) -> dict[str, Any]:
        """Return what only this kind of actor can tell."""
        return {}

    async def drain(self) -> None:
        """Finish what is in hand, write it down, and stop. Safe to call twice."""
        await self.stop_tasks()
        self.phase = Phase.DRAINED

    def spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Run `work` beside everything else; if it fails, the actor has failed and says why."""
        task = asyncio.get_running_loop().create_task(work, name=what)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if task in self._tasks:
            self._tasks.remove(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(task.get_name(), error)

    def fail(self, what: str, error: BaseException) -> None:
        """Say that it cannot go on, and why: the supervisor starts it anew."""
        self.problem = f"{what}: {type(error).__name__}: {error}"
        self.phase = Phase.FAILED
        self.log.error("%s stopped: %s", what, self.problem, exc_info=error)

    async def stop_tasks(self) -> None:
        """Cancel what `spawn` started and wait until it is gone."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
