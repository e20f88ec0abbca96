"""The sentiment replicas as one: whoever has texts asks this, and it asks a replica.

Replicas come and go: the supervisor starts more while texts wait, and Ray starts anew what died.
They are found by their names. A call goes to the one with the fewest of ours in flight; if that
one is gone, or being drained, the next one gets it. Reading a text twice does no harm, so no call
is dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ray.exceptions import RayActorError

from engine.actors.placement import Handle, find
from engine.domain.sentiment import SentimentScore
from engine.domain.text import TextItem
from engine.errors import SentimentUnavailable
from engine.metrics import ERRORS, IN_FLIGHT
from engine.sentiment.readers import ReadTexts, Reloaded
from engine.sentiment.reading import TextQuery

NAME = "sentiment-"
"""Begin of every replica's name; its number follows."""

LOOK_EVERY_S = 1.0
"""How often the replicas are looked up, and asked for the versions of their models."""

LONGEST_UNSEEN_S = 5.0
"""After this long without a look a call waits for one; before, it goes on with what is known."""

GREETING_S = 0.5
"""How long a look waits for the answer of a replica that is known; it may be busy."""

RETRY_S = 0.05
"""Pause before the next try where no replica answers."""

Versions = dict[str, str]
"""Names of models -> names with versions, the default first."""


