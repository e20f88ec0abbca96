"""The ledger of a stream's feeds: what arrived on each, and what did not.

A feed is an instrument x channel. Its facts become `Gap` rows:

- *disconnect*: the socket went down; opened on every feed that had data, closed when the feed's
  data returns.
- *stale*: nothing came on the feed for ``stale_after_ms`` though the socket is up. A quiet market
  looks the same, so of trades the venue's REST is asked first (`beyond`): where nobody traded there
  is no gap, and the feed is given longer until the next question. Where somebody did, what is
  missing up to then is cut off as a gap of its own, to be fetched at once, and the rest lasts.
- *sequence*: trade ids skipped while data flowed, or updates of a book.
- *restart*: what came between the last stored trade and the first of this run.
- *start*: what came, in the minute in which a market's very first trade reached us, before it.
- *checksum*: a book that did not match the venue's checksum.
- *audit*: trades that the venue's REST knows and its stream did not bring.
- *delisting*: what was traded behind the last trade that reached us and before the listing's end.

Where the venue counts its trades, ids decide what is missing: a break that skipped no id is
repaired in the moment that it ends, one that skipped some stays open with its range of ids until
they arrive late or are fetched (`fill`). Where it does not, a break stays open with its range of
times until the venue's REST has covered it. Of the other channels only the newest state counts:
their gaps are over (``resumed``, or for a book ``new snapshot``) when they return.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from engine.clock import NS_PER_S, SKEW_NS
from engine.domain.instrument import Instrument
from engine.domain.market import (
    BookTop,
    BookUpdate,
    Channel,
    Gap,
    GapCause,
    PerpetualTick,
    Trade,
    TradeRange,
)
from engine.domain.timeframe import Timeframe

HISTORY_NS = 60 * NS_PER_S
"""A trade this old on arrival, of a market that we hold nothing of, is what the venue repeats on
subscribing (Coinbase's ``last_match``, Kraken's snapshot): it tells the id that comes next, but is
not passed on, for a lone old trade makes a wrong candle."""

MOST_HOLES = 1000
"""Ranges of missing ids remembered per market; the oldest is forgotten first."""

RECENT_IDS = 4_000
"""Ids remembered per market of a venue that does not count its trades: several times what a REST
answer holds (1,000). They are what grows in a long run, by some 130 bytes each; of what is told
again later, candles and the store know the ids too."""

FOUND_BACK_NS = 3_600 * NS_PER_S
"""So far back before a market's first trade every venue's REST finds others by their time."""

ANSWER_PATIENCE_NS = 30 * NS_PER_S
"""A silent feed whose venue has not answered in so long whether anybody traded is stale."""

BACK_NS = 5 * NS_PER_S
"""A connection that is back for so long brings what flows; a gap it left may be asked about."""

DEAF_SILENCES = 10
"""A feed that REST cannot be asked about and that is silent for so many times the silence that
makes it stale, while others of its connection are not, has lost its subscription."""

BRIDGED_NS = NS_PER_S
"""While our connection is down, a second stream that told nothing for longer may have been away
itself."""

MOST_QUIET_ANSWERS = 5
"""Each answer that nobody traded doubles the silence until the next question, so often at most:
from one minute to half an hour."""

StreamEvent = Trade | BookTop | BookUpdate | PerpetualTick
"""What belongs to a feed."""

_CHANNELS: dict[type, Channel] = {
    Trade: "trades",
    BookTop: "book_top",
    BookUpdate: "book",
    PerpetualTick: "perpetual",
}


def channel_of(event: StreamEvent) -> Channel:
    """Return the channel that an event belongs to."""
    return _CHANNELS[type(event)]


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
    fetched_to: int = 0
    """Time of the newest numbered trade that REST gave: the stream may bring it yet."""
    last_receive: int | None = None
    open: Gap | None = None
    """A disconnect or staleness that lasts."""
    first_time: int | None = None
    """The venue's time of the first trade of this run, where it does not count its trades."""
    first_id: int = 0
    last_id: int | None = None
    live: bool = False
    """Whether a trade was passed on, now or before a restart."""
    begins: int = 0
    """What was traded before is not of what we hold: the begin of the first trade's minute."""
    restarted: bool = False
    """Whether the next trade is the first since a restart."""
    ended: bool = False
    """Delisted: nothing is expected of it."""
    revived: bool = False
    """Whether the next trade is the first since its delisting was taken back."""
    closing: tuple[int | None, bool] = (None, False)
    """`complete_to` when the last trades before a delisting were asked for, and whether the
    delisting was certain."""
    leaving: Gap | None = None
    """The gap of that question; closed where REST has answered it."""
    lost: int = 0
    """When its connection was last lost."""
    suspected: int = 0
    """When its silence was last asked about."""
    asked: int = 0
    """Moment of the last answer that nobody traded."""
    quiet_answers: int = 0
    """Such answers since its last event."""
    misses: bool = False
    """Whether trades are missing behind the staleness that is open."""
    bridged: bool = False
    """Whether a second stream tells its trades, which have no numbers, over the open gap."""
    holes: list[_Hole] = field(default_factory=list)
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=RECENT_IDS))
    """Ids of a market whose venue does not count."""
    known: set[str] = field(default_factory=set)
    """The same, to be asked."""

    @property
    def quiet(self) -> bool:
        """Whether nothing is special: data flows, and no gap lasts."""
        return self.live and self.open is None and not self.restarted and not self.revived


