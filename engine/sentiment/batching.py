"""Calls that come together are worked on together, in one thread, fairly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(slots=True, eq=False)
class _Call(Generic[Item, Answer]):
    items: Sequence[Item]
    done: asyncio.Future[list[Answer]]
    given: int = 0
    """How many of its items were handed to the work."""
    answers: list[Answer] = field(default_factory=list)


class Batches(Generic[Item, Answer]):
    """Gathers the items of concurrent calls into batches, and has one worked on at a time.

    Whatever waits when a batch ends makes the next one: nothing waits for company while the
    thread is idle, and the busier it is the larger the batches are. Each call in turn puts one
    item into a batch, so a call of one item is in the next batch however long the others are.
    A call whose caller has gone is dropped.

    Parameters
    ----------
    work
        Turns items into as many answers; blocking, called in a thread, never twice at once.
        What it raises, every call of that batch raises.
    most
        Most items of a batch, at least 1.
    """

    def __init__(self, work: Callable[[list[Item]], Sequence[Answer]], most: int) -> None:
        self._work = work
        self._most = most
        self._calls: list[_Call[Item, Answer]] = []
        self._running: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Items without an answer, those being worked on included."""
        return sum(len(call.items) - len(call.answers) for call in self._calls)

    async def ask(self, items: Sequence[Item]) -> list[Answer]:
        """Return an answer for each item, in order."""
        if not items:
            return []
        call = _Call[Item, Answer](items, asyncio.get_running_loop().create_future())
        self._calls.append(call)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="batches")
        try:
            return await call.done
        finally:
            if call in self._calls:
                self._calls.remove(call)

    async def idle(self) -> None:
        """Wait until everything that was asked is answered."""
        while self._running is not None:
            await asyncio.wait([self._running])

    async def _run(self) -> None:
        try:
            while self._calls:
                owners, items = self._next()
                task = asyncio.create_task(asyncio.to_thread(self._work, items))
                await asyncio.wait([task])
                error = task.exception()
                if error is None:
                    _hand_out(owners, task.result())
                else:
                    _fail(owners, error)
                self._calls = [call for call in self._calls if not call.done.done()]
        finally:
            self._running = None

    def _next(self) -> tuple[list[_Call[Item, Answer]], list[Item]]:
        """Take an item of each call in turn until the batch is full, or nothing is left."""
        owners: list[_Call[Item, Answer]] = []
        items: list[Item] = []
        open_calls = self._calls
        while open_calls and len(items) < self._most:
            open_calls = [call for call in open_calls if call.given < len(call.items)]
            for call in open_calls[: self._most - len(items)]:
                owners.append(call)
                items.append(call.items[call.given])
                call.given += 1
        return owners, items


def _hand_out(owners: Sequence[_Call[Item, Answer]], answers: Sequence[Answer]) -> None:
    for call, answer in zip(owners, answers, strict=True):
        call.answers.append(answer)
        if len(call.answers) == len(call.items) and not call.done.done():
            call.done.set_result(call.answers)


def _fail(owners: Sequence[_Call[Item, Answer]], error: BaseException) -> None:
    for call in owners:
        if not call.done.done():
            call.done.set_exception(error)
