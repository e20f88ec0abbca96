"""A stream's gaps: written down, counted, and told of."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from engine.bus.client import Bus
from engine.clock import NS_PER_S
from engine.domain.market import Gap
from engine.domain.signal import Alert, AlertKind
from engine.errors import BusError, StoreError
from engine.metrics import ERRORS
from engine.store.writer import BatchWriter

REMEMBERED_NS = 3_600 * NS_PER_S
"""How long after its end an unrepaired gap of trades makes its instrument unhealthy."""

MOST_ALERTS = 1_000
"""Alerts that wait for a bus that does not answer; the oldest leave first, and are counted."""


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
        self._closing: list[Gap] = []
        self._alerts: deque[Alert] = deque()

    @property
    def open(self) -> int:
        """Gaps that last, or that ended in the last hour and nothing has repaired."""
        return len(self._unrepaired)

    async def take(self, gap: Gap) -> None:
        """Store a gap, or a newer state of one, and have it told by the next `tell`.

        A gap of trades is not said to be closed before what closes it is stored: see `settle`.
        """
        known = gap.gap_id in self._unrepaired
        if gap.repaired_at is None:
            self._forget(gap.opened_at)
            self._unrepaired[gap.gap_id] = gap
        else:
            self._unrepaired.pop(gap.gap_id, None)
        if gap.repaired_at is not None and gap.channel == "trades":
            self._closing.append(gap)
        else:
            await self._writer.put("feed_gaps", [gap])
        self._alerts.append(self._alert(gap, known=known))
        if len(self._alerts) > MOST_ALERTS:
            self._alerts.popleft()
            ERRORS.labels("stream", "alert_not_told").inc()

    async def settle(self, write_candles: Callable[[], Awaitable[bool]]) -> None:
        """Write down the gaps that are closed, once what closes them is stored.

        Parameters
        ----------
        write_candles
            Writes the candles that their trades change: after a kill between the two nobody
            would look for these again. False where some wait: then so do the gaps.

        Raises
        ------
        StoreError
            Where the store refused a batch: then they stay open, for the next start to repair.
        """
        closing = list(self._closing)
        if not closing:
            return
        if not await write_candles():
            return
        try:
            await self._writer.flush()
        except StoreError:
            self.keep_open()
            raise
        stored = [gap for gap in closing if gap in self._closing]
        self._closing = [gap for gap in self._closing if gap not in stored]
        await self._writer.put("feed_gaps", stored)

    def keep_open(self) -> None:
        """Leave the gaps open that wait to be closed: their trades may have been refused."""
        self._closing.clear()

    async def tell(self) -> None:
        """Publish the alerts that wait; while the bus does not answer, they go on waiting."""
        while self._alerts:
            alert = self._alerts[0]
            try:
                await self._bus.publish_alert(alert)
            except BusError:
                ERRORS.labels("stream", "bus").inc()
                return
            if self._alerts and self._alerts[0] is alert:  # it may have had to leave meanwhile
                self._alerts.popleft()

    def _forget(self, now: int) -> None:
        """Let go of gaps that nobody has repaired and that no longer make anything unhealthy."""
        self._unrepaired = {key: gap for key, gap in self._unrepaired.items() if _counts(gap, now)}

    def _alert(self, gap: Gap, *, known: bool) -> Alert:
        market = f"{gap.exchange}:{gap.instrument}"
        came_back = known and gap.to_time is not None and not gap.problem
        is_over = gap.repaired_at is not None or came_back
        if is_over:
            text = f"{market} {gap.channel} is back"
        elif gap.problem:
            text = f"{market} {gap.channel} has a gap that cannot be repaired: {gap.problem}"
        elif gap.cause == "stale":
            text = f"{market} {gap.channel} is silent"
        else:
            text = f"{market} {gap.channel} has a gap ({gap.cause})"
        kind: AlertKind = (
            "feed_recovered" if is_over else "feed_stale" if gap.cause == "stale" else "feed_gap"
        )
        ended_at = gap.repaired_at or gap.to_time or gap.opened_at
        return Alert(
            alert_id=f"{gap.gap_id}-{kind}" + ("-open" if gap.problem and not is_over else ""),
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
