"""The ledger of a connection's feeds: what arrived on each, and what did not.

A feed is an instrument x channel. Its facts become `Gap` rows:

- *disconnect*: the socket went down; opened on every feed that had data, closed when the feed's
  data returns.
- *stale*: nothing came on the feed for ``stale_after_ms`` though the socket is up. A quiet market
  looks the same; the gap's ``how`` says afterwards which it was (``nothing missed``).
- *sequence*: trade ids skipped while data flowed.
- *restart*: trade ids skipped between the last stored trade and the first of this run.

Where the venue counts its trades, ids decide what is missing: a break that skipped no id is
repaired in the moment that it ends, one that skipped some stays open with its range of ids until
they arrive late or somebody repairs it. For the best bid and ask only the newest counts, so its
gaps are over (``resumed``) when it returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from engine.clock import NS_PER_S
from engine.domain.market import BookTop, Channel, Gap, GapCause, Trade

HISTORY_NS = 60 * NS_PER_S
"""A trade this old on arrival, of a market that we hold nothing of, is what the venue repeats on
subscribing (Coinbase's ``last_match``, Kraken's snapshot): it tells the id that comes next, but is
not passed on, for a lone old trade makes a wrong candle."""

MOST_HOLES = 1000
"""Ranges of missing ids remembered per market; the oldest is forgotten first."""


@dataclass(slots=True)
class _Hole:
    """A gap with ids, and which of them are missing still."""

    gap: Gap
    missing: list[tuple[int, int]]

    def take(self, sequence: int) -> bool:
        """Strike one id off; False where it was not missing."""
        for index, (low, high) in enumerate(self.missing):
            if low <= sequence <= high:
                left = [(low, sequence - 1)] if low < sequence else []
                right = [(sequence + 1, high)] if sequence < high else []
                self.missing[index : index + 1] = left + right
                return True
        return False


@dataclass(slots=True)
class _Feed:
    instrument: str
    channel: Channel
    since: int
    """When we subscribed, or had its last event."""
    complete_to: int | None = None
    """Time of its newest event, the venue's where it has one."""
    last_receive: int | None = None
    open: Gap | None = None
    """A disconnect or staleness that lasts."""
    first_id: int = 0
    last_id: int | None = None
    live: bool = False
    """Whether a trade was passed on, now or before a restart."""
    restarted: bool = False
    """Whether the next trade is the first since a restart."""
    holes: list[_Hole] = field(default_factory=list)


