"""The actor that owns the embedded store."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from engine.actors.base import EngineActor, Phase
from engine.actors.priority import PATIENT, give_way
from engine.config import Config
from engine.errors import StoreLocked
from engine.store.embedded import EmbeddedStore
from engine.store.endpoint import StoreEndpoint

# A killed predecessor's lock goes with its process; the kernel may take a moment.
LOCK_PATIENCE_S = 10.0


class StoreServer(EngineActor):
    """Serves the embedded store on a port and with passwords fixed at the engine's start.

    A restart takes the same ones, so nobody who holds them has to be told.

    Parameters
    ----------
    name
        Stable name.
    config
        The whole configuration.
    path
        Folder of the store.
    endpoint
        Where to serve, and for whom.
    viewer_password
        For the user who can only read.
    """

    def __init__(
        self, name: str, config: Config, path: str, endpoint: StoreEndpoint, viewer_password: str
    ) -> None:
        super().__init__(name, config)
        give_way(PATIENT)
        self._store = EmbeddedStore(
            Path(path),
            host=endpoint.host,
            port=endpoint.port,
            memory_mb=config.store.memory_mb,
            password=endpoint.password,
            viewer_password=viewer_password,
        )
        self._endpoint = endpoint

    async def start(self) -> None:
        """Open the store and answer."""
        deadline = asyncio.get_running_loop().time() + LOCK_PATIENCE_S
        while True:
            try:
                await asyncio.to_thread(self._store.start)
                break
            except StoreLocked:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.2)
        self.phase = Phase.RUNNING

    async def drain(self) -> None:
        """Finish what runs and close; the next start finds everything."""
        await super().drain()
        await asyncio.to_thread(self._store.stop)

    def details(self) -> dict[str, Any]:
        """Return where it serves."""
        return {"url": f"http://{self._endpoint.host}:{self._endpoint.port}"}
