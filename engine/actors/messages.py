"""What actors hand to one another."""

from __future__ import annotations

import msgspec

from engine.domain.delisting import Delisting
from engine.domain.features import FeatureRow
from engine.domain.market import BookSnapshot, Candle
from engine.domain.sentiment import SentimentAggregate


class CandleBatch(msgspec.Struct, frozen=True):
    """What a stream tells a feature worker, some times a second."""

    stream: str
    exchange: str
    closed: tuple[Candle, ...]
    """Closed since the last batch, and rebuilt ones; ascending in time."""
    forming: tuple[Candle, ...]
    """The newest state of bars that still form, of markets that traded since."""
    closed_through: int
    """Every interval of this stream that ends at or before this is closed and was sent."""
    instruments: tuple[str, ...]
    """Whose intervals that is true for."""
    last_receive: dict[str, int]
    """Instrument -> when its newest event reached us."""
    unhealthy: tuple[str, ...]
    """Instruments with an open gap or a stale feed."""
    recipient: str = ""
    """Incarnation of the worker it is meant for; empty where none is known yet. Another one
    takes nothing of it, for it lacks what came before, and only answers who it is."""
    books: tuple[BookSnapshot, ...] = ()
    """The last snapshot of the L2 book in each of the finest bars, its best levels only; ascending
    in time. Taken before anything else of the batch."""
    delisted: dict[str, Delisting] = {}
    """Of its instruments, those that are."""


class FeatureBatch(msgspec.Struct, frozen=True):
    """What a feature worker tells the ranker."""

    worker: str
    incarnation: str
    closed: tuple[FeatureRow, ...]
    """Rows of closed bars, cross-sectional columns still empty."""
    previews: tuple[FeatureRow, ...]
    closed_through: dict[str, int]
    """Timeframe -> every bar of this worker that ends at or before this has its row."""
    last_receive: dict[str, int]
    """Market -> when its newest event reached us."""
    unhealthy: tuple[str, ...]
    """Markets with an open gap or a stale feed."""
    recipient: str = ""
    """Incarnation of the ranker it is meant for, as in `CandleBatch`."""
    gone: dict[str, tuple[str, ...]] = {}
    """Timeframe -> markets that belong to the universe no more, or not now: silent for too long, or
    delisted. The rows that there are of them are to be ranked no longer."""


class SentimentBatch(msgspec.Struct, frozen=True):
    """What the text stream tells the ranker."""

    as_of: int
    """Every text that was available at or before this is counted."""
    aggregates: tuple[SentimentAggregate, ...]
