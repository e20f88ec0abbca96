"""A store that notes and fails as it is told, and a way to wait for what must come true."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from engine.errors import StoreUnavailable
from engine.store.client import Store
from engine.store.endpoint import StoreEndpoint


@dataclass
class RecordingStore(Store):
    """A store that notes what is written to it, and fails as it is told."""

    failures: list[Exception] = field(default_factory=list)
    asked: list[tuple[str, int, str | None]] = field(default_factory=list)
    kept: list[tuple[str, int]] = field(default_factory=list)
    stored: list[pa.Table] = field(default_factory=list)
    open: bool = True
    hung: threading.Event | None = None

    def __post_init__(self) -> None:
        super().__init__(StoreEndpoint("127.0.0.1", 1, "nobody", ""))

    def insert_arrow(self, table: str, rows: pa.Table, token: str | None = None) -> int:
        self.asked.append((table, rows.num_rows, token))
        if self.hung is not None:
            assert self.hung.wait(30), "nobody let the store go on"
        if self.failures:
            raise self.failures.pop(0)
        if not self.open:
            raise StoreUnavailable("closed for the test")
        self.kept.append((table, rows.num_rows))
        self.stored.append(rows)
        return int(rows.num_rows)


async def until(condition: Callable[[], object], *, turns: int = 2000) -> None:
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it never came true")