class FeedLedger:
    """Watches every feed of one stream; pure bookkeeping.

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
    known_ids
        Instrument -> id -> exchange time of all trades held since a moment, where the venue does
        not count. What came before the earliest of them is not looked for.
    known_first
        Instrument -> exchange time of the first trade held at all, where that is not long ago:
        trades from before its minute are history, whoever tells them.
    now
        UTC nanoseconds.
    can_repair
        Whether somebody fetches what is missing: then the minute of a market's very first
        trade begins with a gap of cause *start*.
    """

    def __init__(
        self,
        exchange: str,
        instruments: Iterable[str],
        channels: Iterable[Channel],
        *,
        stale_after_ns: int,
        known_last: Mapping[str, tuple[int, int]] | None = None,
        known_ids: Mapping[str, Mapping[str, int]] | None = None,
        known_first: Mapping[str, int] | None = None,
        now: int,
        can_repair: bool = False,
    ) -> None:
        self.duplicates = 0
        """Trades that were known, dropped."""
        self.out_of_order = 0
        """Trades that came after a later one and were missing until then."""
        self.history = 0
        """Trades from before our time, dropped."""
        self.changes: list[Gap] = []
        """Gaps opened or closed and not yet taken (`take_changes`)."""
        self._exchange = exchange
        self._stale_after_ns = stale_after_ns
        self._can_repair = can_repair
        self._is_up = True
        self._channels = list(channels)
        self._feeds: dict[tuple[str, Channel], _Feed] = {}
        self._trades: dict[str, _Feed] = {}
        for instrument in instruments:
            self.add(instrument, now)
        for instrument, (sequence, exchange_time) in (known_last or {}).items():
            self._resume(instrument, sequence, exchange_time)
        for instrument, ids in (known_ids or {}).items():
            feed = self._trades.get(instrument)
            if feed is not None and ids:
                feed.first_time = min(ids.values())
                for trade_id in ids:
                    self._is_unknown(feed, trade_id)
        for instrument, exchange_time in (known_first or {}).items():
            feed = self._trades.get(instrument)
            if feed is not None:
                feed.begins = Timeframe.M1.floor(exchange_time)

    def add(self, instrument: str, now: int) -> None:
        """Watch one more instrument from now on."""
        is_spot = Instrument.parse(instrument).is_spot
        for channel in self._channels:
            if channel == "perpetual" and is_spot:
                continue  # a spot market has no such feed to fall silent
            feed = _Feed(instrument, channel, now)
            self._feeds[instrument, channel] = feed
            if channel == "trades":
                self._trades[instrument] = feed

    def end(self, instrument: str, now: int) -> None:
        """Expect nothing more of an instrument: the venue has delisted it."""
        for channel in self._channels:
            feed = self._feeds.get((instrument, channel))
            if feed is not None:
                self._close(feed, now, now, "delisted")
                feed.ended = True

    def leaves(
        self, instrument: str, ended_at: int | None, now: int, *, is_final: bool = False
    ) -> None:
        """Have an instrument's last trades looked for: it does not trade, or is not listed.

        No trade that follows can show that one is missing, so REST is asked: once behind each
        last trade; again where the connection was lost since; and once more when it is certain
        that no other will come, for a venue may take a symbol from its list before its trading
        ends. An end that becomes known without a new question ends the gap of the last one, too:
        what listened heard no trade since.

        Parameters
        ----------
        instrument
            Canonical name.
        ended_at
            The end of its trading, excluded, by the venue's clock; None where it is not known.
        now
            UTC nanoseconds.
        is_final
            Whether it is delisted for good, and its symbol names nothing else yet.
        """
        feed = self._trades.get(instrument)
        if feed is None or not feed.live or feed.complete_to is None:
            return
        asked_for, was_final = feed.closing
        if asked_for == feed.complete_to and (was_final or not is_final):
            answered = feed.leaving
            if was_final or answered is None or answered.repaired_at is None:
                return
            # While a connection is down, the question would have to be asked again.
            is_due = feed.since > feed.lost or ended_at is not None
            if feed.lost < answered.opened_at or not is_due:
                self._reach_end(feed, answered, ended_at, now)
                return
        feed.closing = feed.complete_to, is_final
        feed.leaving = delisting_gap(
            self._exchange, instrument, feed.last_id, feed.complete_to, ended_at, now
        )
        self.changes.append(feed.leaving)

    def _reach_end(self, feed: _Feed, answered: Gap, ended_at: int | None, now: int) -> None:
        """Have an answered question reach to the end of the listing, once that is known."""
        if ended_at is not None and ended_at > (answered.to_time or 0):
            feed.leaving = msgspec.structs.replace(answered, to_time=ended_at, repaired_at=now)
            self.changes.append(feed.leaving)

    def stays(self, instrument: str, now: int) -> None:
        """Take note that an instrument trades, though it had seemed to leave.

        What came meanwhile its ids and breaks show, as ever.
        """
        feed = self._trades.get(instrument)
        if feed is None:
            return
        feed.closing = (None, False)
        if feed.leaving is not None and feed.leaving.repaired_at is None:
            self.changes.append(
                msgspec.structs.replace(feed.leaving, repaired_at=now, how="listed again")
            )
        feed.leaving = None

    def repaired(self, gap: Gap) -> None:
        """Take note of a gap that is closed: somebody has fetched all of its trades."""
        feed = self._trades.get(gap.instrument)
        if feed is not None and feed.leaving is not None and feed.leaving.gap_id == gap.gap_id:
            feed.leaving = gap

    def revive(self, instrument: str, now: int) -> None:
        """Expect data of an instrument again: its delisting was taken back.

        Its ids may have been reset: a new trade with a low one counts from there.
        """
        for channel in self._channels:
            feed = self._feeds.get((instrument, channel))
            if feed is not None:
                feed.ended = False
                feed.since = now
                feed.revived = True
                feed.closing = (None, False)
        trades = self._trades.get(instrument)
        if trades is None or trades.last_id is not None or trades.open is not None:
            return
        if trades.last_receive is not None and trades.lost > trades.last_receive:
            self._open(trades, "disconnect", now)  # while nothing was expected of it
            trades.lost, trades.since = now, now + 1

    def _resume(self, instrument: str, sequence: int, exchange_time: int) -> None:
        feed = self._trades.get(instrument)
        if feed is None:
            return
        feed.complete_to = exchange_time
        feed.live = feed.restarted = True
        if sequence > 0:
            feed.first_id = feed.last_id = sequence

    def accept(self, event: StreamEvent) -> bool:
        """Take note of an event; False where it must not be passed on."""
        if type(event) is Trade:
            feed = self._trades.get(event.instrument)
            if feed is None:
                return False
            if event.sequence - 1 == feed.last_id and feed.quiet:
                # Nearly every trade of a venue that counts comes this way.
                feed.last_id = event.sequence
                self._saw(feed, event.exchange_time, event.receive_time)
                return True
            return self._accept_trade(feed, event)
        other = self._feeds.get((event.instrument, channel_of(event)))
        if other is None:
            return False
        at = event.exchange_time or event.receive_time
        if other.open is not None:
            how = "new snapshot" if other.channel == "book" else "resumed"
            self._close(other, at, event.receive_time, how)
        self._saw(other, at, event.receive_time)
        return True

    def recounts(self, trade: Trade) -> bool:
        """Say whether a refused trade shows that the venue counts anew from a lower id.

        A repeated trade is as old as its id; one with an old id and a new time is none.
        """
        feed = self._trades.get(trade.instrument)
        if feed is None or not feed.live or not trade.sequence or feed.complete_to is None:
            return False
        return trade.exchange_time > max(feed.complete_to, feed.fetched_to)

    def disconnected(self, now: int) -> None:
        """Open a gap on every feed that had data: the socket went down, or is not up yet.

        What comes until `connected` is told by a second stream.
        """
        self._is_up = False
        for feed in self._feeds.values():
            feed.lost = now
            feed.misses = True  # as far as anybody knows, where it was stale already
            if feed.last_receive is not None and feed.open is None and not feed.ended:
                self._open(feed, "disconnect", now)

    def connected(self, now: int) -> None:
        """Count silence from now: the socket is up, or has been asked for all feeds."""
        self._is_up = True
        for feed in self._feeds.values():
            feed.since = max(feed.since, now)
            feed.quiet_answers = 0  # what was quiet before may be cut off now

    def check_stale(self, now: int) -> list[str]:
        """Open a gap on every feed that is silent for too long.

        Returns
        -------
        list of str
            Instruments of whose trades the venue is to be asked first, each once: `beyond` says
            what, `nobody_traded` and `is_stale` take the answer. One that never comes counts as
            the second.
        """
        suspects = []
        for feed in self._feeds.values():
            silent = now - feed.since
            is_known = feed.open is not None and not self._is_back(feed)
            lost = feed.open if silent > BACK_NS else None
            if lost is not None and lost.cause == "disconnect" and feed.suspected < lost.opened_at:
                # A connection that is lost again and again must not put the question off.
                silent = now - lost.opened_at
            if silent <= self._stale_after_ns or is_known or feed.ended:
                continue
            if not self._can_ask(feed):
                self._open_stale(feed, now)
            elif feed.suspected >= feed.since:
                if now - feed.suspected > ANSWER_PATIENCE_NS:
                    self._open_stale(feed, now)
            elif silent > self._stale_after_ns << self._quiet_answers(feed):
                feed.suspected = now
                suspects.append(feed.instrument)
        return suspects

    def _can_ask(self, feed: _Feed) -> bool:
        """Whether the venue's REST can tell in an answer or two what came behind the newest event.

        Not of what an earlier run held last: since then there may be days of trades, which the
        first one of this run shows to be missing.
        """
        if not self._can_repair or feed.channel != "trades" or feed.restarted or not feed.live:
            return False
        return feed.last_id is not None or feed.first_time is not None

    @staticmethod
    def _is_back(feed: _Feed) -> bool:
        """Whether a feed has a new connection since the gap that is open, or its last question.

        Then the gap waits for the next trade alone, or for the answer that nobody traded.
        """
        gap = feed.open
        if gap is None:
            return False
        if gap.opened_at <= feed.lost < feed.since:
            return True
        return gap.cause == "stale" and not feed.misses and feed.suspected < feed.since

    def has_deaf(self, now: int) -> bool:
        """Whether a feed seems to have lost its subscription, though REST cannot be asked about it.

        Its silence may be that of a quiet market, so it counts only after a long time, and only
        while the connection brings other feeds. A channel that never brought anything may not
        exist for its instrument.
        """
        received = (feed.last_receive for feed in self._feeds.values())
        if all(at is None or now - at > self._stale_after_ns for at in received):
            return False
        return any(
            now - feed.since > DEAF_SILENCES * self._stale_after_ns
            and not feed.ended
            and not self._can_ask(feed)
            and (feed.channel == "trades" or feed.last_receive is not None)
            for feed in self._feeds.values()
        )

    def _open_stale(self, feed: _Feed, now: int) -> None:
        if feed.open is None:
            self._open(feed, "stale", now)

    @staticmethod
    def _quiet_answers(feed: _Feed) -> int:
        if feed.last_receive is not None and feed.last_receive > feed.asked:
            feed.quiet_answers = 0
        return feed.quiet_answers

    def beyond(self, instrument: str, now: int) -> TradeRange | None:
        """Return what may have been traded since the newest trade of a feed that is silent.

        None where one has come meanwhile.
        """
        feed = self._silent(instrument)
        if feed is None or feed.complete_to is None:
            return None
        first = None if feed.last_id is None else feed.last_id + 1
        return TradeRange(instrument, first, None, feed.complete_to, now + SKEW_NS, to_end=True)

    def unheld(self, instrument: str, trades: Sequence[Trade]) -> list[Trade]:
        """Return those trades of an answer that the stream has not brought.

        Without numbers they are those that are newer than its newest: an audit may have fetched
        them.
        """
        feed = self._trades.get(instrument)
        if feed is None:
            return []
        last, newest = feed.last_id or 0, feed.complete_to or 0

        def is_missing(trade: Trade) -> bool:
            if trade.sequence:
                return trade.sequence > last
            return trade.exchange_time > newest or trade.trade_id not in feed.known

        return list(filter(is_missing, trades))

    def nobody_traded(self, instrument: str, asked_at: int, now: int) -> None:
        """Take the answer that a silent feed is just quiet: its silence counts from there."""
        feed = self._silent(instrument)
        if feed is None or asked_at < feed.suspected:
            return  # something came or broke since, or this answers the question before
        self._close(feed, asked_at, now, "nobody traded")  # where the answer came late
        feed.since = feed.asked = max(feed.suspected + 1, asked_at)
        feed.quiet_answers = min(feed.quiet_answers + 1, MOST_QUIET_ANSWERS)

    def is_stale(self, instrument: str, now: int, *, newest: Trade | None) -> bool:
        """Take the answer that a silent feed misses trades, or that the venue cannot tell.

        Parameters
        ----------
        instrument
            Canonical name.
        now
            UTC nanoseconds.
        newest
            The newest trade that is missing; None where the venue cannot tell.

        Returns
        -------
        bool
            Whether trades are missing: they are to be fetched now, and the feed hears nothing.
        """
        feed = self._silent(instrument)
        if feed is None:
            return False
        self._open_stale(feed, now)
        if newest is not None:
            self._cut(feed, newest, now)
        return newest is not None

    def _cut(self, feed: _Feed, newest: Trade, now: int) -> None:
        """Cut off what is missing up to `newest` of the gap that lasts; watch on from there.

        No trade may come to end a feed that died while its connection lives. So the part that is
        known to be missing becomes a gap of its own, which is over and is repaired like any
        other. What lasts begins behind it, and waits, as after a lost connection, for the next
        trade or the next answer.
        """
        lasting = feed.open
        if lasting is None:
            return
        end = max(newest.exchange_time, lasting.from_time)
        part = msgspec.structs.replace(
            lasting, gap_id=f"{lasting.gap_id}:until:{now}", to_time=end, opened_at=now
        )
        if feed.last_id is not None:
            self._dig(feed, part, feed.last_id + 1, newest.sequence)
            feed.last_id = newest.sequence
        else:
            self.changes.append(part)
        feed.complete_to = max(end, feed.complete_to or 0)
        feed.open = msgspec.structs.replace(lasting, from_time=end)
        self.changes.append(feed.open)
        feed.misses, feed.quiet_answers = True, 0
        feed.lost, feed.since = now, now + 1  # asked about again after another silence

    def _silent(self, instrument: str) -> _Feed | None:
        """Return a feed that was asked about, if nothing has come or broken since."""
        feed = self._trades.get(instrument)
        if feed is None or feed.ended or feed.suspected < feed.since:
            return None
        # What misses trades has to be repaired; what a lost connection may have missed is open to
        # an answer once it is back.
        is_just_stale = feed.open is not None and feed.open.cause == "stale" and not feed.misses
        return feed if feed.open is None or is_just_stale or self._is_back(feed) else None

    def broke(self, instrument: str, cause: GapCause, now: int) -> None:
        """Open a gap on an instrument's book: its updates no longer chain or match."""
        feed = self._feeds.get((instrument, "book"))
        if feed is not None and feed.open is None:
            self._open(feed, cause, now)

    def take_changes(self) -> list[Gap]:
        """Return the gaps opened or closed since the last call."""
        changes, self.changes = self.changes, []
        return changes

    def last_receive(self) -> dict[tuple[str, Channel], int | None]:
        """Return when each feed's newest event reached us, None where none did."""
        return {key: feed.last_receive for key, feed in self._feeds.items()}

    def broken(self) -> dict[tuple[str, Channel], GapCause]:
        """Return the feeds that are down or stale now, and why."""
        return {key: feed.open.cause for key, feed in self._feeds.items() if feed.open is not None}

    # -- repair --------------------------------------------------------------------------

    def wanted(self, gap: Gap) -> TradeRange:
        """Return the trades that a gap of trades is missing still."""
        low, high = gap.from_sequence, gap.to_sequence
        feed = self._trades.get(gap.instrument)
        for hole in [] if feed is None else feed.holes:
            if hole.gap.gap_id == gap.gap_id and hole.missing:
                low, high = hole.missing[0][0], hole.missing[-1][1]
        end = gap.from_time if gap.to_time is None else gap.to_time
        to_end = gap.cause == "delisting"
        return TradeRange(gap.instrument, low, high, gap.from_time, end, to_end)

    def fill(self, gap: Gap, trades: Sequence[Trade]) -> list[Trade]:
        """Take fetched trades of a gap; return those that nobody had, in their order.

        The gap itself is closed by whoever knows that all was fetched.
        """
        feed = self._trades.get(gap.instrument)
        if feed is None:
            return list(trades)
        own = next((hole for hole in feed.holes if hole.gap.gap_id == gap.gap_id), None)
        fresh = [trade for trade in trades if self._fills(feed, own, gap, trade)]
        if own is not None and not own.missing:
            feed.holes.remove(own)
        for trade in fresh:
            if trade.sequence:
                self._remember_id(feed, trade.sequence)
                feed.fetched_to = max(feed.fetched_to, trade.exchange_time)
            self._drop_filled(feed, trade.receive_time)
        return fresh

    def _fills(self, feed: _Feed, own: _Hole | None, gap: Gap, trade: Trade) -> bool:
        """Say whether a fetched trade was missing, and strike it off."""
        sequence = trade.sequence
        if not sequence:
            return self._is_unknown(feed, trade.trade_id)
        if own is not None and own.take(sequence):
            return True
        if any(hole.take(sequence) for hole in feed.holes if hole is not own):
            return True
        if feed.last_id is None or not feed.first_id <= sequence <= feed.last_id:
            return True
        # A gap that an earlier process left: the store knows which of its ids are there.
        low, high = gap.from_sequence, gap.to_sequence
        return own is None and low is not None and high is not None and low <= sequence <= high

    def audit(
        self, instrument: str, trades: Sequence[Trade], now: int
    ) -> tuple[list[Trade], Gap | None]:
        """Compare what the venue's REST tells of with what its stream brought.

        Returns
        -------
        tuple
            The trades that nobody had, and the gap, closed, that they fill; None without any.
        """
        feed = self._trades.get(instrument)
        if feed is None or not feed.live or feed.first_time is None:
            return [], None
        if feed.open is not None and feed.open.cause != "stale":
            return [], None  # its repair fetches them
        if feed.ended:
            return [], None  # its symbol may name another instrument
        first = feed.first_time
        fresh = [
            trade
            for trade in trades
            if trade.exchange_time > first and self._is_unknown(feed, trade.trade_id)
        ]
        if not fresh:
            return [], None
        times = [trade.exchange_time for trade in fresh]
        gap = msgspec.structs.replace(
            self._gap(feed, "audit", now, None),
            from_time=min(times),
            to_time=max(times),
            repaired_at=now,
            how=f"fetched {len(fresh)} over REST",
        )
        return fresh, gap

    def _drop_filled(self, feed: _Feed, now: int) -> None:
        for hole in [hole for hole in feed.holes if not hole.missing]:
            feed.holes.remove(hole)
            self.changes.append(
                msgspec.structs.replace(hole.gap, repaired_at=now, how="arrived late")
            )

    # -- trades --------------------------------------------------------------------------

    def _accept_trade(self, feed: _Feed, trade: Trade) -> bool:
        if feed.ended:
            feed.ended = False
        if not trade.sequence:
            return self._accept_uncounted(feed, trade)
        sequence, last = trade.sequence, feed.last_id
        old = trade.receive_time - trade.exchange_time > HISTORY_NS
        # A second stream may have heard a part of what came before that id.
        is_told = last is not None and sequence <= last
        if not feed.live and (old or is_told):
            feed.last_id = sequence if last is None else max(last, sequence)
            feed.first_id = feed.last_id + 1  # it tells which id comes next, and is not held
            self.history += 1
            return False
        if feed.revived and trade.exchange_time > (feed.complete_to or 0):
            feed.revived = False
            if last is not None and sequence <= last:  # counted anew
                feed.last_id, feed.holes, last = None, [], None
        if last is not None and sequence <= last:
            return self._accept_late(feed, trade, old=old)
        if last is not None and sequence > last + 1:
            self._miss(feed, trade, last)
        if not feed.live:
            self._began(feed, trade)
        if feed.open is not None:
            how = "nothing missed" if last is not None or feed.open.cause == "stale" else ""
            self._close(feed, trade.exchange_time, trade.receive_time, how)
        self._remember_id(feed, sequence)
        feed.live = True
        feed.restarted = False
        self._saw(feed, trade.exchange_time, trade.receive_time)
        return True

    def _accept_uncounted(self, feed: _Feed, trade: Trade) -> bool:
        if trade.exchange_time < feed.begins:
            self.history += 1
            return False
        if not self._is_unknown(feed, trade.trade_id):
            self.duplicates += 1
            return False
        # One that is late says nothing of what came since.
        if feed.complete_to is None or trade.exchange_time > feed.complete_to:
            self._went_on(feed, trade)
        if feed.first_time is None:
            feed.first_time = trade.exchange_time
        self._saw(feed, trade.exchange_time, trade.receive_time)
        return True

    def _went_on(self, feed: _Feed, trade: Trade) -> None:
        """Take note that trades without numbers come: a break before them is over.

        A staleness of which nobody could tell whether it misses trades is looked through now,
        where no other gap tells of its time.
        """
        is_told = not feed.live or feed.restarted
        if not feed.live:
            self._began(feed, trade)
        elif feed.restarted:
            gap = self._gap(feed, "restart", trade.receive_time, None)
            self._end(gap, trade.exchange_time)
        if not self._is_up:
            self._bridge(feed, trade)
        elif feed.open is not None:
            is_just_stale = feed.open.cause == "stale" and not feed.misses
            how = "resumed" if is_just_stale and (is_told or not self._can_repair) else ""
            self._close(feed, trade.exchange_time, trade.receive_time, how)
        feed.live, feed.restarted = True, False

    def _bridge(self, feed: _Feed, trade: Trade) -> None:
        """Take a trade without a number that a second stream told while our connection is down.

        What is missing before it can be repaired. The rest lasts: the second stream may break off
        before ours is back, and no id would show what came meanwhile.
        """
        at, now = trade.exchange_time, max(trade.receive_time, feed.lost)
        if feed.open is None:
            gap = self._gap(feed, "disconnect", now, None)
            feed.open = msgspec.structs.replace(gap, from_time=at)
            self.changes.append(feed.open)
            feed.lost, feed.since = now, now + 1
        elif feed.bridged and at - feed.open.from_time <= BRIDGED_NS:
            feed.open = msgspec.structs.replace(feed.open, from_time=at)
        else:
            self._cut(feed, trade, now)
        feed.bridged = True

    def _is_unknown(self, feed: _Feed, trade_id: str) -> bool:
        """Take note of an id; False where it is among the recent ones."""
        if trade_id in feed.known:
            return False
        if len(feed.recent) == RECENT_IDS:
            feed.known.discard(feed.recent[0])
        feed.recent.append(trade_id)
        feed.known.add(trade_id)
        return True

    def _began(self, feed: _Feed, trade: Trade) -> None:
        """Note that the minute of a market's first trade lacks what came before it.

        So does what was silent until then: nothing shows that it had a subscription.
        """
        start = Timeframe.M1.floor(trade.exchange_time)
        if feed.open is not None:
            start = min(start, max(feed.open.from_time, trade.exchange_time - FOUND_BACK_NS))
        feed.begins = start
        if not self._can_repair or start == trade.exchange_time:
            return
        if trade.sequence == 1:
            return  # the venue counts from here: a new listing, and nothing was before it
        gap = msgspec.structs.replace(
            self._gap(feed, "start", trade.receive_time, None),
            from_time=start,
            to_sequence=trade.sequence - 1 if trade.sequence else None,
        )
        self._end(gap, trade.exchange_time)

    def _accept_late(self, feed: _Feed, trade: Trade, *, old: bool) -> bool:
        for hole in feed.holes:
            if hole.take(trade.sequence):
                self._drop_filled(feed, trade.receive_time)
                self.out_of_order += 1
                return True
        if trade.sequence >= feed.first_id:
            self.duplicates += 1
            return False
        # A second stream that came up sooner may tell of a minute that it heard a part of.
        if old or trade.exchange_time < feed.begins:
            self.history += 1
            return False
        if feed.complete_to is not None and trade.exchange_time > feed.complete_to:
            return False  # a low id and a new time: see `recounts`
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
        gap = msgspec.structs.replace(gap, to_time=max(trade.exchange_time, gap.from_time))
        self._dig(feed, gap, last + 1, trade.sequence - 1)

    def _dig(self, feed: _Feed, gap: Gap, low: int, high: int) -> None:
        """Tell of a gap that is over, with the ids that it misses, and remember these."""
        gap = msgspec.structs.replace(gap, from_sequence=low, to_sequence=high)
        self.changes.append(gap)
        feed.holes.append(_Hole(gap, [(low, high)]))
        if len(feed.holes) > MOST_HOLES:
            feed.first_id = feed.holes.pop(0).missing[-1][1] + 1

    # -- gaps ----------------------------------------------------------------------------

    def _saw(self, feed: _Feed, at: int, receive_time: int) -> None:
        if feed.complete_to is None or at > feed.complete_to:
            feed.complete_to = at
        feed.last_receive = receive_time
        if receive_time > feed.since:  # noqa: PLR1730 - half the time of `max`, for every event
            feed.since = receive_time

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
        feed.misses = feed.bridged = False
        self.changes.append(feed.open)

    def _end(self, gap: Gap, at: int) -> None:
        """Tell of a gap that is over and that somebody has to repair."""
        self.changes.append(msgspec.structs.replace(gap, to_time=max(at, gap.from_time)))

    def _close(self, feed: _Feed, at: int, now: int, how: str) -> None:
        if feed.open is not None:
            self.changes.append(
                msgspec.structs.replace(
                    feed.open,
                    to_time=max(at, feed.open.from_time),
                    repaired_at=now if how else None,
                    how=how,
                )
            )
            feed.open = None


def delisting_gap(
    exchange: str,
    instrument: str,
    last_id: int | None,
    complete_to: int,
    ended_at: int | None,
    now: int,
) -> Gap:
    """Return the gap between the last trade that we hold of a market and its delisting.

    Parameters
    ----------
    exchange, instrument
        The market.
    last_id
        Number of that trade; None where the venue does not count.
    complete_to
        Its time, by the venue's clock, UTC nanoseconds.
    ended_at
        The end of trading, excluded; None where nobody knows it: until now.
    now
        When it was noticed, UTC nanoseconds.
    """
    end = now + SKEW_NS if ended_at is None else ended_at
    return Gap(
        gap_id=f"{exchange}:{instrument}:trades:delisting:{now}",
        exchange=exchange,
        instrument=instrument,
        channel="trades",
        cause="delisting",
        from_sequence=last_id + 1 if last_id else None,
        to_sequence=None,
        from_time=complete_to,
        to_time=max(end, complete_to),
        opened_at=now,
    )
