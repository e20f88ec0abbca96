"""Ray's dashboard, out of reach of a terminal's Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray._private import ray_constants, services


@contextmanager
def quiet_dashboard() -> Iterator[None]:
    """Let the dashboard of a cluster that is started meanwhile ignore SIGINT.

    A terminal sends it to all processes of the foreground. Ray blocks it in what it starts, but
    Python's ``multiprocessing`` lets it through again, so that the dashboard's own processes
    ended at once: nobody could stop the running jobs in order any more, and the engine waited
    half a minute for an answer. A signal that is ignored stays so in every process below.
    """
    original = services.start_ray_process

    def start(command: Any, process_type: str, *others: Any, **named: Any) -> Any:
        is_main = threading.current_thread() is threading.main_thread()
        if process_type != ray_constants.PROCESS_TYPE_DASHBOARD or not is_main:
            return original(command, process_type, *others, **named)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return original(command, process_type, *others, **named)
        finally:
            signal.signal(signal.SIGINT, before)

    services.start_ray_process = start
    try:
        yield
    finally:
        services.start_ray_process = original
