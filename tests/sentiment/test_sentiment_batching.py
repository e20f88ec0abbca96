"""Batches of concurrent calls, and models that are replaced while they work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from engine.errors import ConfigError
from engine.sentiment.base import TextSentiment
from engine.sentiment.batching import Batches
from engine.sentiment.readers import Reloaded, TextReaders
from engine.sentiment.reading import KnownText, TextQuery, TextReader
from engine.sources.mentions import MentionFinder


class Work:
    """Doubles numbers, when it is let; remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()
        self.begun = threading.Event()

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.begun.set()
        assert self.open.wait(10)
        if -1 in items:
            raise ZeroDivisionError("minus one")
        return [2 * item for item in items]


async def turns() -> None:
    """Let the tasks that were just made ask."""
    for _ in range(3):
        await asyncio.sleep(0)


async def begun(work: Work) -> None:
    await asyncio.to_thread(work.begun.wait, 10)


async def test_batches_answer_in_order() -> None:
    batches = Batches(Work(), 3)
    assert await batches.ask([1, 2, 3, 4, 5, 6, 7]) == [2, 4, 6, 8, 10, 12, 14]
    assert await batches.ask([]) == []
    assert batches.waiting == 0


async def test_batches_put_what_waits_together_and_let_a_short_call_through() -> None:
    work = Work()
    work.open.clear()
    batches = Batches(work, 4)
    first = asyncio.create_task(batches.ask([0]))
    await begun(work)
    long = asyncio.create_task(batches.ask(list(range(10, 20))))
    short = asyncio.create_task(batches.ask([99]))
    await turns()
    assert batches.waiting == 12
    work.open.set()
    assert await asyncio.gather(first, short) == [[0], [198]]
    assert await long == list(range(20, 40, 2))
    assert work.batches == [[0], [10, 99, 11, 12], [13, 14, 15, 16], [17, 18, 19]]


async def test_batches_error_reaches_the_calls_of_that_batch_alone() -> None:
    work = Work()
    work.open.clear()
    batches = Batches(work, 2)
    first = asyncio.create_task(batches.ask([1, 2]))
    await begun(work)
    bad = asyncio.create_task(batches.ask([-1]))
    good = asyncio.create_task(batches.ask([5, 6, 7]))
    await turns()
    assert batches.waiting == 6
    work.open.set()
    assert await first == [2, 4]
    with pytest.raises(ZeroDivisionError):
        await bad
    with pytest.raises(ZeroDivisionError):
        await good
    assert await batches.ask([8]) == [16]


async def test_batches_drop_a_call_whose_caller_has_gone() -> None:
    work = Work()
    work.open.clear()
    batches = Batches(work, 2)
    first = asyncio.create_task(batches.ask([1]))
    await begun(work)
    gone = asyncio.create_task(batches.ask([3, 4, 5]))
    await turns()
    assert batches.waiting == 4
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    work.open.set()
    assert await first == [2]
    await batches.idle()
    assert (work.batches, batches.waiting) == ([[1]], 0)


class Versioned:
    """Reads every text alike; waits until it is let."""

    def __init__(self, number: int, gate: threading.Event) -> None:
        self.name = f"versioned-{number}"
        self.gate = gate
        self.begun = threading.Event()

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        if texts:
            self.begun.set()
            assert self.gate.wait(10)
        return [TextSentiment.of(0.5, 0.25) for _ in texts]


async def test_reload_lets_the_old_model_finish_and_gives_new_calls_the_new_one() -> None:
    gate, made = threading.Event(), list[Versioned]()

    def load(_: str) -> TextReader:
        made.append(Versioned(len(made) + 1, gate))
        return TextReader(made[-1], str, lambda _: "en", MentionFinder([]))

    readers = TextReaders(load, ["only"], 1)
    assert await readers.versions() == {"only": "versioned-1"}
    old = asyncio.create_task(readers.read("only", [TextQuery("a"), TextQuery("b")]))
    await asyncio.to_thread(made[0].begun.wait, 10)
    reloaded = await readers.reload("only")
    assert (reloaded.before, reloaded.after) == ("versioned-1", "versioned-2")
    new = asyncio.create_task(readers.opinions([KnownText("c", [])]))
    await asyncio.sleep(0)
    gate.set()
    assert (await old).model == "versioned-1"
    assert len((await old).readings) == 2
    assert (await new)[0] == "versioned-2"


async def test_readers_answer_with_the_model_they_hold_until_the_prepared_one_takes_its_place() -> (
    None
):
    gate, made = threading.Event(), list[Versioned]()
    gate.set()

    def load(_: str) -> TextReader:
        made.append(Versioned(len(made) + 1, gate))
        return TextReader(made[-1], str, lambda _: "en", MentionFinder([]))

    readers = TextReaders(load, ["only"], 1)
    assert await readers.prepare("only") == "versioned-2"
    assert (await readers.read("only", [TextQuery("a")])).model == "versioned-1"
    assert readers.switch("only") == Reloaded("versioned-1", "versioned-2")
    assert (await readers.read("only", [TextQuery("a")])).model == "versioned-2"
    assert await readers.prepare("only") == "versioned-3"
    readers.forget("only")
    assert readers.switch("only") == Reloaded("versioned-2", "versioned-2")
    assert readers.known == {"only": "versioned-2"}


async def test_readers_refuse_a_model_that_they_do_not_hold() -> None:
    readers = TextReaders(lambda _: pytest.fail("loads"), ["lexicon"], 8)
    with pytest.raises(ConfigError, match="'minilm' is not loaded; loaded: lexicon"):
        await readers.read("minilm", [TextQuery("a")])


async def test_readers_loading_that_fails_is_tried_again() -> None:
    tries = 0

    def load(_: str) -> TextReader:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConfigError("no weights yet")
        return TextReader(
            Versioned(tries, threading.Event()), str, lambda _: "en", MentionFinder([])
        )

    readers = TextReaders(load, ["only"], 8)
    with pytest.raises(ConfigError, match="no weights yet"):
        await readers.load()
    assert await readers.versions() == {"only": "versioned-2"}
