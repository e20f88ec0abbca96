"""The actors that stand in for venues: the simulator, and the replay of recordings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from engine.actors.base import EngineActor, Phase
from engine.actors.wiring import VenueEndpoint
from engine.clock import SystemClock
from engine.config import Config
from engine.exchanges.replay import ReplayServer, inspect_recordings
from engine.simulator.server import SimulatedVenues


class Simulator(EngineActor):
    """Runs the simulated venues and their news on loopback ports.

    Parameters
    ----------
    name
        Stable name.
    config
        The whole configuration.
    """

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name, config)
        instruments: dict[str, tuple[str, ...]] = {
            name: venue.instruments for name, venue in config.exchanges.items()
        }
        self._venues = SimulatedVenues(config.simulator, SystemClock(), instruments)
        self._endpoints: dict[str, VenueEndpoint] = {}
        self._news_url = ""

    async def start(self) -> tuple[dict[str, VenueEndpoint], str]:
        """Listen; return each venue's endpoints, and the URL of the news."""
        if self.phase is not Phase.RUNNING:
            endpoints = await self._venues.start()
            self._endpoints = {
                name: VenueEndpoint(ws_url, rest_url)
                for name, (ws_url, rest_url) in endpoints.exchanges.items()
            }
            self._news_url = endpoints.news_url
            self.phase = Phase.RUNNING
        return self._endpoints, self._news_url

    async def drain(self) -> None:
        """Close every connection and stop."""
        await super().drain()
        await self._venues.stop()


class Replay(EngineActor):
    """Serves recordings over real WebSockets, one server per exchange.

    Parameters
    ----------
    name
        Stable name.
    config
        The whole configuration, with ``replay.files``.
    """

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name, config)
        self._config = config
        self._server: ReplayServer | None = None
        self._endpoints: dict[str, VenueEndpoint] = {}

    async def start(self) -> tuple[dict[str, VenueEndpoint], str]:
        """Listen; return each exchange's endpoint, and no news."""
        if self._server is None:
            files = [Path(file) for file in self._config.replay.files]
            recordings = await asyncio.to_thread(inspect_recordings, files)
            self._server = ReplayServer(recordings, self._config.replay.speed)
            self._endpoints = {
                name: VenueEndpoint(
                    url, has_rest=False, replayed=True, adapter=self._server.adapter(name)
                )
                for name, url in (await self._server.start()).items()
            }
            self.phase = Phase.RUNNING
        return self._endpoints, ""

    async def drain(self) -> None:
        """Close every connection and stop."""
        await super().drain()
        if self._server is not None:
            await self._server.stop()

    def details(self) -> dict[str, Any]:
        """Return how far each exchange's recordings have come."""
        if self._server is None:
            return {}
        return {
            name: {"frames": progress.frames, "sent": progress.sent}
            for name, progress in self._server.progress().items()
        }
