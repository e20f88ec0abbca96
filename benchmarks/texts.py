"""Texts a second of the pipeline before the models, and what its memory takes.

The simulator's headlines and posts of ten days, which no mentions are looked for in again: the
normal form, spam, near-duplicates and all of it together, in one process. Each figure is the
median of several rounds, by the processor's time: that of one core.

Run with ``python -m benchmarks.texts``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import psutil

from benchmarks.machine import describe_machine
from engine.clock import NS_PER_S
from engine.config import SimulatorConfig
from engine.domain.text import TextItem
from engine.settings.texts import TextsSection
from engine.simulator.news import NewsProcess
from engine.texts.language import sure_language
from engine.texts.near_duplicates import NearDuplicates
from engine.texts.normalise import normalise
from engine.texts.pipeline import TextPipeline
from engine.texts.spam import spam_reason

ROUNDS = 3
DAYS = 10
DAY_NS = 86_400 * NS_PER_S


def simulated() -> list[TextItem]:
    """Return the simulator's texts of ten days."""
    config = SimulatorConfig()
    events = NewsProcess(config).texts(config.epoch_ns, config.epoch_ns + DAYS * DAY_NS)
    return [
        TextItem(
            text_id=each.text_id,
            source="simulated",
            kind="news" if each.kind == "news" else "post",
            title=each.title,
            body=each.body,
            url="",
            author=each.author,
            published_at=each.time_ns,
            available_at=each.time_ns,
            engagement=0.0,
            credibility=0.5,
            instruments=(f"{each.base}-USDT",) if each.base else (),
        )
        for each in events
    ]


def rate(items: Sequence[TextItem], work: Callable[[Sequence[TextItem]], object]) -> float:
    """Return texts a second, the median of several rounds."""
    durations = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work(items)
        durations.append(time.process_time() - began)
    return len(items) / statistics.median(durations)


def near_duplicates(items: Sequence[TextItem]) -> NearDuplicates:
    """Look for near-duplicates in all of them."""
    near = NearDuplicates()
    for item in items:
        near.original_of(item)
    return near


def no_mentions(_: str) -> tuple[str, ...]:
    """Find no instrument."""
    return ()


def kilobytes_each(items: Sequence[TextItem]) -> float:
    """Return the memory that an original takes, kB."""
    process = psutil.Process()
    before = process.memory_info().rss
    held = near_duplicates(items)
    return (process.memory_info().rss - before) / 1_000 / len(held)


def main() -> None:
    """Measure and print."""
    items = simulated()
    each_kb = kilobytes_each(items)
    steps: dict[str, Callable[[Sequence[TextItem]], object]] = {
        "normal form": lambda texts: [normalise(item.content) for item in texts],
        "spam by phrases": lambda texts: [spam_reason(item.content, item.kind) for item in texts],
        "near-duplicates": near_duplicates,
        "all of it": lambda texts: TextPipeline(TextsSection(), no_mentions).admit(texts),
        "language (not part of it)": lambda texts: [sure_language(item.content) for item in texts],
    }
    print(describe_machine())
    print(f"{len(items):,} simulated texts, median of {ROUNDS} rounds, texts a second of a core:")
    for name, work in steps.items():
        print(f"  {name:26} {rate(items, work):9,.0f}")
    print(f"memory of an original: {each_kb:.1f} kB")


if __name__ == "__main__":
    main()
