"""The actor that submits jobs when they are due."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.actors.base import EngineActor, Phase
from engine.actors.schedule_keeper import Jobs, ScheduleKeeper
from engine.actors.submission import JobServer
from engine.actors.wiring import Wiring
from engine.clock import Clock, SystemClock, iso_utc
from engine.config import Config
from engine.domain.schedule import ScheduledRun
from engine.errors import StartError, StoreError
from engine.metrics import ERRORS
from engine.schedules import configured_schedules
from engine.store.client import Store
from engine.store.schedule_book import ScheduleBook

LOOK_EVERY_S = 2.0


class Scheduler(EngineActor):
    """Submits jobs on their schedule, through Ray's job API.

    Schedules come from the configuration and, added at run time, from the store; the command
    ``engine schedule`` writes them there. All that it decides is in the store too: a restarted
    one goes on where the last one was.

    Parameters
    ----------
    name
        Stable name.
    config
        The whole configuration.
    wiring
        Addresses.
    jobs_url
        Where Ray's job API answers.
    jobs_here
        Whether jobs run on this machine, and so read its files.
    """

    def __init__(
        self, name: str, config: Config, wiring: Wiring, jobs_url: str, jobs_here: bool
    ) -> None:
        super().__init__(name, config)
        self._config = config
        self._store = Store(wiring.store)
        self._jobs_url = jobs_url
        self._jobs_here = jobs_here
        self._keeper: ScheduleKeeper | None = None
        self._looking = asyncio.Lock()
        self._trouble = ""

    async def start(self) -> None:
        """Take up the schedules, and begin to keep them.

        Raises
        ------
        EngineError
            Where the configuration's schedules cannot work, or the store or the job API does not
            answer.
        """
        if self.phase is Phase.RUNNING:
            return
        configured = configured_schedules(self._config)
        keeper = ScheduleKeeper(
            self._config,
            ScheduleBook(self._store),
            await asyncio.to_thread(self._job_server),
            self._clock(),
            self.log,
        )
        await asyncio.to_thread(keeper.take_up, configured)
        self._keeper = keeper
        self.phase = Phase.RUNNING
        self.spawn(self._keep(keeper), "keeping the schedules")

    def _job_server(self) -> Jobs:
        return JobServer(self._jobs_url, is_here=self._jobs_here)

    def _clock(self) -> Clock:
        return SystemClock()

    async def _keep(self, keeper: ScheduleKeeper) -> None:
        while True:
            try:
                async with self._looking:
                    await asyncio.to_thread(keeper.look)
                self._trouble = ""
            except (StoreError, StartError) as error:
                # Whoever does not answer now may do so at the next look; nothing is forgotten.
                if str(error) != self._trouble:
                    self.log.warning("schedules wait: %s", error)
                    ERRORS.labels("scheduler", "look").inc()
                self._trouble = str(error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def drain(self) -> None:
        """Submit nothing more. What was submitted goes on without it."""
        if self.phase is Phase.DRAINED:
            return
        async with self._looking:
            # Not in the middle of a look: its thread would go on submitting.
            await self.stop_tasks()
        await asyncio.to_thread(self._store.close)
        self.phase = Phase.DRAINED

    def details(self) -> dict[str, Any]:
        """Return how many schedules there are, and which runs are going."""
        if self._keeper is None:
            return {"schedules": 0, "going": [], "problem": ""}
        return {
            "schedules": len(self._keeper.schedules),
            "going": [_told(run) for run in self._keeper.going],
            "problem": self._trouble,
        }


def _told(run: ScheduledRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "due_at": iso_utc(run.due_at),
        "state": run.state,
        "submission_id": run.submission_id,
        "problem": run.problem,
    }
