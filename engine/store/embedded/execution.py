"""Running chDB's blocking calls beside the event loop, and cancelling them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from engine.store.embedded.engine import ChdbEngine
from engine.store.embedded.failure import QUERY_WAS_CANCELLED, refusal

P = ParamSpec("P")
T = TypeVar("T")

WORKERS = 16
"""Statements that work at the same time; further ones wait their turn."""
_KILL_EVERY_S = 0.1
_KILL_TRIES = 30


class Execution:
    """Threads that run the engine's calls.

    Parameters
    ----------
    engine
        The open database.
    """

    def __init__(self, engine: ChdbEngine) -> None:
        self._engine = engine
        self._workers = ThreadPoolExecutor(WORKERS, "store")
        self._control = ThreadPoolExecutor(1, "store-control")
        self._running: dict[str, int] = {}
        self._closing = False

    async def call(
        self, query_id: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function` in a thread and wait; where the waiter is cancelled, kill the query."""
        if self._closing:
            raise refusal(QUERY_WAS_CANCELLED, "QUERY_WAS_CANCELLED", "the store is closing")
        work = self._workers.submit(function, *args, **kwargs)
        future = asyncio.wrap_future(work)
        self._running[query_id] = self._running.get(query_id, 0) + 1
        future.add_done_callback(lambda ended: self._done(query_id, ended))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # Only the thread's own future knows whether the call began: asyncio's would be
            # cancelled under a call that runs on.
            if not work.cancel():
                await self._kill_until_done(query_id, future)
            raise

    def _done(self, query_id: str, ended: asyncio.Future[T]) -> None:
        if not ended.cancelled():
            ended.exception()  # whoever waited may be gone; then nobody else asks for it
        left = self._running[query_id] - 1
        if left:
            self._running[query_id] = left
        else:
            del self._running[query_id]

    async def _kill_until_done(self, query_id: str, future: asyncio.Future[T]) -> None:
        # A query is only known to the database some moments after its call began, so one
        # KILL may come too early.
        loop = asyncio.get_running_loop()
        for _ in range(_KILL_TRIES):
            await loop.run_in_executor(self._control, self._engine.kill, query_id)
            done, _ = await asyncio.wait([future], timeout=_KILL_EVERY_S)
            if done:
                future.exception()
                return

    async def close(self, grace_s: float) -> None:
        """Let running calls finish for `grace_s`, then kill them, then end the threads."""
        self._closing = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        while self._running and loop.time() < deadline + _KILL_TRIES * _KILL_EVERY_S:
            if loop.time() >= deadline:
                for query_id in list(self._running):
                    await loop.run_in_executor(self._control, self._engine.kill, query_id)
            await asyncio.sleep(_KILL_EVERY_S / 2)
        self._workers.shutdown(wait=not self._running, cancel_futures=True)
        self._control.shutdown(wait=True)
