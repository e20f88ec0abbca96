"""A stream's gaps: written down, counted, and told of."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from engine.bus.client import Bus
from engine.clock import NS_PER_S
from engine.domain.market import Gap
from engine.domain.signal import Alert, AlertKind
from engine.errors import BusError
from engine.metrics import ERRORS
from engine.store.writer import BatchWriter

REMEMBERED_NS = 3_600 * NS_PER_S
"""How long after its end an unrepaired gap of trades makes its instrument unhealthy."""

MOST_ALERTS = 1_000
"""Alerts that wait for a bus that does not answer; the oldest leave first."""


class GapBook:
    """Stores gaps and knows which instruments suffer from one.

    Parameters
    ----------
    writer
        To the store.
    bus
        For alerts.
    """

    def __init__(self, writer: BatchWriter, bus: Bus) -> None:
        self._writer = writer
        self._bus = bus
        self._unrepaired: dict[str, Gap] = {}
        self._alerts: deque[Alert] = deque(maxlen=MOST_ALERTS)

    @property
    def open(self) -> int:
        """Gaps that last, or that ended in the last hour and nothing has repaired."""
        return len(self._unrepaired)

    async def take_over(self, gaps: Iterable[Gap], now: int) -> None:
        """Close what an earlier process left open: from its last trade on, we look ourselves.

        Parameters
        ----------
        gaps
            Gaps as stored.
        now
            UTC nanoseconds.
        """
        left = [gap for gap in gaps if gap.to_time is None and gap.repaired_at is None]
        closed = [
            msgspec.structs.replace(
                gap,
                to_time=max(now, gap.from_time),
                repaired_at=max(now, gap.opened_at),
                how="restarted",
            )
            for gap in left
        ]
        await self._writer.put("feed_gaps", closed)

    async def take(self, gap: Gap) -> None:
        """Store a gap, or a newer state of one, and have it told by the next `tell`."""
        known = gap.gap_id in self._unrepaired
        if gap.repaired_at is None:
            self._forget(gap.opened_at)
            self._unrepaired[gap.gap_id] = gap
        else:
            self._unrepaired.pop(gap.gap_id, None)
        await self._writer.put("feed_gaps", [gap])
        self._alerts.append(self._alert(gap, known=known))

    async def tell(self) -> None:
        """Publish the alerts that wait; while the bus does not answer, they go on waiting."""
        while self._alerts:
            try:
                await self._bus.publish_alert(self._alerts[0])
            except BusError:
                ERRORS.labels("stream", "bus").inc()
                return
            self._alerts.popleft()

    def _forget(self, now: int) -> None:
        """Let go of gaps that nobody has repaired and that no longer make anything unhealthy."""
        self._unrepaired = {key: gap for key, gap in self._unrepaired.items() if _counts(gap, now)}

    def _alert(self, gap: Gap, *, known: bool) -> Alert:
        market = f"{gap.exchange}:{gap.instrument}"
        is_over = gap.repaired_at is not None or (known and gap.to_time is not None)
        if is_over:
            text = f"{market} {gap.channel} is back"
        elif gap.cause == "stale":
            text = f"{market} {gap.channel} is silent"
        else:
            text = f"{market} {gap.channel} has a gap ({gap.cause})"
        kind: AlertKind = (
            "feed_recovered" if is_over else "feed_stale" if gap.cause == "stale" else "feed_gap"
        )
        ended_at = gap.repaired_at or gap.to_time or gap.opened_at
        return Alert(
            alert_id=f"{gap.gap_id}-{kind}",
            kind=kind,
            severity="info" if is_over else "warning",
            subject=market,
            message=text,
            raised_at=ended_at if is_over else gap.opened_at,
        )

    def instruments(self, now: int) -> set[str]:
        """Return the instruments whose trades have a gap that lasts, or ended lately.

        Parameters
        ----------
        now
            UTC nanoseconds.
        """
        return {
            gap.instrument
            for gap in self._unrepaired.values()
            if gap.channel == "trades" and _counts(gap, now)
        }


def _counts(gap: Gap, now: int) -> bool:
    """Say whether a gap lasts or ended lately."""
    return gap.to_time is None or gap.to_time > now - REMEMBERED_NS
