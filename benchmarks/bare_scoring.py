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

_PATIENCE_S = 60.0

_wait: Callable[[], object] = lambda: None  # noqa: E731 - replaced in the processes of a pool


def rate_alone(texts: pa.Table) -> float:
    """Return the texts a second that this process scores with the lexicon.

    Parameters
    ----------
    texts
        With `jobs.score_texts.COLUMNS`.
    """
    ids, titles, bodies, instruments = (python_values(texts.column(name)) for name in COLUMNS)
    reader = open_text_reader("lexicon", Config())
    _wait()
    began = time.perf_counter()
    score_texts(reader, ids, titles, bodies, instruments, 0)
    return len(ids) / (time.perf_counter() - began)


def rate_side_by_side(texts: pa.Table) -> float:
    """Return the texts a second of as many processes as there are cores, each scoring them all.

    It is what the cores have to give: where they share something, or a host lends them out, less
    than each alone would.
    """
    cores = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(cores)
    with ProcessPoolExecutor(cores, context, _begin_together, (barrier,)) as pool:
        return sum(pool.map(rate_alone, [texts] * cores))


def _begin_together(barrier: multiprocessing.synchronize.Barrier) -> None:
    global _wait  # noqa: PLW0603 - each process of the pool has its own
    _wait = lambda: barrier.wait(_PATIENCE_S)  # noqa: E731
