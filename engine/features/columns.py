"""Rows of features as Arrow columns, made of arrays: never a row at a time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.features.catalogue import FEATURE_VERSION, FEATURES
from engine.features.panel import Panel

_TIME = pa.timestamp("ns", "UTC")


def panel_columns(
    panel: Panel, available_at: NDArray[np.int64], last_receive_time: NDArray[np.int64]
) -> pa.Table:
    """Return a panel's rows as the columns of the table ``features``.

    Parameters
    ----------
    panel
        The rows.
    available_at, last_receive_time
        Of each row, UTC nanoseconds; see `engine.domain.features.FeatureRow`.

    Returns
    -------
    pyarrow.Table
        Numbers as float64 with null where missing, patterns as int16.
    """
    rows = len(panel)
    lengths = np.diff(np.array(panel.starts))
    which = pa.array(np.repeat(np.arange(len(panel.markets)), lengths))
    columns: dict[str, pa.Array] = {
        "exchange": pa.array([m.exchange for m in panel.markets], pa.string()).take(which),
        "instrument": pa.array([m.instrument for m in panel.markets], pa.string()).take(which),
        "timeframe": pa.repeat(pa.scalar(panel.timeframe.value, pa.string()), rows),
        "open_time": _times(panel.open_time),
        "close_time": _times(panel.open_time + panel.timeframe.ns),
        "available_at": _times(available_at),
        "close": pa.array(panel.close),
        "version": pa.repeat(pa.scalar(FEATURE_VERSION, pa.string()), rows),
        "last_receive_time": _times(last_receive_time),
    }
    for index, feature in enumerate(FEATURES):
        values = panel.values[index]
        if feature.kind == "pattern":
            columns[feature.name] = pa.array(values.astype(np.int16))
        else:
            columns[feature.name] = pa.array(values, from_pandas=True)
    return pa.table(columns)


def _times(values: NDArray[np.int64]) -> pa.Array:
    return pa.array(values).cast(_TIME)
