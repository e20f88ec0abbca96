"""Where a stream's output goes, and what a stream tells of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.domain.market import (
    BookDelta,
    BookSnapshot,
    BookTop,
    Channel,
    DeadLetter,
    Gap,
    GapCause,
    Heartbeat,
    PerpetualTick,
    Trade,
)
from engine.metrics import EVENTS, FRAME_BYTES, FRAMES

FeedEvent = Trade | BookTop | PerpetualTick | BookSnapshot | BookDelta | Heartbeat
"""What a stream hands on. An L2 book is kept by the stream itself: its snapshots are handed on,
and its applied changes where `ExchangeConfig.book_deltas` asks for them."""


class FeedSink(Protocol):
    """Takes what a stream produces. Awaiting a method is the stream's back-pressure."""

    async def events(self, events: Sequence[FeedEvent]) -> None:
        """Take events in the order of arrival; trades already without duplicates."""
        ...

    async def repaired(self, trades: Sequence[Trade]) -> None:
        """Take trades that were missing and were fetched: older than what came before."""
        ...

    async def gap(self, gap: Gap) -> None:
        """Take a gap that opened, or a newer version of one (same `gap_id`)."""
        ...

    async def dead_letter(self, letter: DeadLetter) -> None:
        """Take a frame that could not be used."""
        ...

    async def state(self, *, connected: bool, reason: str) -> None:
        """Take note that the connection came up or went down."""
        ...


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """How one stream fares; counts since its start."""

    exchange: str
    connected: bool
    ended: bool
    """A replay came to the end of its recording."""
    frames: int
    events: int
    """Events handed to the sink."""
    ignored: int
    """Frames that were understood and carried nothing for us."""
    bad: int
    """Frames set aside as dead letters."""
    duplicates: int
    out_of_order: int
    history: int
    """Trades from before our time that the venue repeated."""
    reconnects: int
    rotations: int
    """Connections replaced by a newer one before they ended."""
    repairs_waiting: int
    """Gaps whose trades are being fetched."""
    repaired: int
    """Trades that were missing and were fetched."""
    live_books: int
    """Books that are whole and verified now."""
    checksums: int
    """Book checksums that matched."""
    stale_deltas: int
    """Book changes that a snapshot held already, dropped."""
    last_receive_time: int | None
    """When the newest frame reached us, UTC nanoseconds."""
    last_event: Mapping[tuple[str, Channel], int | None]
    """(instrument, channel) -> when its newest event reached us; None where none did."""
    broken: Mapping[tuple[str, Channel], GapCause]
    """Feeds that are down or stale now, and why."""

    def age_ms(self, instrument: str, channel: Channel, now: int) -> float | None:
        """Return how old a feed's newest event is, ms; None where none ever came."""
        at = self.last_event.get((instrument, channel))
        return None if at is None else (now - at) / 1e6


class StreamCounts:
    """Counts in plain integers, for frames come too fast for locked metrics.

    Parameters
    ----------
    exchange
        Label of the metrics.
    """

    def __init__(self, exchange: str) -> None:
        self.frames = 0
        self.frame_bytes = 0
        self.events = 0
        self.ignored = 0
        self._exchange = exchange
        self._exported_frames = 0
        self._exported_bytes = 0

    def export(self, events: Sequence[FeedEvent]) -> None:
        """Count events, and bring the process's metrics up to date."""
        self.events += len(events)
        FRAMES.labels(self._exchange).inc(self.frames - self._exported_frames)
        FRAME_BYTES.labels(self._exchange).inc(self.frame_bytes - self._exported_bytes)
        self._exported_frames, self._exported_bytes = self.frames, self.frame_bytes
        for kind, number in Counter(map(type, events)).items():
            EVENTS.labels(self._exchange, _KINDS[kind]).inc(number)


_KINDS: dict[type, str] = {
    Trade: "trade",
    BookTop: "book_top",
    PerpetualTick: "perpetual",
    BookSnapshot: "book_snapshot",
    BookDelta: "book_delta",
    Heartbeat: "heartbeat",
}
