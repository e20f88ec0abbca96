"""Texts a second of `minilm` on the CPU, against the plain transformers library.

The reference is what everybody writes first: the same encoder from ``transformers``, in single
precision, batches of 32 in the order they come, padded to their longest. Both have all cores.
The rounds alternate, so that other work on the machine slows both. Also measured: one text at a
time, and what 8-bit arithmetic changes in the answers.

Run with ``python -m benchmarks.sentiment_cpu [--csv FILE --column text] [--texts 512]``; without
a file it reads the texts that come with the package.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.machine import describe_machine
from engine.sentiment.encoder.base_model import base_folder
from engine.sentiment.encoder.session import cores
from engine.sentiment.encoder.tokens import MAX_TOKENS
from engine.sentiment.minilm import MiniLM
from engine.sentiment.training.sets import corpus

REFERENCE = "transformers, fp32, batches of 32"
ROUNDS = 5
BATCH = 32
ALONE = 200


def plain_transformers() -> Callable[[Sequence[str]], object]:
    """Return the reference: mean vectors of texts, as the library gives them."""
    import torch  # noqa: PLC0415  (only the reference needs them)
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

    torch.set_num_threads(cores())
    folder = str(base_folder())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def read(texts: Sequence[str]) -> object:
        found = []
        with torch.inference_mode():
            for start in range(0, len(texts), BATCH):
                batch = tokenizer(
                    list(texts[start : start + BATCH]),
                    padding=True,
                    truncation=True,
                    max_length=MAX_TOKENS,
                    return_tensors="pt",
                )
                states = model(**batch).last_hidden_state
                there = batch["attention_mask"][..., None]
                found.append((states * there).sum(1) / there.sum(1))
        return found

    return read


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def texts_of(path: str, column: str, count: int) -> list[str]:
    """Return texts of a CSV file, or of the package."""
    if not path:
        texts = [one.text for one in corpus() if not one.origin]
        return texts[:: max(1, len(texts) // count)][:count]
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [row[column] for _, row in zip(range(count), csv.DictReader(file), strict=False)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--csv", default="", help="a CSV file of texts")
    parser.add_argument("--column", default="text", help="its column")
    parser.add_argument("--texts", type=int, default=512, help="how many")
    asked = parser.parse_args()
    texts = texts_of(asked.csv, asked.column, asked.texts)
    began = time.perf_counter()
    model = MiniLM()
    loading = time.perf_counter() - began
    exact, reference = MiniLM(quantised=False), plain_transformers()
    ways = {
        REFERENCE: lambda: reference(texts),
        "minilm, fp32": lambda: exact.score(texts),
        "minilm": lambda: model.score(texts),
    }
    reference(texts[:BATCH])
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, work in ways.items():
            times[name].append(seconds(work))
    print(describe_machine())
    print(f"{len(texts)} texts, {cores()} threads, medians of {ROUNDS} rounds, texts a second:")
    for name, all_times in times.items():
        median = statistics.median(all_times)
        ratio = statistics.median(
            plain / ours for plain, ours in zip(times[REFERENCE], all_times, strict=True)
        )
        print(f"  {name:36s}{len(texts) / median:8,.0f}   {ratio:.2f}")
    ordered = sorted(1e3 * seconds(partial(model.score, [text])) for text in texts[:ALONE])
    print(f"one text alone: p50 {ordered[len(ordered) // 2]:.1f} ms, "
          f"p99 {ordered[int(len(ordered) * 0.99)]:.1f} ms; loading {loading:.1f} s")  # fmt: skip
    pairs = [
        (a, b)
        for a, b in zip(model.score(texts), exact.score(texts), strict=True)
        if a is not None and b is not None
    ]
    same = sum(a.label == b.label for a, b in pairs) / len(pairs)
    apart = statistics.fmean(abs(a.score - b.score) for a, b in pairs)
    print(f"8 bits against fp32: {same:.1%} of the labels are the same, scores {apart:.4f} apart")


if __name__ == "__main__":
    main()
