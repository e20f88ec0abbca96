"""Runs a model over labelled texts, and measures what it says and what it takes."""

from __future__ import annotations

import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from engine.machine import affinity_cores
from engine.sentiment.base import SentimentModel, TextSentiment
from engine.sentiment.evaluation.gates import refusals
from engine.sentiment.evaluation.quality import Evaluation, Speed, qualities
from engine.sentiment.training.examples import Example

ALONE = 50
"""Texts that are read one by one for the time of a single one."""

Tell = Callable[[int], None]
"""Is told how many more texts are read."""


def evaluate(
    load: Callable[[], SentimentModel],
    examples: Sequence[Example],
    least_per_label: int = 30,
    batch_texts: int = 256,
    tell: Tell = lambda _: None,
) -> Evaluation:
    """Load a model, have it read labelled texts, and measure.

    Parameters
    ----------
    load
        Makes the model; its memory is counted too.
    examples
        At least one labelled text.
    least_per_label
        Fewer texts of a label are no test.
    batch_texts
        Texts given at once.
    tell
        Is told of progress.
    """
    before = peak_memory_mb()
    model = load()
    readings, seconds = _read(model, [one.text for one in examples], batch_texts, tell)
    alone = statistics.median(_alone(model, examples))
    overall, sources = qualities(examples, readings)
    speed = Speed(
        len(examples) / max(seconds, 1e-9), 1e3 * alone, peak_memory_mb() - before, machine()
    )
    return Evaluation(
        model.name, overall, sources, speed, refusals(examples, overall, least_per_label)
    )


def _read(
    model: SentimentModel, texts: Sequence[str], batch: int, tell: Tell
) -> tuple[list[TextSentiment | None], float]:
    readings: list[TextSentiment | None] = []
    began = time.perf_counter()
    for first in range(0, len(texts), batch):
        part = texts[first : first + batch]
        readings += model.score(part)
        tell(len(part))
    return readings, time.perf_counter() - began


def _alone(model: SentimentModel, examples: Sequence[Example]) -> list[float]:
    step = max(1, len(examples) // ALONE)
    times = []
    for example in examples[::step][:ALONE]:
        began = time.perf_counter()
        model.score([example.text])
        times.append(time.perf_counter() - began)
    return times


def peak_memory_mb() -> float:
    """Return the most memory that this process ever held, in MB (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1.0 if sys.platform == "darwin" else 1024.0) / 1e6


def machine() -> str:
    """Say what this machine is: what its times are worth."""
    return f"{affinity_cores()} cores, {platform.machine()}, {platform.system()}"
