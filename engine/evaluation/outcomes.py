"""Labels as columns of the table ``outcomes``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from engine.evaluation.barriers import BARRIERS, UNKNOWN
from engine.evaluation.labels import DELISTED, STATUSES, LabelRules, Labels, label_panel
from engine.evaluation.panel import Floats, PricePanel, Times

TIME = pa.timestamp("ns", "UTC")


def outcome_columns(
    panel: PricePanel,
    instruments: Sequence[str],
    horizons: Mapping[str, int],
    rules: LabelRules,
    *,
    start: int,
    end: int,
    ends: Times,
    end_known_at: Times,
) -> pa.Table:
    """Label the bars of a panel that open in ``[start, end)`` and whose horizon lies in it.

    Parameters
    ----------
    panel
        Prices, from `LabelRules.bars_before` bars before `start` on.
    instruments
        Names of its columns.
    horizons
        Name -> bars forward.
    rules
        See there.
    start, end
        UTC nanoseconds.
    ends, end_known_at
        When each market was delisted (`engine.evaluation.labels.STILL_LISTED` where it was not),
        and from when on that was known.

    Returns
    -------
    Table
        By instrument, horizon and time: all columns of ``outcomes`` but exchange and timeframe.
    """
    first = max(0, min(len(panel), -(-(start - panel.start) // panel.step)))
    stop = max(first, min(len(panel), -(-(end - panel.start) // panel.step)))
    parts = []
    for name, bars in horizons.items():
        within = panel[: min(len(panel), stop + bars)]
        labels = label_panel(within, bars, rules, ends)
        known_at = np.broadcast_to(
            within.close_time[: len(labels), None] + bars * panel.step, labels.status.shape
        )
        # Of a market that has ended the end itself has to be known.
        known_at = np.where(labels.status == DELISTED, np.maximum(known_at, end_known_at), known_at)
        parts.append(_columns(within, labels, known_at, instruments, name, first, rules.version))
    return pa.concat_tables(parts)


def _columns(
    panel: PricePanel,
    labels: Labels,
    known_at: Times,
    instruments: Sequence[str],
    horizon: str,
    first: int,
    version: str,
) -> pa.Table:
    has_bar = labels.has_bar.copy()
    has_bar[:first] = False
    market, row = np.nonzero(has_bar.T)
    at = (row, market)
    barrier = labels.barrier[at]
    touched = panel.close_time[row] + labels.barrier_bars[at] * panel.step
    count = len(row)
    return pa.table(
        {
            "instrument": _named(market, instruments),
            "open_time": pa.array(panel.open_time[row]).cast(TIME),
            "horizon": pa.repeat(pa.scalar(horizon), count),
            "known_at": pa.array(known_at[at]).cast(TIME),
            "status": _named(labels.status[at], STATUSES),
            "forward_return": _nullable(labels.forward_return[at]),
            "net_return_long": _nullable(labels.net_return_long[at]),
            "net_return_short": _nullable(labels.net_return_short[at]),
            "barrier": _named(barrier, BARRIERS),
            "barrier_time": pa.array(touched, mask=barrier == UNKNOWN).cast(TIME),
            "volatility": _nullable(labels.volatility[at]),
            "version": pa.repeat(pa.scalar(version), count),
        }
    )


def _named(
    codes: np.ndarray[tuple[int], np.dtype[np.signedinteger]], names: Sequence[str]
) -> pa.Array:
    values = pa.array(list(names), pa.string())
    return pa.DictionaryArray.from_arrays(codes.astype(np.int32), values).cast(pa.string())


def _nullable(values: Floats) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))
