"""The actor that owns the embedded Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path

from engine.actors.base import EngineActor, Phase
from engine.bus.embedded import EmbeddedRedis
from engine.config import Config


class BusServer(EngineActor):
    """Runs redis-server on a port and with a password fixed at the engine's start.

    Parameters
    ----------
    name
        Stable name.
    config
        The whole configuration.
    port
        Loopback port.
    password
        What clients must present.
    """

    def __init__(self, name: str, config: Config, port: int, password: str) -> None:
        super().__init__(name, config)
        self._redis = EmbeddedRedis(Path(config.data_dir) / "bus", port=port, password=password)

    async def start(self) -> None:
        """Start the server and wait until it answers; watch it from then on."""
        await asyncio.to_thread(self._redis.start)
        self.phase = Phase.RUNNING
        self.spawn(self._keep(), "watching redis-server")

    async def _keep(self) -> None:
        """Start redis-server again where it died: it holds only what can be told again."""
        while True:
            await asyncio.sleep(0.5)
            if not self._redis.running:
                self.log.warning("redis-server ended; starting it again")
                await asyncio.to_thread(self._redis.start)

    async def drain(self) -> None:
        """Stop the server."""
        await super().drain()
        await asyncio.to_thread(self._redis.stop)