class SentimentPool:
    """Belongs to the event loop that first uses it; before, it can be sent to another process.

    Parameters
    ----------
    most
        Most replicas that there may be.
    patience_s
        How long a call waits for a replica that answers.
    find
        Gives an actor by its name, None where there is none; blocking.
    """

    def __init__(
        self, most: int, patience_s: float, find: Callable[[str], Handle | None] = find
    ) -> None:
        self._most = most
        self._patience_s = patience_s
        self._find = find
        self._replicas: dict[str, Handle] = {}
        """Those that have answered."""
        self._greetings: dict[str, asyncio.Task[None]] = {}
        self._in_flight: Counter[str] = Counter()
        self._turn = 0
        self._looked_at = -LOOK_EVERY_S
        self._looking: asyncio.Task[None] | None = None
        self._versions: Versions = {}
        self._reloading = asyncio.Lock()
        """Two at a time would switch to, or forget, each other's models."""

    async def score(self, items: list[TextItem]) -> list[SentimentScore]:
        """Have texts scored with the default model; see `SentimentReplica.score`.

        Raises
        ------
        SentimentUnavailable
            Where no replica answers. So do all methods below.
        """
        scores: list[SentimentScore] = await self._call("score", items)
        return scores

    async def read(self, model: str, queries: Sequence[TextQuery]) -> ReadTexts:
        """Have texts read with the model of that name; see `SentimentReplica.read`."""
        found: ReadTexts = await self._call("read", model, list(queries))
        return found

    async def model(self) -> str:
        """Return the name, with its version, of the default model."""
        return next(iter((await self.versions()).values()))

    async def versions(self) -> Versions:
        """Return the models' versions: as of a second or two ago, while there are calls."""
        await self._answering()
        return self._versions

    async def reload(self, model: str) -> dict[str, Reloaded]:
        """Have every replica load a model anew, then all of them switch to it.

        They load one after the other: the others answer meanwhile, and so does the model that
        each holds. None switches before all have loaded it.

        Returns
        -------
        dict
            By the replicas' names.

        Raises
        ------
        ConfigError
            Where one of them cannot load it: all keep theirs.
        """
        await self._answering()
        async with self._reloading:
            try:
                await self._of_each("prepare", model)
            except BaseException:
                forgetting = [each.forget.remote(model) for each in self._replicas.values()]
                await asyncio.gather(*forgetting, return_exceptions=True)
                raise
            found: dict[str, Reloaded] = await self._of_each("switch", model)
        await self._look()
        return found

    async def _of_each(self, method: str, model: str) -> dict[str, Any]:
        """Ask one replica after the other."""
        found = {}
        for name, replica in list(self._replicas.items()):
            try:
                found[name] = await getattr(replica, method).remote(model)
            except RayActorError:
                # It is started anew, and so loads what is there now.
                self._replicas.pop(name, None)
        return found

    @property
    def replicas(self) -> tuple[str, ...]:
        """Names of those that answer."""
        return tuple(sorted(self._replicas))

    async def close(self) -> None:
        """Wait for nobody any more."""
        tasks = [*self._greetings.values(), *([self._looking] if self._looking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, method: str, *arguments: Any) -> Any:
        """Ask one replica after the other until one answers."""
        deadline = time.monotonic() + self._patience_s
        while True:
            await self._answering(deadline)
            name = self._next()
            try:
                return await self._ask(name, method, arguments)
            except (RayActorError, ConnectionError) as error:
                ERRORS.labels("sentiment", "replica").inc()
                self._replicas.pop(name, None)
                if time.monotonic() > deadline:
                    why = str(error).splitlines()[0]
                    raise SentimentUnavailable(f"{name} does not answer: {why}") from None

    async def _ask(self, name: str, method: str, arguments: Sequence[Any]) -> Any:
        self._in_flight[name] += 1
        try:
            with IN_FLIGHT.labels("sentiment").track_inprogress():
                return await getattr(self._replicas[name], method).remote(*arguments)
        finally:
            self._in_flight[name] -= 1

    def _next(self) -> str:
        """Return the one with the fewest calls in flight; among equals each in turn."""
        names = list(self._replicas)
        self._turn += 1
        start = self._turn % len(names)
        return min([*names[start:], *names[:start]], key=lambda name: self._in_flight[name])

    # Who runs ----------------------------------------------------------------------------

    async def _answering(self, deadline: float | None = None) -> None:
        """Return as soon as there is a replica that answers, looked up some seconds ago at most."""
        until = time.monotonic() + self._patience_s if deadline is None else deadline
        while not self._replicas or time.monotonic() - self._looked_at > LOOK_EVERY_S:
            if self._looking is None:
                self._looking = asyncio.create_task(self._look())
                self._looking.add_done_callback(_retrieved)
            # One call in a second would wait for replicas that are busy, and be the slowest.
            if self._replicas and time.monotonic() - self._looked_at < LONGEST_UNSEEN_S:
                return
            await asyncio.shield(self._looking)
            if self._replicas:
                return
            if time.monotonic() > until:
                raise SentimentUnavailable("no sentiment replica runs, or those that do are busy")
            await asyncio.sleep(RETRY_S)

    async def _look(self) -> None:
        """Look up who runs. One that starts is not given texts before it has answered."""
        try:
            names = [f"{NAME}{number}" for number in range(self._most)]
            handles = await asyncio.to_thread(lambda: [self._find(name) for name in names])
            found = {n: handle for n, handle in zip(names, handles, strict=True) if handle}
            self._replicas = {n: found[n] for n in self._replicas if n in found}
            for name, handle in found.items():
                if name not in self._greetings:
                    self._greetings[name] = asyncio.create_task(self._greet(name, handle))
            known = [task for n, task in self._greetings.items() if n in self._replicas]
            if known:
                await asyncio.wait(known, timeout=GREETING_S)
            self._looked_at = time.monotonic()
        finally:
            self._looking = None

    async def _greet(self, name: str, replica: Handle) -> None:
        """Ask a replica for its versions; it is one of us as soon as it answers."""
        try:
            self._versions = await replica.versions.remote()
            self._replicas[name] = replica
        except (RayActorError, ConnectionError):
            self._replicas.pop(name, None)
        finally:
            del self._greetings[name]


def _retrieved(looking: asyncio.Task[None]) -> None:
    """Take note of how a look ended: whoever waited for it was told."""
    if not looking.cancelled():
        looking.exception()
