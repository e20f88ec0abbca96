"""A stream's gaps: written down, counted, and told of."""

from __future__ import annotations

from engine.bus.client import Bus
from engine.clock import NS_PER_S
from engine.domain.market import Gap
from engine.domain.signal import Alert
from engine.errors import BusError
from engine.metrics import ERRORS
from engine.store.writer import BatchWriter

REMEMBERED_NS = 3_600 * NS_PER_S
"""How long after its end an unrepaired gap of trades makes its instrument unhealthy."""


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

    @property
    def open(self) -> int:
        """Gaps that nothing has repaired."""
        return len(self._unrepaired)

    async def take(self, gap: Gap) -> None:
        """Store a gap, or a newer state of one, and tell whoever listens."""
        known = gap.gap_id in self._unrepaired
        if gap.repaired_at is None:
            self._unrepaired[gap.gap_id] = gap
        else:
            self._unrepaired.pop(gap.gap_id, None)
        await self._writer.put("feed_gaps", [gap])
        await self._tell(gap, known=known)

    async def _tell(self, gap: Gap, *, known: bool) -> None:
        market = f"{gap.exchange}:{gap.instrument}"
        if gap.repaired_at is not None or (known and gap.to_time is not None):
            kind, severity, text = "feed_recovered", "info", f"{market} {gap.channel} is back"
        elif gap.cause == "stale":
            kind, severity, text = "feed_stale", "warning", f"{market} {gap.channel} is silent"
        else:
            kind, severity = "feed_gap", "warning"
            text = f"{market} {gap.channel} has a gap ({gap.cause})"
        alert = Alert(
            alert_id=f"{gap.gap_id}-{kind}",
            kind=kind,  # type: ignore[arg-type]
            severity=severity,  # type: ignore[arg-type]
            subject=market,
            message=text,
            raised_at=gap.opened_at,
        )
        try:
            await self._bus.publish_alert(alert)
        except BusError:
            ERRORS.labels("stream", "bus").inc()

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
            if gap.channel == "trades"
            and (gap.to_time is None or gap.to_time > now - REMEMBERED_NS)
        }