class FeedLedger:
    """Watches every feed of one connection; pure bookkeeping.

    Parameters
    ----------
    exchange
        Name of the venue.
    instruments, channels
        What is subscribed to.
    stale_after_ns
        Silence after which a feed is stale.
    known_last
        Instrument -> (sequence, exchange time) of the last trade held from an earlier run.
    now
        UTC nanoseconds.
    """

    def __init__(
        self,
        exchange: str,
        instruments: Iterable[str],
        channels: Iterable[Channel],
        *,
        stale_after_ns: int,
        known_last: Mapping[str, tuple[int, int]],
        now: int,
    ) -> None:
        self.duplicates = 0
        """Trades dropped because they were passed on before."""
        self.out_of_order = 0
        """Trades passed on though a later one came first."""
        self.history = 0
        """Trades from before our time, dropped."""
        self._exchange = exchange
        self._stale_after_ns = stale_after_ns
        self._changes: list[Gap] = []
        kinds = list(channels)
        self._feeds: dict[tuple[str, Channel], _Feed] = {
            (instrument, channel): _Feed(instrument, channel, now)
            for instrument in instruments
            for channel in kinds
        }
        for instrument, (sequence, exchange_time) in known_last.items():
            feed = self._feeds.get((instrument, "trades"))
            if feed is not None and sequence > 0:
                feed.first_id = feed.last_id = sequence
                feed.complete_to = exchange_time
                feed.live = feed.restarted = True

    def accept(self, event: Trade | BookTop) -> bool:
        """Take note of an event; False where it must not be passed on."""
        if isinstance(event, Trade):
            feed = self._feeds.get((event.instrument, "trades"))
            return feed is not None and self._accept_trade(feed, event)
        feed = self._feeds.get((event.instrument, "book_top"))
        if feed is None:
            return False
        at = event.exchange_time or event.receive_time
        if feed.open is not None:
            self._close(feed, at, event.receive_time, "resumed")
        self._saw(feed, at, event.receive_time)
        return True

    def disconnected(self, now: int) -> None:
        """Open a gap on every feed that had data: the socket went down."""
        for feed in self._feeds.values():
            if feed.last_receive is not None and feed.open is None:
                self._open(feed, "disconnect", now)

    def connected(self, now: int) -> None:
        """Count silence from now: the socket is up."""
        for feed in self._feeds.values():
            feed.since = max(feed.since, now)

    def check_stale(self, now: int) -> None:
        """Open a gap on every feed that is silent for too long."""
        for feed in self._feeds.values():
            if feed.open is None and now - feed.since > self._stale_after_ns:
                self._open(feed, "stale", now)

    def take_changes(self) -> list[Gap]:
        """Return the gaps opened or closed since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def last_receive(self) -> dict[tuple[str, Channel], int | None]:
        """Return when each feed's newest event reached us, None where none did."""
        return {key: feed.last_receive for key, feed in self._feeds.items()}

    def broken(self) -> dict[tuple[str, Channel], GapCause]:
        """Return the feeds that are down or stale now, and why."""
        return {key: feed.open.cause for key, feed in self._feeds.items() if feed.open is not None}

    # -- trades --------------------------------------------------------------------------

    def _accept_trade(self, feed: _Feed, trade: Trade) -> bool:
        sequence, last = trade.sequence, feed.last_id
        old = trade.receive_time - trade.exchange_time > HISTORY_NS
        if not feed.live and old and sequence:
            self._remember_id(feed, sequence)
            self.history += 1
            return False
        if sequence and last is not None and sequence <= last:
            return self._accept_late(feed, trade, old=old)
        if sequence and last is not None and sequence > last + 1:
            self._miss(feed, trade, last)
        elif feed.open is not None:
            counted = sequence and last is not None
            self._close(
                feed,
                trade.exchange_time,
                trade.receive_time,
                "nothing missed" if counted or feed.open.cause == "stale" else "",
            )
        if sequence:
            self._remember_id(feed, sequence)
        feed.live = True
        feed.restarted = False
        self._saw(feed, trade.exchange_time, trade.receive_time)
        return True

    def _accept_late(self, feed: _Feed, trade: Trade, *, old: bool) -> bool:
        for index, hole in enumerate(feed.holes):
            if hole.take(trade.sequence):
                if not hole.missing:
                    del feed.holes[index]
                    self._changes.append(
                        msgspec.structs.replace(
                            hole.gap, repaired_at=trade.receive_time, how="arrived late"
                        )
                    )
                self.out_of_order += 1
                return True
        if trade.sequence >= feed.first_id:
            self.duplicates += 1
            return False
        if old:
            self.history += 1
            return False
        # From before the first trade that we know: the store decides whether it is new.
        self.out_of_order += 1
        self._saw(feed, trade.exchange_time, trade.receive_time)
        return True

    def _remember_id(self, feed: _Feed, sequence: int) -> None:
        if feed.last_id is None:
            feed.first_id = feed.last_id = sequence
        else:
            feed.first_id = min(feed.first_id, sequence)
            feed.last_id = max(feed.last_id, sequence)

    def _miss(self, feed: _Feed, trade: Trade, last: int) -> None:
        gap = feed.open
        if gap is None:
            cause: GapCause = "restart" if feed.restarted else "sequence"
            gap = self._gap(feed, cause, trade.receive_time, last + 1)
        feed.open = None
        gap = msgspec.structs.replace(
            gap,
            from_sequence=last + 1,
            to_sequence=trade.sequence - 1,
            to_time=max(trade.exchange_time, gap.from_time),
        )
        self._changes.append(gap)
        feed.holes.append(_Hole(gap, [(last + 1, trade.sequence - 1)]))
        if len(feed.holes) > MOST_HOLES:
            feed.first_id = feed.holes.pop(0).missing[-1][1] + 1

    # -- gaps ----------------------------------------------------------------------------

    def _saw(self, feed: _Feed, at: int, receive_time: int) -> None:
        feed.complete_to = at if feed.complete_to is None else max(feed.complete_to, at)
        feed.last_receive = receive_time
        feed.since = max(feed.since, receive_time)

    def _gap(self, feed: _Feed, cause: GapCause, now: int, from_id: int | None) -> Gap:
        market = f"{self._exchange}:{feed.instrument}:{feed.channel}"
        return Gap(
            gap_id=f"{market}:{cause}:{now}" + (f":{from_id}" if from_id is not None else ""),
            exchange=self._exchange,
            instrument=feed.instrument,
            channel=feed.channel,
            cause=cause,
            from_sequence=None,
            to_sequence=None,
            from_time=feed.since if feed.complete_to is None else feed.complete_to,
            to_time=None,
            opened_at=now,
        )

    def _open(self, feed: _Feed, cause: GapCause, now: int) -> None:
        feed.open = self._gap(feed, cause, now, None)
        self._changes.append(feed.open)

    def _close(self, feed: _Feed, at: int, now: int, how: str) -> None:
        if feed.open is not None:
            self._changes.append(
                msgspec.structs.replace(
                    feed.open,
                    to_time=max(at, feed.open.from_time),
                    repaired_at=now if how else None,
                    how=how,
                )
            )
            feed.open = None
