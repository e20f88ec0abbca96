"""Why a job failed, as one sentence, wherever in the cluster it happened."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ray.exceptions import (
    NodeDiedError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from engine.errors import EngineError, StartError

_ADVICE = re.compile(r"\s*Failed to [^\n]* after \d+/\d+ attempts \(total backoff")

_MACHINE: tuple[tuple[type[Exception], str], ...] = (
    (OutOfMemoryError, "a machine ran out of memory and a task was ended; give the job fewer "
     "pieces at a time or more memory"),
    (ObjectStoreFullError, "Ray's object store is full; raise ray.object_store_mb"),
    (OutOfDiskError, "a machine's disk is full"),
    (WorkerCrashedError, "a process of the job ended without a word, most likely for want of "
     "memory"),
    (NodeDiedError, "a machine of the cluster was lost, and what it did could not be done again"),
    (RayActorError, "an actor of the job, or of the engine, was lost"),
)  # fmt: skip


def as_engine_error(error: BaseException) -> EngineError | None:
    """Return what a job raised as an error whose text is one sentence.

    What a task raises arrives wrapped, with the traces of all processes it passed through; the
    innermost error of ours is what the user needs to read, and has the exit code.

    Returns
    -------
    EngineError or None
        None where the error is not Ray's and not ours: a mistake of the job itself, whose trace
        is worth seeing.
    """
    chain = list(_causes(error))
    ours = [each for each in chain if isinstance(each, EngineError)]
    if ours:
        ours[-1].args = (without_advice(str(ours[-1])),)
        return ours[-1]
    for kind, sentence in _MACHINE:
        if any(isinstance(each, kind) for each in chain):
            return StartError(sentence)
    if not any(isinstance(each, RayError) for each in chain):
        return None
    last = chain[-1]
    text = without_advice(str(last)).splitlines()
    return EngineError(f"a task failed with {type(last).__name__}: {text[-1] if text else ''}")


def without_advice(text: str) -> str:
    r"""Leave out what Ray Data adds to an error about its own settings.

    Examples
    --------
    >>> without_advice("no column close\nFailed to apply map after 1/1 attempts (total backoff …")
    'no column close'
    """
    return _ADVICE.split(text, maxsplit=1)[0].strip()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what lies behind it, outermost first; Ray's wrappers only by kind."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, RayTaskError):
            # One that also is of its cause's type says the cause's text with all its traces.
            yield RayError()
            error = error.cause
        else:
            yield error
            error = error.__cause__
