"""Values to rows."""

from __future__ import annotations

from collections.abc import Sequence

from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import FEATURE_VERSION, FEATURES


def feature_row(
    market: Market,
    timeframe: Timeframe,
    open_time: int,
    close: float,
    values: Sequence[float],
    *,
    available_at: int,
    last_receive_time: int,
    is_closed: bool,
) -> FeatureRow:
    """Make the row of one bar.

    Parameters
    ----------
    market, timeframe, open_time
        Which bar; `open_time` in UTC nanoseconds.
    close
        Close of the bar, quote currency.
    values
        In the catalogue's order, from either run.
    available_at
        When it was known, UTC nanoseconds: for a closed bar never before its close.
    last_receive_time
        When the newest event in it reached us, UTC nanoseconds.
    is_closed
        False for a preview of the bar that still forms.

    Raises
    ------
    ValueError
        Where the number of values is not the catalogue's, or a closed bar claims to have been
        known before its close.
    """
    if len(values) != len(FEATURES):
        raise ValueError(f"{len(values)} values for a catalogue of {len(FEATURES)} features")
    close_time = open_time + timeframe.ns
    if is_closed and available_at < close_time:
        raise ValueError(
            f"the bar of {market} closing at {close_time} cannot be known at {available_at}"
        )
    return FeatureRow(
        exchange=market.exchange,
        instrument=market.instrument,
        timeframe=timeframe.value,
        open_time=open_time,
        close_time=close_time,
        available_at=available_at,
        close=close,
        values=tuple(map(float, values)),
        version=FEATURE_VERSION,
        is_closed=is_closed,
        last_receive_time=last_receive_time,
    )
