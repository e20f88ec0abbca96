"""Asking a store that may be away for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from engine.errors import StoreUnavailable

T = TypeVar("T")

PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses between attempts: half a minute altogether, in which an embedded store is up again."""


def patiently(ask: Callable[[], T], pauses_s: Sequence[float] = PAUSES_S) -> T:
    """Ask, and ask again while the store does not answer.

    Parameters
    ----------
    ask
        What to do: a query, or an insert whose repetition its token makes harmless.
    pauses_s
        How long to wait before each further attempt, seconds.

    Raises
    ------
    StoreUnavailable
        Where the last attempt got no answer either.
    """
    for pause_s in pauses_s:
        try:
            return ask()
        except StoreUnavailable:
            time.sleep(pause_s)
    return ask()
