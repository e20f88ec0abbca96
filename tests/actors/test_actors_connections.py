"""What a stream's connections export of their books."""

from __future__ import annotations

from types import SimpleNamespace

from engine.actors.connections import Connections
from engine.metrics import REGISTRY


class Loop:
    """A stream loop with one book keeper at a time."""

    channels = ("book",)

    def __init__(self) -> None:
        self.books: SimpleNamespace | None = None

    def renewed(self, overflowed: int) -> None:
        self.books = SimpleNamespace(live={"BTC-USDT"}, overflowed=overflowed)

    def broken(self) -> dict[tuple[str, str], str]:
        return {}


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_export_counts_changes_that_books_dropped_each_once() -> None:
    one, two = Loop(), Loop()
    both = Connections("connections-venue", [one, two])  # type: ignore[list-item]
    before = value("engine_errors_total", stage="stream", kind="book_overflow")

    def counted() -> float:
        both.export()
        return value("engine_errors_total", stage="stream", kind="book_overflow") - before

    assert counted() == 0  # no connection yet
    one.renewed(10_000)
    two.renewed(0)
    assert [counted(), counted()] == [10_000, 10_000]
    one.books.overflowed = 10_007  # type: ignore[union-attr]
    two.books.overflowed = 3  # type: ignore[union-attr]
    assert counted() == 10_010
    one.renewed(5)  # another connection's books count from zero
    assert [counted(), counted()] == [10_015, 10_015]
    assert value("engine_live_books", exchange="connections-venue") == 1
