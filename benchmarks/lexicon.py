"""Texts a second of the lexicon model, against vaderSentiment as it comes.

Both read the simulator's headlines and posts (the reference: the plain library, one text after
the other). Medians of several rounds in one process.

Run with ``python -m benchmarks.lexicon``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from benchmarks.machine import describe_machine
from engine.clock import NS_PER_S
from engine.config import SimulatorConfig
from engine.sentiment.lexicon import LexiconModel
from engine.simulator.news import NewsProcess

ROUNDS = 7
TWO_DAYS_NS = 2 * 86_400 * NS_PER_S


def seconds(work: Callable[[], object]) -> float:
    """Return the median duration of `work`."""
    durations = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        durations.append(time.perf_counter() - began)
    return statistics.median(durations)


def main() -> None:
    """Measure and print."""
    config = SimulatorConfig()
    events = NewsProcess(config).texts(config.epoch_ns, config.epoch_ns + TWO_DAYS_NS)
    texts = [f"{event.title}\n{event.body}" for event in events]
    model, plain = LexiconModel(), SentimentIntensityAnalyzer()
    ours = seconds(lambda: model.score(texts))
    reference = seconds(lambda: [plain.polarity_scores(text) for text in texts])
    print(describe_machine())
    print(f"median of {ROUNDS} rounds over {len(texts):,} simulated texts, texts a second:")
    print(f"  vaderSentiment  {len(texts) / reference:9,.0f}    1.00")
    print(
        f"  lexicon         {len(texts) / ours:9,.0f}    {reference / ours:.2f} of vaderSentiment"
    )


if __name__ == "__main__":
    main()
