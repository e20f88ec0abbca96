"""The ranker's memory: newest rows per market, and bars that wait to be ranked. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from engine.actors.messages import FeatureBatch, SentimentBatch
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.sentiment import SentimentAggregate
from engine.domain.timeframe import Timeframe

KEPT_BARS = 10
"""Ranked bars whose rows are kept, so that a late trade can correct them together."""

KEPT_SENTIMENT = 10
"""Moments of sentiment kept: a slow venue's bar is joined with the texts of its own time."""


@dataclass(slots=True)
class ClosedBar:
    """Rows of one bar time, gathered from all markets."""

    timeframe: Timeframe
    open_time: int
    since: float
    """Monotonic seconds at which its first row came."""
    rows: dict[Market, FeatureRow] = field(default_factory=dict)
    is_whole: bool = True
    """False for a correction of a bar whose other rows are forgotten: ranks over the universe
    cannot be made of it."""

    @property
    def close_time(self) -> int:
        """End of the bar, UTC nanoseconds."""
        return self.open_time + self.timeframe.ns


class Board:
    """Gathers rows until a bar can be ranked.

    Parameters
    ----------
    workers
        How many feature workers report.
    patience_s
        How long a bar waits for the slowest market and for the texts of its moment.
    expects_texts
        Whether there are sources of text at all.
    since
        Bars that closed before, UTC nanoseconds, are not ranked: nobody was there to rank them,
        and what a start reads back of the past comes from some venues sooner than from others.
    """

    def __init__(
        self, workers: int, patience_s: float, expects_texts: bool, since: int = 0
    ) -> None:
        self._since = since
        self._workers = workers
        self._patience_s = patience_s
        self._expects_texts = expects_texts
        self._newest: dict[Timeframe, dict[Market, FeatureRow]] = {}
        self._waiting: dict[Timeframe, dict[int, ClosedBar]] = {}
        self._ranked: dict[Timeframe, dict[int, ClosedBar]] = {}
        self._ranked_through: dict[Timeframe, int] = {}
        self._through: dict[Timeframe, dict[str, int]] = {}
        self._sentiment: list[SentimentBatch] = []
        self._changed: set[Timeframe] = set()
        self.last_receive: dict[Market, int] = {}
        self._unhealthy: dict[str, tuple[str, ...]] = {}

    def take(self, batch: FeatureBatch, now: float) -> list[ClosedBar]:
        """Take a worker's rows.

        Parameters
        ----------
        batch
            What it sent.
        now
            Monotonic seconds.

        Returns
        -------
        list of ClosedBar
            Bars that are not ranked (any more): earlier ones whose rows a late trade corrected,
            and those of before the start.
        """
        for key, receive_time in batch.last_receive.items():
            self.last_receive[_market(key)] = receive_time
        self._unhealthy[batch.worker] = batch.unhealthy
        for text, through in batch.closed_through.items():
            self._through.setdefault(Timeframe(text), {})[batch.worker] = through
        for row in batch.previews:
            self._take_newest(row)
        corrected = {id(bar): bar for row in batch.closed if (bar := self._take_closed(row, now))}
        self._forget(batch.gone)
        return list(corrected.values())

    def _forget(self, gone: Mapping[str, Iterable[str]]) -> None:
        for text, markets in gone.items():
            rows = self._newest.get(Timeframe(text), {})
            for market in map(_market, markets):
                if rows.pop(market, None) is not None:
                    self._changed.add(Timeframe(text))

    def take_sentiment(self, batch: SentimentBatch) -> None:
        """Take the aggregates of one moment."""
        self._sentiment.append(batch)
        del self._sentiment[:-KEPT_SENTIMENT]
        self._changed.update(self._newest)

    def _take_newest(self, row: FeatureRow) -> None:
        timeframe = Timeframe(row.timeframe)
        rows = self._newest.setdefault(timeframe, {})
        market = Market(row.exchange, row.instrument)
        known = rows.get(market)
        if known is None or row.open_time >= known.open_time:
            rows[market] = row
            self._changed.add(timeframe)

    def _take_closed(self, row: FeatureRow, now: float) -> ClosedBar | None:
        self._take_newest(row)
        timeframe = Timeframe(row.timeframe)
        market = Market(row.exchange, row.instrument)
        is_past = row.open_time + timeframe.ns < self._since
        if is_past or row.open_time <= self._ranked_through.get(timeframe, -1):
            ranked = self._ranked.get(timeframe, {})
            bar = ranked.get(row.open_time)
            if bar is None:
                bar = ClosedBar(timeframe, row.open_time, now, is_whole=False)
            bar.rows[market] = row
            return bar
        bars = self._waiting.setdefault(timeframe, {})
        if row.open_time not in bars:
            bars[row.open_time] = ClosedBar(timeframe, row.open_time, now)
        bars[row.open_time].rows[market] = row
        return None

    def ready(self, now: float) -> list[ClosedBar]:
        """Give the bars that need not wait any longer, oldest first, and forget their waiting.

        Parameters
        ----------
        now
            Monotonic seconds.
        """
        found = []
        for bars in self._waiting.values():
            for open_time in sorted(bars):
                bar = bars[open_time]
                if not self._is_complete(bar) and now - bar.since < self._patience_s:
                    break
                found.append(bars.pop(open_time))
                self._remember(bar)
        return found

    def _is_complete(self, bar: ClosedBar) -> bool:
        reports = self._through.get(bar.timeframe, {})
        if len(reports) < self._workers or min(reports.values()) < bar.close_time:
            return False
        if not self._expects_texts:
            return True
        return bool(self._sentiment) and self._sentiment[-1].as_of >= bar.close_time

    def _remember(self, bar: ClosedBar) -> None:
        ranked = self._ranked.setdefault(bar.timeframe, {})
        ranked[bar.open_time] = bar
        while len(ranked) > KEPT_BARS:
            del ranked[min(ranked)]
        known = self._ranked_through.get(bar.timeframe, -1)
        self._ranked_through[bar.timeframe] = max(known, bar.open_time)

    def changed(self) -> dict[Timeframe, list[FeatureRow]]:
        """Give the newest rows of every timeframe where any came since the last call."""
        changed, self._changed = self._changed, set()
        return {timeframe: list(self._newest[timeframe].values()) for timeframe in changed}

    def sentiment(self, window: str, as_of: int) -> dict[str, SentimentAggregate]:
        """Return the aggregates known at `as_of`, by instrument.

        Parameters
        ----------
        window
            Which window.
        as_of
            UTC nanoseconds; nothing that became available later is in the answer.
        """
        for batch in reversed(self._sentiment):
            if batch.as_of <= as_of:
                return {
                    aggregate.instrument: aggregate
                    for aggregate in batch.aggregates
                    if aggregate.window == window
                }
        return {}

    @property
    def unhealthy(self) -> set[str]:
        """Markets with an open gap or a stale feed."""
        return {market for markets in self._unhealthy.values() for market in markets}

    @property
    def waiting(self) -> int:
        """Bars that wait to be ranked."""
        return sum(len(bars) for bars in self._waiting.values())


def _market(text: str) -> Market:
    exchange, _, instrument = text.partition(":")
    return Market(exchange, instrument)
