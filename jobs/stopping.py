"""How a job is stopped: SIGTERM, as ``engine stop`` and Ray send it, becomes an exception."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(KeyboardInterrupt):
    """Somebody asked the job to stop.

    A kind of ``KeyboardInterrupt``, for that is the only exception of a signal handler that
    ``ray.get`` lets through.
    """


def listen() -> None:
    """Take SIGTERM; called again after ``ray.init``, which puts a handler of its own there.

    Outside the main thread nothing happens: whoever runs a job there stops it in another way.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _stop)


@contextmanager
def stoppable() -> Iterator[None]:
    """Listen for SIGTERM for a while."""
    before = signal.getsignal(signal.SIGTERM)
    listen()
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def stop_listening() -> None:
    """Ignore SIGTERM from now on: what is being written down must not be interrupted."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _stop(*_: object) -> None:
    raise Stopped
