"""Updates of books, and a naive model of one, for the tests of books."""

from __future__ import annotations

from collections.abc import Sequence

from engine.books.keeper import BookKeeper
from engine.books.verifier import Checksum
from engine.domain.market import BookUpdate, Level, LevelText

BTC, ETH = "BTC-USDT", "ETH-USDT"
SECOND = 1_000_000_000

Levels = Sequence[tuple[float, float]]


def snapshot(
    bids: Levels = ((9.0, 1.0),),
    asks: Levels = ((10.0, 1.0),),
    last: int | None = None,
    *,
    instrument: str = BTC,
    time: int | None = None,
    checksum: int | None = None,
    texts: bool = False,
) -> BookUpdate:
    return update(
        bids, asks, last=last, instrument=instrument, time=time, checksum=checksum, texts=texts,
        is_snapshot=True,
    )  # fmt: skip


def update(
    bids: Levels = (),
    asks: Levels = (),
    *,
    first: int | None = None,
    last: int | None = None,
    previous: int | None = None,
    instrument: str = BTC,
    time: int | None = None,
    checksum: int | None = None,
    texts: bool = False,
    is_snapshot: bool = False,
) -> BookUpdate:
    return BookUpdate(
        "venue",
        instrument,
        is_snapshot,
        list(bids),
        list(asks),
        first,
        last,
        previous,
        time,
        7,
        checksum,
        in_digits(bids) if texts else [],
        in_digits(asks) if texts else [],
    )


def in_digits(levels: Levels) -> list[LevelText]:
    """Levels as a venue writes them: two decimals of the price, three of the amount."""
    return [(f"{price:.2f}", f"{amount:.3f}") for price, amount in levels]


def total(bids: Sequence[LevelText], asks: Sequence[LevelText]) -> int:
    """A checksum: of digits, so that it differs where they do."""
    return hash((tuple(bids), tuple(asks))) & 0xFFFFFFFF


def keeper(
    *instruments: str,
    snapshots: str = "stream",
    levels: int = 0,
    checksum: Checksum | None = None,
    checksum_levels: int = 0,
    most_buffered: int = 10,
) -> BookKeeper:
    return BookKeeper(
        "venue",
        instruments or (BTC,),
        levels=levels,
        checksum=checksum,
        checksum_levels=checksum_levels,
        snapshots="rest" if snapshots == "rest" else "stream",
        most_buffered=most_buffered,
    )


class Model:
    """A book as a beginner would write it."""

    def __init__(self, levels: int = 0) -> None:
        self._levels = levels
        self.sides: tuple[dict[float, float], dict[float, float]] = ({}, {})

    def apply(self, change: BookUpdate) -> None:
        if change.is_snapshot:
            self.sides = ({}, {})
        for side, levels in zip(self.sides, (change.bids, change.asks), strict=True):
            for price, amount in levels:
                side[price] = amount
                if amount == 0:
                    del side[price]
        if self._levels:
            bids, asks = self.bids[: self._levels], self.asks[: self._levels]
            self.sides = (dict(bids), dict(asks))

    @property
    def bids(self) -> list[Level]:
        return sorted(self.sides[0].items(), reverse=True)

    @property
    def asks(self) -> list[Level]:
        return sorted(self.sides[1].items())
