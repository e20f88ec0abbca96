"""The rows of a training set, a stretch of bars at a time: read, and joined as of then."""

from __future__ import annotations

import pyarrow as pa

from engine.clock import iso_utc
from engine.datasets.columns import dataset_schema
from engine.datasets.request import DatasetRequest
from engine.datasets.rows import Facts, times_of, training_rows
from engine.domain.sentiment import Window
from engine.errors import StoreError
from engine.store.client import Store
from engine.store.dataset_plan import selection_of
from engine.store.dataset_reader import TICK_COLUMNS, BarRange, DatasetReader


def part_rows(store: Store, request: DatasetRequest, part: BarRange) -> pa.Table:
    """Return the rows of a stretch: its bars with what was known when each closed.

    Raises
    ------
    StoreError
        Where the store does not answer, or a bar claims to have been known before it closed.
    """
    reader = DatasetReader(store)
    bars = reader.bars(selection_of(request), part, request.features)
    if not bars.num_rows:
        return dataset_schema(request).empty_table()
    _refuse_foresight(bars)
    return training_rows(bars, _facts(reader, request, part, bars), request)


def _refuse_foresight(bars: pa.Table) -> None:
    early = times_of(bars, "available_at") < times_of(bars, "close_time")
    if early.any():
        at = int(early.argmax())
        exchange, instrument = (
            bars.column(name)[at].as_py() for name in ("exchange", "instrument")
        )
        opened = iso_utc(int(times_of(bars, "open_time")[at]))
        raise StoreError(
            f"the features of {exchange}:{instrument} at {opened} claim to have been known before "
            "the bar closed; build_features --again mends them"
        )


def _facts(reader: DatasetReader, request: DatasetRequest, part: BarRange, bars: pa.Table) -> Facts:
    """Read what the bars may be joined with."""
    closed = times_of(bars, "close_time")
    first, last = int(closed.min()), int(closed.max())
    exchanges, instruments = (
        sorted(set(bars.column(name).cast(pa.string()).to_pylist()))
        for name in ("exchange", "instrument")
    )
    selection, window = selection_of(request), request.sentiment_window
    # The base with its generation, as the names of its instruments begin.
    coins = sorted({instrument.partition("-")[0] for instrument in instruments})
    return Facts(
        sentiment=reader.sentiment(
            instruments, window, request.sentiment_model, first - Window(window).ns, last
        ),
        mood=reader.mood(last),
        ticks={
            column: reader.ticks(column, coins, selection.timeframe.ns, first, last)
            for column in TICK_COLUMNS
        },
        listings=reader.listings(exchanges, instruments, last),
        outcomes=reader.outcomes(selection, part, request.horizons, request.label_version),
    )
