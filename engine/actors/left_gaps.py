"""What an earlier run left unrepaired: told of in ``feed_gaps``, or seen in the stored ids."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engine.clock import NS_PER_S
from engine.domain.instrument import Market
from engine.domain.market import UNUSED_IDS, Gap
from engine.domain.timeframe import Timeframe
from engine.exchanges.feeds import HISTORY_NS, delisting_gap
from engine.store.client import Store
from engine.store.completeness import Selection, find_gaps, untold_holes
from engine.store.reader import FirstTrade
from engine.store.trade_ids import Hole, count_trades, find_holes, lacking_markets

LOOK_BACK_NS = 86_400 * NS_PER_S
"""How far back stored ids are looked through at every start. A process that is killed loses the
gaps that it had noticed and not written, in the last seconds before; ``engine verify`` looks
through all."""


def left_holes(store: Store, exchange: str, instruments: set[str], now: int) -> list[Gap]:
    """Return a gap for every range of missing ids that no gap tells of.

    One that is said to be repaired does not: its trades were lost after all.

    Parameters
    ----------
    store
        Where the trades are. Blocking.
    exchange
        The venue.
    instruments
        Those of interest.
    now
        UTC nanoseconds: when they were noticed.

    Raises
    ------
    StoreError
        Where the store does not answer.
    """
    start, end = now - LOOK_BACK_NS, now + LOOK_BACK_NS
    found: list[Gap] = []
    for market in lacking_markets(store, exchange, start, end):
        if market.instrument not in instruments:
            continue
        counts = count_trades(store, market, start, end)
        holes, _ = find_holes(store, market, counts, start, end)
        gaps = find_gaps(store, Selection(*market), ("trades",))
        told = [gap for gap in gaps if gap.repaired_at is None or gap.how == UNUSED_IDS]
        found += [_gap(market, hole, now) for hole in untold_holes(holes, told)]
    return found


def left_starts(
    store: Store, exchange: str, first_trades: Mapping[str, FirstTrade], now: int
) -> list[Gap]:
    """Return a gap for every market whose first trade was stored, and what was before it not told.

    No missing id shows it: only that a stream heard the first trade inside a minute.

    Parameters
    ----------
    store
        Where the gaps are. Blocking.
    exchange
        The venue.
    first_trades
        Instrument -> its first stored trade.
    now
        UTC nanoseconds: when it was noticed.

    Raises
    ------
    StoreError
        Where the store does not answer.
    """
    found: list[Gap] = []
    for instrument, first in first_trades.items():
        at = first.exchange_time
        start = Timeframe.M1.floor(at)
        came_live = first.receive_time - at <= HISTORY_NS
        if start == at or first.sequence == 1 or not came_live:
            continue
        gaps = find_gaps(store, Selection(exchange, instrument), ("trades",))
        if any(gap.cause == "start" and gap.from_time <= at <= (gap.to_time or at) for gap in gaps):
            continue
        found.append(
            Gap(
                gap_id=f"{exchange}:{instrument}:trades:start:{now}",
                exchange=exchange,
                instrument=instrument,
                channel="trades",
                cause="start",
                from_sequence=None,
                to_sequence=first.sequence - 1 if first.sequence else None,
                from_time=start,
                to_time=at,
                opened_at=now,
            )
        )
    return found


def left_endings(
    store: Store,
    exchange: str,
    last_trades: Mapping[str, tuple[int, int]],
    ended_at: Mapping[str, int | None],
    now: int,
) -> list[Gap]:
    """Return a gap for every instrument that was delisted while nobody looked.

    Parameters
    ----------
    store
        Where the trades are. Blocking.
    exchange
        The venue.
    last_trades
        Instrument -> (sequence, exchange time) of its last stored trade.
    ended_at
        Instruments that the venue lists no more -> when their trading had ended, None where
        nobody knows.
    now
        UTC nanoseconds: when it was noticed.

    Raises
    ------
    StoreError
        Where the store does not answer.
    """
    found: list[Gap] = []
    for instrument, end in ended_at.items():
        if instrument not in last_trades:
            continue
        sequence, time = last_trades[instrument]
        gaps = find_gaps(store, Selection(exchange, instrument), ("trades",))
        # The last trade may itself have been fetched for such a gap.
        over = max(time, end or 0)
        if not any(gap.cause == "delisting" and (gap.to_time or 0) >= over for gap in gaps):
            found.append(delisting_gap(exchange, instrument, sequence or None, time, end, now))
    return found


def _gap(market: Market, hole: Hole, now: int) -> Gap:
    return Gap(
        gap_id=f"{market}:trades:restart:{now}:{hole.low}",
        exchange=market.exchange,
        instrument=market.instrument,
        channel="trades",
        cause="restart",
        from_sequence=hole.low,
        to_sequence=hole.high,
        from_time=hole.from_time,
        to_time=max(hole.from_time, hole.to_time),
        opened_at=now,
    )


def ended(gap: Gap, now: int, came_back: int | None = None) -> Gap:
    """Return a gap that lasted when its process ended as over: we look ourselves from then on.

    Parameters
    ----------
    gap
        It lasts, by what is stored of it.
    now
        UTC nanoseconds.
    came_back
        Time of the first trade that is stored from behind its begin, where no ids show what came
        before that; None without one. Then the gap had ended, its end was lost with the process,
        and it is to be repaired: the `restart` gap begins behind the last stored trade only.
    """
    if came_back is not None:
        return msgspec.structs.replace(gap, to_time=came_back)
    return msgspec.structs.replace(
        gap,
        to_time=max(now, gap.from_time),
        repaired_at=max(now, gap.opened_at),
        how="restarted",
    )


def unanswerable(gap: Gap, successor: str) -> Gap:
    """Return a gap of an instrument whose symbol names another one now, with that as the reason.

    Whoever asked the venue by the symbol would get trades of `successor`.
    """
    reason = f"its symbol names {successor} now, so {gap.exchange} cannot be asked for it"
    return msgspec.structs.replace(gap, problem=gap.problem or reason)
