"""Scoring without Ray and store: by one process, and by one on each core at a time."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pyarrow as pa

from engine.actors.text_reading import open_text_reader
from engine.config import Config
from engine.sentiment.scoring import score_texts
from engine.store.columns import python_values
from jobs.score_texts import COLUMNS


def rate_alone(texts: pa.Table, ready: Callable[[], object] | None = None) -> float:
    """Return the texts a second that this process scores with the lexicon.

    Parameters
    ----------
    texts
        With `jobs.score_texts.COLUMNS`.
    ready
        Called once all is read, before the first text is scored.
    """
    ids, titles, bodies, instruments = (python_values(texts.column(name)) for name in COLUMNS)
    reader = open_text_reader("lexicon", Config())
    if ready is not None:
        ready()
    began = time.perf_counter()
    score_texts(reader, ids, titles, bodies, instruments, 0)
    return len(ids) / (time.perf_counter() - began)


def rate_side_by_side(texts: pa.Table) -> float:
    """Return the texts a second of as many processes as there are cores, each scoring them all.

    They begin together. It is what the cores have to give: where they share something, or a host
    lends them out, less than each alone would.
    """
    cores = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(cores, context) as pool:
        together = manager.Barrier(cores).wait
        return sum(pool.map(rate_alone, [texts] * cores, [together] * cores))
